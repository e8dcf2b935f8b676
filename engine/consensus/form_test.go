package consensus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"rostra/kit/disk"
	"rostra/kit/fault"
)

// TestThreeFormAtOnce, in any order and however often: one cluster comes of it.
func TestThreeFormAtOnce(t *testing.T) {
	for _, together := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 3, nil)
			time.Sleep(5 * time.Second)
			for _, s := range c.live() {
				if id, _ := s.Leader(); s.Begun() || id != "" {
					t.Fatalf("%s has state, and %q leads", s.id, id)
				}
				wants(t, s.Form(context.Background(), []Peer{{ID: "x", Address: "x:1"}}), fault.Invalid, "is not one of its servers")
			}
			peers := c.peers()
			var forming sync.WaitGroup
			for i, s := range c.live() {
				for range 3 {
					mine := slices.Clone(peers)
					mine[0], mine[i] = mine[i], mine[0] // the order does not matter
					forming.Go(func() {
						if err := s.Form(context.Background(), mine); err != nil && !fault.Is(err, fault.Refused) {
							t.Error(err)
						}
					})
				}
				if !together {
					forming.Wait()
					time.Sleep(3 * time.Second)
				}
			}
			forming.Wait()
			mustPut(t, c.leader(nil).Node, "a=1")
			c.same("a", "1")
			for _, s := range c.live() {
				var first raft.Log
				if err := s.log.GetLog(1, &first); err != nil {
					t.Fatal(err)
				}
				got := peersOf(raft.DecodeConfiguration(first.Data))
				if len(got) != 3 || got[0].ID != "s1" || got[2].ID != "s3" || !s.Begun() {
					t.Errorf("%s began with %v", s.id, got)
				}
				wants(t, s.Form(context.Background(), peers), fault.Refused, "has state already")
			}
		})
	}
}

// TestOnlySomeForm: a majority is enough, and whoever did not form is given the log.
func TestOnlySomeForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		if err := c.members["s2"].Form(context.Background(), c.peers()); err != nil {
			t.Fatal(err)
		}
		mustPut(t, c.leader(nil).Node, "a=1")
		c.same("a", "1")
	})
}

// TestPowerCutWhileForming: a server that was cut off in the middle of forming is empty or formed, and can be told again.
func TestPowerCutWhileForming(t *testing.T) {
	peers := []Peer{{ID: "s1", Address: "127.0.0.1:8300"}, {ID: "s2", Address: "127.0.0.2:8300"}} // so that it does not lead
	for at := 0; ; at++ {
		d := disk.NewForgetful()
		o := cutOptions(d)
		o.Bootstrap = false
		n, err := Open(o, newWords())
		if err != nil {
			t.Fatal(err)
		}
		before := d.Steps()
		d.CutAfter(before + at)
		formed := make(chan error, 1)
		go func() { formed <- n.Form(context.Background(), peers) }()
		select {
		case err = <-formed:
		case <-n.Failed(): // Form ends with the node
		}
		done := err == nil && n.Failure() == nil && d.Steps() < before+at
		_ = n.Close(context.Background())
		d = powerCut(d, []string{"strict", "torn", "killed"}[at%3], at)
		o.FS = d
		n, err = Open(o, newWords())
		if err != nil {
			t.Fatalf("cut after %d: %v", at, err)
		}
		if err := n.Form(context.Background(), peers); n.Begun() != (err == nil || fault.Is(err, fault.Refused)) {
			t.Fatalf("cut after %d: begun %v, %v", at, n.Begun(), err)
		}
		mustClose(t, n)
		if n, err = Open(o, newWords()); err != nil || !n.Begun() || len(n.Peers()) != 2 {
			t.Fatalf("cut after %d: formed again and opened: %v", at, err)
		}
		mustClose(t, n)
		if done {
			if at < 5 {
				t.Fatalf("only %d steps", at)
			}
			return
		}
	}
}

