package store

import (
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tidwall/btree"
	"github.com/tinylib/msgp/msgp"
)

// Record is what a table holds: a pointer to a struct with generated MessagePack code, one MessagePack value that decodes
// to the same bytes again. Once put it is never changed.
type Record[T any] interface {
	*T
	msgp.Marshaler
	msgp.Unmarshaler
	msgp.Sizer
}

// Schema says how a table's records are found. Key gives the primary key, which orders the table bytewise; the table keeps the
// string, and whatever it is cut from, for longer than the record.
type Schema[T any] struct {
	Key     func(*T) string
	Indexes []Index[T]
	// Brief tables keep no history beyond what open views need (counters that change with every Command); At knows
	// only the view's own index of them.
	Brief bool
}

// Index is a secondary order: every record is filed under each of its Keys (none: not filed). Like Schema.Key, Keys must
// depend on the record alone.
type Index[T any] struct {
	Name string
	Keys func(*T) []string
}

// Table describes a table: a plain value, usually a package variable, shared by all stores that hold such a table.
type Table[T any, P Record[T]] struct {
	name   string
	number int
	schema Schema[T]
}

// AnyTable is a Table of any record.
type AnyTable interface {
	Name() string
	id() int
	open() table
	encode(v *View, row func(index uint64, rec msgp.Marshaler) error) error
}

// table is one store's state of one Table, as the writer has it.
type table interface {
	common() *tableCommon
	working() any // the trees being changed, a *tableView[T]
	capture() any // a copy of them for a view
	undo(c change) (bytes int64)
	trim(slot, newer any, h *history)
	decode(index uint64, b []byte) (rest []byte, bytes int64, err error)
}

var numbers atomic.Int32

// NewTable describes a table. The name is part of the snapshot format.
func NewTable[T any, P Record[T]](name string, schema Schema[T]) *Table[T, P] {
	return &Table[T, P]{name: name, number: int(numbers.Add(1)) - 1, schema: schema}
}

// Name returns the table's name.
func (d *Table[T, P]) Name() string { return d.name }
func (d *Table[T, P]) id() int      { return d.number }
func (d *Table[T, P]) open() table  { return newTableState(d) }

// version is one state of a record; rec nil is a tombstone.
type version[T any] struct {
	rec   *T
	index uint64
	prev  atomic.Pointer[version[T]]
}

// slot holds a key's versions, newest first. It stays in the primary tree, its head a tombstone, until nothing older is
// kept; a key created again reuses it.
type slot[T any] struct {
	key  string
	head atomic.Pointer[version[T]]
}

// version returns the newest version not newer than index, nil if there is none.
func (s *slot[T]) version(index uint64) *version[T] {
	v := s.head.Load()
	for v != nil && v.index > index {
		v = v.prev.Load()
	}
	return v
}

// at returns the newest record not newer than index; nil if there is none or it is deleted.
func (s *slot[T]) at(index uint64) *T {
	if v := s.version(index); v != nil {
		return v.rec
	}
	return nil
}

// place is a slot in the primary tree, its key beside it: a search reads a memory line less for every key it meets.
type place[T any] struct {
	key  string
	slot *slot[T]
}

func (p place[T]) less(q place[T]) bool { return p.key < q.key }

// filed is a slot's place in a secondary index.
type filed[T any] struct {
	key  string
	slot *slot[T]
}

func (f filed[T]) less(g filed[T]) bool {
	if f.key != g.key {
		return f.key < g.key
	}
	if f.slot == nil || g.slot == nil {
		return f.slot == nil && g.slot != nil // nil: the pivot before all slots of its key
	}
	return f.slot.key < g.slot.key
}

// tableView is what a View holds of a table: trees nobody changes any more.
type tableView[T any] struct {
	live    int // records
	primary *btree.BTreeG[place[T]]
	indexes []*btree.BTreeG[filed[T]]
}

func (d *Table[T, P]) state(tx *Tx) *tableState[T, P] {
	return tx.store.tables[d.number].(*tableState[T, P])
}

func (d *Table[T, P]) in(r Reader) *tableView[T] { return r.tree(d.number).(*tableView[T]) }

// Get returns the record of the key, nil if there is none.
func (d *Table[T, P]) Get(r Reader, key string) *T {
	if tx, writing := r.(*Tx); writing {
		if s := d.state(tx).slots[key]; s != nil {
			return s.at(newest)
		}
		return nil
	}
	if p, ok := d.in(r).primary.Get(place[T]{key: key}); ok {
		return p.slot.at(r.limit())
	}
	return nil
}

// At returns the record the key had at an older index, and whether that is still known: false once that far back has
// been trimmed (or this process has been restarted since), which a caller must report as "compacted".
func (d *Table[T, P]) At(v *View, key string, index uint64) (rec *T, known bool) {
	if index >= v.index {
		return d.Get(v, key), true
	}
	if d.schema.Brief {
		return nil, false
	}
	if p, ok := d.in(v).primary.Get(place[T]{key: key}); ok {
		rec = p.slot.at(index)
	}
	if index < v.floor.Load() { // looked at last: the writer raises it before it trims
		return nil, false
	}
	return rec, true
}

