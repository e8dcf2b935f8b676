package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"rostra/kit/fault"
)

// Verb says what a Change does.
type Verb uint8

// The verbs of a Change.
const (
	// AddVoter adds a server that votes, or lets one that is there vote, or stores its new address. A new one counts for
	// the majority at once, so it is added with AddNonvoter first and given the vote when its log is there.
	AddVoter    Verb = iota
	AddNonvoter      // adds a server that only follows, or stores a server's new address
	Demote           // takes a server's vote
	Remove           // takes a server out; if it is the leader, an election follows, so Transfer first
	Transfer         // moves leadership to the server, with ID "" to the one that is furthest
)

// Change alters the group of servers. Only the leader can.
type Change struct {
	Verb    Verb
	ID      string
	Address string // with AddVoter and AddNonvoter
}

// Progress is how far a server is.
type Progress struct {
	Term        uint64
	Last        uint64        // index of the newest entry in its log
	LastTerm    uint64        // that entry's term
	Commit      uint64        // index of the newest entry it knows to be committed
	Applied     uint64        // index of the newest entry that was handed to its state; it may still be at work on it
	Configured  uint64        // index of the entry that made the servers what they are
	LastContact time.Duration // since it last heard from the leader; 0 on the leader; -1 if never
}

// Change carries out a change and returns once it is committed, or leadership has moved. On a server that does not lead
// it is a fault.NotApplied or fault.NoLeader, what cannot be done is a fault.Refused, and fault.Unknown if leadership was
// lost on the way.
func (n *Node) Change(ctx context.Context, c Change) error {
	if n.raft.State() != raft.Leader {
		return n.refusal(raft.ErrNotLeader)
	}
	servers := n.servers()
	at := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == c.ID })
	if at < 0 && c.Verb != AddVoter && c.Verb != AddNonvoter && !(c.Verb == Transfer && c.ID == "") {
		return fault.New(fault.Refused, "id %q was not found in the Raft configuration", c.ID)
	}
	if err := n.possible(c, servers); err != nil {
		return err
	}
	return n.await(ctx, func() error {
		if c.Verb == Transfer {
			return n.transfer(servers, c.ID)
		}
		return n.refusal(n.change(ctx, c, 0).Error())
	})
}

// possible refuses what Raft would refuse without a word about whether it happened.
func (n *Node) possible(c Change, servers []raft.Server) error {
	voters := 0
	for _, s := range servers {
		if string(s.ID) != c.ID && s.Suffrage == raft.Voter {
			voters++
		}
		if (c.Verb == AddVoter || c.Verb == AddNonvoter) && string(s.ID) != c.ID && string(s.Address) == c.Address {
			return fault.New(fault.Refused, "cannot add server %s: its address %s belongs to server %s", c.ID, c.Address, s.ID)
		}
	}
	switch {
	case c.Verb > Transfer:
		return fault.New(fault.Invalid, "cannot change the servers: there is no change %d", c.Verb)
	case (c.Verb == AddVoter || c.Verb == AddNonvoter) && (c.ID == "" || c.Address == ""):
		return fault.New(fault.Invalid, "cannot add the server %q at %q: it needs an id and an address", c.ID, c.Address)
	case (c.Verb == Demote || c.Verb == Remove) && voters == 0:
		return fault.New(fault.Refused, "cannot take out server %s: no other server votes", c.ID)
	}
	return nil
}

// change hands a change of the configuration to Raft; index, if not 0, is that of the only configuration it is meant for.
func (n *Node) change(ctx context.Context, c Change, index uint64) raft.Future {
	id, address := raft.ServerID(c.ID), raft.ServerAddress(c.Address)
	wait := time.Duration(0)
	if d, ok := ctx.Deadline(); ok {
		wait = max(time.Until(d), time.Nanosecond) // Raft takes 0 for ever
	}
	switch c.Verb {
	case AddVoter:
		return n.raft.AddVoter(id, address, index, wait)
	case AddNonvoter:
		return n.raft.AddNonvoter(id, address, index, wait)
	case Demote:
		return n.raft.DemoteVoter(id, index, wait)
	default:
		return n.raft.RemoveServer(id, index, wait)
	}
}

