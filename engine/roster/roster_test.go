package roster

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRefreshAtOnce: the events of two pools come at the same time; what was read first must not stay.
func TestRefreshAtOnce(t *testing.T) {
	var members atomic.Int64 // that the pools have
	r := Of("dc1")
	r.read = func() *list {
		n := members.Load()
		for range 10 {
			runtime.Gosched() // here the other event comes
		}
		return &list{members: int(n)}
	}
	for range 1000 {
		var wait sync.WaitGroup
		for range 2 {
			wait.Go(func() {
				members.Add(1)
				r.Refresh()
			})
		}
		wait.Wait()
		if got, want := r.Members(), int(members.Load()); got != want {
			t.Fatalf("the roster has %d members, the pools %d", got, want)
		}
	}
}
