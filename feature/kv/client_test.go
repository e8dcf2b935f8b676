package kv

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"rostra/engine/room"
	"rostra/feature/catalog"
)

// TestClientLock lets Consul's own client contend for a lock: one holder at a time, and everybody gets it.
func TestClientLock(t *testing.T) {
	a := startAgent(t)
	c := &catalog.Register{Row: &catalog.Node{Node: "n1"}, Checks: []*catalog.Check{{CheckID: "serfHealth", Status: "passing"}}}
	if _, _, err := a.Door.Apply(t.Context(), c, room.Options{}); err != nil {
		t.Fatal(err)
	}
	client, err := api.NewClient(&api.Config{Address: a.URL, Transport: a.HTTP})
	if err != nil {
		t.Fatal(err)
	}
	const contenders = 4
	var holders, turns atomic.Int32
	ended := make(chan error)
	contend := func() error {
		lock, err := client.LockKey("service/leader")
		if err != nil {
			return err
		}
		lost, err := lock.Lock(nil)
		if err != nil {
			return err
		}
		if holders.Add(1) != 1 {
			t.Error("two hold the lock")
		}
		// Hold it until all others wait and the client watches this key: who finds it free again just after it was
		// refused takes that for a lock-delay, and rests for 5 s.
		for waiting := uint64(contenders - turns.Load()); a.Door.Counters()["blocking_queries"] < waiting; {
			select {
			case <-lost:
				return errors.New("the lock was lost")
			case <-time.After(time.Millisecond):
			}
		}
		turns.Add(1)
		holders.Add(-1)
		return lock.Unlock()
	}
	for range contenders {
		go func() { ended <- contend() }()
	}
	for range contenders {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if turns.Load() != contenders {
		t.Errorf("%d had the lock, want %d", turns.Load(), contenders)
	}
	pair, _, err := client.KV().Get("service/leader", nil)
	if err != nil || pair == nil || pair.Session != "" || pair.LockIndex != contenders {
		t.Errorf("afterwards %+v, %v", pair, err)
	}
}
