package store

import (
	"strings"

	"github.com/tidwall/btree"
)

// newest is an index no Command reaches: it reads the head of every slot, published or not.
const newest = ^uint64(0)

// tableState is the writer's side of a table: the working trees, and whether they differ from the published ones.
type tableState[T any, P Record[T]] struct {
	*Table[T, P]
	trees    tableView[T]
	dirty    bool // trees changed since the last capture
	triggers bool // some trigger wants to hear of changes
	discards bool // a snapshot is only being verified
	store    *Store
}

func newTableState[T any, P Record[T]](d *Table[T, P]) *tableState[T, P] {
	t := &tableState[T, P]{Table: d}
	t.trees = emptyTrees(d)
	return t
}

func emptyTrees[T any, P Record[T]](d *Table[T, P]) tableView[T] {
	noLocks := btree.Options{NoLocks: true}
	trees := tableView[T]{primary: btree.NewBTreeGOptions(func(a, b *slot[T]) bool { return a.key < b.key }, noLocks)}
	for range d.schema.Indexes {
		trees.indexes = append(trees.indexes, btree.NewBTreeGOptions(filed[T].less, noLocks))
	}
	return trees
}

func (t *tableState[T, P]) named() string { return t.name }
func (t *tableState[T, P]) watch()        { t.triggers = true }
func (t *tableState[T, P]) watched() bool { return t.triggers }

// capture returns copies of the trees for a view, nil if the last ones still hold.
func (t *tableState[T, P]) capture(all bool) any {
	if !t.dirty && !all {
		return nil
	}
	t.dirty = false
	v := &tableView[T]{primary: t.trees.primary.Copy()}
	for _, x := range t.trees.indexes {
		v.indexes = append(v.indexes, x.Copy())
	}
	return v
}

// slotFor finds or makes the slot of a key. The key is cloned so that a slot never holds a larger buffer alive.
func (t *tableState[T, P]) slotFor(key string) *slot[T] {
	probe := &slot[T]{key: key}
	if s, ok := t.trees.primary.Get(probe); ok {
		return s
	}
	probe.key = strings.Clone(key)
	t.trees.primary.Set(probe)
	t.dirty = true
	return probe
}

// set makes rec (nil: a tombstone) the newest version of the slot at the transaction's index.
func (t *tableState[T, P]) set(tx *Tx, s *slot[T], rec *T) (old *T) {
	head := s.head.Load()
	if head != nil {
		old = head.rec
	}
	next := &version[T]{rec: rec, index: tx.index}
	switch {
	case head == nil:
	case head.index == tx.index: // written by this same Command: only its last word counts
		next.prev.Store(head.prev.Load())
	default:
		next.prev.Store(head)
	}
	tx.changed(t, s, head, old)
	s.head.Store(next)
	tx.store.bytes.Add(t.refile(s, old, rec))
	if p := next.prev.Load(); p != nil && (head == nil || head.index != tx.index) {
		tx.supersede(t, s, size[T, P](p.rec), t.schema.Brief)
	} else if p == nil && rec == nil {
		tx.supersede(t, s, 0, true)
	}
	return old
}

// refile moves the slot between the keys of the secondary indexes and returns the change of the table's size.
func (t *tableState[T, P]) refile(s *slot[T], old, rec *T) int64 {
	for i, x := range t.schema.Indexes {
		var from, to []string
		if old != nil {
			from = x.Keys(old)
		}
		if rec != nil {
			to = x.Keys(rec)
		}
		if equal(from, to) {
			continue
		}
		t.dirty = true
		for _, k := range from {
			t.trees.indexes[i].Delete(filed[T]{k, s})
		}
		for _, k := range to {
			t.trees.indexes[i].Set(filed[T]{strings.Clone(k), s})
		}
	}
	return int64(size[T, P](rec) - size[T, P](old))
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func size[T any, P Record[T]](rec *T) int {
	if rec == nil {
		return 0
	}
	return P(rec).Msgsize()
}

// undo puts the slot back to the version it had before the Command; old nil means it had none.
func (t *tableState[T, P]) undo(slotAny, oldAny any) int {
	s, old := slotAny.(*slot[T]), oldAny.(*version[T])
	now := s.head.Load().rec
	var rec *T
	if old != nil {
		rec = old.rec
	}
	s.head.Store(old)
	d := t.refile(s, now, rec)
	if old == nil {
		t.trees.primary.Delete(s)
		t.dirty = true
	}
	return int(d)
}

// trim drops the versions of a slot that are older than its newest one not above at, but for those that a pinned view
// reads. It reports whether a pin held something back. Pins are ascending.
func (t *tableState[T, P]) trim(slotAny any, at uint64, pins []uint64) (held bool) {
	s := slotAny.(*slot[T])
	keep := s.head.Load()
	for keep != nil && keep.index > at {
		keep = keep.prev.Load()
	}
	if keep == nil {
		return false
	}
	last := keep
	for old := keep.prev.Load(); old != nil; old = old.prev.Load() {
		if pinned(pins, old.index, last.index) {
			held = true
			if last.prev.Load() != old {
				last.prev.Store(old) // splice out what lies between
			}
			last = old
		}
	}
	last.prev.Store(nil)
	if h := s.head.Load(); h == keep && h.rec == nil && h.prev.Load() == nil {
		t.trees.primary.Delete(s)
		t.dirty = true
	}
	return held
}

// pinned reports whether some pin lies in [from, below): such a view reads the version of index from.
func pinned(pins []uint64, from, below uint64) bool {
	for _, p := range pins {
		if p >= from && p < below {
			return true
		}
	}
	return false
}
