package consensus

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
)

// Plan is what Options.Recover would do to what is stored.
type Plan struct {
	Stored    []Peer // the servers of the newest configuration, in the log or a snapshot
	At        uint64 // its index in the log
	Next      []Peer // the servers that would replace them
	Last      uint64 // index of the newest entry, in the log or a snapshot: all up to it would count as committed
	LastTerm  uint64 // that entry's term
	Snapshot  uint64 // index of the newest snapshot, 0 if there is none
	Committed uint64 // up to here entries are known to be committed; those after it perhaps never were
}

// String is the plan for the operator, in several lines.
func (p Plan) String() string {
	var b strings.Builder
	list := func(title string, peers []Peer) {
		fmt.Fprintf(&b, "%s\n", title)
		for _, s := range peers {
			vote := "votes"
			if !s.Voter {
				vote = "does not vote"
			}
			fmt.Fprintf(&b, "  %s at %s, %s\n", s.ID, s.Address, vote)
		}
	}
	list(fmt.Sprintf("stored (entry %d):", p.At), p.Stored)
	list("to be:", p.Next)
	fmt.Fprintf(&b, "state: up to entry %d of term %d, snapshot at %d, known to be committed up to %d\n",
		p.Last, p.LastTerm, p.Snapshot, p.Committed)
	return b.String()
}

// Inspect returns what Open with o.Recover would do, and does none of it. The log must not be open.
func Inspect(o Options) (Plan, error) {
	if err := o.fill(); err != nil {
		return Plan{}, err
	}
	n, err := newNode(&o, nil)
	if err != nil {
		return Plan{}, err
	}
	plan, err := n.plan()
	return plan, errors.Join(err, n.log.close())
}

// plan looks at what is stored; the log must have been reconciled.
func (n *Node) plan() (Plan, error) {
	const refused = "cannot replace the servers in the log of %s: "
	servers, err := configuration(n.opts.Recover, false)
	if err != nil {
		return Plan{}, err
	}
	if !slices.ContainsFunc(servers.Servers, n.isSelf) {
		return Plan{}, fmt.Errorf(refused+"this server, %s, is not among them", n.opts.Dir, n.opts.ID)
	}
	p := Plan{Next: peersOf(servers)}
	snapshots, err := n.snapshots.List()
	if err != nil {
		return p, err
	}
	stored := raft.Configuration{}
	if len(snapshots) > 0 {
		s := snapshots[0]
		stored, p.At, p.Snapshot, p.Last, p.LastTerm = s.Configuration, s.ConfigurationIndex, s.Index, s.Index, s.Term
	}
	_, last, err := n.log.span()
	if err != nil {
		return p, err
	}
	n.log.opening.Store(true)
	defer n.log.opening.Store(false)
	for i := p.Snapshot + 1; i <= last; i++ {
		var l raft.Log
		if err := n.log.entry(i, &l); err != nil {
			return p, fmt.Errorf("cannot read log entry %d: %w", i, err)
		}
		if l.Type == raft.LogConfiguration {
			stored, p.At = raft.DecodeConfiguration(l.Data), i
		}
		p.Last, p.LastTerm = l.Index, l.Term
	}
	if p.Last == 0 {
		return p, fmt.Errorf(refused+"it is empty; a new server is added by the leader", n.opts.Dir)
	}
	if n.log.meta != nil {
		p.Committed = max(p.Snapshot, n.log.meta.record().Reached)
	}
	p.Stored = peersOf(stored)
	return p, nil
}

func peersOf(c raft.Configuration) []Peer {
	var out []Peer
	for _, s := range c.Servers {
		out = append(out, Peer{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return out
}

// recover replaces the stored configuration by Options.Recover. An entry in the log could contradict that of another
// server, so the configuration goes into a snapshot of everything there is, and the log, which has the old one, goes
// after it. Cut short by a power loss it is the whole work that is done again, or none of it.
func (n *Node) recover() error {
	p, err := n.plan()
	if err != nil {
		return err
	}
	if err := n.replay(p); err != nil {
		return fmt.Errorf("cannot replace the servers in the log of %s: %w", n.opts.Dir, err)
	}
	servers, err := configuration(n.opts.Recover, false)
	if err != nil {
		return err
	}
	image, err := n.fsm.Snapshot()
	if err != nil {
		return fmt.Errorf("cannot capture the state: %w", err)
	}
	defer image.Release()
	// Raft's own recovery, too, says that the configuration is of entry 1: it is older than any that comes.
	sink, err := n.snapshots.Create(raft.SnapshotVersionMax, p.Last, p.LastTerm, servers, 1, nil)
	n.fsm.configured.Store(1)
	if err == nil {
		err = image.Persist(sink)
	}
	if err != nil {
		return fmt.Errorf("cannot write the snapshot with the new servers: %w", err)
	}
	first, last, err := n.log.span()
	if err == nil && last > 0 {
		err = n.log.DeleteRange(first, last)
	}
	if err != nil {
		return fmt.Errorf("cannot remove the log before the snapshot with the new servers: %w", err)
	}
	n.opts.Logger.Warn("the servers of the cluster were replaced", "dir", filepath.Clean(n.opts.Dir), "plan", p.String())
	return nil
}

// replay gives the Machine everything that is stored.
func (n *Node) replay(p Plan) error {
	if p.Snapshot > 0 {
		snapshots, err := n.snapshots.List()
		if err != nil {
			return err
		}
		_, r, err := n.snapshots.Open(snapshots[0].ID)
		if err != nil {
			return err
		}
		if err := errors.Join(n.fsm.Restore(r), r.Close()); err != nil {
			return err
		}
	}
	for i := p.Snapshot + 1; i <= p.Last; i++ {
		var l raft.Log
		if err := n.log.entry(i, &l); err != nil {
			return fmt.Errorf("cannot read log entry %d: %w", i, err)
		}
		n.fsm.Apply(&l)
		if err := n.failure(); err != nil {
			return err
		}
	}
	return nil
}
