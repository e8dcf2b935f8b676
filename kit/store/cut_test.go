package store

import (
	"bytes"
	"io"
	"testing"
)

// TestCutOnDemand: a view is cut for the first who asks, and from then on with every commit until nobody asks any more.
func TestCutOnDemand(t *testing.T) {
	s := New(worldTables, worldTriggers, Limits{})
	put := func(key string) { do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: key, Group: "g"}) }) }
	isCut := func() bool { return s.view.Load().refs.Load() != uncut }
	put("a")
	if isCut() {
		t.Fatal("a view was cut that nobody asked for")
	}
	first := s.View()
	put("b")
	if !isCut() {
		t.Fatal("somebody read the view before, this one was not cut")
	}
	put("c")
	if isCut() {
		t.Fatal("nobody read the view before, this one was cut")
	}
	last := s.View()
	defer last.Release()
	for v, n := range map[*View]int{first: 1, last: 3} {
		if items.Len(v) != n || v.Index() != uint64(n) || items.Get(v, "c") != nil != (n == 3) {
			t.Errorf("the view of index %d has %d items, want %d", v.Index(), items.Len(v), n)
		}
	}
	first.Release()
	if len(s.history.pins) != 1 || s.history.pins[0].view != first {
		t.Errorf("pins: %v", s.history.pins)
	}
	put("d")
	if len(s.history.pins) != 1 || s.history.pins[0].view != last {
		t.Errorf("pins: %v", s.history.pins)
	}
}

// TestViewDuringBatch: who asks for a view that is not cut while a log entry runs gets what the entry left.
func TestViewDuringBatch(t *testing.T) {
	s := New(worldTables, worldTriggers, Limits{})
	do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "a"}) })
	b := s.Begin(1)
	seen := make(chan int)
	go func() {
		v := s.View()
		defer v.Release()
		seen <- items.Len(v)
	}()
	for range 100 {
		if err := b.Run(func(tx *Tx) error { items.Put(tx, &item{Key: "b"}); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	b.Commit()
	if n := <-seen; n != 2 {
		t.Errorf("%d items", n)
	}
}

// TestViewDuringRestore: what was there before is read while an archive is, whether somebody had read it already or not.
func TestViewDuringRestore(t *testing.T) {
	from := New(worldTables, worldTriggers, Limits{})
	do(t, from, func(tx *Tx) { items.Put(tx, &item{Key: "new"}) })
	s := New(worldTables, worldTriggers, Limits{})
	do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "old"}) })
	archive := readFunc(func(p []byte) (int, error) {
		v := s.View()
		defer v.Release()
		if items.Get(v, "old") == nil {
			t.Error("the old state cannot be read")
		}
		return 0, io.EOF
	})
	if err := s.Restore(io.MultiReader(bytes.NewReader(state(t, from)), archive)); err != nil {
		t.Fatal(err)
	}
	v := s.View()
	defer v.Release()
	if items.Get(v, "new") == nil || items.Get(v, "old") != nil {
		t.Error("the new state is not there")
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// TestLate: a Late takes a view when it is asked, once, and gives it back.
func TestLate(t *testing.T) {
	s := New(worldTables, worldTriggers, Limits{})
	do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "a"}); tx.Touch(Subject{Kind: "k"}) })
	silent := s.Late()
	silent.Release()
	if s.view.Load().refs.Load() != uncut {
		t.Error("a view was taken for nobody")
	}
	l := s.Late()
	if items.Get(l, "a") == nil {
		t.Error("no item")
	}
	do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "b"}) })
	if items.Get(l, "b") != nil || l.Touched(Subject{Kind: "k"}) != 1 || l.Time() == 0 {
		t.Error("the view moved")
	}
	v := l.view
	l.Release()
	if v.refs.Load() != 0 {
		t.Errorf("%d references are left", v.refs.Load())
	}
}
