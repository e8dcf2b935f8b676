package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/store"
)

// A reader sees every write that was acknowledged before it asked, however many share its answer (design rule 11).
func TestSharedAnswersHaveAFloor(t *testing.T) {
	b := start(t, Options{})
	b.write("a", "0")
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 60 {
				at := b.write("a", fmt.Sprint(worker, " ", i))
				if a := b.read(read{name: "a"}, room.Options{}); a.Index < at {
					t.Errorf("after a write at %d the answer is of %d", at, a.Index)
				}
				// a blocking read that is answered at once has the same floor
				if a := b.read(read{name: "a"}, room.Options{Index: 1, Wait: time.Minute}); a.Index < at {
					t.Errorf("after a write at %d the blocking answer is of %d", at, a.Index)
				}
			}
		})
	}
	all.Wait()
}

// TestNobodyGoesBack: who may know that a newer state is published does not get the answer of an older one, even before all
// who watch have been told. A follower's readers know it from the index that the leader has confirmed.
func TestNobodyGoesBack(t *testing.T) {
	b := start(t, Options{})
	b.write("a", "0")
	c := b.answers.join(read{name: "a"})
	defer b.answers.leave(c)
	var held *answer // what would be given out without another evaluation
	w := b.store.Watch([]store.Subject{subject("a")}, func() { held = c.current() })
	defer w.Close()
	for i := range 50 { // who is told first is chance
		b.read(read{name: "a"}, room.Options{})
		if c.current() == nil {
			t.Fatal("there is no answer that could be old")
		}
		if at := b.write("a", fmt.Sprint("x", i)); held != nil && held.Index < at {
			t.Fatalf("while the state of %d is published the answer is of %d", at, held.Index)
		}
	}
}

func TestReadersShareOneEvaluationAndOneEncoding(t *testing.T) {
	b := start(t, Options{})
	b.write("a", "x")
	first, before := b.read(read{name: "a"}, room.Options{}), b.stats.evaluations.Load()
	b.write("b", "y")
	second := b.read(read{name: "a"}, room.Options{})
	if first.Shared == nil || first.Shared != second.Shared || b.stats.evaluations.Load() != before {
		t.Error("an unrelated write made a new evaluation or encoding")
	}
	b.write("a", "x") // moves nothing
	if b.read(read{name: "a"}, room.Options{}).Shared != first.Shared {
		t.Error("an idempotent write made a new encoding")
	}
	b.write("a", "z")
	if a := b.read(read{name: "a"}, room.Options{}); a.Shared == first.Shared || a.Value != line("z") {
		t.Errorf("after a change: %v", a.Value)
	}
	if b.read(point{read{name: "a"}}, room.Options{}).Shared != nil {
		t.Error("a point read shares")
	}
}

