package server

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/engine/rpc"
	"rostra/kit/fault"
	"rostra/kit/metric"
)

var errUnreachable = fault.New(fault.Internal, "Remote DC has no server currently reachable")

// own reports whether what is asked with the options is this server's own affair, or its datacenter's.
func (s *Server) own(o room.Options) bool {
	return (o.Datacenter == "" || o.Datacenter == s.opts.Datacenter) && (o.Server == "" || o.Server == s.opts.ID)
}

// leader returns where the leader is, if it is another server.
func (s *Server) leader() (rpc.Target, bool) {
	id, address := s.node.Leader()
	if s.clients == nil || id == "" || id == s.opts.ID {
		return rpc.Target{}, false
	}
	return s.target(consensus.Peer{ID: id, Address: address}), true
}

// knowsLeader reports whether this server knows who leads.
func (s *Server) knowsLeader() bool {
	if s.ready.Load() != nil {
		return true
	}
	id, _ := s.node.Leader()
	return id != "" && id != s.opts.ID
}

// touchPeriod is how often a server looks whether it still is in touch with a leader.
const touchPeriod = 250 * time.Millisecond

// lostTime is how long parked default reads outlive the contact with a leader. Who holds a lock learns by their end that it
// may be lost; a session of this server's node lives longer than that.
const lostTime = 2 * time.Second

// lose sends parked default reads to ask whether there still is a leader.
func (s *Server) lose() { s.signals.give(&s.signals.lost) }

// observe wakes who waits for a leader when another server has become it, and makes this one whole.
func (s *Server) observe(ctx context.Context) {
	tick := time.NewTicker(touchPeriod)
	defer tick.Stop()
	before, touch := "", time.Now()
	for {
		if id, _ := s.node.Leader(); id != before {
			before = id
			s.succeed(id)
			s.announce()
			if id != "" && id != s.opts.ID {
				s.becomeWhole(ctx)
			}
		}
		switch {
		case s.inTouch():
			touch = time.Now()
		case !touch.IsZero() && time.Since(touch) > lostTime:
			touch = time.Time{}
			s.lose()
		}
		select {
		case <-tick.C:
		case <-s.node.LeaderChanged():
		case <-ctx.Done():
			return
		}
	}
}

// becomeWhole asks the leader once how far a whole state is: what a follower that has just started must know before it
// answers even stale reads (design rule 14). A failure does not matter: the next leader, or the next reader, asks again.
func (s *Server) becomeWhole(ctx context.Context) {
	select {
	case <-s.whole:
		return
	default:
	}
	s.rounds.work.Go(func() {
		hold := holder{limit: s.opts.Hold}
		defer hold.stop()
		_ = s.confirm(ctx, &hold)
	})
}

// reachable returns the servers that may answer what this one cannot: of another datacenter those that live, in random
// order, or the one that is named.
func (s *Server) reachable(o room.Options) ([]roster.Server, error) {
	if s.clients == nil || s.host == nil || s.host.Roster == nil {
		return nil, fault.ErrNoPath
	}
	all := s.host.Roster.Servers(o.Datacenter)
	if len(all) == 0 {
		return nil, fault.ErrNoPath
	}
	if o.Server != "" {
		i := slices.IndexFunc(all, func(one roster.Server) bool { return one.ID == o.Server })
		if i < 0 {
			return nil, fault.New(fault.Refused, "no server with the ID %q is known", o.Server)
		}
		return all[i : i+1], nil
	}
	var alive []roster.Server
	for _, one := range all {
		if one.Status == gossip.StatusAlive {
			alive = append(alive, one)
		}
	}
	if len(alive) == 0 {
		return nil, errUnreachable
	}
	rand.Shuffle(len(alive), func(i, j int) { alive[i], alive[j] = alive[j], alive[i] })
	return alive, nil
}

// elsewhereTime is how much longer than the hold time a request may take elsewhere, over all servers that are tried: less
// than what an agent grants its server, which so gets the reason and does not think ill of its server.
const elsewhereTime = 2 * time.Second

