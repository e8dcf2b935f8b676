// Package store is the multi-version store behind Rostra's replicated state. It keeps tables of immutable records, each
// record with a short chain of its versions, so that a reader holds a consistent View by one pointer, and neither waits for
// the other while it is read. Only who asks first for a View after a while without readers may wait for the log entry that
// is being applied. There is one writer: the goroutine that applies the log. It knows no feature; features declare tables
// and triggers, and run their Commands in a Tx.
//
// The rules it obeys are design rules 3, 5, 7, 8, 9 and 10 of the house: one index per Command that changes something,
// subjects with a replicated index each, views published once per log entry, history bounded whatever is pinned.
package store

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Store is one replica's state. Views may be taken from any goroutine; Begin, Restore and the Batch they give belong to
// one writer at a time (a mutex makes a second one wait).
type Store struct {
	writing  sync.Mutex // held from Begin to Commit, by the end of Restore, and by who cuts a view
	asking   sync.Mutex // held by the one reader who waits for writing
	room     Tx         // the empty lists of the last batch; of who holds writing
	schema   []AnyTable // in order; never changes
	triggers []Trigger  // never changes
	tables   []table    // by descriptor id, nil where another store's tables sit; owned by the writer
	cut      []any      // *tableView[T] by descriptor id, nil where the table has changed since; owned by the writer
	registry registry

	index    uint64 // of the newest Command that changed something; owned by the writer
	lineage  string // which history the index counts; owned by the writer
	restored uint64 // the index at which an archive replaced the state; owned by the writer
	view     atomic.Pointer[View]
	moved    atomic.Uint64
	bytes    atomic.Int64 // rough encoded size of all live records
	history  history
}

// New returns an empty store of the given tables and triggers. Triggers run in the order given, which is the features'.
// Two tables of one name, or a trigger on a table that is not among them, are a mistake of the program: it panics.
func New(tables []AnyTable, triggers []Trigger, limits Limits) *Store {
	s := &Store{schema: append([]AnyTable{touched}, tables...), triggers: triggers}
	s.history.limits = limits.orDefault()
	s.history.floor = new(atomic.Uint64)
	s.registry.init()
	s.tables = s.build()
	s.cut = make([]any, len(s.tables))
	s.view.Store(s.next(nil))
	return s
}

// build returns empty tables of the store's schema.
func (s *Store) build() []table {
	size, names := 0, map[string]bool{}
	for _, d := range s.schema {
		size = max(size, d.id()+1)
		if names[d.Name()] {
			panic("store: two tables are named " + d.Name())
		}
		names[d.Name()] = true
	}
	tables := make([]table, size)
	for _, d := range s.schema {
		tables[d.id()] = d.open()
	}
	for i := range s.triggers {
		on := s.triggers[i].on
		if on.id() >= size || tables[on.id()] == nil {
			panic("store: trigger " + s.triggers[i].Name + " is on a table that the store lacks")
		}
		tables[on.id()].common().watched = true
	}
	return tables
}

// View returns the newest published view, pinned. The caller must Release it, and soon: what it pins stays in memory. If
// nobody has asked for the view before this one, it may have to wait for the log entry that is being applied. So it must
// not be called between Begin and Commit by who began, nor in what a commit wakes.
func (s *Store) View() *View {
	for {
		v := s.view.Load()
		if v.refs.Load() == uncut {
			return s.newest()
		}
		if v.take() {
			return v
		}
	}
}

// take pins the view, unless it is not cut, or no longer the newest.
func (v *View) take() bool {
	n := v.refs.Load()
	if n <= 0 || !v.refs.CompareAndSwap(n, n+1) {
		return false
	}
	if !v.read.Load() {
		v.read.Store(true)
	}
	return true
}

