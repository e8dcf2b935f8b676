package operator

import (
	"context"
	"slices"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/wire"
)

// The names of the procedures.
func (*progressAsk) Name() string { return "operator.progress" }
func (*peersAsk) Name() string    { return "operator.peers" }
func (*removeAsk) Name() string   { return "operator.remove" }
func (*transferAsk) Name() string { return "operator.transfer" }
func (*stateAsk) Name() string    { return "operator.state" }

func mayRead(d authz.Decider) error  { return authz.Require(d, authz.Operator, authz.Read, "") }
func mayWrite(d authz.Decider) error { return authz.Require(d, authz.Operator, authz.Write, "") }

// The rights they need. How far a server is tells nobody anything, and servers ask one another without a token.
func (*progressAsk) Allowed(authz.Decider) error   { return nil }
func (*peersAsk) Allowed(d authz.Decider) error    { return mayRead(d) }
func (*removeAsk) Allowed(d authz.Decider) error   { return mayWrite(d) }
func (*transferAsk) Allowed(d authz.Decider) error { return mayWrite(d) }
func (*stateAsk) Allowed(d authz.Decider) error    { return mayRead(d) }

// Call implements room.Procedure.
func (*progressAsk) Call(_ context.Context, h *room.Host) (room.Result, error) {
	return ownProgress(h.Raft), nil
}

func ownProgress(r room.Raft) progress {
	is := r.Progress()
	p := progress{Last: is.Last, LastTerm: is.LastTerm, Contact: int64(is.LastContact)}
	_, peers := r.Peers()
	for _, one := range peers {
		p.Peers = append(p.Peers, one.ID)
	}
	return p
}

// Call implements room.Procedure. Any server can answer; only the leader knows how far the others are.
func (*peersAsk) Call(_ context.Context, h *room.Host) (room.Result, error) {
	p, err := pilotOf(h)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	last := p.last
	p.mu.Unlock()
	leader, all := h.Raft.Peers()
	is := h.Raft.Progress()
	list := peerList{Index: is.Configured}
	for _, one := range all {
		line := peer{ID: one.ID, Address: one.Address, Leader: one.ID == leader, Voter: one.Voter}
		if s, known := p.roster.Find(one.ID); known {
			line.Node = s.Node
		}
		switch {
		case one.ID == h.Self.ID:
			line.Last = is.Last
		case last != nil:
			line.Last = last.said[one.ID].Last
		}
		list.Peers = append(list.Peers, line)
	}
	return list, nil
}

// Call implements room.Procedure.
func (a *removeAsk) Call(ctx context.Context, h *room.Host) (room.Result, error) {
	_, all := h.Raft.Peers()
	i := slices.IndexFunc(all, func(p consensus.Peer) bool {
		return a.ID != "" && p.ID == a.ID || a.ID == "" && p.Address == a.Address
	})
	switch {
	case i < 0 && a.ID != "":
		return nil, fault.New(fault.Refused, "id %q was not found in the Raft configuration", a.ID)
	case i < 0:
		return nil, fault.New(fault.Refused, "address %q was not found in the Raft configuration", a.Address)
	}
	p, err := pilotOf(h)
	if err != nil {
		return nil, err
	}
	v, err := p.await(ctx)
	if err != nil {
		return nil, err
	}
	now := *v
	now.peers = all
	gone := all[i]
	if gone.Voter && len(all) > 1 && !now.survives(gone.ID) {
		return nil, fault.New(fault.Refused, "cannot remove server %s: too few of the others that vote are alive to decide without it", gone.ID)
	}
	if gone.ID == h.Self.ID && len(all) > 1 {
		return true, h.Raft.Change(ctx, consensus.Change{Verb: consensus.Transfer})
	}
	return false, h.Raft.Change(ctx, consensus.Change{Verb: consensus.Remove, ID: gone.ID})
}

// Call implements room.Procedure.
func (a *transferAsk) Call(ctx context.Context, h *room.Host) (room.Result, error) {
	_, all := h.Raft.Peers()
	if a.ID != "" && !slices.ContainsFunc(all, func(p consensus.Peer) bool { return p.ID == a.ID }) {
		return nil, fault.New(fault.Refused, "Could not find address for server id %s", a.ID)
	}
	if len(all) < 2 {
		return nil, fault.New(fault.Refused, "cannot find peer")
	}
	return nil, h.Raft.Change(ctx, consensus.Change{Verb: consensus.Transfer, ID: a.ID})
}

// Call implements room.Procedure.
func (*stateAsk) Call(ctx context.Context, h *room.Host) (room.Result, error) {
	p, err := pilotOf(h)
	if err != nil {
		return nil, err
	}
	v, err := p.await(ctx)
	if err != nil {
		return nil, err
	}
	answer, _, err := h.Door.Read(ctx, catalog.NodesQuery{}, room.Options{Consistency: httpd.Stale})
	if err != nil {
		return nil, err
	}
	meta := map[string]wire.Pairs{}
	for _, n := range answer.Value.(catalog.NodeList) {
		meta[n.ID] = n.Meta
	}
	r := stateReport{Healthy: true, Tolerance: v.tolerance()}
	for _, one := range v.peers {
		line := v.line(one)
		line.Meta = meta[one.ID]
		r.Servers = append(r.Servers, line)
		r.Healthy = r.Healthy && line.Healthy
	}
	return r, nil
}

// line is how a server in Raft does.
func (v *view) line(p consensus.Peer) serverLine {
	h := v.health[p.ID]
	line := serverLine{ID: p.ID, Address: p.Address, Gossip: int(gossip.StatusNone), Leader: p.ID == v.self, Voter: p.Voter,
		Contact: int64(-1 * time.Nanosecond), Healthy: h.ok, Since: h.since.UnixNano()}
	if s, known := v.find(p.ID); known {
		line.Node, line.Gossip, line.Build, line.Replica = s.Node, int(s.Status), s.Build, !s.Voter
	}
	if said, answered := v.said[p.ID]; answered {
		line.Contact, line.Last, line.LastTerm = said.Contact, said.Last, said.LastTerm
	}
	return line
}
