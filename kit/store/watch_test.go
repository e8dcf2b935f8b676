package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestWhoIsWoken: rule 8 and the single wake-up per commit.
func TestWhoIsWoken(t *testing.T) {
	name := func(n string) Subject { return Subject{Kind: "key", Name: n} }
	below := func(n string) Subject { return Subject{Kind: "key", Name: n, Prefix: true} }
	touch := func(list ...Subject) func(*Tx) error {
		return func(tx *Tx) error {
			for _, s := range list {
				tx.Touch(s)
			}
			return nil
		}
	}
	put := func(tx *Tx) { items.Put(tx, &item{Key: "a"}) }
	for _, c := range []struct {
		what     string
		watch    []Subject
		commands []func(*Tx) error
		woken    uint64
	}{
		{"its own name", []Subject{name("a/b")}, []func(*Tx) error{touch(name("a/b"))}, 1},
		{"another name", []Subject{name("a/b")}, []func(*Tx) error{touch(name("a/c"), name("a/"), name("a/b/c"))}, 0},
		{"another kind", []Subject{name("a"), {Kind: "table", Prefix: true}}, []func(*Tx) error{touch(Subject{Kind: "node", Name: "a"})}, 0},
		{"prefix", []Subject{below("a/")}, []func(*Tx) error{touch(name("a/b"))}, 1},
		{"prefix, itself", []Subject{below("a/")}, []func(*Tx) error{touch(name("a/"))}, 1},
		{"prefix, shorter name", []Subject{below("a/")}, []func(*Tx) error{touch(name("a"))}, 0},
		{"prefix, other of the same length", []Subject{below("a/")}, []func(*Tx) error{touch(name("b/c"))}, 0},
		{"empty prefix", []Subject{below("")}, []func(*Tx) error{touch(name("x"))}, 1},
		{"empty prefix, no name", []Subject{below("")}, []func(*Tx) error{touch(Subject{Kind: "key"})}, 1},
		{"a prefix touched is no name touched", []Subject{name("a")}, []func(*Tx) error{touch(below("a"))}, 0},
		{"a prefix touched", []Subject{below("a")}, []func(*Tx) error{touch(below("a"))}, 1},
		{"once for many subjects", []Subject{name("a"), name("b"), below(""), below("a"), name("a")},
			[]func(*Tx) error{touch(name("a"), name("b")), touch(name("a"), name("ab"), name("a"))}, 1},
		{"wake", []Subject{below("a")}, []func(*Tx) error{func(tx *Tx) error { put(tx); tx.Wake(name("ab")); return nil }}, 1},
		{"wake without a change", []Subject{name("a"), below("b")},
			[]func(*Tx) error{func(tx *Tx) error { tx.Wake(name("a")); return nil }, touch(name("c"))}, 0},
		{"refused", []Subject{name("a")}, []func(*Tx) error{
			func(tx *Tx) error { tx.Touch(name("a")); tx.Wake(name("a")); return errors.New("no") }, touch(name("b")),
		}, 0},
		{"forgotten", []Subject{name("a")}, []func(*Tx) error{touch(name("b")), func(tx *Tx) error { tx.Forget(name("a")); put(tx); return nil }}, 1},
		{"more subjects than a list holds", []Subject{name("z")}, []func(*Tx) error{touch(append(manySubjects(100), name("z"))...)}, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := New(worldTables, nil, Limits{})
			calls, index := uint64(0), uint64(0)
			w := s.Watch(c.watch, func() { calls++; index = s.Index() })
			other := s.Watch(c.watch, nil)
			other.Close()
			b := s.Begin(1)
			for _, f := range c.commands {
				_ = b.Run(f)
			}
			if calls != 0 {
				t.Error("woken before the commit")
			}
			b.Commit()
			if calls != c.woken || touches(w) != c.woken || touches(other) != 0 {
				t.Errorf("woken %d times, counted %d, want %d; closed waiter %d", calls, touches(w), c.woken, touches(other))
			}
			if c.woken > 0 && (index != s.Index() || index == 0) {
				t.Errorf("woken at index %d, the view published is %d", index, s.Index())
			}
			w.Close()
			w.Close()
			if len(s.registry.waiters)+len(s.registry.lengths) != 0 {
				t.Error("Close left something behind")
			}
		})
	}
}

func manySubjects(n int) (list []Subject) {
	for i := range n {
		list = append(list, Subject{Kind: "key", Name: strings.Repeat("y", i)})
	}
	return list
}

// TestTouchedIndexes: a subject's index is that of the last Command that touched it, and is part of the state.
func TestTouchedIndexes(t *testing.T) {
	s := New(worldTables, nil, Limits{})
	a, b := Subject{Kind: "k", Name: "a"}, Subject{Kind: "k", Name: "b"}
	do(t, s, func(tx *Tx) { tx.Touch(a) })
	do(t, s, func(tx *Tx) {
		if tx.Touched(a) != 1 || tx.Touched(b) != 0 {
			t.Errorf("in the Command: %d, %d", tx.Touched(a), tx.Touched(b))
		}
		tx.Touch(b)
		tx.Touch(b)
	})
	do(t, s, func(tx *Tx) { tx.Forget(a); tx.Forget(b); tx.Touch(b) })
	do(t, s, func(tx *Tx) {
		for _, s := range manySubjects(100) {
			tx.Forget(s)
			tx.Touch(s)
		}
	})
	do(t, s, func(tx *Tx) { tx.Forget(a) })              // has none: changes nothing
	do(t, s, func(tx *Tx) { tx.Touch(a); tx.Forget(a) }) // the last word counts
	v := s.View()
	defer v.Release()
	if v.Touched(a) != 0 || v.Touched(b) != 3 || v.Touched(manySubjects(100)[99]) != 4 || s.Index() != 4 {
		t.Errorf("a %d, b %d, y… %d, store %d", v.Touched(a), v.Touched(b), v.Touched(manySubjects(100)[99]), s.Index())
	}
}

