package store

import (
	"sort"
	"sync/atomic"
	"time"
)

// Limits bound the history kept beyond what open views read: superseded versions are dropped, oldest first, when any
// bound is passed. Zero fields take the defaults.
type Limits struct {
	Versions int           // default 65,536
	Bytes    int           // of superseded records; default 16 MiB
	Age      time.Duration // by the log's clock; default one hour
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

// superseded remembers that a slot has a version older than newer, which was written at index at. It names the version
// itself, so that trimming a key that changes all day need not walk through all its versions.
type superseded struct {
	table table
	slot  any
	newer any // *version[T]
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
	bytes  int            // of the ring
	pins   []pin          // retired views that somebody still held, by ascending index
	floor  *atomic.Uint64 // reads at an older index may miss versions; a new one at each Restore
}

// pin is an open view that is no longer the newest, and the slots with a version that was kept for it.
type pin struct {
	view *View
	held map[any]deferred
}

// deferred is a trim to be repeated when the pin is gone.
type deferred struct {
	table table
	newer any // *version[T]
	at    uint64
}

// retire takes note of a view that is no longer the newest, and gives up the store's own hold on it.
func (h *history) retire(v *View) {
	if v.refs.Load() == uncut {
		return // nobody can have it
	}
	h.pins = append(h.pins, pin{view: v})
	v.Release()
}

// settle forgets the views released since the last time, and trims what was kept for them alone. A slot is trimmed once
// for each pin that held it back, so that a long pin costs nothing while short ones come and go.
func (h *history) settle() {
	var gone []map[any]deferred
	kept := h.pins[:0]
	for _, p := range h.pins {
		if p.view.refs.Load() > 0 {
			kept = append(kept, p)
		} else if p.held != nil {
			gone = append(gone, p.held)
		}
	}
	clear(h.pins[len(kept):])
	h.pins = kept
	for _, held := range gone {
		for slot, d := range held {
			d.table.trim(slot, d.newer, h)
		}
	}
}

// hold reports whether a pinned view reads the version written at index from and superseded at below; if so it notes
// that the slot is to be trimmed again when that view is released.
func (h *history) hold(from, below uint64, slot any, d deferred) bool {
	i := sort.Search(len(h.pins), func(i int) bool { return h.pins[i].view.index >= below }) - 1
	if i < 0 || h.pins[i].view.index < from {
		return false
	}
	p := &h.pins[i]
	if p.held == nil {
		p.held = map[any]deferred{}
	}
	if d.at >= p.held[slot].at {
		p.held[slot] = d
	}
	return true
}

// sweep moves the batch's superseded versions into the ring and trims what the limits no longer allow.
func (h *history) sweep(now int64) {
	h.settle()
	for _, e := range h.queue {
		if e.brief {
			e.table.trim(e.slot, e.newer, h)
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
		e.table.trim(e.slot, e.newer, h)
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

// reset forgets everything, because the tables have been replaced. Open views of the old ones keep what they have:
// nobody trims it any more.
func (h *history) reset(floor uint64) {
	*h = history{limits: h.limits, floor: new(atomic.Uint64)}
	h.floor.Store(floor)
}