// elsewhere asks the servers that may answer, one after the other, until one does. What a server surely did not get goes to
// the next; what it may have got too, as the risk allows.
func elsewhere[T any](s *Server, ctx context.Context, o room.Options, risk relay.Risk, ask func(context.Context, *relay.Client, room.Options) (T, room.Meta, error)) (T, room.Meta, error) {
	var none T
	if o.Datacenter != "" && o.Datacenter != s.opts.Datacenter {
		s.opts.Metrics.Counter("rpc.cross-dc", metric.Label{Name: "datacenter", Value: o.Datacenter}).Inc()
	}
	servers, err := s.reachable(o)
	if err != nil {
		return none, room.Meta{}, err
	}
	o.Datacenter = servers[0].Datacenter
	limit := s.opts.Hold + elsewhereTime
	if o.Index > 0 {
		limit += o.Wait
	}
	patient, end := context.WithTimeout(ctx, limit)
	defer end()
	for _, one := range servers {
		to := s.clients.To(rpc.Target{Address: one.Address, Server: s.serverName(one.Datacenter)})
		var v T
		var meta room.Meta
		v, meta, err = ask(patient, to, o)
		if err == nil || ctx.Err() != nil || !fault.Is(err, fault.NotApplied) && !fault.Is(err, fault.Unknown) && !fault.Is(err, fault.Elsewhere) {
			return v, meta, err
		}
		if patient.Err() != nil || fault.Is(err, fault.Unknown) && risk == relay.Single {
			break
		}
	}
	if o.Datacenter == s.opts.Datacenter {
		return none, room.Meta{}, err
	}
	s.opts.Log.Debug("no server of the datacenter answers", "datacenter", o.Datacenter, "error", err)
	switch {
	case fault.Is(err, fault.Elsewhere):
	case risk == relay.Harmless || fault.Is(err, fault.NotApplied):
		err = errUnreachable
	case patient.Err() != nil || risk == relay.Repeatable:
		err = fault.New(fault.Unknown, "%s; the request may have been carried out: %s", errUnreachable, err)
	}
	return none, room.Meta{}, err
}

// archiveElsewhere asks another datacenter for its archive.
func (s *Server) archiveElsewhere(ctx context.Context, o room.Options) (func(io.Writer) error, uint64, error) {
	type archive struct {
		write func(io.Writer) error
		index uint64
	}
	a, _, err := elsewhere(s, ctx, o, relay.Harmless, func(_ context.Context, to *relay.Client, o room.Options) (a archive, m room.Meta, err error) {
		a.write, a.index, err = to.Archive(ctx, o)
		return a, m, err
	})
	return a.write, a.index, err
}

// unarchiveElsewhere sends an archive to another datacenter. It can be read once, so one server is tried.
func (s *Server) unarchiveElsewhere(ctx context.Context, r io.Reader, o room.Options) error {
	var once sync.Once
	_, _, err := elsewhere(s, ctx, o, relay.Single, func(_ context.Context, to *relay.Client, o room.Options) (n struct{}, m room.Meta, err error) {
		err = errUnreachable
		once.Do(func() { err = to.Unarchive(ctx, r, o) })
		return n, m, err
	})
	return err
}

// Propose implements relay.Door: it applies Commands of several callers.
func (s *Server) Propose(ctx context.Context, list []relay.Proposal, final bool) ([]relay.Outcome, room.Meta) {
	outs := make([]relay.Outcome, len(list))
	if !final {
		var wait sync.WaitGroup
		for i, p := range list {
			wait.Go(func() { outs[i].Result, _, outs[i].Err = s.Apply(ctx, p.Command, p.Options) })
		}
		wait.Wait()
		return outs, s.meta(s.store.Index(), room.Options{})
	}
	if err := s.awaitTurn(ctx); err != nil {
		for i := range outs {
			outs[i].Err = err
		}
		return outs, s.meta(s.store.Index(), room.Options{})
	}
	var entries [][]byte
	var at []int
	for i, p := range list {
		err := s.within(ctx, true, p.Command.Name)
		var entry []byte
		if err == nil {
			entry, err = s.encode(p.Command)
		}
		if err == nil {
			err = s.allowed(p.Command, p.Options)
		}
		if outs[i].Err = err; err == nil {
			entries, at = append(entries, entry), append(at, i)
		}
	}
	s.restoring.RLock()
	defer s.restoring.RUnlock()
	began := time.Now()
	for k, out := range s.node.ProposeAll(ctx, entries) {
		s.meters.took(list[at[k]].Command.Name(), began)
		outs[at[k]] = relay.Outcome{Result: out.Value, Err: out.Err}
	}
	return outs, s.meta(s.store.Index(), room.Options{})
}

// turnTime is how long a Command that was sent on waits for a leader that is elected but not ready.
const turnTime = time.Second

// awaitTurn waits until this server leads, if it is about to; else it refuses what was sent on to it.
func (s *Server) awaitTurn(ctx context.Context) error {
	hold := holder{limit: turnTime}
	defer hold.stop()
	for s.ready.Load() == nil {
		if id, _ := s.node.Leader(); id != s.opts.ID || !hold.pause(ctx) {
			return fault.New(fault.NotApplied, "this server does not lead")
		}
	}
	return nil
}

// Term implements relay.Group.
func (s *Server) Term() uint64 { return s.node.Term() }

// Freshness implements relay.Group.
func (s *Server) Freshness() (room.Meta, string) {
	return s.meta(s.store.Index(), room.Options{}), s.store.Lineage()
}
