package room

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// Report is what a part of the agent says about the agent's own state. It is shown as a check of the node.
type Report struct {
	ID     string // of the check: "rostra:" and a word
	Name   string
	Status string // passing or warning; critical would take everything on the node out of DNS
	Output string
}

// Reports are the present ones of an agent. Features set them; who shows them follows All. The zero value holds none, and
// so does a nil pointer. Safe for concurrent use.
type Reports struct {
	mu      sync.Mutex // guards both
	byID    map[string]Report
	changed chan struct{} // closes at a change; nil while nobody waits
}

// Set makes a report, in place of that with its ID.
func (r *Reports) Set(report Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[report.ID] == report {
		return
	}
	if r.byID == nil {
		r.byID = map[string]Report{}
	}
	r.byID[report.ID] = report
	r.tell()
}

// Drop takes a report back.
func (r *Reports) Drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.byID[id]; ok {
		delete(r.byID, id)
		r.tell()
	}
}

func (r *Reports) tell() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// All returns the reports by ID, and a channel that closes when they are no longer these.
func (r *Reports) All() (list []Report, changed <-chan struct{}) {
	if r == nil {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	list = slices.SortedFunc(maps.Values(r.byID), func(a, b Report) int { return strings.Compare(a.ID, b.ID) })
	return list, r.changed
}
