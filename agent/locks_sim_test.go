package agent

import (
	"context"
	"testing"
	"time"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/kv"
)

// TestHolderLearns: who holds a lock and is cut off learns it, by the end of its parked default read, before anybody else
// may have the lock.
func TestHolderLearns(t *testing.T) {
	for _, c := range []struct {
		what       string
		holder     int // 3: a client agent, 0: a server
		ttl, delay time.Duration
		checks     []string
	}{
		{"client agent, serfHealth, lock-delay 15 s", 3, 0, 15 * time.Second, []string{catalog.SerfHealth}},
	} {
		t.Run(c.what, func(t *testing.T) {
			simulate(t, 31, 3, 1, func(w *world) {
				w.awaitLeader()
				holder, other := w.nodes[c.holder], w.nodes[1]
				id := w.session(holder, c.ttl, c.delay, c.checks...)
				rival := w.session(other, 0, 0)
				if !lock(holder, "l", id) {
					t.Fatal("the free lock was refused")
				}
				old := w.awaitLeader()
				if old != holder {
					w.kill(old)
					w.until("a new leader", 10*time.Second, func() bool { n := w.leader(); return n != nil && n != old })
					w.start(old)
				}
				time.Sleep(time.Second)
				first := held(t, holder, 0)
				if first.Session != id {
					t.Fatalf("after an election the lock is held by %q", first.Session)
				}
				cut := time.Now()
				learned := make(chan time.Duration, 1)
				asked := cut
				go func() { learned <- believes(holder, id, first.ModifyIndex, asked) }()
				time.Sleep(100 * time.Millisecond)
				cut = cut.Add(100 * time.Millisecond)
				var rest []string
				for _, n := range w.nodes {
					if n != holder {
						rest = append(rest, n.ip)
					}
				}
				w.net.Partition([]string{holder.ip}, rest)
				w.until("another holder", 3*time.Minute, func() bool { return lock(other, "l", rival) })
				taken := time.Since(cut)
				select {
				case after := <-learned:
					t.Logf("learned after %v, taken over after %v", after-100*time.Millisecond, taken)
				default:
					w.net.Heal()
					t.Errorf("taken over after %v, the holder learned it later (%v)", taken, <-learned)
				}
				if e := held(t, other, 0); e.LockIndex != first.LockIndex+1 {
					t.Errorf("LockIndex went from %d to %d", first.LockIndex, e.LockIndex)
				}
			})
		})
	}
}

// held reads the lock.
func held(t *testing.T, n *simNode, index uint64) *kv.Entry {
	t.Helper()
	a, _, err := n.host.Door.Read(context.Background(), kv.KeyQuery{Key: "l"}, room.Options{Index: index})
	if err != nil {
		t.Fatal(err)
	}
	return a.Value.(kv.Found).Entry
}

// believes returns how long after since a holder that keeps a blocking default read on the lock believes that it holds it.
func believes(n *simNode, id string, index uint64, since time.Time) time.Duration {
	for {
		a, _, err := n.host.Door.Read(context.Background(), kv.KeyQuery{Key: "l"}, room.Options{Index: index, Wait: 5 * time.Minute})
		if err != nil {
			return time.Since(since)
		}
		e := a.Value.(kv.Found).Entry
		if e == nil || e.Session != id {
			return time.Since(since)
		}
		index = e.ModifyIndex
	}
}
