package roster

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"rostra/engine/gossip"
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

// TestLevel: what all living servers of a datacenter know.
func TestLevel(t *testing.T) {
	r := Of("dc1", Server{ID: "a", Datacenter: "dc1", Level: 3, Status: gossip.StatusAlive},
		Server{ID: "b", Datacenter: "dc1", Level: 2, Status: gossip.StatusAlive},
		Server{ID: "c", Datacenter: "dc1", Level: 1, Status: gossip.StatusFailed},
		Server{ID: "d", Datacenter: "dc2", Level: 1, Status: gossip.StatusAlive})
	if own, other, none := r.Level(""), r.Level("dc2"), r.Level("dc3"); own != 2 || other != 1 || none < 1000 {
		t.Errorf("levels %d, %d, %d", own, other, none)
	}
}
