package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/engine/shelf"
	"rostra/kit/fault"
)

// fleet is a Raft, and the Door of its leader s1, without a network.
type fleet struct {
	room.Door
	mu      sync.Mutex // guards the rest
	peers   []consensus.Peer
	silent  map[string]bool // servers that do not answer
	changes []string
	refuse  func(consensus.Change) error
	config  *Config
	buried  []string
	given   func() // is called when one that does not answer is given up
}

func (g *fleet) Peers() (string, []consensus.Peer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return "s1", slices.Clone(g.peers)
}

func (g *fleet) Change(_ context.Context, c consensus.Change) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		if err := g.refuse(c); err != nil {
			return err
		}
	}
	s := step{Change: c}
	g.peers = apply(g.peers, s)
	g.changes = append(g.changes, told([]step{s}, nil))
	return nil
}

func (g *fleet) Progress() consensus.Progress { return consensus.Progress{Last: 100, LastTerm: 2} }

func (g *fleet) Call(ctx context.Context, _ room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	g.mu.Lock()
	silent := g.silent[o.Server]
	contact := int64(-1)
	if slices.ContainsFunc(g.peers, func(p consensus.Peer) bool { return p.ID == o.Server }) {
		contact = int64(50 * time.Millisecond)
	}
	g.mu.Unlock()
	if silent {
		<-ctx.Done()
		if g.given != nil {
			g.given()
		}
		return nil, room.Meta{}, ctx.Err()
	}
	return progress{Last: 99, LastTerm: 2, Contact: contact}, room.Meta{}, nil
}

func (g *fleet) Read(context.Context, room.Query, room.Options) (room.Answer, room.Meta, error) {
	return room.Answer{Value: g.config}, room.Meta{}, nil
}

func (g *fleet) Apply(_ context.Context, c room.Command, _ room.Options) (room.Result, room.Meta, error) {
	if g.config == nil {
		conf := c.(*setConfig).Config
		g.config = &conf
	}
	return true, room.Meta{}, nil
}

// did returns the changes since it was asked last.
func (g *fleet) did() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := strings.Join(g.changes, ", ")
	g.changes = nil
	return all
}

func (g *fleet) hush(id string, silent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.silent[id] = silent
}

func server(n int, status gossip.Status) roster.Server {
	return roster.Server{ID: fmt.Sprint("s", n), Node: fmt.Sprint("n", n), Datacenter: "dc1", Address: fmt.Sprintf("10.0.0.%d:8300", n),
		Voter: true, Status: status}
}

// fly runs a pilot on s1. The test is in a bubble.
func fly(t *testing.T) (g *fleet, r *roster.Roster, p *pilot, log *bytes.Buffer) {
	g = &fleet{silent: map[string]bool{}, peers: []consensus.Peer{{ID: "s1", Address: "10.0.0.1:8300", Voter: true}}}
	r = roster.Of("dc1", server(1, gossip.StatusAlive))
	log = new(bytes.Buffer)
	p = newPilot(&room.Host{Raft: g, Door: g, Roster: r, Self: room.Identity{ID: "s1"}, Log: slog.New(slog.NewTextHandler(log, nil))}, defaults())
	p.settle = func() time.Duration { return time.Minute }
	p.bury = func(node string) error { g.buried = append(g.buried, node); return nil }
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- p.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the term ended with %v", err)
		}
		if p.last != nil {
			t.Error("a server that does not lead knows how the others do")
		}
	})
	synctest.Wait()
	return g, r, p, log
}

