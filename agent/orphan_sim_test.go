package agent

import (
	"testing"
	"time"

	"rostra/kit/fault"
)

// TestSilentLeader: a write that was sent on to a leader which nobody hears any more ends as unknown soon after another one
// leads, and the next write finds that one.
func TestSilentLeader(t *testing.T) {
	simulate(t, 6, 3, 0, func(w *world) {
		old := w.awaitLeader()
		var other *simNode
		for _, n := range w.nodes {
			if n != old {
				other = n
			}
		}
		for range 3 {
			if err := other.set("a", "before"); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		w.net.Partition([]string{old.ip})
		if err := other.set("a", "lost"); !fault.Is(err, fault.Unknown) {
			t.Errorf("the write to the leader that was cut off: %v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it ended after %v", took)
		}
		if err := other.set("a", "after"); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the next one ended after %v", took)
		}
		w.net.Partition()
		w.until("one leader and one value", 20*time.Second, func() bool {
			got, err := old.get("a", 0)
			return err == nil && got == "after"
		})
	})
}

// TestSilentServer: an agent whose server is not heard any more has its calls ended, and its reads answered by another.
func TestSilentServer(t *testing.T) {
	simulate(t, 7, 3, 1, func(w *world) {
		w.awaitLeader()
		client := w.nodes[3]
		w.until("a server", 20*time.Second, func() bool { return client.set("a", "before") == nil })
		lost := 0
		for i := range 6 { // one of three is that agent's, one the leader
			cut := w.nodes[i%3]
			healed := time.Now()
			w.until("trust in all servers", time.Minute, func() bool { return time.Since(healed) > 40*time.Second })
			w.net.Partition([]string{cut.ip})
			began := time.Now()
			written := make(chan error)
			go func() { written <- client.set("a", "lost") }()
			got, err := client.get("a", 0)
			if took := time.Since(began); err != nil || got == "" || took > 7*time.Second {
				t.Errorf("a read: %q, %v after %v", got, err, took)
			}
			if err := <-written; fault.Is(err, fault.Unknown) {
				lost++
			} else if err != nil {
				t.Errorf("a write: %v", err)
			}
			if took := time.Since(began); took > 7*time.Second {
				t.Errorf("a write ended after %v", took)
			}
			w.net.Partition()
			w.until("a write", 20*time.Second, func() bool { return w.leader() != nil && client.set("a", "next") == nil })
		}
		if lost == 0 {
			t.Error("no write was under way to a server that was cut off")
		}
	})
}
