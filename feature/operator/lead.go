package operator

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rostra/engine/build"
	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/engine/shelf"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// Consul's times. What gossip says of a server is acted on at once.
const (
	lookPeriod    = 2 * time.Second    // how often the leader asks the servers how they do
	askTime       = 3 * lookPeriod / 4 // how long they may take
	cleanupPeriod = 10 * time.Second   // a round of taking dead servers out
)

// pilot is autopilot: a duty of the leader. It keeps the servers in Raft in step with those in gossip and knows how they do.
type pilot struct {
	raft    room.Raft
	door    room.Door
	roster  *roster.Roster
	self    string
	log     *slog.Logger
	initial Config
	settle  func() time.Duration    // how long gossip takes to learn of everybody
	bury    func(node string) error // tells gossip that a failed server left

	done counted64

	mu   sync.Mutex    // guards the rest
	last *view         // as it was looked at last in this term, nil before; it does not change any more
	look chan struct{} // closed when last is set
}

// counted64 counts what autopilot did since the start of the process.
type counted64 struct{ added, promoted, demoted, removed, moved, failed atomic.Uint64 }

func newPilot(h *room.Host, initial Config) *pilot {
	p := &pilot{raft: h.Raft, door: h.Door, roster: h.Roster, self: h.Self.ID, log: h.Log, initial: initial, look: make(chan struct{}),
		settle: func() time.Duration { return 0 }, bury: func(string) error { return nil }}
	if h.Raft != nil && h.Roster == nil { // without gossip there is but one
		_, all := h.Raft.Peers()
		p.roster = roster.Of(h.Self.Datacenter)
		for _, one := range all {
			p.roster.Set(roster.Server{ID: one.ID, Node: h.Self.Node, Datacenter: h.Self.Datacenter, Address: one.Address, Build: build.Consul,
				Voter: true, Status: gossip.StatusAlive})
		}
	}
	if h.LAN != nil {
		p.settle = func() time.Duration { return 2 * h.LAN.Sync() }
		p.bury = func(node string) error { return h.ForceLeave(node, false) }
	}
	return p
}

// pilotOf returns the pilot of the agent.
func pilotOf(h *room.Host) (*pilot, error) {
	if p, is := shelf.Find[*pilot](h.Shelf); is {
		return p, nil
	}
	return nil, fault.New(fault.Refused, "this agent is no server")
}

// run is one term.
func (p *pilot) run(ctx context.Context) error {
	defer p.forget()
	first := &setConfig{Config: p.initial, Compare: true}
	if _, _, err := p.door.Apply(ctx, first, room.Options{}); err != nil {
		return err
	}
	t := &flight{pilot: p, began: time.Now(), health: map[string]health{}, said: map[string]string{}}
	tick := time.NewTicker(lookPeriod)
	defer tick.Stop()
	for {
		v, err := t.see(ctx)
		if err != nil {
			return err
		}
		p.remember(v)
		if err := t.steer(ctx, v); err != nil {
			return err
		}
		if err := p.rest(ctx, tick.C, v.known); err != nil {
			return err
		}
	}
}

// rest waits for the next look: until it is time, or gossip says something else of the servers than before.
func (p *pilot) rest(ctx context.Context, tick <-chan time.Time, before []roster.Server) error {
	for {
		changed := p.roster.Changed()
		if !slices.Equal(p.roster.Servers(""), before) {
			return ctx.Err()
		}
		select {
		case <-tick:
			return nil
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *pilot) remember(v *view) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		close(p.look)
	}
	p.last = v
}

func (p *pilot) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		p.last, p.look = nil, make(chan struct{})
	}
}

// await returns what was seen last. A leader that has not looked yet is about to.
func (p *pilot) await(ctx context.Context) (*view, error) {
	ctx, end := context.WithTimeout(ctx, 2*lookPeriod)
	defer end()
	for {
		p.mu.Lock()
		last, look := p.last, p.look
		p.mu.Unlock()
		if last != nil {
			return last, nil
		}
		select {
		case <-look:
		case <-ctx.Done():
			return nil, fault.ErrNoLeader
		}
	}
}

// counters are what autopilot did, and, while this server leads, how the servers do.
func (p *pilot) counters() map[string]uint64 {
	c := &p.done
	out := map[string]uint64{"autopilot.added": c.added.Load(), "autopilot.promoted": c.promoted.Load(), "autopilot.demoted": c.demoted.Load(),
		"autopilot.removed": c.removed.Load(), "autopilot.moved": c.moved.Load(), "autopilot.failed": c.failed.Load()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		out["autopilot.failure_tolerance"], out["autopilot.healthy"] = uint64(p.last.tolerance()), 1
		for _, one := range p.last.peers {
			if !p.last.health[one.ID].ok {
				out["autopilot.healthy"] = 0
			}
		}
	}
	return out
}

// flight is what a pilot knows in one term.
type flight struct {
	*pilot
	began  time.Time
	swept  time.Time // when the last round of cleanup began
	health map[string]health
	said   map[string]string // what the log has of each server that could not be dealt with, by name
}