func TestBlocking(t *testing.T) {
	type step struct{ name, text string }
	cases := []struct {
		what  string
		setup []step
		query read
		index uint64 // 0: the setup's answer's
		then  []step
		wakes bool
	}{
		{"a change wakes", []step{{"a", "1"}}, read{name: "a"}, 0, []step{{"a", "2"}}, true},
		{"a deletion wakes", []step{{"a", "1"}}, read{name: "a"}, 0, []step{{"a", ""}}, true},
		{"an appearance wakes", nil, read{name: "a"}, 0, []step{{"a", "1"}}, true},
		{"an old index is answered at once", []step{{"b", "1"}, {"a", "1"}}, read{name: "a"}, 1, nil, true},
		{"another's change does not", []step{{"a", "1"}}, read{name: "a"}, 0, []step{{"b", "2"}}, false},
		{"an idempotent write does not", []step{{"a", "1"}}, read{name: "a"}, 0, []step{{"a", "1"}}, false},
		{"a refused write does not", []step{{"a", "1"}}, read{name: "a"}, 0, []step{{"a", "refuse"}}, false},
		{"a change that says nothing new does not", []step{{"a", "1"}}, read{"a", true}, 0, []step{{"a", "2"}}, false},
		{"a missing thing's index does not", []step{{"b", "1"}}, read{name: "a"}, 0, []step{{"b", ""}}, false},
		{"an index from the future is not reset", []step{{"a", "1"}}, read{name: "a"}, 1 << 60, []step{{"a", "2"}}, false},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bubble(t, Options{})
				for _, s := range c.setup {
					b.write(s.name, s.text)
				}
				o := room.Options{Index: c.index, Wait: 30 * time.Second}
				if c.index == 0 {
					o.Index = b.read(c.query, room.Options{}).Index
				}
				began := time.Now()
				done := b.ask(c.query, o)
				synctest.Wait()
				for _, s := range c.then {
					if s.text == "refuse" {
						if _, err := b.try(s.name, s.text); !fault.Is(err, fault.Refused) {
							t.Errorf("the write is not refused: %v", err)
						}
						continue
					}
					b.write(s.name, s.text)
				}
				got := <-done
				took := time.Since(began)
				if got.err != nil {
					t.Fatal(got.err)
				}
				if woken := took < 10*time.Second; woken != c.wakes {
					t.Errorf("answered after %v", took)
				}
				if !c.wakes && took != 30*time.Second {
					t.Errorf("gave up after %v", took)
				}
				if now := b.read(c.query, room.Options{}); now.Index != got.Index || now.Value != got.Value {
					t.Errorf("answered %v at %d, there is %v at %d", got.Value, got.Index, now.Value, now.Index)
				}
				b.stop()
			})
		})
	}
}

func TestWaitHasADefaultAndACap(t *testing.T) {
	for _, c := range []struct{ ask, get time.Duration }{
		{0, 20 * time.Second}, {-1, 20 * time.Second}, {time.Hour, 85 * time.Second}, {7 * time.Second, 7 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := bubble(t, Options{QueryTime: 20 * time.Second, MaxQueryTime: 80 * time.Second})
			index, began := b.write("a", "1"), time.Now()
			b.read(read{name: "a"}, room.Options{Index: index, Wait: c.ask})
			if took := time.Since(began); took != c.get {
				t.Errorf("a wait of %v took %v, not %v", c.ask, took, c.get)
			}
			b.stop()
		})
	}
}

func TestParkedReadersAreWokenOncePerChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bubble(t, Options{})
		index := b.write("a", "1")
		done := make(chan outcome, 50)
		for range cap(done) {
			go func() {
				a, _, err := b.Read(context.Background(), read{name: "a"}, room.Options{Index: index})
				done <- outcome{a, err}
			}()
		}
		synctest.Wait()
		before, shared := b.stats.evaluations.Load(), map[*room.Shared]bool{}
		next := b.write("a", "2")
		for range cap(done) {
			got := <-done
			if got.err != nil || got.Index != next {
				t.Fatalf("woken with %d, %v", got.Index, got.err)
			}
			shared[got.Shared] = true
		}
		if n := b.stats.evaluations.Load() - before; n != 1 || len(shared) != 1 {
			t.Errorf("%d evaluations and %d encodings for one change", n, len(shared))
		}
		if b.stats.blocking.Load() != 0 {
			t.Error("somebody is still counted as parked")
		}
		b.stop()
	})
}

