package consensus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rostra/kit/disk"
)

var errBroken = errors.New("the disk is broken")

// failStep lets one step of the disk fail, the one after `at` others, or all from there on.
func failStep(d *disk.Forgetful, at int, forever bool) {
	var steps atomic.Int64
	d.Ail(func(disk.Op) error {
		if n := steps.Add(1) - 1; n == int64(at) || forever && n > int64(at) {
			return errBroken
		}
		return nil
	})
}

// stubborn is a life that goes on after errors, as long as the node does. It reports whether the node stopped.
func (h *history) stubborn(d disk.FS, round string) (stopped bool, err error) {
	n, err := Open(cutOptions(d), newWords())
	if err != nil {
		if !strings.Contains(err.Error(), errBroken.Error()) {
			return false, fmt.Errorf("it says %w, and not why", err)
		}
		return true, nil
	}
	defer n.Close(context.Background())
	select {
	case <-n.Whole():
	case <-n.Failed():
	case <-time.After(10 * time.Second):
		return false, errors.New("it goes on, and does not lead")
	}
	ctx := context.Background()
	refused := h.puts(n, round+"a", 14)
	_ = n.Snapshot(ctx) // a snapshot that cannot be written stops nobody
	refused = errors.Join(refused, h.puts(n, round+"b", 9))
	_ = n.Snapshot(ctx)
	refused = errors.Join(refused, h.crowd(n, round), h.puts(n, round+"c", 12))
	if refused == nil {
		return n.Failure() != nil, nil
	}
	select {
	case <-n.Failed():
	case <-time.After(10 * time.Second):
		return false, fmt.Errorf("it goes on after %w", refused)
	}
	if err := n.Failure(); !errors.Is(err, errBroken) && !strings.Contains(err.Error(), "see the errors above") {
		return true, fmt.Errorf("it says %w, and not why", err)
	}
	if _, leads := n.Leading(); leads {
		return true, errors.New("it still says that it leads")
	}
	return true, nil
}

// TestADiskThatFailsAtEveryStep: one step of the disk fails, or all from it on, whichever step it is. A server whose log
// could not be changed stops and says why, even if the disk works again; what was acknowledged is there after a start,
// also if the power goes before that.
func TestADiskThatFailsAtEveryStep(t *testing.T) {
	whole := disk.NewForgetful()
	if _, err := newHistory().stubborn(whole, "p"); err != nil {
		t.Fatal(err)
	}
	steps, stride := whole.Steps(), 4 // the three ways of powerCut meet all of them in turn
	if testing.Short() {
		stride = 16
	}
	for _, forever := range []bool{false, true} {
		t.Run(map[bool]string{false: "once", true: "from then on"}[forever], func(t *testing.T) {
			t.Parallel()
			stops := 0
			for at := 0; at < steps; at += stride {
				d, h := disk.NewForgetful(), newHistory()
				failStep(d, at, forever)
				stopped, err := h.stubborn(d, "p")
				if err != nil {
					t.Fatalf("step %d fails: %v", at, err)
				}
				if stopped {
					stops++
				}
				d.Ail(nil)
				if at/4%2 == 0 { // the next life begins before the power goes: what it finds is perhaps on no disk
					n := mustOpen(t, cutOptions(d), newWords())
					mustWhole(t, n)
					if err := h.puts(n, "q", 2); err != nil {
						t.Fatalf("step %d of %d fails, and the next life: %v", at, steps, err)
					}
					defer n.Close(context.Background())
				}
				d = powerCut(d, []string{"strict", "torn", "killed"}[at%3], at)
				if err := h.check(d); err != nil {
					t.Fatalf("step %d of %d fails, then: %v", at, steps, err)
				}
				if err := h.life(d, "r"); err != nil {
					t.Fatalf("step %d of %d fails, and the next life: %v", at, steps, err)
				}
			}
			t.Logf("%d steps, %d of them stop the server", steps, stops)
		})
	}
}

// TestADiskThatFailsAroundARestore: a restore removes the whole log. Whatever fails on the way, what is acknowledged
// afterwards is there after a start.
func TestADiskThatFailsAroundARestore(t *testing.T) {
	const image = "seen 1\nnew=state\n"
	for at, stops := 0, 0; ; at++ {
		d, h := disk.NewForgetful(), newHistory()
		n := mustOpen(t, cutOptions(d), newWords())
		if err := h.puts(n, "a", 8); err != nil {
			t.Fatal(err)
		}
		h, before := newHistory(), d.Steps()
		failStep(d, at, false)
		restored := n.Restore(context.Background(), int64(len(image)), strings.NewReader(image))
		done := restored == nil && d.Steps()-before < at
		d.Ail(nil)
		if err := h.puts(n, "b", 5); err != nil && n.Failure() == nil {
			t.Fatalf("step %d fails, restored %v: it goes on after %v", at, restored, err)
		}
		if n.Failure() != nil {
			stops++
		}
		_ = n.Close(context.Background())
		if err := h.check(d.PowerCut()); err != nil {
			t.Fatalf("step %d fails, restored %v, then: %v", at, restored, err)
		}
		if done || at > 400 {
			t.Logf("%d steps, %d of them stop the server", at, stops)
			return
		}
	}
}

// TestAFailedFsyncIsNotBelieved: after an fsync that failed the kernel shows the bytes to the next process, and may never
// write them. That process must, before it builds on them.
func TestAFailedFsyncIsNotBelieved(t *testing.T) {
	d, h := disk.NewForgetful(), newHistory()
	n := mustOpen(t, options(d, "/data/raft"), newWords())
	if err := h.put(n, "first", "1"); err != nil {
		t.Fatal(err)
	}
	d.Ail(func(op disk.Op) error {
		if op.Kind == "sync" {
			return errBroken
		}
		return nil
	})
	if err := h.put(n, "long", strings.Repeat("x", 20_000)); err == nil {
		t.Fatal("acknowledged")
	}
	<-n.Failed()
	_ = n.Close(context.Background())
	d.Ail(nil)
	n = mustOpen(t, options(d, "/data/raft"), newWords())
	mustWhole(t, n)
	if err := h.put(n, "second", "2"); err != nil {
		t.Fatal(err)
	}
	after := d.PowerCut()
	_ = n.Close(context.Background())
	if err := h.check(after); err != nil {
		t.Fatal(err)
	}
}
