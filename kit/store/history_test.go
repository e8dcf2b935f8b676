package store

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// chain returns how many versions a key has, and their bytes of value.
func chain(s *Store, key string) (n, size int) {
	p, ok := s.tables[items.id()].(*tableState[item, *item]).trees.primary.Get(place[item]{key: key})
	if !ok {
		return 0, 0
	}
	for v := p.slot.head.Load(); v != nil; v = v.prev.Load() {
		n++
		if v.rec != nil {
			size += len(v.rec.Value)
		}
	}
	return n, size
}

func putAt(t *testing.T, s *Store, key string, now time.Duration, value int) {
	t.Helper()
	b := s.Begin(int64(now))
	if err := b.Run(func(tx *Tx) error { items.Put(tx, &item{Key: key, Value: make([]byte, value)}); return nil }); err != nil {
		t.Fatal(err)
	}
	b.Commit()
}

// TestHistoryBounds: count, bytes and age each bound what is kept, and At says where knowledge ends.
func TestHistoryBounds(t *testing.T) {
	for _, c := range []struct {
		what   string
		limits Limits
		value  int
		step   time.Duration
		want   int // old versions after 100 updates
	}{
		{"count", Limits{Versions: 7}, 10, 0, 7},
		{"bytes", Limits{Bytes: 10_300}, 1000, 0, 10},
		{"a value above all bytes", Limits{Bytes: 1000}, 5000, 0, 0},
		{"age", Limits{Age: time.Minute}, 10, time.Second, 61},
		{"age, idle for long", Limits{Age: time.Minute}, 10, 2 * time.Minute, 1},
		{"defaults", Limits{}, 10, time.Second, 99},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := New([]AnyTable{items}, nil, c.limits)
			for i := range 100 {
				putAt(t, s, "k", time.Duration(i)*c.step, c.value)
			}
			if n, _ := chain(s, "k"); n != c.want+1 {
				t.Errorf("%d old versions, want %d", n-1, c.want)
			}
			v := s.View()
			defer v.Release()
			for i := range uint64(101) {
				rec, known := items.At(v, "k", i)
				if want := int(i) >= 100-c.want || c.want == 99; known != want || known && (rec == nil) != (i == 0) {
					t.Errorf("at %d: %v, known %v", i, rec, known)
				}
			}
			if rec, known := items.At(v, "k", 1000); !known || rec == nil {
				t.Error("the present is not known")
			}
		})
	}
}

// TestPinnedKeepsOne is rule 10: whatever the number and size of updates under a pinned view, it keeps one old version,
// and nothing once it is released.
func TestPinnedKeepsOne(t *testing.T) {
	s := New([]AnyTable{items}, nil, Limits{Versions: 3})
	putAt(t, s, "k", 0, 1000)
	first := s.View()
	for range 50 {
		putAt(t, s, "k", 0, 1000)
	}
	second := s.View()
	for range 50 {
		putAt(t, s, "k", 0, 1000)
	}
	if n, size := chain(s, "k"); n != 1+3+2 || size != n*1000 {
		t.Errorf("%d versions, %d bytes under two pins", n, size)
	}
	if items.Get(first, "k") == items.Get(second, "k") || items.Get(first, "k") == nil {
		t.Error("the views show the same")
	}
	kept := items.Get(second, "k")
	first.Release()
	putAt(t, s, "other", 0, 0)
	if n, _ := chain(s, "k"); n != 1+3+1 || items.Get(second, "k") != kept {
		t.Errorf("%d versions under one pin", n)
	}
	second.Release()
	for i := range 4 {
		putAt(t, s, fmt.Sprint("other", i), 0, 0)
		putAt(t, s, "k", 0, 0)
	}
	if n, _ := chain(s, "k"); n != 1+3 {
		t.Errorf("%d versions without a pin", n)
	}
	if len(s.history.pins) != 0 {
		t.Errorf("%d pins left", len(s.history.pins))
	}
}

