package event

import (
	"slices"
	"sync"
)

// ringSize is how many events an agent remembers.
const ringSize = 256

// ring holds the last events that this agent received and that are meant for it.
type ring struct {
	mu      sync.Mutex // guards both
	events  []event    // the oldest first, each ID once
	changed chan struct{}
}

func newRing() *ring { return &ring{changed: make(chan struct{})} }

// add reports false for an event that is there already: gossip may bring one twice.
func (r *ring) add(e *event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.events, func(o event) bool { return o.ID == e.ID }) {
		return false
	}
	if len(r.events) == ringSize {
		r.events = slices.Delete(r.events, 0, 1)
	}
	r.events = append(r.events, *e)
	close(r.changed)
	r.changed = make(chan struct{})
	return true
}

// list returns the events of a name, "" for all, and a channel that closes when there is another one.
func (r *ring) list(name string) (list []event, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list = []event{}
	for _, e := range r.events {
		if name == "" || e.Name == name {
			list = append(list, e)
		}
	}
	return list, r.changed
}