// TestLife: servers come, get their votes, fail, leave, come back, move.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, r, p, _ := fly(t)
		alive := func(list ...int) (servers []roster.Server) {
			for _, n := range list {
				servers = append(servers, server(n, gossip.StatusAlive))
			}
			return servers
		}
		expect := func(when, want string) {
			t.Helper()
			synctest.Wait()
			if got := g.did(); got != want {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		r.Set(alive(1, 2, 3)...)
		expect("two came", "non-voter s2 10.0.0.2:8300, non-voter s3 10.0.0.3:8300")
		time.Sleep(lookPeriod)
		expect("at the first forming nobody waits", "voter s2 10.0.0.2:8300, voter s3 10.0.0.3:8300")
		time.Sleep(time.Minute)
		expect("all is quiet", "")
		r.Set(alive(1, 2, 3, 4)...)
		expect("a fourth came", "non-voter s4 10.0.0.4:8300")
		time.Sleep(10 * time.Second)
		expect("it is not stable yet", "")
		time.Sleep(2 * lookPeriod)
		expect("it is stable", "voter s4 10.0.0.4:8300")

		g.hush("s3", true)
		time.Sleep(2 * lookPeriod)
		if v, err := p.await(context.Background()); err != nil || v.health["s3"].ok || !v.health["s2"].ok || v.tolerance() != 0 {
			t.Errorf("%+v %v", v.health, err)
		}
		if c := p.counters(); c["autopilot.healthy"] != 0 || c["autopilot.added"] != 3 || c["autopilot.promoted"] != 3 {
			t.Errorf("%v", c)
		}
		r.Set(append(alive(1, 2, 4), server(3, gossip.StatusFailed))...)
		time.Sleep(cleanupPeriod + 2*lookPeriod)
		expect("it failed", "remove s3")
		if len(g.buried) != 1 || g.buried[0] != "n3" {
			t.Errorf("buried: %q", g.buried)
		}
		r.Set(append(alive(1, 2, 4), server(3, gossip.StatusLeft))...)
		time.Sleep(cleanupPeriod)
		expect("nothing is left to do", "")
		g.hush("s3", false)
		r.Set(alive(1, 2, 3, 4)...)
		time.Sleep(lookPeriod)
		expect("it is back", "non-voter s3 10.0.0.3:8300")
		time.Sleep(20 * time.Second)
		expect("and votes again", "voter s3 10.0.0.3:8300")

		r.Set(append(alive(1, 2, 3), server(4, gossip.StatusLeft))...)
		expect("one left", "remove s4")
		moved := server(2, gossip.StatusAlive)
		moved.Address = "10.0.1.2:8300"
		r.Set(append(alive(1, 3), moved, server(4, gossip.StatusLeft))...)
		expect("one moved", "voter s2 10.0.1.2:8300")
		if c := p.counters(); c["autopilot.healthy"] != 1 || c["autopilot.failure_tolerance"] != 1 || c["autopilot.removed"] != 2 || c["autopilot.moved"] != 1 {
			t.Errorf("%v", c)
		}
	})
}

// TestReturns: a dead server that comes back while it is asked is not taken out, however often it fails again.
func TestReturns(t *testing.T) {
	for _, back := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			g, r, _, _ := fly(t)
			all := []roster.Server{server(1, gossip.StatusAlive), server(2, gossip.StatusAlive), server(3, gossip.StatusAlive)}
			r.Set(all...)
			time.Sleep(30 * time.Second) // they have their votes
			g.did()
			g.mu.Lock()
			fail := func() { r.Set(all[0], all[1], server(3, gossip.StatusFailed)) }
			times := 0
			g.given = func() {
				if back && r.Servers("")[2].Status == gossip.StatusFailed {
					r.Set(all...)
					times++ // so that some time it falls in a round of cleanup
					time.AfterFunc(2*lookPeriod+time.Duration(times)*7*time.Millisecond, fail)
				}
			}
			g.mu.Unlock()
			g.hush("s3", true)
			fail()
			time.Sleep(30 * cleanupPeriod)
			if got := g.did(); (got == "") != back {
				t.Errorf("back %v: %s", back, got)
			}
		})
	}
}

// TestForgotten: who gossip does not know is not taken out before gossip had time to know it.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, r, _, _ := fly(t)
		g.mu.Lock()
		for n := 2; n <= 3; n++ {
			g.peers = append(g.peers, consensus.Peer{ID: fmt.Sprint("s", n), Address: server(n, 0).Address, Voter: true})
		}
		g.silent["s3"] = true
		g.mu.Unlock()
		r.Set(server(1, gossip.StatusAlive), server(2, gossip.StatusAlive))
		time.Sleep(time.Minute - time.Second)
		if got := g.did(); got != "" {
			t.Errorf("%s", got)
		}
		time.Sleep(2 * cleanupPeriod)
		if got := g.did(); got != "remove s3" {
			t.Errorf("%s", got)
		}
		if len(g.buried) > 0 {
			t.Errorf("%q: it has no name", g.buried)
		}
	})
}

