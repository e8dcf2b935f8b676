package consensus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"rostra/kit/fault"
)

// Begun reports whether this server has any state: it was formed, was taken into a cluster, or has voted in one that is
// forming and will be given its log.
func (n *Node) Begun() bool { return n.raft.LastIndex() > 0 || n.raft.CurrentTerm() > 1 }

// Form writes the first configuration of a cluster whose servers are all voters, this one among them. Every one of them
// is given the same peers; they may be told at once, or some not at all. It refuses (fault.Refused) if this server has
// state, so it is harmless to try again. When it returns nil the configuration is on disk; a leader follows.
func (n *Node) Form(ctx context.Context, peers []Peer) error {
	servers, err := configuration(peers, true)
	if err == nil && !slices.ContainsFunc(servers.Servers, n.isSelf) {
		err = fault.New(fault.Invalid, "cannot form a cluster: this server, %s, is not one of its servers", n.opts.ID)
	}
	if err != nil {
		return err
	}
	return n.await(ctx, func() error {
		if n.Begun() {
			return n.alreadyBegun()
		}
		n.forming.Store(true)
		defer n.forming.Store(false)
		switch err := n.raft.BootstrapCluster(servers).Error(); {
		case errors.Is(err, raft.ErrCantBootstrap):
			return n.alreadyBegun()
		case errors.Is(err, raft.ErrRaftShutdown):
			return fault.New(fault.NotApplied, stoppingText)
		case err != nil:
			return fmt.Errorf("cannot form a cluster: %w", err)
		}
		if err := n.keepBegun(); err != nil {
			return err
		}
		n.opts.Logger.Info("a cluster is formed", "servers", len(servers.Servers))
		n.leadAtOnce()
		return nil
	})
}

func (n *Node) isSelf(s raft.Server) bool { return string(s.ID) == n.opts.ID }

func (n *Node) alreadyBegun() error {
	return fault.New(fault.Refused, "cannot form a cluster: this server has state already (term %d, log up to %d)",
		n.raft.CurrentTerm(), n.raft.LastIndex())
}

// keepBegun notes that an empty log would be a lost log from now on.
func (n *Node) keepBegun() error {
	if n.log.meta == nil {
		return nil
	}
	if err := n.log.meta.update(func(r *metaRecord) { r.Begun = true }); err != nil {
		return fmt.Errorf("cannot note that a cluster was formed: %w", err)
	}
	return nil
}

// configuration is Raft's of peers, sorted by id so that it is the same bytes on every server.
func configuration(peers []Peer, allVote bool) (raft.Configuration, error) {
	var c raft.Configuration
	ids, addresses, voters := map[string]bool{}, map[string]bool{}, 0
	for _, p := range peers {
		switch {
		case p.ID == "" || p.Address == "":
			return c, fault.New(fault.Invalid, "cannot use the server %q at %q: it needs an id and an address", p.ID, p.Address)
		case ids[p.ID]:
			return c, fault.New(fault.Invalid, "cannot use the servers: the id %s is there twice", p.ID)
		case addresses[p.Address]:
			return c, fault.New(fault.Invalid, "cannot use the servers: the address %s is there twice", p.Address)
		}
		ids[p.ID], addresses[p.Address] = true, true
		s := raft.Server{Suffrage: raft.Nonvoter, ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)}
		if allVote || p.Voter {
			s.Suffrage = raft.Voter
			voters++
		}
		c.Servers = append(c.Servers, s)
	}
	if voters == 0 {
		return c, fault.New(fault.Invalid, "cannot use the servers: none of them votes")
	}
	slices.SortFunc(c.Servers, func(a, b raft.Server) int { return cmp.Compare(a.ID, b.ID) })
	return c, nil
}

// bootstrap writes the first entry, a cluster of this one server, before Raft runs. Raft's own way refuses if the power
// went in its middle; this one only looks at whether there is an entry.
func (n *Node) bootstrap() error {
	servers := raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: raft.ServerID(n.opts.ID), Address: raft.ServerAddress(n.opts.Address)}}}
	stable := n.log.LogStore.(raft.StableStore)
	var err error
	if term, _ := stable.GetUint64(keyTerm); term == 0 { // it never goes back
		err = stable.SetUint64(keyTerm, 1)
	}
	if err == nil {
		err = n.log.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(servers)})
	}
	if err == nil {
		err = n.keepBegun()
	}
	if err != nil {
		return fmt.Errorf("cannot form a cluster of one: %w", err)
	}
	return nil
}
