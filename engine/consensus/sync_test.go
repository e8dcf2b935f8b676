package consensus

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAFollowerIsBackWithinTwoSeconds, however long it was away, by log or by snapshot, while writes go on. Raft alone
// waits up to ten seconds more.
func TestAFollowerIsBackWithinTwoSeconds(t *testing.T) {
	for _, by := range []string{"log", "snapshot"} {
		for _, away := range []time.Duration{300 * time.Millisecond, 10 * time.Second, 2 * time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				c := formed(t, 3, func(o *Options) { o.TrailingBytes = 1 << 20 })
				l := c.leader(nil)
				f := c.others(l)[0]
				w := c.write(2)
				time.Sleep(100 * time.Millisecond)
				c.kill(f)
				<-f.ended
				time.Sleep(away)
				if by == "snapshot" {
					l.opts.TrailingBytes = 1
					if err := l.Snapshot(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				mustPut(t, l.Node, "mark=1")
				at := time.Now()
				f = c.start(f.id)
				c.until("it is complete", func() bool { return f.words.get("mark") == "1" })
				took := time.Since(at)
				t.Logf("away for %v, back by %s after %v", away, by, took)
				if took > 2*time.Second {
					t.Error("that is too long")
				}
				if restored := f.fsm.restores.Load() > 0; restored != (by == "snapshot") {
					t.Errorf("it was given a snapshot: %v", restored)
				}
				w.done()
			})
		}
	}
}

// TestAPartitionHeals: connections that were silent are replaced, so that what lies on them does not have to wait for a
// deadline of ten seconds.
func TestAPartitionHeals(t *testing.T) {
	for _, cut := range []time.Duration{time.Second, 5 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			c := formed(t, 3, nil)
			l := c.leader(nil)
			f := c.others(l)[0]
			w := c.write(2)
			time.Sleep(100 * time.Millisecond)
			c.cutOff(f, true)
			time.Sleep(cut)
			mustPut(t, l.Node, "mark=1")
			c.cutOff(f, false)
			at := time.Now()
			c.until("it is complete", func() bool { return f.words.get("mark") == "1" })
			if took := time.Since(at); took > 2*time.Second {
				t.Errorf("cut off for %v, complete %v after it", cut, took)
			}
			w.done()
		})
	}
}

// TestANewServerIsGivenASnapshotUnderLoad, and one that installs it when its leader dies takes part in the election.
func TestANewServerIsGivenASnapshotUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := formed(t, 3, func(o *Options) { o.SnapshotCommands, o.TrailingBytes = 200, 1000 })
		c.leader(nil)
		w := c.write(6)
		time.Sleep(5 * time.Second)
		s4 := c.start("s4")
		c.mustChange(AddNonvoter, "s4", s4.address)
		c.until("it has the state", func() bool { return s4.Progress().Commit+50 > c.leader(nil).Progress().Commit })
		if s4.fsm.restores.Load() == 0 {
			t.Error("it was given no snapshot")
		}
		if at, want := s4.Progress().Configured, c.leader(nil).Progress().Configured; at != want || at <= 1 {
			t.Errorf("its servers are those of entry %d, the leader's of %d", at, want)
		}
		c.mustChange(AddVoter, "s4", s4.address)
		l := c.leader(nil)
		c.kill(l)
		c.leader(l)
		w.done()
	})
}

// TestALeaderThatVanishesWhileItSendsASnapshot does not hold its follower: that one waits for the rest for seconds, not
// for ever, and then votes.
func TestALeaderThatVanishesWhileItSendsASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := formed(t, 3, func(o *Options) { o.TrailingBytes = 1 })
		l := c.leader(nil)
		f := c.others(l)[0]
		c.kill(f)
		<-f.ended
		for i := range 20 {
			mustPut(t, l.Node, fmt.Sprintf("k%d=%s", i, strings.Repeat("x", 100<<10)))
		}
		if err := l.Snapshot(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.net.choke(l.id, 500<<10) // the snapshot of 2 MB is cut in its middle
		c.start(f.id)
		c.until("it is being sent", func() bool { return c.net.choked(l.id) })
		c.cutOff(l, true)
		at := time.Now()
		c.leader(l)
		if took := time.Since(at); took > 30*time.Second {
			t.Errorf("the others had no leader for %v", took)
		}
		mustPut(t, c.leader(l).Node, "end=1")
		c.cutOff(l, false)
		c.same("end", "1")
	})
}

// TestRestoreInACluster reaches every server.
func TestRestoreInACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := formed(t, 3, nil)
		l := c.leader(nil)
		mustPut(t, l.Node, "old=1")
		image := "seen 9\nnew=2\n"
		if err := l.Restore(context.Background(), int64(len(image)), strings.NewReader(image)); err != nil {
			t.Fatal(err)
		}
		c.same("new", "2")
		c.same("old", "")
		mustPut(t, l.Node, "after=3")
		c.same("after", "3")
	})
}