// Len returns how many records the table has.
func (d *Table[T, P]) Len(r Reader) int { return d.in(r).live }

// All yields every record in key order.
func (d *Table[T, P]) All(r Reader) iter.Seq[*T] { return d.Prefix(r, "") }

// Prefix yields the records whose key starts with prefix, in key order. In a Tx the keys are gathered first, so the
// loop may change the table: what it deletes is not yielded any more, what it replaces is yielded as it then is. So do
// All, From and By.
func (d *Table[T, P]) Prefix(r Reader, prefix string) iter.Seq[*T] {
	tv, limit := d.in(r), r.limit()
	return func(yield func(*T) bool) {
		walk := func(emit func(*slot[T]) bool) {
			tv.primary.Ascend(place[T]{key: prefix}, func(p place[T]) bool {
				return strings.HasPrefix(p.key, prefix) && emit(p.slot)
			})
		}
		each(r, limit, walk, yield)
	}
}

// From yields the records with keys not below start, in key order.
func (d *Table[T, P]) From(r Reader, start string) iter.Seq[*T] {
	tv, limit := d.in(r), r.limit()
	return func(yield func(*T) bool) {
		walk := func(emit func(*slot[T]) bool) {
			tv.primary.Ascend(place[T]{key: start}, func(p place[T]) bool { return emit(p.slot) })
		}
		each(r, limit, walk, yield)
	}
}

// By yields the records filed under exactly key in the named index, in order of their primary keys.
func (d *Table[T, P]) By(r Reader, index, key string) iter.Seq[*T] {
	tv, limit := d.in(r), r.limit()
	n := d.indexNumber(index)
	return func(yield func(*T) bool) {
		walk := func(emit func(*slot[T]) bool) {
			tv.indexes[n].Ascend(filed[T]{key: key}, func(f filed[T]) bool { return f.key == key && emit(f.slot) })
		}
		each(r, limit, walk, yield)
	}
}

// leap is how many entries of one key Keys walks past before it searches for the next key.
const leap = 32

// Keys yields the distinct keys of an index that file at least one record, in order. In a Tx they are gathered first.
func (d *Table[T, P]) Keys(r Reader, index string) iter.Seq[string] {
	tree := d.in(r).indexes[d.indexNumber(index)]
	walk := func(yield func(string) bool) {
		for from, more := (filed[T]{}), true; more; {
			same, again := 0, false
			tree.Ascend(from, func(f filed[T]) bool {
				if same > 0 && f.key == from.key {
					same++
					again = same > leap
					return !again
				}
				from.key, same = f.key, 1
				return yield(f.key)
			})
			from.key += "\x00" // the next key there can be
			more = again
		}
	}
	if _, writing := r.(*Tx); !writing {
		return walk
	}
	return func(yield func(string) bool) {
		for _, k := range slices.Collect(walk) {
			if !yield(k) {
				return
			}
		}
	}
}

func (d *Table[T, P]) indexNumber(name string) int {
	for i := range d.schema.Indexes {
		if d.schema.Indexes[i].Name == name {
			return i
		}
	}
	panic("store: table " + d.name + " has no index " + name)
}

// each yields the live records of the slots that walk emits.
func each[T any](r Reader, limit uint64, walk func(func(*slot[T]) bool), yield func(*T) bool) {
	if _, writing := r.(*Tx); !writing {
		walk(func(s *slot[T]) bool {
			rec := s.at(limit)
			return rec == nil || yield(rec)
		})
		return
	}
	var slots []*slot[T]
	walk(func(s *slot[T]) bool { slots = append(slots, s); return true })
	for _, s := range slots {
		if rec := s.at(limit); rec != nil && !yield(rec) {
			return
		}
	}
}

// Put stores the record under its key, replacing what was there. It returns the record replaced, nil if none.
func (d *Table[T, P]) Put(tx *Tx, rec *T) (old *T) {
	return d.state(tx).put(tx, rec)
}

// Delete removes the key's record and returns it, nil if there was none.
func (d *Table[T, P]) Delete(tx *Tx, key string) (old *T) {
	t := d.state(tx)
	s := t.slots[key]
	if s == nil || s.at(newest) == nil {
		return nil
	}
	return t.set(tx, s, nil, nil)
}

// encode gives the view's rows in key order, each with the index of the Command that wrote it.
func (d *Table[T, P]) encode(v *View, row func(uint64, msgp.Marshaler) error) error {
	var err error
	d.in(v).primary.Scan(func(p place[T]) bool {
		if x := p.slot.version(v.index); x != nil && x.rec != nil {
			err = row(x.index, P(x.rec))
		}
		return err == nil
	})
	return err
}