// transfer hands leadership to a server that answers. Raft would also try one that does not, or has no vote, and then
// refuse writes until it has given up.
func (n *Node) transfer(servers []raft.Server, id string) error {
	if id == n.opts.ID {
		return nil
	}
	var best raft.Server
	// A leader that has just begun has heard of nobody yet.
	for begin := time.Now(); ; {
		var err error
		if best, err = n.successor(servers, id); err == nil {
			break
		} else if time.Since(begin) > n.opts.HeartbeatTimeout {
			return err
		}
		select {
		case <-n.stopping:
			return fault.New(fault.NotApplied, stoppingText)
		case <-time.After(10 * time.Millisecond):
		}
	}
	err := n.raft.LeadershipTransferToServer(best.ID, best.Address).Error()
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return n.refusal(err)
	case err != nil:
		return fmt.Errorf("cannot transfer leadership to server %s: %w", best.ID, err)
	}
	return nil
}

// successor returns the server to transfer leadership to: the one with this id, or the one whose log is longest.
func (n *Node) successor(servers []raft.Server, id string) (best raft.Server, err error) {
	err = fault.New(fault.Refused, "cannot find peer")
	longest := uint64(0)
	for _, s := range servers {
		if n.isSelf(s) || id != "" && string(s.ID) != id || id == "" && s.Suffrage != raft.Voter {
			continue
		}
		heard, last := n.contact(string(s.ID))
		switch {
		case s.Suffrage != raft.Voter:
			err = fault.New(fault.Refused, "cannot transfer leadership to server %s: it has no vote", s.ID)
		case time.Since(heard) > n.opts.HeartbeatTimeout:
			if best.ID == "" {
				err = fault.New(fault.Refused, "cannot transfer leadership to server %s: it does not answer", s.ID)
			}
		case best.ID == "" || last > longest:
			best, longest, err = s, last, nil
		}
	}
	return best, err
}

func (n *Node) contact(id string) (heard time.Time, last uint64) {
	if n.transport == nil {
		return time.Time{}, 0
	}
	return n.transport.Contact(id)
}

// CorrectAddresses stores the addresses that Options.Resolve knows, and this server's own, where other ones are stored.
// What is stored only matters to servers that cannot resolve an id. Only the leader can; it does so when its term
// begins, and whoever learns that a server has moved may call it. Two servers that swapped addresses keep the old ones.
func (n *Node) CorrectAddresses(ctx context.Context) error {
	if n.raft.State() != raft.Leader {
		return n.refusal(raft.ErrNotLeader)
	}
	for _, s := range n.servers() {
		address := n.opts.Address
		if !n.isSelf(s) {
			var ok bool
			if n.opts.Resolve == nil {
				continue
			}
			if address, ok = n.opts.Resolve(string(s.ID)); !ok {
				continue
			}
		}
		c := Change{Verb: AddVoter, ID: string(s.ID), Address: address}
		if s.Suffrage != raft.Voter {
			c.Verb = AddNonvoter
		}
		current := n.raft.GetConfiguration()
		if string(s.Address) == address || n.possible(c, current.Configuration().Servers) != nil ||
			!slices.Contains(current.Configuration().Servers, s) {
			continue
		}
		if err := n.await(ctx, func() error { return n.refusal(n.change(ctx, c, current.Index()).Error()) }); err != nil {
			return err
		}
	}
	return nil
}

// Progress returns how far this server is.
func (n *Node) Progress() Progress {
	p := Progress{Term: n.raft.CurrentTerm(), Last: n.raft.LastIndex(), Commit: n.raft.CommitIndex(), Applied: n.raft.AppliedIndex(),
		Configured: n.fsm.configured.Load()}
	stats := n.raft.Stats()
	number := func(key string) uint64 { v, _ := strconv.ParseUint(stats[key], 10, 64); return v }
	p.LastTerm = number("last_log_term")
	if number("last_snapshot_index") > number("last_log_index") { // a snapshot was installed and nothing followed yet
		p.LastTerm = number("last_snapshot_term")
	}
	switch last := n.raft.LastContact(); {
	case n.raft.State() == raft.Leader:
	case last.IsZero():
		p.LastContact = -1
	default:
		p.LastContact = time.Since(last)
	}
	return p
}
