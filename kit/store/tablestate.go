package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/btree"
	"github.com/tinylib/msgp/msgp"
)

// newest is an index no Command reaches: it reads the head of every slot, published or not.
const newest = ^uint64(0)

// tableCommon is what the store knows of a table whatever its records are.
type tableCommon struct {
	on       AnyTable
	dirty    bool // what a view has of the table changed since the last commit
	watched  bool // some trigger wants to hear of changes
	discards bool // a snapshot is only being verified
	// row appends what a slot now holds, as a snapshot has it; for a tombstone, nil.
	row func(b []byte, slot any) (key string, out []byte)
}

// tableState is the writer's side of a table: the working trees, and whether they differ from the published ones.
type tableState[T any, P Record[T]] struct {
	*Table[T, P]
	tableCommon
	trees  tableView[T]
	slots  map[string]*slot[T] // those of the primary tree: the writer finds one in a tenth of the time
	loaded int                 // rows decoded from a snapshot
	last   string              // key of the last of them
}

func newTableState[T any, P Record[T]](d *Table[T, P]) *tableState[T, P] {
	// A node is copied by the first change after a commit: half the library's degree makes a lone insert a third cheaper,
	// and costs readers next to nothing.
	noLocks := btree.Options{NoLocks: true, Degree: 16}
	t := &tableState[T, P]{Table: d, tableCommon: tableCommon{on: d, row: row[T, P]}, slots: map[string]*slot[T]{}}
	t.trees.primary = btree.NewBTreeGOptions(place[T].less, noLocks)
	for range d.schema.Indexes {
		t.trees.indexes = append(t.trees.indexes, btree.NewBTreeGOptions(filed[T].less, noLocks))
	}
	return t
}

func (t *tableState[T, P]) common() *tableCommon { return &t.tableCommon }
func (t *tableState[T, P]) working() any         { return &t.trees }

func (t *tableState[T, P]) capture() any {
	v := &tableView[T]{live: t.trees.live, primary: t.trees.primary.Copy()}
	for _, x := range t.trees.indexes {
		v.indexes = append(v.indexes, x.Copy())
	}
	return v
}

// slotFor finds or makes the slot of a key.
func (t *tableState[T, P]) slotFor(key string) *slot[T] {
	if s := t.slots[key]; s != nil {
		return s
	}
	s := &slot[T]{key: key}
	t.slots[s.key] = s
	t.trees.primary.Set(place[T]{s.key, s})
	t.dirty = true
	return s
}

// drop takes a slot out of the table.
func (t *tableState[T, P]) drop(s *slot[T]) {
	delete(t.slots, s.key)
	t.trees.primary.Delete(place[T]{key: s.key})
	t.dirty = true
}

// put stores a record. It asks for all keys before it changes anything: should the schema's functions panic on this
// record, there is nothing to undo, and undo never meets a record that they have not passed.
func (t *tableState[T, P]) put(tx *Tx, rec *T) (old *T) {
	key, filing := t.schema.Key(rec), t.filing(rec)
	return t.set(tx, t.slotFor(key), rec, filing)
}

// filing returns the record's keys in each secondary index, nil for no record.
func (t *tableState[T, P]) filing(rec *T) [][]string {
	if rec == nil || len(t.schema.Indexes) == 0 {
		return nil
	}
	keys := make([][]string, len(t.schema.Indexes))
	for i := range keys {
		keys[i] = t.schema.Indexes[i].Keys(rec)
	}
	return keys
}

// set makes rec (nil: a tombstone) the newest version of the slot at the transaction's index.
func (t *tableState[T, P]) set(tx *Tx, s *slot[T], rec *T, filing [][]string) (old *T) {
	head := s.head.Load()
	again := head != nil && head.index == tx.index // written by this same Command: only its last word counts
	next := &version[T]{rec: rec, index: tx.index}
	if again {
		next.prev.Store(head.prev.Load())
	} else if head != nil {
		next.prev.Store(head)
	}
	if head != nil {
		old = head.rec
	}
	tx.changed(t, s, head, old)
	s.head.Store(next)
	t.count(old, rec)
	t.refile(s, t.filing(old), filing)
	grown := size[T, P](rec)
	was := size[T, P](old)
	tx.store.bytes.Add(int64(grown - was))
	switch p := next.prev.Load(); {
	case p == nil && rec == nil:
		tx.supersede(t, s, next, 0, true) // made and deleted by this Command: nobody ever saw it
	case p != nil && again:
		tx.resupersede(s, next)
	case p != nil:
		tx.supersede(t, s, next, was, t.schema.Brief)
	}
	return old
}