// see looks at everything.
func (t *flight) see(ctx context.Context) (*view, error) {
	answer, _, err := t.door.Read(ctx, configQuery{}, room.Options{Consistency: httpd.Stale}) // this server's state is whole
	if err != nil {
		return nil, err
	}
	v := &view{self: t.self, config: t.initial, known: t.roster.Servers(""), began: t.began, health: map[string]health{}}
	if c := answer.Value.(*Config); c != nil {
		v.config = *c
	}
	v.said, v.mute = t.ask(ctx, v.known)
	_, v.peers = t.raft.Peers()
	v.now = time.Now()
	v.settled = v.now.Sub(t.began) >= t.settle()
	leader := v.said[t.self]
	for _, id := range ids(v.peers, v.known) {
		was, seen := t.health[id]
		if is := v.assess(id, leader); !seen || is != was.ok {
			was = health{is, v.now}
		}
		v.health[id] = was
	}
	t.health = v.health
	if v.now.Sub(t.swept) >= cleanupPeriod {
		t.swept, v.cleanup = v.now, &cleanup{}
		for _, one := range v.peers {
			if one.Voter {
				v.cleanup.voters++
			}
		}
	}
	return v, nil
}

// ids returns the servers' IDs, each once.
func ids(peers []consensus.Peer, known []roster.Server) (list []string) {
	for _, p := range peers {
		list = append(list, p.ID)
	}
	for _, s := range known {
		if s.ID != "" {
			list = append(list, s.ID)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// ask asks all servers how far they are, those too that failed in gossip's eyes: it may be mistaken. Who left and is not in
// Raft has nothing to say. Who does not answer is in mute, with the reason.
func (t *flight) ask(ctx context.Context, known []roster.Server) (said map[string]progress, mute map[string]error) {
	_, peers := t.raft.Peers()
	own := ownProgress(t.raft)
	own.Contact = 0
	said, mute = map[string]progress{t.self: own}, map[string]error{}
	ctx, end := context.WithTimeout(ctx, askTime)
	defer end()
	var mu sync.Mutex // guards both maps
	var wait sync.WaitGroup
	here := slices.DeleteFunc(slices.Clone(known), func(s roster.Server) bool { return s.Status == gossip.StatusLeft })
	for _, id := range ids(peers, here) {
		if id == t.self {
			continue
		}
		wait.Go(func() {
			result, _, err := t.door.Call(ctx, &progressAsk{}, room.Options{Server: id})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				mute[id] = err // it shows as unhealthy
				return
			}
			said[id] = result.(progress)
		})
	}
	wait.Wait()
	return said, mute
}

// steer does what is to be done, one step after the other. A step that fails is tried again at the next look.
func (t *flight) steer(ctx context.Context, seen *view) error {
	v := *seen
	failed := map[consensus.Change]bool{}
	for ctx.Err() == nil {
		steps, problems := v.decide()
		t.complain(problems)
		i := slices.IndexFunc(steps, func(s step) bool { return !failed[s.Change] })
		if i < 0 {
			return nil
		}
		s := steps[i]
		if s.cleanup && t.returned(s.ID) {
			failed[s.Change] = true
			continue
		}
		err := t.take(ctx, s)
		switch {
		case fault.Is(err, fault.NotApplied), fault.Is(err, fault.NoLeader), fault.Is(err, fault.Unknown):
			return err // this server leads no more
		case err != nil:
			failed[s.Change] = true
			t.done.failed.Add(1)
			t.log.Warn("cannot change the servers in Raft; it is tried again", "change", s.name(), "server", s.title(), "why", s.why, "error", err)
		case s.Verb == consensus.Transfer:
			return nil // the term ends
		default:
			v.done(s)
		}
		_, v.peers = t.raft.Peers()
		now := v
		t.remember(&now)
	}
	return ctx.Err()
}

// returned reports whether a server that was dead lives by now: to ask who does not answer takes seconds, and taking out who is
// back would take its services and sessions out of the catalog.
func (t *flight) returned(id string) bool {
	return slices.ContainsFunc(t.roster.Servers(""), func(s roster.Server) bool { return s.ID == id && s.Status == gossip.StatusAlive })
}

// take carries one step out.
func (t *flight) take(ctx context.Context, s step) error {
	_, before := t.raft.Peers()
	if err := t.raft.Change(ctx, s.Change); err != nil {
		return err
	}
	t.log.Info("the servers in Raft were changed", "change", s.name(), "server", s.title(), "why", s.why)
	voted := slices.ContainsFunc(before, func(p consensus.Peer) bool { return p.ID == s.ID && p.Voter })
	switch {
	case s.Verb == consensus.AddVoter && !voted:
		t.done.promoted.Add(1)
	case s.Verb == consensus.AddNonvoter && !slices.ContainsFunc(before, func(p consensus.Peer) bool { return p.ID == s.ID }):
		t.done.added.Add(1)
	case s.Verb == consensus.Demote:
		t.done.demoted.Add(1)
	case s.Verb == consensus.Remove:
		t.done.removed.Add(1)
	default:
		t.done.moved.Add(1)
	}
	if s.cleanup && s.node != "" {
		if err := t.bury(s.node); err != nil {
			t.log.Warn("cannot tell gossip that a dead server left", "server", s.node, "error", err)
		}
	}
	return nil
}

// complain logs each problem once, until it is gone.
func (t *flight) complain(problems []problem) {
	still := map[string]string{}
	for _, one := range problems {
		still[one.node] = one.why
		if t.said[one.node] == one.why {
			continue
		}
		more := []any{"server", one.node, "reason", one.why}
		if one.err != nil {
			more = append(more, "error", one.err)
		}
		t.log.Warn("cannot take a server into Raft", more...)
	}
	t.said = still
}

func (s step) title() string {
	return strings.TrimSpace(s.node + " " + s.ID)
}

// name is the verb for the log.
func (s step) name() string {
	return [...]string{"voter", "non-voter", "demote", "remove", "transfer"}[s.Verb]
}
