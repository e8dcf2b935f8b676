package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/engine/server"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

var (
	byDefault  = room.Options{}
	consistent = room.Options{Consistency: httpd.Consistent}
	stale      = room.Options{Consistency: httpd.Stale}
)

// TestEveryDoorLeadsIn: what is written through one agent or server is read through any other at once.
func TestEveryDoorLeadsIn(t *testing.T) {
	l := newLab(t, 3)
	l.leader()
	doors := []room.Door{l.agent(), l.agent()}
	for _, s := range l.servers {
		doors = append(doors, s)
	}
	for round := range 5 {
		for i, writer := range doors {
			name, what := fmt.Sprint("n", i), fmt.Sprint(i, "/", round)
			l.put(writer, name, what)
			for k, reader := range doors {
				for _, o := range []room.Options{byDefault, consistent} {
					a, meta, err := reader.Read(context.Background(), get{name}, o)
					if err != nil || a.Value != (text{what}) || !meta.KnownLeader {
						t.Errorf("written by %d, read by %d: %v, %+v, %v", i, k, a.Value, meta, err)
					}
				}
			}
		}
	}
	_, _, err := doors[0].Apply(context.Background(), &put{note{"x", "refuse"}}, room.Options{})
	if !fault.Is(err, fault.Refused) || err.Error() != "refused by rule" {
		t.Errorf("a refusal arrives as %v", err)
	}
}

// TestCalls: procedures run on the leader, on any server, or on the one that is named.
func TestCalls(t *testing.T) {
	l := newLab(t, 3)
	leader := l.leader()
	agent := l.agent()
	for _, d := range []room.Door{agent, l.servers[0], l.servers[1], l.servers[2]} {
		if got, _, err := d.Call(context.Background(), &whoami{}, room.Options{}); got != leader.id || err != nil {
			t.Errorf("by default it runs on %v (%v), the leader is %s", got, err, leader.id)
		}
		for _, s := range l.servers {
			if got, _, err := d.Call(context.Background(), &whoami{}, room.Options{Server: s.id}); got != s.id || err != nil {
				t.Errorf("asked of %s it runs on %v: %v", s.id, got, err)
			}
		}
		if _, _, err := d.Call(context.Background(), &whoami{}, room.Options{Server: "s9"}); !fault.Is(err, fault.Refused) {
			t.Errorf("asked of nobody: %v", err)
		}
		if _, _, err := d.Call(context.Background(), &whoami{}, room.Options{Datacenter: "dc9"}); !errors.Is(err, fault.ErrNoPath) && err.Error() != fault.ErrNoPath.Error() {
			t.Errorf("another datacenter: %v", err)
		}
	}
}