// A crowd costs at most one evaluation each 50 ms, however fast the changes and however quickly it comes back.
func TestACrowdIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bubble(t, Options{})
		b.write("a", "first")
		ctx, cancel := context.WithCancel(context.Background())
		var readers sync.WaitGroup
		var last sync.Map
		for i := range crowd + 50 {
			readers.Go(func() {
				index := uint64(1)
				for {
					a, _, err := b.Read(ctx, read{name: "a"}, room.Options{Index: index})
					if err != nil {
						return
					}
					if a.Index < index {
						t.Errorf("the index fell from %d to %d", index, a.Index)
					}
					index = a.Index
					last.Store(i, a.Value)
				}
			})
		}
		synctest.Wait()
		time.Sleep(time.Second)
		before := b.stats.evaluations.Load()
		for i := range 1000 {
			b.write("a", fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		if n := b.stats.evaluations.Load() - before; n < 15 || n > 22 {
			t.Errorf("%d evaluations for a crowd in a second of changes", n)
		}
		time.Sleep(2 * crowdPace)
		for i := range crowd + 50 {
			if v, _ := last.Load(i); v != line("999") {
				t.Fatalf("a reader was left with %v", v)
			}
		}
		before = b.stats.evaluations.Load()
		time.Sleep(time.Minute)
		if n := b.stats.evaluations.Load() - before; n != 0 {
			t.Errorf("%d evaluations in a minute without changes", n)
		}
		began := time.Now()
		b.write("a", "one more")
		synctest.Wait()
		if v, _ := last.Load(0); v != line("one more") || time.Since(began) > 0 {
			t.Errorf("a single change after a quiet time waits for its turn: %v", v)
		}
		// who does not block is never made to wait
		b.write("a", "and another")
		if a := b.read(read{name: "a"}, room.Options{}); a.Value != line("and another") || time.Since(began) > 0 {
			t.Errorf("a plain read gets %v after %v", a.Value, time.Since(began))
		}
		cancel()
		readers.Wait()
		b.stop()
	})
}

func TestIdleAnswersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bubble(t, Options{})
		held, err := b.Watch(context.Background(), read{name: "held"}, room.Options{})
		if err != nil {
			t.Fatal(err)
		}
		count := func() (cells, idle int) {
			b.answers.mu.Lock()
			defer b.answers.mu.Unlock()
			for _, c := range b.answers.cells {
				if c.users == 0 {
					idle++
				}
			}
			if idle != b.answers.idle {
				t.Errorf("%d idle cells, counted as %d", idle, b.answers.idle)
			}
			return len(b.answers.cells), idle
		}
		for i := range 3 * idleAnswers {
			b.read(read{name: fmt.Sprint(i)}, room.Options{})
		}
		if cells, idle := count(); idle > idleAnswers || cells != idle+1 {
			t.Errorf("%d cells, %d idle", cells, idle)
		}
		time.Sleep(idleTime / 2)
		b.read(read{name: "late"}, room.Options{})
		time.Sleep(idleTime/2 + 2*sweepPeriod - time.Second)
		if cells, idle := count(); cells != 2 || idle != 1 {
			t.Errorf("after %v: %d cells, %d idle", idleTime, cells, idle)
		}
		held.Close()
		held.Close()
		time.Sleep(idleTime + 2*sweepPeriod)
		if cells, _ := count(); cells != 0 {
			t.Errorf("%d cells are left", cells)
		}
		b.stop()
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bubble(t, Options{})
		w, err := b.Watch(context.Background(), read{name: "a"}, room.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		next := func() line {
			a, err := w.Next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return a.Value.(line)
		}
		if got := next(); got != "" {
			t.Errorf("at first %q", got)
		}
		for i := range 10 {
			b.write("a", fmt.Sprint(i))
		}
		if got := next(); got != "9" {
			t.Errorf("the latest is %q", got)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		b.write("b", "1")
		b.write("a", "9")
		if _, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing changed and Next says %v", err)
		}
		one, _ := w.Latest()
		two, _ := w.Latest()
		if one.Shared != two.Shared || one.Value != line("9") {
			t.Error("an unchanged answer has two encodings")
		}
		b.stop()
	})
}

