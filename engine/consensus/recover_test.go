package consensus

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"rostra/kit/disk"
	"rostra/kit/fault"
)

// orphan is the disk of one of three servers whose others are lost, with entries after its last snapshot.
func orphan(t *testing.T) *disk.Forgetful {
	t.Helper()
	net := newWires()
	d := map[string]*disk.Forgetful{}
	var nodes []*Node
	var peers []Peer
	for i := range 3 {
		id := fmt.Sprint("s", i+1)
		peers = append(peers, Peer{ID: id, Address: id + ":1"})
		d[id] = disk.NewForgetful()
		o := Options{Dir: "/data/raft", FS: d[id], ID: id, Address: id + ":1", Streams: net.plug(id, id+":1"), Logger: quiet, NoStopSnapshot: true}
		n, err := Open(o, newWords())
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		if err := n.Form(context.Background(), peers); err != nil {
			t.Fatal(err)
		}
	}
	var led *Node
	for led == nil {
		for _, n := range nodes {
			select {
			case <-n.Whole():
				led = n
			default:
			}
		}
	}
	mustPut(t, led, "a=1")
	if nodes[0] == led {
		if err := led.Snapshot(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	mustPut(t, led, "b=2")
	for end := time.Now().Add(20 * time.Second); nodes[0].Progress().Applied < led.Progress().Applied; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal(nodes[0].Progress(), led.Progress())
		}
	}
	if nodes[0] != led {
		if err := nodes[0].Snapshot(context.Background()); err != nil {
			t.Fatal(err)
		}
		mustPut(t, led, "c=0")
	}
	for _, n := range nodes {
		mustClose(t, n)
	}
	return d["s1"].PowerCut()
}

func recovering(d disk.FS, id string) Options {
	return Options{Dir: "/data/raft", FS: d, ID: id, Address: id + ":1", Logger: quiet, NoStopSnapshot: true,
		Recover: []Peer{{ID: id, Address: id + ":1", Voter: true}, {ID: "r", Address: "r:1"}}}
}

func TestRecover(t *testing.T) {
	d := orphan(t)
	id := "s1"
	o := recovering(d, id)
	before := d.Steps()
	p, err := Inspect(o)
	if err != nil || len(p.Stored) != 3 || p.At != 1 || len(p.Next) != 2 || p.Last <= p.Snapshot || p.LastTerm < 2 || p.Committed < p.Snapshot {
		t.Fatalf("%+v, %v", p, err)
	}
	if d.Steps() != before {
		t.Error("to inspect changed the disk")
	}
	for _, want := range []string{"stored (entry 1)", "  s3 at s3:1, votes", "to be:", "  r at r:1, does not vote", fmt.Sprintf("up to entry %d", p.Last)} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("%q is not in\n%s", want, p)
		}
	}
	for range 2 { // with the file still there it is done again
		w := newWords()
		n := mustOpen(t, o, w)
		if w.get("a") != "1" || w.get("b") != "2" || len(n.Peers()) != 2 {
			t.Fatalf("%v, %v", w.m, n.Peers())
		}
		mustClose(t, n)
	}
	o.Recover = nil
	w := newWords()
	n := mustOpen(t, o, w)
	mustPut(t, n, "c=3")
	if w.get("b") != "2" || len(n.Peers()) != 2 {
		t.Fatalf("%v, %v", w.m, n.Peers())
	}
	mustClose(t, n)
}

func TestRecoverRefuses(t *testing.T) {
	d := orphan(t)
	for name, c := range map[string]struct {
		dir   string
		peers []Peer
		want  string
	}{
		"not itself": {"/data/raft", []Peer{{ID: "s2", Address: "s2:1", Voter: true}}, "s1, is not among them"},
		"no voter":   {"/data/raft", []Peer{{ID: "s1", Address: "s1:1"}}, "none of them votes"},
		"twice":      {"/data/raft", []Peer{{ID: "s1", Address: "s1:1", Voter: true}, {ID: "s1", Address: "x:1"}}, "twice"},
		"no address": {"/data/raft", []Peer{{ID: "s1", Voter: true}}, "needs an id and an address"},
		"nothing":    {"/data/new", []Peer{{ID: "s1", Address: "s1:1", Voter: true}}, "it is empty"},
	} {
		o := recovering(d, "s1")
		o.Dir, o.Recover = c.dir, c.peers
		if _, err := Inspect(o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Open(o, newWords()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPowerCutWhileRecovering: afterwards the servers are the old or the new ones, nothing is missing, and to do it
// again does it.
func TestPowerCutWhileRecovering(t *testing.T) {
	original := orphan(t)
	id := "s1"
	for at := 0; ; at++ {
		d := powerCut(copyDisk(t, original), "killed", 0)
		o := recovering(d, id)
		o.HeartbeatTimeout = 1 << 40
		d.CutAfter(at)
		n, err := Open(o, newWords())
		if err == nil {
			_ = n.Close(context.Background())
		}
		done := err == nil && d.Steps() < at
		after := powerCut(d, []string{"strict", "torn", "killed"}[at%3], at)
		p, err := Inspect(recovering(after, id))
		if err != nil || len(p.Stored) != 3 && len(p.Stored) != 2 {
			t.Fatalf("cut after %d: %+v, %v", at, p, err)
		}
		w := newWords()
		n = mustOpen(t, recovering(after, id), w)
		if w.get("a") != "1" || w.get("b") != "2" || len(n.Peers()) != 2 {
			t.Fatalf("cut after %d: %v, %v", at, w.m, n.Peers())
		}
		if _, err := n.Propose(context.Background(), []byte("c=3")); err != nil {
			t.Fatalf("cut after %d: %v (%d)", at, err, fault.KindOf(err))
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