// TestTombstones: a deleted key's slot stays while history or a view needs it, is used again, and goes in the end.
func TestTombstones(t *testing.T) {
	s := New([]AnyTable{items}, nil, Limits{Versions: 2})
	slots := func() int { return s.tables[items.id()].(*tableState[item, *item]).trees.primary.Len() }
	putAt(t, s, "k", 0, 1)
	v := s.View()
	do(t, s, func(tx *Tx) { items.Delete(tx, "k") })
	if n, _ := chain(s, "k"); n != 2 || slots() != 1 {
		t.Errorf("%d versions, %d slots after the delete", n, slots())
	}
	putAt(t, s, "k", 0, 2)
	if n, _ := chain(s, "k"); n != 3 || slots() != 1 {
		t.Errorf("%d versions, %d slots after it was made again", n, slots())
	}
	do(t, s, func(tx *Tx) { items.Delete(tx, "k") })
	for range 5 {
		putAt(t, s, "other", 0, 0)
	}
	if n, _ := chain(s, "k"); n != 2 || items.Get(v, "k") == nil {
		t.Errorf("%d versions, want the tombstone and the one pinned", n)
	}
	v.Release()
	putAt(t, s, "other", 0, 0)
	if n, _ := chain(s, "k"); n != 0 || slots() != 1 {
		t.Errorf("%d versions, %d slots in the end", n, slots())
	}
	putAt(t, s, "k", 0, 3)
	old := s.View()
	defer old.Release()
	do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "x"}); items.Delete(tx, "x") })
	if n, _ := chain(s, "x"); n != 0 {
		t.Error("a key that nobody ever saw has a slot")
	}
	if x, known := items.At(old, "k", old.Index()); x == nil || !known {
		t.Error("k is gone")
	}
}

// TestLongPinCostsNothing: with one view open for long and short ones coming and going, a commit does not look again at
// every key that was changed since.
func TestLongPinCostsNothing(t *testing.T) {
	s := New([]AnyTable{items}, nil, Limits{Versions: 1})
	do(t, s, func(tx *Tx) {
		for i := range 1000 {
			items.Put(tx, &item{Key: fmt.Sprint(i)})
		}
	})
	long := s.View()
	do(t, s, func(tx *Tx) {
		for x := range items.All(tx) {
			items.Put(tx, &item{Key: x.Key})
		}
	})
	for i := range 10 {
		short := s.View()
		putAt(t, s, fmt.Sprint(i), 0, 0)
		putAt(t, s, "x", 0, 0)
		for _, p := range s.history.pins {
			if p.view == short && len(p.held) > 2 {
				t.Fatalf("a short pin answers for %d keys", len(p.held))
			}
		}
		short.Release()
		putAt(t, s, "x", 0, 0)
		if len(s.history.pins) != 1 {
			t.Fatalf("%d pins", len(s.history.pins))
		}
	}
	if n := len(s.history.pins[0].held); n < 999 || n > 1001 {
		t.Errorf("the long pin answers for %d keys", n)
	}
	long.Release()
	putAt(t, s, "x", 0, 0)
	if n, _ := chain(s, "500"); n != 1 || len(s.history.pins) != 0 {
		t.Errorf("%d versions, %d pins after the release", n, len(s.history.pins))
	}
}

// TestOldEpochKnowsItsPast: At on a view from before a restore goes by that view's own history.
func TestOldEpochKnowsItsPast(t *testing.T) {
	s := New([]AnyTable{items}, nil, Limits{Versions: 5})
	early := state(t, s)
	for range 20 {
		putAt(t, s, "k", 0, 0)
	}
	v := s.View()
	defer v.Release()
	if err := s.Restore(bytes.NewReader(early)); err != nil {
		t.Fatal(err)
	}
	if _, known := items.At(v, "k", 3); known || s.Index() != 0 {
		t.Error("what was trimmed before the restore is claimed to be known")
	}
	if x, known := items.At(v, "k", 17); x == nil || !known {
		t.Error("what was kept before the restore is not known")
	}
}

// TestOneCommandOneVersion: only a Command's last word on a key counts, in the chain and against the limits.
func TestOneCommandOneVersion(t *testing.T) {
	s := New([]AnyTable{items}, nil, Limits{Versions: 3, Bytes: 5000})
	putAt(t, s, "k", 0, 500)
	putAt(t, s, "k", 0, 500)
	do(t, s, func(tx *Tx) {
		for range 10 {
			items.Put(tx, &item{Key: "k", Value: make([]byte, 500)})
			items.Delete(tx, "k")
		}
		items.Put(tx, &item{Key: "k", Value: make([]byte, 500)})
	})
	if n, size := chain(s, "k"); n != 3 || size != 1500 || len(s.history.ring) != 2 || s.history.bytes > 1100 {
		t.Errorf("%d versions of %d bytes, %d of %d bytes in the ring", n, size, len(s.history.ring), s.history.bytes)
	}
}

// TestViewsShareTrees: a commit copies the trees of the tables whose keys changed and of no others.
func TestViewsShareTrees(t *testing.T) {
	s := New(worldTables, nil, Limits{})
	do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "a", Group: "g"}); logs.Put(tx, &logRow{"a", 1}) })
	first := s.View()
	defer first.Release()
	do(t, s, func(tx *Tx) {
		items.Put(tx, &item{Key: "a", Group: "g", Value: []byte("new")})
		logs.Put(tx, &logRow{"b", 1})
	})
	second := s.View()
	defer second.Release()
	if first.tree(items.id()) != second.tree(items.id()) || first.tree(logs.id()) == second.tree(logs.id()) {
		t.Error("an update copied its table, or an insert did not")
	}
}
