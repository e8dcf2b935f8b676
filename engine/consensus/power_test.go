package consensus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rostra/kit/disk"
)

// cutOptions make every mechanism come up in a short run: small segments, early snapshots, almost no trailing log. A
// server whose disk is gone must not try to lead again within the test.
func cutOptions(d disk.FS) Options {
	o := options(d, "/data/raft")
	o.SegmentBytes, o.TrailingBytes = 4096, 300
	o.HeartbeatTimeout, o.ElectionTimeout = time.Hour, time.Hour
	return o
}

// history is what clients know: what was acknowledged, and the writes whose outcome they were not told.
type history struct {
	mu      sync.Mutex
	acked   map[string]string
	unknown map[string]bool
}

func newHistory() *history { return &history{acked: map[string]string{}, unknown: map[string]bool{}} }

func (h *history) put(n *Node, key, value string) error {
	_, err := n.Propose(context.Background(), []byte(key+"="+value))
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.unknown[key] = true
		return err
	}
	h.acked[key] = value
	return nil
}

func (h *history) puts(n *Node, round string, count int) error {
	for i := range count {
		// Each value is of its own length, so that a torn append does not happen to fit over another.
		if err := h.put(n, fmt.Sprint(round, i), strings.Repeat(round, 100+37*(i%9))); err != nil {
			return err
		}
	}
	return h.put(n, "counter", round)
}

