package server

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/room"
)

// TestACrowdOfAgentsIsPaced: agents that follow one Query are a crowd like parked readers, and end with the newest answer.
func TestACrowdOfAgentsIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bubble(t, Options{})
		b.write("a", "first")
		q := read{name: "a"}
		var woken atomic.Int64
		got := map[int]any{}
		take := map[int]func(){}
		ready := make(chan int, 1<<16)
		for i := range crowd + 50 {
			f, err := b.Follow(q, room.Options{}, func() { woken.Add(1); ready <- i })
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			take[i] = func() {
				if a, is := f.Take(0, "", false); is {
					got[i] = a.Answer.Value
				}
			}
			take[i]()
		}
		drain := func() {
			for {
				synctest.Wait()
				select {
				case i := <-ready:
					take[i]()
					continue
				default:
				}
				return
			}
		}
		time.Sleep(time.Second)
		before := b.stats.evaluations.Load()
		for i := range 500 {
			b.write("a", fmt.Sprint(i))
			drain()
			time.Sleep(time.Millisecond)
		}
		if n := b.stats.evaluations.Load() - before; n < 7 || n > 12 {
			t.Errorf("%d evaluations for a crowd in half a second of changes", n)
		}
		time.Sleep(2 * crowdPace)
		drain()
		for i := range crowd + 50 {
			if got[i] != line("499") {
				t.Fatalf("agent %d was left with %v", i, got[i])
			}
		}
		if n := woken.Load(); n > 13*(crowd+50) {
			t.Errorf("the agents were called %d times", n)
		}
		b.stop()
	})
}

// TestAnAgentComesToACrowd: one that has seen more elsewhere is not given the answer that the crowd still has.
func TestAnAgentComesToACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bubble(t, Options{})
		b.write("a", "old")
		q := read{name: "a"}
		for range crowd + 50 {
			f, err := b.Follow(q, room.Options{}, func() {})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.Take(0, "", false)
		}
		b.write("a", "newer") // the crowd has its turn
		synctest.Wait()
		b.write("a", "newest") // and now waits for the next
		synctest.Wait()
		late, err := b.Follow(q, room.Options{}, func() {})
		if err != nil {
			t.Fatal(err)
		}
		defer late.Close()
		at := b.store.Index()
		if a, is := late.Take(at, b.store.Lineage(), false); !is || a.Answer.Value != line("newest") {
			t.Errorf("who has seen index %d is given %v of index %d", at, a.Answer.Value, a.At)
		}
		if a, is := late.Take(0, "", false); is {
			t.Errorf("the same again: %v", a.Answer.Value)
		}
		if a, is := late.Take(0, "", true); !is || a.Answer.Value != line("newest") {
			t.Errorf("wanted again: %v, %t", a.Answer.Value, is)
		}
		b.stop()
	})
}
