package consensus

import (
	"context"
	"strings"
	"testing"

	"rostra/kit/disk"
	"rostra/kit/fault"
)

// TestAllow: what does not fit any more is refused with the reason, not applied, and the log goes on as soon as there is
// room: nothing is stopped, nothing lost.
func TestAllow(t *testing.T) {
	d, h := disk.NewForgetful(), newHistory()
	n := mustOpen(t, options(d, "/data/raft"), newWords())
	mustWhole(t, n)
	if err := h.put(n, "a", "1"); err != nil {
		t.Fatal(err)
	}
	refused := func(key, value string) {
		t.Helper()
		steps := d.Steps()
		_, err := n.Propose(context.Background(), []byte(key+"="+value))
		if fault.KindOf(err) != fault.Unavailable || err.Error() != "the disk is full" || n.Failure() != nil || d.Steps() != steps {
			t.Errorf("refused with %v, failure %v, %d steps of the disk", err, n.Failure(), d.Steps()-steps)
		}
	}
	n.Allow(3*around, "the disk is full")
	refused("long", strings.Repeat("x", 3*around))
	if err := h.put(n, "b", "2"); err != nil {
		t.Errorf("there is room for a short one: %v", err)
	}
	if err := h.put(n, "c", "3"); err != nil {
		t.Errorf("and for another: %v", err)
	}
	refused("d", "4")
	for _, out := range n.ProposeAll(context.Background(), [][]byte{[]byte("e=5"), []byte("f=6")}) {
		if fault.KindOf(out.Err) != fault.Unavailable {
			t.Errorf("many at a time: %v", out.Err)
		}
	}
	n.Allow(0, "")
	if err := h.put(n, "g", strings.Repeat("x", 10_000)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	after := d.PowerCut()
	_ = n.Close(context.Background())
	if err := h.check(after); err != nil {
		t.Fatal(err)
	}
}