// crowd writes from many at once, so that entries carry several Commands and appends span several pages.
func (h *history) crowd(n *Node, round string) error {
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wg.Go(func() {
			for j := range 3 {
				errs[i] = errors.Join(errs[i], h.put(n, fmt.Sprint(round, i, "-", j), strings.Repeat(round, 3000+100*i)))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// life is one process: it opens the log, writes, cuts snapshots, stops cleanly. It ends at the first error.
func (h *history) life(d disk.FS, round string) error {
	n, err := Open(cutOptions(d), newWords())
	if err != nil {
		return err
	}
	return errors.Join(h.write(n, round), n.Close(context.Background()))
}

func (h *history) write(n *Node, round string) error {
	for whole := false; !whole; {
		select {
		case <-n.Whole():
			whole = true
		case <-n.Failed():
			return n.Failure()
		case <-time.After(200 * time.Millisecond):
			// The power went while it was becoming leader: it steps down and, by cutOptions, stays down.
			if _, err := n.opts.FS.List(n.opts.Dir); err != nil && n.State() != "Leader" {
				return err
			}
		}
	}
	ctx := context.Background()
	if err := h.puts(n, round+"a", 14); err != nil {
		return err
	}
	if err := n.Snapshot(ctx); err != nil {
		return err
	}
	if err := h.puts(n, round+"b", 9); err != nil {
		return err
	}
	if err := n.Snapshot(ctx); err != nil {
		return err
	}
	if err := h.crowd(n, round); err != nil {
		return err
	}
	return h.puts(n, round+"c", 12)
}

// check opens what a power cut left and looks for everything that was acknowledged.
func (h *history) check(d disk.FS) error {
	w := newWords()
	n, err := Open(cutOptions(d), w)
	if err != nil {
		return err
	}
	defer n.Close(context.Background())
	select {
	case <-n.Whole():
	case <-n.Failed():
		return n.Failure()
	case <-time.After(10 * time.Second):
		return fmt.Errorf("not whole: %v", n.Stats())
	}
	for k, v := range h.acked {
		if got := w.get(k); got != v && !h.unknown[k] {
			return fmt.Errorf("%s was acknowledged as %.10q and is %.10q", k, v, got)
		}
	}
	return nil
}

// TestPowerCutAtEveryStep: two lives of a server, ended at every step of them, in three ways (see powerCut).
// What was acknowledged is found, the server starts, writes, stops and starts again.
func TestPowerCutAtEveryStep(t *testing.T) {
	whole := disk.NewForgetful()
	for _, round := range []string{"p", "q"} {
		if err := newHistory().life(whole, round); err != nil {
			t.Fatal(err)
		}
	}
	steps := whole.Steps()
	t.Logf("%d steps", steps)
	stride := map[string]int{"strict": 1, "torn": 2, "killed": 3}
	for how, by := range stride {
		if testing.Short() {
			by = 9
		}
		t.Run(how, func(t *testing.T) { t.Parallel(); cutEverywhere(t, steps, by, how) })
	}
}

func cutEverywhere(t *testing.T, steps, stride int, how string) {
	for at := 0; at <= steps; at += stride {
		d, h := disk.NewForgetful(), newHistory()
		d.CutAfter(at)
		err := h.life(d, "p")
		if err == nil {
			err = h.life(d, "q")
		}
		if err != nil && d.Steps() < at {
			t.Fatalf("before the cut after step %d: %v", at, err)
		}
		after := powerCut(d, how, at)
		if err := h.check(after); err != nil {
			t.Fatalf("cut after step %d of %d (%s), then: %v", at, steps, how, err)
		}
		if err := h.life(after, "r"); err != nil {
			t.Fatalf("cut after step %d (%s): the next life: %v", at, how, err)
		}
		if err := h.check(after.PowerCut()); err != nil {
			t.Fatalf("cut after step %d (%s): after the next life: %v", at, how, err)
		}
	}
}

// powerCut ends a disk's life: strict forgets all that was not synced, torn keeps some of it, and killed keeps all, as
// when only the process died.
func powerCut(d *disk.Forgetful, how string, seed int) *disk.Forgetful {
	switch how {
	case "torn":
		return d.PowerCutTorn(rand.New(rand.NewPCG(7, uint64(seed))).IntN)
	case "killed":
		return d.PowerCutTorn(func(n int) int { return n - 1 })
	}
	return d.PowerCut()
}

// TestPowerCutAroundARestore: what is found is the state before or the one restored, the latter once acknowledged.
func TestPowerCutAroundARestore(t *testing.T) {
	const image = "seen 1\nnew=state\n"
	for at := 0; ; at++ {
		d, h := disk.NewForgetful(), newHistory()
		n := mustOpen(t, cutOptions(d), newWords())
		if err := h.puts(n, "a", 8); err != nil {
			t.Fatal(err)
		}
		d.CutAfter(at)
		restored := n.Restore(context.Background(), int64(len(image)), strings.NewReader(image))
		var after error
		if restored == nil {
			after = h.put(n, "after", "x")
		}
		_ = n.Close(context.Background())
		done := restored == nil && after == nil && d.Steps() < at
		d = powerCut(d, []string{"strict", "torn", "killed"}[at%3], at)
		w := newWords()
		n, err := Open(cutOptions(d), w)
		if err != nil {
			t.Fatalf("cut after %d: %v", at, err)
		}
		mustWhole(t, n)
		old, fresh := w.get("counter") == "a", w.get("new") == "state"
		if old == fresh || restored == nil && !fresh || restored == nil && after == nil && w.get("after") != "x" {
			t.Fatalf("cut after %d: old %v, restored %v (%v), after %q (%v)", at, old, fresh, restored, w.get("after"), after)
		}
		mustPut(t, n, "more=1")
		mustClose(t, n)
		if done || at > 400 {
			return
		}
	}
}

// TestAMissingSyncIsCaught leaves out one fsync of the program at a time. Each time the loss must be noticed by the very
// check that TestPowerCutAtEveryStep relies on.
func TestAMissingSyncIsCaught(t *testing.T) {
	is := func(kind, pattern string) func(disk.Op) bool {
		return func(op disk.Op) bool {
			ok, _ := filepath.Match(pattern, op.Name)
			return op.Kind == kind && ok
		}
	}
	for name, drop := range map[string]func(disk.Op) bool{
		"append":                   is("sync", "/data/raft/log/*.wal"),
		"names in the log":         is("syncdir", "/data/raft/log"),
		"list of segments":         is("sync", "/data/raft/log/meta.tmp"),
		"snapshot":                 is("sync", "/data/raft/snapshots/*/state.bin"),
		"snapshot's meta.json":     is("sync", "/data/raft/snapshots/*/meta.json.tmp"),
		"names in a snapshot":      is("syncdir", "/data/raft/snapshots/*-*-*.tmp"),
		"names of the snapshots":   is("syncdir", "/data/raft/snapshots"),
		"names in the data folder": is("syncdir", "/data/raft"),
	} {
		t.Run(name, func(t *testing.T) {
			d, h := disk.NewForgetful(), newHistory()
			d.Lie(drop)
			if err := h.life(d, "p"); err != nil {
				t.Fatal(err)
			}
			err := h.check(d.PowerCut())
			if err == nil {
				t.Fatal("nothing was lost: the test could not fail")
			}
			t.Log(err)
		})
	}
}
