package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"rostra/kit/fault"
)

// Peer is one server of the cluster.
type Peer struct {
	ID, Address   string
	Voter, Leader bool
}

// Counters count since the process started.
type Counters struct {
	Commands  uint64 // proposed and packed
	Entries   uint64 // written to the log
	Appends   uint64 // of one or more entries
	Syncs     uint64 // fsyncs of the log's files: Commands/Syncs is the number of writes per fsync
	Snapshots uint64
}

// Counters returns the counters.
func (n *Node) Counters() Counters {
	return Counters{Commands: n.packer.commands.Load(), Entries: n.log.entries.Load(), Appends: n.log.appends.Load(),
		Syncs: n.log.syncs.Load(), Snapshots: n.cut.Load()}
}

// Leader returns the id and address of the leader as far as this server knows, empty if it knows none.
func (n *Node) Leader() (id, address string) {
	addr, sid := n.raft.LeaderWithID()
	return string(sid), string(addr)
}

// LeaderChanged returns a channel that holds a value when Leader has changed since the last receive. One goroutine may read.
func (n *Node) LeaderChanged() <-chan struct{} { return n.leaders }

// noteLeader is a filter of Raft's observations that lets none through: what it needs to tell is only that there was one.
func (n *Node) noteLeader(o *raft.Observation) bool {
	if _, is := o.Data.(raft.LeaderObservation); is {
		select {
		case n.leaders <- struct{}{}:
		default:
		}
	}
	return false
}

// State returns "Leader", "Follower", "Candidate" or "Shutdown".
func (n *Node) State() string { return n.raft.State().String() }

// Term returns Raft's current term.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// LastContact returns when this server last heard the leader; it means nothing on the leader itself.
func (n *Node) LastContact() time.Time { return n.raft.LastContact() }

// Peers returns the servers of the cluster, this one among them.
func (n *Node) Peers() []Peer {
	leader, _ := n.Leader()
	var out []Peer
	for _, s := range n.servers() {
		out = append(out, Peer{string(s.ID), string(s.Address), s.Suffrage == raft.Voter, string(s.ID) == leader})
	}
	return out
}

// Voters returns how many servers vote.
func (n *Node) Voters() (count int) {
	for _, s := range n.servers() {
		if s.Suffrage == raft.Voter {
			count++
		}
	}
	return count
}

// Stats returns Raft's own account of itself, with the keys that /v1/agent/self shows under Stats.raft.
func (n *Node) Stats() map[string]string { return n.raft.Stats() }

// Snapshot cuts a snapshot now and removes the log before it. Writers go on meanwhile.
func (n *Node) Snapshot(ctx context.Context) error {
	return n.await(ctx, n.snapshot)
}

func (n *Node) snapshot() error {
	n.snapping <- struct{}{}
	defer func() { <-n.snapping }()
	trailing := n.log.trailing(n.opts.TrailingBytes)
	if err := n.reload(func(c *raft.ReloadableConfig) { c.TrailingLogs = trailing }); err != nil {
		return err
	}
	err := n.raft.Snapshot().Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot cut a snapshot: %w", err)
	}
	n.cut.Add(1)
	return nil
}

// reload changes Raft's configuration.
func (n *Node) reload(change func(*raft.ReloadableConfig)) error {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	c := n.raft.ReloadableConfig()
	change(&c)
	return n.raft.ReloadConfig(c)
}

// SnapshotInfo says what a snapshot holds.
type SnapshotInfo struct {
	Index, Term uint64 // of the last entry in it
	Size        int64  // bytes of the Image
}

// OpenSnapshot opens the newest snapshot, for whoever wants to copy it; the caller closes it. Reading ends with an error
// instead of io.EOF if the bytes are damaged. Without any snapshot it is a fault of kind NotFound.
func (n *Node) OpenSnapshot() (SnapshotInfo, io.ReadCloser, error) {
	list, err := n.snapshots.List()
	if err != nil {
		return SnapshotInfo{}, nil, err
	}
	if len(list) == 0 {
		return SnapshotInfo{}, nil, fault.New(fault.NotFound, "there is no snapshot yet")
	}
	meta, r, err := n.snapshots.Open(list[0].ID)
	if err != nil {
		return SnapshotInfo{}, nil, err
	}
	return SnapshotInfo{meta.Index, meta.Term, meta.Size}, r, nil
}

// retrySnapshot is the pause after a snapshot that could not be written.
const retrySnapshot = 30 * time.Second

// cutWhenFull cuts a snapshot when the fsm says that one is due.
func (n *Node) cutWhenFull(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.full:
		}
		if err := n.Snapshot(ctx); err != nil && ctx.Err() == nil {
			n.opts.Logger.Error("cannot cut a snapshot; the log grows", "error", err, "again in", retrySnapshot)
			select {
			case <-ctx.Done():
				return
			case <-time.After(retrySnapshot):
			}
		}
	}
}
