package consensus

import (
	"context"
	"time"

	"rostra/kit/fault"
)

// Verb says what a Change does.
type Verb uint8

// The verbs of a Change.
const (
	AddVoter    Verb = iota // adds a server that votes, or lets one that is there vote, or stores its new address
	AddNonvoter             // adds a server that only follows
	Demote                  // takes a server's vote
	Remove                  // takes a server out
	Transfer                // moves leadership to the server, with ID "" to the one that is furthest
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
	Applied     uint64        // index of the newest entry its state contains
	LastContact time.Duration // since it last heard from the leader; 0 on the leader; -1 if never
}

// Change carries out a change and returns once it is committed. On a server that does not lead it is a fault.NotApplied.
func (n *Node) Change(ctx context.Context, c Change) error {
	return fault.New(fault.NotApplied, "not yet")
}

// Progress returns how far this server is.
func (n *Node) Progress() Progress {
	return Progress{Term: n.raft.CurrentTerm(), Last: n.raft.LastIndex(), Commit: n.raft.CommitIndex(), Applied: n.raft.AppliedIndex()}
}