// count keeps the number of records, where one takes the place of another; nil: there is none.
func (t *tableState[T, P]) count(from, to *T) {
	switch {
	case from == nil && to != nil:
		t.trees.live++
	case from != nil && to == nil:
		t.trees.live--
	default:
		return
	}
	t.dirty = true
}

// refile moves the slot between the keys of the secondary indexes.
func (t *tableState[T, P]) refile(s *slot[T], from, to [][]string) {
	for i, tree := range t.trees.indexes {
		var del, add []string
		if from != nil {
			del = from[i]
		}
		if to != nil {
			add = to[i]
		}
		if slices.Equal(del, add) {
			continue
		}
		t.dirty = true
		for _, k := range del {
			tree.Delete(filed[T]{k, s})
		}
		for _, k := range add {
			tree.Set(filed[T]{strings.Clone(k), s})
		}
	}
}

func row[T any, P Record[T]](b []byte, slotAny any) (key string, out []byte) {
	s := slotAny.(*slot[T])
	rec := s.head.Load().rec
	if rec == nil {
		return s.key, msgp.AppendNil(b)
	}
	out, err := P(rec).MarshalMsg(b)
	if err != nil {
		panic(err) // nor could a snapshot hold it: the Command is undone
	}
	return s.key, out
}

func size[T any, P Record[T]](rec *T) int {
	if rec == nil {
		return 0
	}
	return P(rec).Msgsize()
}

// undo puts the slot back to the version it had before the change and returns by how much the table grew by that.
func (t *tableState[T, P]) undo(c change) (bytes int64) {
	s, old := c.slot.(*slot[T]), c.head.(*version[T])
	now := s.head.Load().rec
	var rec *T
	if old != nil {
		rec = old.rec
	}
	s.head.Store(old)
	t.count(now, rec)
	t.refile(s, t.filing(now), t.filing(rec))
	if old == nil {
		t.drop(s)
	}
	return int64(size[T, P](rec) - size[T, P](now))
}

// trim drops the versions of a slot that are older than the one named newer, but for those that a pinned view
// reads: of these the history takes note. A tombstone with nothing below it leaves the tree.
func (t *tableState[T, P]) trim(slotAny, newer any, h *history) {
	s, keep := slotAny.(*slot[T]), newer.(*version[T])
	later, last := deferred{t, keep, keep.index}, keep
	for old := keep.prev.Load(); old != nil; old = old.prev.Load() {
		if !h.hold(old.index, last.index, s, later) {
			continue
		}
		if last.prev.Load() != old {
			last.prev.Store(old) // splice out what lies between
		}
		last = old
	}
	if last.prev.Load() != nil {
		last.prev.Store(nil)
	}
	if s.head.Load() != keep || keep.rec != nil || last != keep {
		return
	}
	// Should this slot have left the tree before, the key may have been made again, in a slot of its own.
	if t.slots[s.key] == s {
		t.drop(s)
	}
}

// decode reads one row of a snapshot from the front of b into an unpublished table, and returns what follows and the
// row's size. Rows come in strictly ascending key order.
func (t *tableState[T, P]) decode(index uint64, b []byte) (rest []byte, bytes int64, err error) {
	rec := new(T)
	if rest, err = DecodeStrict(b, P(rec)); err != nil {
		return b, 0, err
	}
	key := t.schema.Key(rec)
	if t.loaded++; t.loaded > 1 && key <= t.last {
		return b, 0, fmt.Errorf("key %q does not follow %q", key, t.last)
	}
	t.last = key
	if t.discards {
		return rest, 0, nil
	}
	s := &slot[T]{key: t.last}
	s.head.Store(&version[T]{rec: rec, index: index})
	t.slots[s.key] = s
	t.trees.primary.Load(place[T]{s.key, s})
	t.trees.live++
	t.refile(s, nil, t.filing(rec))
	return rest, int64(size[T, P](rec)), nil
}
