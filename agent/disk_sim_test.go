package agent

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"rostra/engine/room"
	"rostra/feature/kv"
	"rostra/feature/session"
	"rostra/kit/disk"
	"rostra/kit/httpd"
	"rostra/kit/wire"
)

// load lets clients work on the machines until the returned function is called.
func (w *world) load(h *history, nodes ...*simNode) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for i := range 6 {
		c := &client{id: i, node: nodes[i%len(nodes)], hist: h, seen: map[string]seenValue{}}
		luck := w.rand.Uint64()
		wait.Go(func() { c.run(ctx, luck) })
	}
	return func() { cancel(); wait.Wait() }
}

// TestChaosBites: with disks that only say that they have synced, a power cut of all servers loses what was acknowledged,
// and the checker must see it. It cannot where what was lost had been overwritten before anybody looked, so it has some tries.
func TestChaosBites(t *testing.T) {
	for seed := range uint64(20) {
		h := &history{}
		simulate(t, 23+seed, 3, 1, func(w *world) { w.loseAll(h) })
		if !porcupine.CheckOperations(keyModel, h.ops) {
			return
		}
	}
	t.Error("disks that lie went unseen")
}

// loseAll cuts the power of all servers, whose disks have lied, under load.
func (w *world) loseAll(h *history) {
	w.awaitLeader()
	time.Sleep(2 * time.Second)
	stop := w.load(h, w.nodes[3])
	time.Sleep(2 * time.Second)
	for _, n := range w.nodes[:3] {
		n.disk.Lie(func(op disk.Op) bool { return op.Kind == "sync" || op.Kind == "syncdir" })
	}
	time.Sleep(2 * time.Second)
	for _, n := range w.nodes[:3] {
		w.kill(n)
	}
	for _, n := range w.nodes[:3] {
		w.start(n)
	}
	w.until("a leader after all", time.Minute, func() bool { return w.leader() != nil })
	time.Sleep(3 * time.Second)
	stop()
}

// ail makes the steps of a kind fail on a machine's disk: "sync" as a broken disk does, "write" as a full one.
func (n *simNode) ail(kind string) {
	err := map[string]error{"sync": syscall.EIO, "write": syscall.ENOSPC}[kind]
	n.disk.Ail(func(op disk.Op) error {
		if op.Kind == kind || op.Kind == "create" && kind == "write" {
			return err
		}
		return nil
	})
}

// TestLeadersDiskFails: a leader that cannot write leads no more at its next write, acknowledges nothing and stops, and
// says why; the others go on. So too one that was started again and leads for the second time.
func TestLeadersDiskFails(t *testing.T) {
	for _, kind := range []string{"sync", "write"} {
		simulate(t, 77, 3, 1, func(w *world) {
			l := w.awaitLeader()
			for range 2 {
				time.Sleep(2 * time.Second)
				l.ail(kind)
				begin := time.Now()
				if err := l.set("a", "x"); err == nil {
					t.Errorf("%s: what could not be written was acknowledged", kind)
				}
				if _, ready := l.node.Leading(); ready {
					t.Errorf("%s: it leads on", kind)
				}
				other := w.awaitLeader()
				select {
				case <-l.ended:
				case <-time.After(10 * time.Second):
					t.Fatalf("%s: it does not stop", kind)
				}
				t.Logf("%s: another led and it had stopped after %v: %v", kind, time.Since(begin), l.failure)
				if !errors.Is(l.failure, syscall.EIO) && !errors.Is(l.failure, syscall.ENOSPC) {
					t.Errorf("%s: it ended with %v", kind, l.failure)
				}
				if err := other.set("a", "y"); err != nil {
					t.Errorf("%s: the others: %v", kind, err)
				}
				l.disk.Ail(nil)
				w.revive(l)
				w.until("its lead again", 3*time.Minute, func() bool {
					if n := w.leader(); n != nil && n != l {
						w.kill(n)
						time.Sleep(5 * time.Second)
						w.start(n)
						time.Sleep(5 * time.Second)
					}
					return w.leader() == l
				})
				if got, err := l.get("a", httpd.Default); got != "y" || err != nil {
					t.Errorf("%s: it has %q, %v", kind, got, err)
				}
			}
		})
	}
}

// session makes one for the node.
func (w *world) session(n *simNode, ttl, delay time.Duration, checks ...string) string {
	w.t.Helper()
	s := session.Session{ID: wire.NewID(), Node: n.name, Behavior: session.Release, NodeChecks: checks, LockDelay: wire.Duration(delay)}
	if ttl > 0 {
		s.TTL, s.Life = ttl.String(), wire.Duration(ttl)
	}
	w.until("a session", 30*time.Second, func() bool {
		_, _, err := n.host.Door.Apply(context.Background(), &session.Create{Session: s}, room.Options{})
		return err == nil
	})
	return s.ID
}

// lock tries to take the key for the session.
func lock(n *simNode, key, id string) bool {
	ctx, end := context.WithTimeout(context.Background(), 5*time.Second)
	defer end()
	r, _, err := n.host.Door.Apply(ctx, &kv.Put{Op: kv.Op{Verb: kv.Lock, Key: key, Session: id}}, room.Options{})
	return err == nil && r == true
}
