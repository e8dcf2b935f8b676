package coordinate

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"rostra/engine/room"
)

// Reports are written together: what comes within writePeriod, in at most writeBatches Commands (spec agent.md §8).
const (
	writePeriod  = 5 * time.Second
	writeBatches = 5
)

// pending are the reports that the leader writes next, the last one of each node. The zero value is empty.
type pending struct {
	mu      sync.Mutex // guards both
	byNode  map[string]Entry
	dropped int // reports that were too many
}

func (p *pending) add(e Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := strings.ToLower(e.Node)
	if _, known := p.byNode[key]; !known && len(p.byNode) >= writeBatches*batchSize {
		p.dropped++
		return
	}
	if p.byNode == nil {
		p.byNode = map[string]Entry{}
	}
	p.byNode[key] = e
}

// take empties p. The list is by node.
func (p *pending) take() (list []Entry, dropped int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(p.byNode)) {
		list = append(list, p.byNode[key])
	}
	dropped = p.dropped
	p.byNode, p.dropped = nil, 0
	return list, dropped
}

// writer writes the reports: a duty of the leader.
type writer struct {
	host    *room.Host
	pending *pending
}

func (w writer) run(ctx context.Context) error {
	defer w.pending.take() // the next leader hears of them soon
	tick := time.NewTicker(writePeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := w.write(ctx); err != nil {
			return err
		}
	}
}

// write writes what is pending.
func (w writer) write(ctx context.Context) error {
	list, dropped := w.pending.take()
	if dropped > 0 {
		w.host.Log.Warn("more coordinates were reported than are written at once; their agents report again", "dropped", dropped)
	}
	for batch := range slices.Chunk(list, batchSize) {
		if _, _, err := w.host.Door.Apply(ctx, &Update{Entries: batch}, room.Options{}); err != nil {
			return err
		}
	}
	return nil
}
