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
