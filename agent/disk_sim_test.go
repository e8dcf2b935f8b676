package agent

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"rostra/engine/room"
	"rostra/feature/kv"
	"rostra/feature/session"
	"rostra/kit/disk"
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
// and the checker must see it.
func TestChaosBites(t *testing.T) {
	h := &history{}
	simulate(t, 23, 3, 1, func(w *world) {
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
	})
	if porcupine.CheckOperations(keyModel, h.ops) {
		t.Errorf("disks that lie went unseen in %d operations", len(h.ops))
	}
}

// session makes one for the node.
func (w *world) session(n *simNode, ttl, delay time.Duration, checks ...string) string {
	w.t.Helper()
	s := session.Session{ID: newUUID(), Node: n.name, Behavior: session.Release, NodeChecks: checks, LockDelay: wire.Duration(delay)}
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
