package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
)

// seeds returns the seeds of a random test: ROSTRA_SEED alone, or n fresh ones. Each is the name of a subtest.
func seeds(t *testing.T, n int, run func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	list := []uint64{}
	if s, err := strconv.ParseUint(os.Getenv("ROSTRA_SEED"), 10, 64); err == nil {
		list = append(list, s)
	} else {
		for range n {
			list = append(list, rand.Uint64())
		}
	}
	for _, seed := range list {
		t.Run(fmt.Sprint("ROSTRA_SEED=", seed), func(t *testing.T) { run(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

// holding is a pinned view with the model of its index.
type holding struct {
	view *View
	want *world
}

// TestModel runs random log entries against the naive model: every view, however old, shows what the model showed when
// it was published, whatever is trimmed, undone or restored meanwhile.
func TestModel(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 100
	}
	seeds(t, 12, func(t *testing.T, r *rand.Rand) {
		limits := []Limits{{}, {Versions: 20}, {Bytes: 300}, {Age: 5}, {Versions: 1, Bytes: 1, Age: 1}}[r.IntN(5)]
		s := New(worldTables, worldTriggers, limits)
		w := newWorld()
		var held []holding
		past := map[uint64]*world{0: w} // of this epoch
		for round := range rounds {
			var scripts []script
			for range r.IntN(4) {
				scripts = append(scripts, randomScript(r))
			}
			for _, a := range w.batch(t, s, scripts, int64(round)) {
				w, past[a.index] = a, a
			}
			if r.IntN(4) == 0 {
				continue // a view that nobody takes
			}
			v := s.View()
			w.check(t, v)
			checkPast(t, r, v, past)
			if r.IntN(3) == 0 {
				held = append(held, holding{v, w})
			} else {
				v.Release()
			}
			for range min(len(held), r.IntN(3)) {
				i := r.IntN(len(held))
				held[i].want.check(t, held[i].view)
				held[i].view.Release()
				held = slices.Delete(held, i, i+1)
			}
			checkTrees(t, s, w)
			if r.IntN(40) == 0 && len(held) > 0 {
				epoch := s.Epoch()
				h := held[r.IntN(len(held))]
				if err := s.Restore(bytes.NewReader(snapshotOf(t, h.view))); err != nil {
					t.Fatal(err)
				}
				w = h.want
				past = map[uint64]*world{w.index: w}
				if s.Epoch() <= epoch {
					t.Fatal("the epoch did not rise")
				}
			}
		}
		for _, h := range held {
			h.want.check(t, h.view)
			h.view.Release()
		}
	})
}

// checkPast reads keys at random older indexes: what is claimed to be known must be right.
func checkPast(t *testing.T, r *rand.Rand, v *View, past map[uint64]*world) {
	t.Helper()
	for range 10 {
		index, key := r.Uint64N(v.Index()+1), randomKey(r)
		got, known := items.At(v, key, index)
		if !known {
			continue
		}
		w := past[index]
		if w == nil {
			t.Fatalf("index %d before the restore is known", index)
		}
		if want := w.items[key]; got != want && (got == nil || want == nil || got.String() != want.String()) {
			t.Fatalf("%s at index %d: got %v, want %v", key, index, got, want)
		}
	}
	if _, known := logs.At(v, "a", v.Index()-1); v.Index() > 0 && known {
		t.Fatal("a brief table claims to know its past")
	}
}

// checkTrees looks inside: chains descend and hold no more than the pins and the ring justify, index entries belong to
// live records, and the size is that of the live records.
func checkTrees(t *testing.T, s *Store, w *world) {
	t.Helper()
	size := int64(0)
	old := checkTable(t, s, items.id(), &size)
	checkBrief := func(n int, slots int) {
		t.Helper()
		if n > slots*(len(s.history.pins)+1) {
			t.Fatalf("a brief table keeps %d old versions of %d keys for %d pins", n, slots, len(s.history.pins))
		}
	}
	ls := s.tables[logs.id()].(*tableState[logRow, *logRow])
	checkBrief(versions(t, ls.trees.primary.Scan, &size), ls.trees.primary.Len())
	ts := s.tables[touched.id()].(*tableState[touch, *touch])
	checkBrief(versions(t, ts.trees.primary.Scan, &size), ts.trees.primary.Len())
	if s.Bytes() != size {
		t.Fatalf("the store counts %d bytes, its records have %d", s.Bytes(), size)
	}
	if ring := len(s.history.ring) - s.history.head; len(s.history.pins) == 0 && old > ring {
		t.Fatalf("%d old versions, but %d in the ring", old, ring)
	}
	v := s.View()
	defer v.Release()
	if n, slots := items.Len(v), items.in(v).primary.Len(); n != len(w.items) || slots < n {
		t.Fatalf("length %d, %d slots for %d items", n, slots, len(w.items))
	}
}

func checkTable(t *testing.T, s *Store, id int, size *int64) (old int) {
	t.Helper()
	ts := s.tables[id].(*tableState[item, *item])
	filedKeys := make([]int, 2)
	for i, tree := range ts.trees.indexes {
		tree.Scan(func(f filed[item]) bool {
			if rec := f.slot.at(newest); rec == nil || !slices.Contains(ts.schema.Indexes[i].Keys(rec), f.key) {
				t.Fatalf("%s is filed under %s, but is %v", f.slot.key, f.key, rec)
			}
			filedKeys[i]++
			return true
		})
	}
	ts.trees.primary.Scan(func(p place[item]) bool {
		if rec := p.slot.at(newest); rec != nil {
			for i := range filedKeys {
				keys := map[string]bool{}
				for _, k := range ts.schema.Indexes[i].Keys(rec) {
					keys[k] = true
				}
				filedKeys[i] -= len(keys)
			}
		}
		return true
	})
	if filedKeys[0] != 0 || filedKeys[1] != 0 {
		t.Fatalf("index entries too many: %v", filedKeys)
	}
	return versions(t, ts.trees.primary.Scan, size)
}

// versions checks the chains of a table and returns how many old versions they hold.
func versions[T any, P Record[T]](t *testing.T, scan func(func(place[T]) bool), bytes *int64) (old int) {
	t.Helper()
	var _ P
	scan(func(p place[T]) bool {
		s := p.slot
		if s.key != p.key {
			t.Fatalf("the slot %s is at %s", s.key, p.key)
		}
		head := s.head.Load()
		if head == nil {
			t.Fatalf("the slot %s is empty", s.key)
		}
		*bytes += int64(size[T, P](head.rec))
		for v := head; v.prev.Load() != nil; v = v.prev.Load() {
			if v.prev.Load().index >= v.index {
				t.Fatalf("the slot %s goes from index %d to %d", s.key, v.index, v.prev.Load().index)
			}
			old++
		}
		return true
	})
	return old
}

// TestReplicas runs one log on replicas that differ in limits, in what is pinned, in restarts from a snapshot and in
// GOMAXPROCS: their snapshots are the same bytes.
func TestReplicas(t *testing.T) {
	seeds(t, 4, func(t *testing.T, r *rand.Rand) {
		var log [][]script
		for range 200 {
			entry := make([]script, 1+r.IntN(5))
			for i := range entry {
				entry[i] = randomScript(r)
			}
			log = append(log, entry)
		}
		replica := func(limits Limits, restart int, pin bool) []byte {
			s := New(worldTables, worldTriggers, limits)
			for i, entry := range log {
				if i == restart {
					image := state(t, s)
					s = New(worldTables, worldTriggers, limits)
					do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "gone after the restore", Group: "g"}) })
					if err := s.Restore(bytes.NewReader(image)); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(state(t, s), image) {
						t.Fatal("a restored state writes another snapshot")
					}
				}
				b := s.Begin(int64(i))
				for _, c := range entry {
					_ = b.Run(func(tx *Tx) error { return c.run(tx, nil) })
				}
				b.Commit()
				if v := s.View(); !pin {
					v.Release()
				} else {
					defer v.Release()
				}
			}
			return state(t, s)
		}
		want := replica(Limits{}, -1, false)
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		for i, got := range [][]byte{
			replica(Limits{}, -1, true), replica(Limits{Versions: 1, Age: 1, Bytes: 1}, 100, false), replica(Limits{}, 1, false),
			replica(Limits{Versions: 5}, 199, true),
		} {
			if !bytes.Equal(got, want) {
				t.Errorf("replica %d differs", i)
			}
		}
		s := New(worldTables, worldTriggers, Limits{})
		if err := s.Restore(bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
	})
}

// TestUndoOfEverything: a Command that fails, however, leaves rows, indexes, sizes, subjects, history and waiters alone.
func TestUndoOfEverything(t *testing.T) {
	s := New(worldTables, worldTriggers, Limits{})
	do(t, s, func(tx *Tx) {
		items.Put(tx, &item{Key: "a", Group: "g", Tags: []string{"x"}})
		tx.Touch(Subject{Kind: "k", Name: "a"})
		tx.SetLineage("one")
	})
	before, bytesBefore := state(t, s), s.Bytes()
	woken := 0
	defer s.Watch([]Subject{{Kind: "k", Prefix: true}, {Kind: "lineage"}}, func() { woken++ }).Close()
	for _, how := range []string{"error", "panic", "bad key", "bad tag"} {
		c := script{how: how, ops: []op{
			{kind: "put", item: &item{Key: "a", Group: "h", Tags: []string{"y"}}}, {kind: "delete", key: "a"},
			{kind: "put", item: &item{Key: "b"}}, {kind: "put", item: &item{Key: "a"}}, {kind: "put", item: &item{Key: "b", Group: "g"}},
			{kind: "touch", subject: Subject{Kind: "k", Name: "z"}}, {kind: "forget", subject: Subject{Kind: "k", Name: "a"}},
			{kind: "wake", subject: Subject{Kind: "k", Name: "q"}}, {kind: "lineage", key: "two"},
		}}
		b := s.Begin(time.Now().UnixNano())
		if err := b.Run(func(tx *Tx) error { return c.run(tx, nil) }); err == nil {
			t.Errorf("%s: no error", how)
		}
		queue := len(s.history.queue)
		b.Commit()
		if !bytes.Equal(state(t, s), before) || s.Bytes() != bytesBefore || woken != 0 || queue != 0 || s.tables[items.id()].(*tableState[item, *item]).trees.live != 1 {
			t.Errorf("%s leaves something: %d bytes of %d, %d wake-ups, queue %d", how, s.Bytes(), bytesBefore, woken, queue)
		}
	}
	if s.Lineage() != "one" {
		t.Errorf("lineage %s", s.Lineage())
	}
}