// brokenLog fails every append, or every reading of an entry, while it is told to.
type brokenLog struct {
	*raft.InmemStore
	broken, illegible atomic.Bool
}

var errDisk = errors.New("input/output error")

func (b *brokenLog) StoreLogs(logs []*raft.Log) error {
	if b.broken.Load() {
		return errDisk
	}
	return b.InmemStore.StoreLogs(logs)
}

func (b *brokenLog) GetLog(index uint64, l *raft.Log) error {
	if b.illegible.Load() {
		return errDisk
	}
	return b.InmemStore.GetLog(index, l)
}

func (b *brokenLog) StoreLog(l *raft.Log) error { return b.StoreLogs([]*raft.Log{l}) }

// breakable gives a server a brokenLog.
func breakable(o *Options) *brokenLog {
	b := &brokenLog{InmemStore: o.memory.log.(*raft.InmemStore)}
	o.memory = &memory{b, o.memory.snapshots}
	return b
}

// TestAnIllegibleEntry: a server that cannot read what is committed stops and says so, where Raft alone would end the
// process, and closes; the others go on, and its next life catches up. The same for one that leads, and has to send what
// it cannot read.
func TestAnIllegibleEntry(t *testing.T) {
	for _, leads := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disks := map[string]*brokenLog{}
			c := formed(t, 3, func(o *Options) {
				disks[o.ID] = breakable(o)
				o.CacheBytes = 1
			})
			l := c.leader(nil)
			mustPut(t, l.Node, "before=1")
			s := l
			if !leads {
				s = c.others(l)[0]
			}
			disks[s.id].illegible.Store(true)
			go func() { _, _ = l.Propose(context.Background(), []byte("mark=1")) }() // of a leader that stops its outcome is unknown
			select {
			case <-s.Failed():
			case <-time.After(5 * time.Second):
				t.Fatal("it goes on and cannot read its log")
			}
			if text := s.Failure().Error(); !strings.Contains(text, "cannot read log entry") || !strings.Contains(text, errDisk.Error()) {
				t.Errorf("it says: %s", text)
			}
			if _, ready := s.Leading(); ready {
				t.Error("it still leads")
			}
			c.kill(s)
			<-s.ended
			mustPut(t, c.leader(s).Node, "after=1")
			c.start(s.id)
			c.same("after", "1")
			c.same("before", "1")
		})
	}
}

// TestFailingAppends: a server whose disk fails stops, whether it forms a cluster, follows or leads, and is taken in again
// when it comes back. A leader's writes are unknown then, and another leads; a follower costs nothing.
func TestFailingAppends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disks := map[string]*brokenLog{}
		c := newCluster(t, 3, func(o *Options) {
			disks[o.ID] = breakable(o)
		})
		stops := func(s *server) {
			t.Helper()
			select {
			case <-s.Failed():
			case <-time.After(2 * time.Second):
				t.Fatalf("%s goes on without a disk", s.id)
			}
			if text := s.Failure().Error(); !strings.Contains(text, "append to the log: input/output error") {
				t.Errorf("it says: %s", text)
			}
		}
		disks["s1"].broken.Store(true)
		s1 := c.members["s1"]
		if err := s1.Form(context.Background(), c.peers()); err == nil {
			t.Error("formed without a disk")
		}
		stops(s1)
		c.kill(s1)
		c.start("s1")
		for _, s := range c.live() {
			if err := s.Form(context.Background(), c.peers()); err != nil {
				t.Fatal(err)
			}
		}
		l := c.leader(nil)
		w := c.write(6)
		f := c.others(l)[0]
		disks[f.id].broken.Store(true)
		stops(f)
		time.Sleep(5 * time.Second)
		if now := c.leader(nil); now != l {
			t.Errorf("%s leads instead of %s", now.id, l.id)
		}
		c.kill(f)
		c.start(f.id)
		time.Sleep(5 * time.Second)
		disks[l.id].broken.Store(true)
		stops(l)
		c.leader(l)
		c.kill(l)
		c.start(l.id)
		w.done()
	})
}