// newest returns the newest view, pinned, and cuts it if nobody has. Of many readers one cuts it, so that the writer
// waits for one.
func (s *Store) newest() *View {
	s.asking.Lock()
	defer s.asking.Unlock()
	if v := s.view.Load(); v.take() {
		return v
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	v := s.view.Load()
	s.capture(v)
	v.refs.Add(1)
	v.read.Store(true)
	return v
}

// Index returns the index of the newest published view.
func (s *Store) Index() uint64 { return s.view.Load().index }

// Lineage returns the identity of the history that the index counts; "" until a Command has set it.
func (s *Store) Lineage() string { return s.view.Load().lineage }

// Epoch is the newest published view's. Whoever compares answers takes it from the View that gave each of them.
func (s *Store) Epoch() uint64 { return s.view.Load().epoch }

// Moved changes with every commit, and with Restore, once all that they touched is marked and before their results are
// known. While it is what it was before a Waiter's Touches was read, that is what it was, too: one number tells of many
// Waiters that nothing has happened.
func (s *Store) Moved() uint64 { return s.moved.Load() }

// Bytes returns the rough encoded size of the state, for deciding when a snapshot is worth its cost.
func (s *Store) Bytes() int64 { return s.bytes.Load() }

// Watch registers wake to be called after a commit touched one of the subjects: once for each such commit, after its
// view is published. Register first, then take the View to read: then no change between the two is missed. wake runs
// inside the commit: it must not block, nor call View, Watch or Close; it may be nil.
func (s *Store) Watch(subjects []Subject, wake func()) *Waiter {
	return s.registry.add(subjects, wake)
}

// View is a consistent read of the state at one index. It is safe for concurrent use until its last Release.
type View struct {
	schema   []AnyTable
	index    uint64
	epoch    uint64
	lineage  string
	restored uint64
	time     int64
	tables   []any          // *tableView[T] by descriptor id; nil as long as refs is uncut
	floor    *atomic.Uint64 // reads at an older index may miss versions
	refs     atomic.Int64
	read     atomic.Bool // somebody took it
}

// uncut is the number of references to a view whose tables are still those the writer works on: nobody has it. No number of
// mistaken Releases leads there.
const uncut = math.MinInt64

// next makes the view of the writer's state as it is now, not yet cut. old is the one it follows, if there is one.
func (s *Store) next(old *View) *View {
	v := &View{schema: s.schema, index: s.index, lineage: s.lineage, restored: s.restored, floor: s.history.floor}
	v.refs.Store(uncut)
	if old != nil {
		v.time, v.epoch = old.time, old.epoch
	}
	for _, d := range s.schema {
		if c := s.tables[d.id()].common(); c.dirty {
			s.cut[d.id()], c.dirty = nil, false
		}
	}
	return v
}

// capture gives the view its tables, if it has none. It must be the newest, and no batch be open. The writer then copies what
// it changes of a tree, node by node, so a view is cut when there is somebody who reads it and not before: where much is
// written and little read that is a good part of the work (BenchmarkPut).
func (s *Store) capture(v *View) {
	if v.refs.Load() != uncut {
		return
	}
	for _, d := range s.schema {
		if s.cut[d.id()] == nil {
			s.cut[d.id()] = s.tables[d.id()].capture()
		}
	}
	v.tables = slices.Clone(s.cut)
	v.refs.Store(1) // the store's own hold, as long as this is the newest
}

// Index returns the index of the newest Command this view contains.
func (v *View) Index() uint64 { return v.index }

// Epoch rises when a Restore replaces the state. Answers from views of different epochs are not comparable: the same
// index may mean other data.
func (v *View) Epoch() uint64 { return v.epoch }

// Time returns the log's clock of the newest log entry that changed this view, in Unix nanoseconds.
func (v *View) Time() int64 { return v.time }

// Lineage returns the identity of the history this view belongs to.
func (v *View) Lineage() string { return v.lineage }

// Restored returns the index at which an archive replaced the state, 0 if none did. Whoever saw an answer before that must
// not take one after it for old, so no answer's index may be below it (design rule 6).
func (v *View) Restored() uint64 { return v.restored }

// Release gives the view back: once for each time it was taken. After it the view must not be read.
func (v *View) Release() {
	if v.refs.Add(-1) < 0 {
		panic("store: a view was released more often than taken")
	}
}

func (v *View) limit() uint64   { return v.index }
func (v *View) tree(id int) any { return v.tables[id] }

// Reader is what a read can be asked of: a *View, or the *Tx of a running Command, which also sees its own writes.
type Reader interface {
	limit() uint64
	tree(id int) any
	// Touched returns the index of the last Command that touched the subject; 0 if none did.
	Touched(Subject) uint64
	// Time returns the log's clock in Unix nanoseconds: of the newest entry (View) or of this one (Tx).
	Time() int64
}

// Late is a Reader that takes the newest View when it is first asked something: for who mostly asks nothing. It belongs to
// one goroutine.
type Late struct {
	store *Store
	view  *View
}

// Late returns a Reader whose View is not taken yet. The caller must Release it.
func (s *Store) Late() *Late { return &Late{store: s} }

// Release gives back the View, if one was taken.
func (l *Late) Release() {
	if l.view != nil {
		l.view.Release()
		l.view = nil
	}
}

func (l *Late) now() *View {
	if l.view == nil {
		l.view = l.store.View()
	}
	return l.view
}

func (l *Late) limit() uint64   { return l.now().limit() }
func (l *Late) tree(id int) any { return l.now().tree(id) }

// Touched is the View's.
func (l *Late) Touched(s Subject) uint64 { return l.now().Touched(s) }

// Time is the View's.
func (l *Late) Time() int64 { return l.now().Time() }

// Touched returns the index of the last Command in this view that touched the subject; 0 if none did.
func (v *View) Touched(s Subject) uint64 { return readTouched(v, s) }