// TestRefusedChange: what is refused does not stop the rest, and is tried again.
func TestRefusedChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, r, p, log := fly(t)
		g.mu.Lock()
		g.refuse = func(c consensus.Change) error {
			if c.ID == "s2" {
				return fault.New(fault.Refused, "no")
			}
			return nil
		}
		g.mu.Unlock()
		twin := server(4, gossip.StatusAlive)
		twin.Address = server(1, 0).Address
		r.Set(server(1, gossip.StatusAlive), server(2, gossip.StatusAlive), server(3, gossip.StatusAlive), twin)
		synctest.Wait()
		if got := g.did(); got != "non-voter s3 10.0.0.3:8300" || !strings.Contains(log.String(), `server="n2 s2"`) {
			t.Errorf("%s\n%s", got, log)
		}
		g.mu.Lock()
		g.refuse = nil
		g.mu.Unlock()
		time.Sleep(3 * lookPeriod)
		if got := g.did(); !strings.Contains(got, "non-voter s2 10.0.0.2:8300") {
			t.Errorf("%s", got)
		}
		if n := strings.Count(log.String(), "cannot take a server into Raft"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log)
		}
		if n := p.counters()["autopilot.failed"]; n != 1 {
			t.Errorf("%d failures", n)
		}
	})
}

// TestEndOfTerm: when leadership goes, so does the pilot.
func TestEndOfTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := fault.New(fault.NotApplied, "this server does not lead")
		g := &fleet{silent: map[string]bool{}, peers: []consensus.Peer{{ID: "s1", Address: "10.0.0.1:8300", Voter: true}},
			refuse: func(consensus.Change) error { return lost }}
		p := newPilot(&room.Host{Raft: g, Door: g, Roster: roster.Of("dc1", server(1, gossip.StatusAlive), server(2, gossip.StatusAlive)),
			Self: room.Identity{ID: "s1"}, Log: slog.New(slog.DiscardHandler)}, defaults())
		if err := p.run(t.Context()); !errors.Is(err, lost) {
			t.Errorf("%v", err)
		}
		if _, err := p.await(t.Context()); !fault.Is(err, fault.NoLeader) {
			t.Errorf("%v", err)
		}
	})
}

// TestRemoveByHand: a server is not removed if the rest could not decide, and a leader hands over first.
func TestRemoveByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, r, p, _ := fly(t)
		h := &room.Host{Raft: g, Roster: r, Self: room.Identity{ID: "s1"}, Shelf: new(shelf.Shelf)}
		shelf.Put(h.Shelf, p)
		g.mu.Lock()
		for n := 2; n <= 4; n++ {
			g.peers = append(g.peers, consensus.Peer{ID: fmt.Sprint("s", n), Address: server(n, 0).Address, Voter: n < 4})
		}
		g.silent["s3"] = true
		g.mu.Unlock()
		r.Set(server(1, gossip.StatusAlive), server(2, gossip.StatusAlive), server(3, gossip.StatusAlive), server(4, gossip.StatusLeaving))
		time.Sleep(2 * lookPeriod)
		g.did()
		remove := func(a removeAsk) (bool, error) {
			moved, err := a.Call(context.Background(), h)
			return moved == true, err
		}
		for _, id := range []string{"s1", "s2"} {
			if _, err := remove(removeAsk{ID: id}); err == nil ||
				err.Error() != "cannot remove server "+id+": too few of the others that vote are alive to decide without it" {
				t.Errorf("%s: %v", id, err)
			}
		}
		if moved, err := remove(removeAsk{Address: "10.0.0.4:8300"}); err != nil || moved || g.did() != "remove s4" {
			t.Errorf("a server without a vote: %t %v", moved, err)
		}
		if moved, err := remove(removeAsk{ID: "s3"}); err != nil || moved || g.did() != "remove s3" {
			t.Errorf("a silent server: %t %v", moved, err)
		}
		if moved, err := remove(removeAsk{ID: "s1"}); err != nil || !moved || g.did() != "transfer " {
			t.Errorf("the leader: %t %v", moved, err)
		}
		r.Set(server(1, gossip.StatusAlive), server(2, gossip.StatusAlive)) // or s3 would be added again
	})
}