// TestOneSubscription: a thousand waiters on one agent cost the servers one subscription and one evaluation a change.
func TestOneSubscription(t *testing.T) {
	l := newLab(t, 1)
	l.leader()
	agent := l.agent()
	l.put(agent, "a", "1")
	first, _, err := agent.Read(context.Background(), get{"a"}, stale)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	answers := make(chan room.Answer, 1000)
	for range cap(answers) {
		all.Go(func() {
			a, _, err := agent.Read(context.Background(), get{"a"}, room.Options{Index: first.Index, Wait: time.Minute})
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	before, moved := l.servers[0].Counters()["evaluations"], agent.Moved()
	l.put(agent, "a", "2")
	all.Wait()
	close(answers)
	var shared *room.Shared
	for a := range answers {
		if a.Value != (text{"2"}) || a.Index <= first.Index || shared != nil && a.Shared != shared {
			t.Fatalf("%v at %d; all share one encoding: %v", a.Value, a.Index, a.Shared == shared)
		}
		shared = a.Shared
	}
	if n := l.servers[0].Counters()["evaluations"] - before; n > 2 {
		t.Errorf("%d evaluations", n)
	}
	if n := agent.Counters()["remote.subscriptions"]; n != 1 {
		t.Errorf("%d subscriptions", n)
	}
	if agent.Moved() == moved {
		t.Error("a live answer has changed, and Moved has not")
	}
}

// TestWatchesSurviveServers: a live answer goes on through the death of the server that gave it, never backwards, and is the
// same one while nothing has changed.
func TestWatchesSurviveServers(t *testing.T) {
	l := newLab(t, 3)
	l.leader()
	agent := l.agent()
	l.put(agent, "a", "1")
	w, err := agent.Watch(context.Background(), get{"a"}, stale)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	next := func() room.Answer {
		t.Helper()
		ctx, end := context.WithTimeout(context.Background(), 20*time.Second)
		defer end()
		a, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	l.until("the first text", func() bool { a, _ := w.Latest(); return a.Value == (text{"1"}) })
	first := next()
	server, _ := agent.choice.pick()
	streams := agent.Counters()["remote.streams"]
	for i, s := range l.servers {
		if s.id == server.ID {
			s.stop()
			l.servers = append(l.servers[:i:i], l.servers[i+1:]...)
			break
		}
	}
	l.until("a new stream", func() bool { return agent.Counters()["remote.streams"] > streams })
	l.leader()
	if a, err := w.Latest(); err != nil || a.Shared != first.Shared {
		t.Errorf("unchanged it is another answer: %v, %v", a.Value, err)
	}
	l.until("a write", func() bool {
		_, _, err := agent.Apply(context.Background(), &put{note{"a", "2"}}, room.Options{})
		return err == nil
	})
	if a := next(); a.Value != (text{"2"}) || a.Index <= first.Index {
		t.Errorf("after the change: %v at %d", a.Value, a.Index)
	}
}

// TestWithoutServers: what is known stays, with its age; a default read is an error, parked or not.
func TestWithoutServers(t *testing.T) {
	l := newLab(t, 1)
	l.leader()
	agent := l.agent()
	l.put(agent, "a", "1")
	a, meta, err := agent.Read(context.Background(), get{"a"}, stale)
	if err != nil || !meta.KnownLeader {
		t.Fatal(a, meta, err)
	}
	parked := make(chan error, 1)
	go func() {
		_, _, err := agent.Read(context.Background(), get{"a"}, room.Options{Index: a.Index, Wait: time.Minute})
		parked <- err
	}()
	l.servers[0].stop()
	if err := <-parked; !fault.Is(err, fault.NoLeader) {
		t.Errorf("the parked default read: %v", err)
	}
	b, meta, err := agent.Read(context.Background(), get{"a"}, stale)
	if err != nil || b.Shared != a.Shared || meta.KnownLeader || meta.LastContact == 0 || meta.Age == 0 {
		t.Errorf("stale: %v, %+v, %v", b.Value, meta, err)
	}
	for what, err := range map[string]error{
		"a default read":                      second(agent.Read(context.Background(), get{"a"}, byDefault)),
		"a write":                             second(agent.Apply(context.Background(), &put{note{"a", "2"}}, byDefault)),
		"a stale read of what was never seen": second(agent.Read(context.Background(), get{"b"}, stale)),
	} {
		if !fault.Is(err, fault.NoLeader) && !fault.Is(err, fault.Unknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	agent.cells.mu.Lock()
	agent.cells.byKey[key{get{"a"}, ""}].last, agent.cells.swept = time.Time{}, time.Time{}
	agent.cells.sweep()
	agent.cells.mu.Unlock()
	if b, _, err := agent.Read(context.Background(), get{"a"}, stale); err != nil || b.Shared != a.Shared {
		t.Errorf("asked again after long: %v, %v", b.Value, err)
	}
	gone := l.roster.Servers("")[0]
	gone.Status = gossip.StatusFailed
	l.roster.Set(gone) // each is tried once, and nobody waits for the hold time
	if n := agent.Stats()["consul"]["known_servers"]; n != "0" {
		t.Errorf("%s servers live", n)
	}
	tried := agent.Counters()["remote.calls"]
	if _, _, err := agent.Read(context.Background(), get{"a"}, byDefault); !errors.Is(err, ErrNoServers) {
		t.Errorf("a default read where gossip knows no living server: %v", err)
	}
	if _, _, err := agent.Apply(context.Background(), &put{note{"a", "2"}}, byDefault); !errors.Is(err, ErrNoServers) {
		t.Errorf("a write where gossip knows no living server: %v", err)
	}
	if n := agent.Counters()["remote.calls"] - tried; n != 2 {
		t.Errorf("%d calls", n)
	}
	agent.opts.Hold = time.Hour // which they do not wait for
	if _, _, err := agent.Read(context.Background(), get{"c"}, stale); !errors.Is(err, ErrNoServers) {
		t.Errorf("a stale read of what was never seen, where gossip knows no living server: %v", err)
	}
	if _, err := agent.Watch(context.Background(), get{"c"}, byDefault); !errors.Is(err, ErrNoServers) {
		t.Errorf("a watch of what was never seen, where gossip knows no living server: %v", err)
	}
	l.roster.Set()
	for _, o := range []room.Options{byDefault, stale, {Index: 7}} {
		if _, _, err := agent.Read(context.Background(), get{"c"}, o); !errors.Is(err, ErrNoServers) {
			t.Errorf("without a known server: %v", err)
		}
	}
}

func second[A, B any](_ A, _ B, err error) error { return err }

// TestChoice: an agent stays with a server that answers, leaves one that does not, and prefers those without trouble.
func TestChoice(t *testing.T) {
	l := &lab{t: t, roster: roster.Of("dc1")}
	var list []roster.Server
	for i := range 5 {
		list = append(list, roster.Server{ID: fmt.Sprint("s", i), Datacenter: "dc1", Status: 1})
	}
	l.roster.Set(list...)
	c := choice{roster: l.roster}
	first, _ := c.pick()
	for range 10 {
		if s, _ := c.pick(); s.ID != first.ID {
			t.Fatal("it changes without need")
		}
	}
	seen := map[string]bool{}
	for range 5 {
		s, _ := c.pick()
		if seen[s.ID] {
			t.Errorf("%s again, though others were not tried", s.ID)
		}
		seen[s.ID] = true
		c.failed(s)
	}
	list[0].Status, list[1].Status, list[2].Status, list[3].Status = 4, 4, 4, 3
	l.roster.Set(list...)
	if s, _ := c.pick(); s.ID != "s4" {
		t.Errorf("it asks %s, which is not alive", s.ID)
	}
	list[4].Status = 4
	l.roster.Set(list...)
	if s, is := c.pick(); !is || s.ID == "s3" {
		t.Errorf("with all failed it asks %v %v: one that left cannot answer, the others may", s.ID, is)
	}
}

// TestOwnRate: an agent makes so many calls to servers and no more (limits.rpc_rate); what it is told unasked is none of them.
func TestOwnRate(t *testing.T) {
	l := newLab(t, 1)
	l.leader()
	agent := l.agent()
	l.put(agent, "a", "1")
	agent.SetRate(0.001, 3)
	for i := range 5 {
		_, _, err := agent.Read(context.Background(), get{"a"}, byDefault)
		if i < 3 && err != nil || i >= 3 && (!fault.Is(err, fault.Busy) || fault.Status(err) != 429 || err.Error() != "RPC rate limit exceeded (limits.rpc_rate of this agent)") {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if _, _, err := agent.Apply(context.Background(), &put{note{"a", "2"}}, byDefault); !fault.Is(err, fault.Busy) {
		t.Errorf("a write: %v", err)
	}
	if n := agent.Counters()["remote.calls.exceeded"]; n != 3 {
		t.Errorf("%d are counted", n)
	}
	if a, _, err := agent.Read(context.Background(), get{"a"}, stale); err != nil || a.Value != (text{"1"}) {
		t.Errorf("a live answer: %v %v", a.Value, err)
	}
	agent.SetRate(-1, 3)
	for range 20 {
		if _, _, err := agent.Read(context.Background(), get{"a"}, byDefault); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServersRate: where one server has no room for a request another may have (limits.request_limits).
func TestServersRate(t *testing.T) {
	l := newLab(t, 3)
	l.leader()
	agent := l.agent()
	l.put(agent, "a", "1")
	for _, s := range l.servers {
		s.SetLimits(server.Limits{Mode: server.LimitsEnforcing, Read: 0.1, Write: -1}) // one at once
	}
	held := agent.choice.held()
	served := 0
	for range 6 {
		began := time.Now()
		_, _, err := agent.Read(context.Background(), get{"a"}, byDefault)
		switch {
		case err == nil:
			served++
		case !fault.Is(err, fault.Elsewhere) || fault.Status(err) != 429:
			t.Errorf("over the rate of all: %v", err)
		case time.Since(began) > time.Second:
			t.Errorf("to learn that took %v", time.Since(began))
		}
	}
	if now := agent.choice.held(); now != held {
		t.Errorf("the agent has left %s for %s", held, now)
	}
	if served != 3 {
		t.Errorf("%d of 6 reads are served by three servers with room for one each", served)
	}
}

// held is the server that an agent talks to.
func (c *choice) held() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// changer is a procedure that any server may run and that changes something.
type changer struct {
	whoami
	changes bool
}

func (c *changer) Changes() bool { return c.changes }

// TestRisk: what may have been done is asked of another as its risk allows, and if nobody answers it is unknown whether what
// changes something was done.
func TestRisk(t *testing.T) {
	l := newLab(t, 1)
	l.leader()
	agent := l.agent()
	agent.opts.Hold = 50 * time.Millisecond
	silent := fault.New(fault.Unknown, "no answer")
	for _, test := range []struct {
		what string
		risk relay.Risk
		want error
		once bool
	}{
		{"a read", relay.Harmless, fault.ErrNoLeader, false},
		{"a procedure of the leader", relay.RiskOf(&whoami{}, byDefault), silent, true},
		{"one that changes something, of the leader", relay.RiskOf(&changer{changes: true}, byDefault), silent, true},
		{"one of any server", relay.RiskOf(&whoami{}, stale), fault.ErrNoLeader, false},
		{"one of any server that changes nothing this time", relay.RiskOf(&changer{}, stale), fault.ErrNoLeader, false},
		{"one of any server that changes something", relay.RiskOf(&changer{changes: true}, stale), silent, false},
	} {
		calls := 0
		_, _, err := ask(context.Background(), agent, test.risk, func(context.Context, *relay.Client) (int, room.Meta, error) {
			calls++
			return 0, room.Meta{}, silent
		})
		if !errors.Is(err, test.want) || (calls == 1) != test.once {
			t.Errorf("%s: %v after %d calls", test.what, err, calls)
		}
	}
}

// TestSilentServerIsNotLeft: while a server is silent an agent does not leave it for another in its turn, as nobody would then
// end what that server is being asked.
func TestSilentServerIsNotLeft(t *testing.T) {
	l := newLab(t, 1)
	l.leader()
	agent := l.agent(func(r *Remote) { r.choice.least = 500 * time.Millisecond }) // and at most 1.75 s; silence is 3.5 s
	l.put(agent, "a", "1")
	l.until("a stream", func() bool { return agent.Counters()["remote.streams"] > 0 })
	l.valves[0].shut.Store(true)
	_, _, err := agent.Apply(context.Background(), &put{note{"a", "2"}}, byDefault)
	if !errors.Is(err, errSilent) {
		t.Errorf("the write to a server that went silent: %v", err)
	}
}