func TestNoLeader(t *testing.T) {
	const hold = 100 * time.Millisecond
	b := startNode(t, Options{Hold: hold}, false) // nobody ever leads
	ctx, write := context.Background(), &write{note{Name: "a", Text: "1"}}
	cases := map[string]func() error{
		"read": func() error { _, _, err := b.Read(ctx, read{name: "a"}, room.Options{}); return err },
		"stale read": func() error {
			_, _, err := b.Read(ctx, read{name: "a"}, room.Options{Consistency: httpd.Stale})
			return err
		},
		"write":   func() error { _, _, err := b.Apply(ctx, write, room.Options{}); return err },
		"watch":   func() error { _, err := b.Watch(ctx, read{name: "a"}, room.Options{}); return err },
		"archive": func() error { _, _, err := b.Archive(ctx, room.Options{}); return err },
	}
	for what, try := range cases {
		began := time.Now()
		if err := try(); !errors.Is(err, fault.ErrNoLeader) || time.Since(began) < hold {
			t.Errorf("a %s ends with %v after %v", what, err, time.Since(began))
		}
	}
	if leader, _ := b.Peers(); leader != "" {
		t.Errorf("the leader is %q", leader)
	}
	if _, _, err := b.Read(ctx, read{name: "a"}, room.Options{Datacenter: "there"}); !errors.Is(err, fault.ErrNoPath) {
		t.Errorf("a read elsewhere ends with %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := b.Apply(gone, write, room.Options{}); err == nil {
		t.Error("a write whose caller is gone succeeds")
	}
	// ready, but the log knows nobody who leads: not applied, tried again until the hold time is over
	b.setReady(&term{1})
	defer b.setReady(nil)
	began := time.Now()
	if err := cases["write"](); !errors.Is(err, fault.ErrNoLeader) || time.Since(began) < hold {
		t.Errorf("a write that is not applied ends with %v after %v", err, time.Since(began))
	}
}

func TestOnlyWhatCertainlyDidNotHappenIsTriedAgain(t *testing.T) {
	for kind := fault.Internal; kind <= fault.Unavailable; kind++ {
		want := kind == fault.NotApplied || kind == fault.NoLeader
		if got := retryable(fault.New(kind, "x")); got != want {
			t.Errorf("kind %d: %v", kind, got)
		}
	}
	if retryable(context.Canceled) {
		t.Error("a foreign error is tried again")
	}
}

// A request that waits for a leader goes on as soon as there is one.
func TestRequestsWaitForTheLeader(t *testing.T) {
	b := start(t, Options{})
	b.write("a", "1")
	term := b.ready.Load()
	b.setReady(nil)
	done := b.ask(read{name: "a"}, room.Options{})
	written := make(chan error, 1)
	go func() {
		_, err := b.try("a", "2")
		written <- err
	}()
	select {
	case got := <-done:
		t.Errorf("a read without a leader: %v, %v", got.Value, got.err)
	case err := <-written:
		t.Errorf("a write without a leader: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	b.setReady(term)
	if got := receive(t, done); got.err != nil {
		t.Error(got.err)
	}
	if err := receive(t, written); err != nil {
		t.Error(err)
	}
}

// A default read that was parked while its server stopped leading is not answered from the past; a stale one is.
func TestParkedReadersOutliveALeader(t *testing.T) {
	b := start(t, Options{Hold: 100 * time.Millisecond})
	index := b.write("a", "1")
	park := func(c httpd.Consistency) <-chan outcome {
		before := b.stats.blocking.Load()
		done := b.ask(read{name: "a"}, room.Options{Index: index, Wait: 300 * time.Millisecond, Consistency: c})
		b.until("a parked read", func() bool { return b.stats.blocking.Load() > before })
		return done
	}
	term := b.ready.Load()
	lost, kept := park(httpd.Default), park(httpd.Stale)
	b.setReady(nil)
	if got := receive(t, kept); got.err != nil || got.Value != line("1") {
		t.Errorf("the stale read: %v, %v", got.Value, got.err)
	}
	if got := receive(t, lost); !errors.Is(got.err, fault.ErrNoLeader) {
		t.Errorf("the default read: %v, %v", got.Value, got.err)
	}
	b.setReady(term)
	back := park(httpd.Default)
	b.setReady(nil)
	b.setReady(term)
	if got := receive(t, back); got.err != nil {
		t.Errorf("leading again: %v", got.err)
	}
}

func TestStoppingAnswersWhoIsParked(t *testing.T) {
	b := start(t, Options{})
	index := b.write("a", "1")
	done := b.ask(read{name: "a"}, room.Options{Index: index})
	b.until("a parked read", func() bool { return b.stats.blocking.Load() > 0 })
	b.stop()
	if got := receive(t, done); got.err != nil || got.Value != line("1") {
		t.Errorf("%v, %v", got.Value, got.err)
	}
}
