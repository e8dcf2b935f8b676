package store

import (
	"sync/atomic"
	"time"
)

// Limits bound the history kept beyond what open views read: superseded versions are dropped, oldest first, when any
// bound is passed. Zero fields take the defaults.
type Limits struct {
	Versions int           // default 65,536
	Bytes    int           // of superseded records; default 16 MiB
	Age      time.Duration // by the leader's clock; default one hour
}

func (l Limits) orDefault() Limits {
	if l.Versions == 0 {
		l.Versions = 65536
	}
	if l.Bytes == 0 {
		l.Bytes = 16 << 20
	}
	if l.Age == 0 {
		l.Age = time.Hour
	}
	return l
}

// superseded remembers that a slot has a version older than the one written at index at.
type superseded struct {
	table table
	slot  any
	at    uint64
	time  int64
	size  int
	brief bool // wanted by open views only
}

// history is the ring of superseded versions and the views still open: what trims the version chains. It belongs to the
// writer, except for floor.
type history struct {
	limits Limits
	queue  []superseded // of this batch, not yet in the ring
	ring   []superseded // oldest first, from head on
	head   int
	bytes  int              // of the ring
	open   []*View          // retired views that somebody still held
	held   map[any]deferred // slots whose trimming a pinned view delayed
	floor  atomic.Uint64    // reads at an index below it may miss versions
}

type deferred struct {
	table table
	at    uint64
}

// retire takes note of a view that is no longer the newest, and gives up the store's own hold on it.
func (h *history) retire(v *View) {
	h.open = append(h.open, v)
	v.refs.Add(-1)
}

// pins returns the indexes of the retired views still held, ascending.
func (h *history) pins() []uint64 {
	kept, pins := h.open[:0], []uint64(nil)
	for _, v := range h.open {
		if v.refs.Load() > 0 {
			kept = append(kept, v)
			pins = append(pins, v.index)
		}
	}
	clear(h.open[len(kept):])
	h.open = kept
	return pins
}

// sweep moves the batch's superseded versions into the ring and trims what the limits no longer allow.
func (h *history) sweep(now int64) {
	before := len(h.open)
	pins := h.pins()
	if len(h.held) > 0 && len(h.open) < before {
		for slot, d := range h.held {
			if !d.table.trim(slot, d.at, pins) {
				delete(h.held, slot)
			}
		}
	}
	for _, e := range h.queue {
		if e.brief {
			h.drop(e, pins)
			continue
		}
		h.ring = append(h.ring, e)
		h.bytes += e.size
	}
	clear(h.queue)
	h.queue = h.queue[:0]
	for h.head < len(h.ring) && h.over(now) {
		e := h.ring[h.head]
		h.ring[h.head] = superseded{}
		h.head++
		h.bytes -= e.size
		h.floor.Store(e.at)
		h.drop(e, pins)
	}
	if h.head > 1024 && h.head > len(h.ring)/2 {
		n := copy(h.ring, h.ring[h.head:])
		clear(h.ring[n:])
		h.ring, h.head = h.ring[:n], 0
	}
}

func (h *history) over(now int64) bool {
	return len(h.ring)-h.head > h.limits.Versions || h.bytes > h.limits.Bytes ||
		now-h.ring[h.head].time > int64(h.limits.Age)
}

func (h *history) drop(e superseded, pins []uint64) {
	if !e.table.trim(e.slot, e.at, pins) {
		return
	}
	if h.held == nil {
		h.held = map[any]deferred{}
	}
	h.held[e.slot] = deferred{e.table, e.at}
}