// TestRestoreWakesAll: whatever is watched, a replaced state is news; the epoch that tells is the view's own.
func TestRestoreWakesAll(t *testing.T) {
	s := New(worldTables, nil, Limits{})
	do(t, s, func(tx *Tx) { tx.Touch(Subject{Kind: "k"}) })
	calls := 0
	w := s.Watch([]Subject{{Kind: "other"}, {Kind: "k", Name: "x", Prefix: true}}, func() { calls++ })
	defer w.Close()
	old := s.View()
	defer old.Release()
	if err := s.Restore(bytes.NewReader(state(t, s))); err != nil {
		t.Fatal(err)
	}
	if calls != 1 || touches(w) != 1 || s.Epoch() != old.Epoch()+1 {
		t.Errorf("%d calls, %d touches, epoch %d after %d", calls, touches(w), s.Epoch(), old.Epoch())
	}
	if len(s.history.pins) != 0 {
		t.Error("a view of the state replaced pins versions of the new one")
	}
	do(t, s, func(tx *Tx) { tx.Touch(Subject{Kind: "elsewhere"}) })
	if err := s.Restore(strings.NewReader("nonsense")); err == nil || calls != 1 || s.Epoch() != old.Epoch()+1 {
		t.Errorf("a refused restore: %v, %d calls, epoch %d", err, calls, s.Epoch())
	}
}

// TestEqualAnswerNoWake: random Commands touch the subjects of what they change; a watcher whose answer stays the same is
// not woken, one whose answer changes is.
func TestEqualAnswerNoWake(t *testing.T) {
	seeds(t, 3, func(t *testing.T, r *rand.Rand) {
		s := New(worldTables, nil, Limits{})
		prefixes := []string{"a", "a/", "b/a", "b/a/c", "c", "d/", ""}
		var waiters []*Waiter
		var answers [][]*item
		answer := func(p string) []*item {
			v := s.View()
			defer v.Release()
			return slices.Collect(items.Prefix(v, p))
		}
		for _, p := range prefixes {
			w := s.Watch([]Subject{{Kind: "key", Name: p, Prefix: true}}, nil)
			defer w.Close()
			waiters, answers = append(waiters, w), append(answers, answer(p))
		}
		for range 500 {
			b := s.Begin(1)
			var before []uint64
			for _, w := range waiters {
				before = append(before, touches(w))
			}
			for range 1 + r.IntN(3) {
				k, fail := randomKey(r), r.IntN(4) == 0
				_ = b.Run(func(tx *Tx) error {
					if old := items.Get(tx, k); old != nil {
						items.Delete(tx, k)
					} else {
						items.Put(tx, &item{Key: k})
					}
					if fail {
						return errRefused
					}
					tx.Touch(Subject{Kind: "key", Name: k})
					return nil
				})
			}
			b.Commit()
			for i, p := range prefixes {
				now := answer(p)
				if woken := touches(waiters[i]) != before[i]; !woken && !slices.Equal(now, answers[i]) {
					t.Fatalf("prefix %q changed, its watcher was not woken", p)
				} else if woken && slices.Equal(now, answers[i]) && !touchedBelow(s, p) {
					t.Fatalf("prefix %q did not change, its watcher was woken", p)
				}
				answers[i] = now
			}
		}
	})
}

// touchedBelow reports whether the newest commit touched a key below the prefix (put and deleted in one entry).
func touchedBelow(s *Store, prefix string) bool {
	v := s.View()
	defer v.Release()
	for x := range touched.Prefix(v, Subject{Kind: "key", Name: prefix}.key()) {
		if x.Index+3 > v.Index() {
			return true
		}
	}
	return false
}

func touches(w *Waiter) uint64 {
	n, _ := w.Touches()
	return n
}

// TestSettled: between a view's publication and the last mark of what it touched, nobody's number can be trusted.
func TestSettled(t *testing.T) {
	s := New([]AnyTable{items}, nil, Limits{})
	subject := Subject{Kind: "k", Name: "a"}
	var first, second *Waiter
	calls := 0
	looks := func() {
		calls++
		for _, w := range []*Waiter{first, second} {
			if _, settled := w.Touches(); settled {
				t.Error("the number counts while others are still being marked")
			}
		}
	}
	first, second = s.Watch([]Subject{subject}, looks), s.Watch([]Subject{subject}, looks)
	do(t, s, func(tx *Tx) { tx.Touch(subject) })
	var b bytes.Buffer
	v := s.View()
	if _, err := v.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	v.Release()
	if err := s.Restore(&b); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*Waiter{first, second} {
		if n, settled := w.Touches(); n != 2 || !settled {
			t.Errorf("%d touches, settled %v", n, settled)
		}
	}
	if calls != 4 {
		t.Errorf("%d calls", calls)
	}
}
