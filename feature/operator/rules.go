package operator

import (
	"cmp"
	"slices"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/roster"
)

// inTouch is how long ago a server may have heard from the leader and still count as one that can vote with it.
const inTouch = 4 * time.Second

// view is all that autopilot decides by: who is in Raft, whom gossip knows, what the servers said when they were asked
// last.
type view struct {
	self    string // ID of the leader, on which this is decided
	now     time.Time
	config  Config
	peers   []consensus.Peer
	known   []roster.Server     // of this datacenter
	said    map[string]progress // by ID; those that did not answer are missing
	mute    map[string]error    // what came instead of an answer, by ID
	health  map[string]health   // by ID
	began   time.Time           // when this leader began to look
	settled bool                // gossip had time to learn of everybody since then
	cleanup *cleanup            // a round in which dead servers go; nil: not now
}

// health is whether a server is healthy, and since when.
type health struct {
	ok    bool
	since time.Time
}

// cleanup is a round of taking dead servers out.
type cleanup struct {
	voters  int // at its start
	removed int // of them, so far
}

// step is one change to the servers in Raft, and why.
type step struct {
	consensus.Change
	node    string // name, "" if unknown
	why     string
	cleanup bool // it takes a dead server out: gossip is told that it left
}

// problem is a server that cannot be taken in.
type problem struct {
	node, why string
	err       error // what came instead of its answer; nil if it answered
}

// find returns what gossip knows of a server. Should two members have its ID, the one that lives counts.
func (v *view) find(id string) (found roster.Server, known bool) {
	for _, s := range v.known {
		if s.ID == id && (!known || s.Status == gossip.StatusAlive) {
			found, known = s, true
		}
	}
	return found, known
}

// live reports whether a server can vote now: it answered, and hears from the leader.
func (v *view) live(id string) bool {
	if id == v.self {
		return true
	}
	p, answered := v.said[id]
	return answered && p.Contact >= 0 && time.Duration(p.Contact) < inTouch
}

// survives reports whether the group can still decide when the server id votes no more.
func (v *view) survives(id string) bool {
	voters, live := 0, 0
	for _, p := range v.peers {
		if !p.Voter || p.ID == id {
			continue
		}
		voters++
		if v.live(p.ID) {
			live++
		}
	}
	return live > voters/2
}

// assess says whether a server is healthy by the rules of the configuration. leader is how far the leader's log is.
func (v *view) assess(id string, leader progress) bool {
	s, known := v.find(id)
	p, answered := v.said[id]
	return known && s.Status == gossip.StatusAlive && answered && leader.Last > 0 &&
		p.Contact >= 0 && p.Contact <= int64(v.config.LastContactThreshold) &&
		p.LastTerm == leader.LastTerm && p.Last+v.config.MaxTrailingLogs >= leader.Last
}

// tolerance is how many healthy voters may fail until no decision is possible.
func (v *view) tolerance() int {
	voters, healthy := 0, 0
	for _, p := range v.peers {
		if p.Voter {
			voters++
			if v.health[p.ID].ok {
				healthy++
			}
		}
	}
	return max(0, healthy-(voters/2+1))
}

// decide returns what may be done next, the most urgent first: each step by itself is right, but after one of them is done
// everything is to be decided anew. Done until nothing is left, Raft has the servers that gossip has. No step takes the
// leader's own vote or leaves too few live voters to decide, whatever the configuration says.
func (v *view) decide() (steps []step, problems []problem) {
	if s, known := v.find(v.self); !known || s.Status != gossip.StatusAlive {
		return nil, nil // gossip is not there yet, or on its way out: what it says of others is no ground to act
	}
	for _, p := range v.peers {
		if s, is := v.correction(p); is {
			steps = append(steps, s)
		}
	}
	add, problems := v.additions()
	steps = append(append(steps, add...), v.cleanups()...)
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(urgency(a), urgency(b)) })
	return steps, problems
}

// urgency orders steps: what left goes, who is here comes, and only then the dead make room.
func urgency(s step) int {
	switch {
	case s.cleanup:
		return 2
	case s.Verb == consensus.Transfer:
		return 3
	case s.Verb == consensus.Remove:
		return 0
	}
	return 1
}

// correction is what gossip says differently of a server in Raft.
func (v *view) correction(p consensus.Peer) (step, bool) {
	s, known := v.find(p.ID)
	do := func(verb consensus.Verb, why string) (step, bool) {
		return step{Change: consensus.Change{Verb: verb, ID: p.ID, Address: s.Address}, node: s.Node, why: why}, true
	}
	switch {
	case !known:
	case s.Status == gossip.StatusLeft && p.ID != v.self:
		if !p.Voter || v.survives(p.ID) {
			return do(consensus.Remove, "it left")
		}
	case s.Status != gossip.StatusAlive:
	case s.Address != p.Address && v.free(s.Address):
		if p.Voter {
			return do(consensus.AddVoter, "it has a new address")
		}
		return do(consensus.AddNonvoter, "it has a new address")
	case !p.Voter && s.Voter && v.stable(p.ID):
		return do(consensus.AddVoter, "it is stable")
	case p.Voter && !s.Voter && p.ID == v.self:
		if v.another() {
			return step{Change: consensus.Change{Verb: consensus.Transfer}, node: s.Node, why: "this server is a read replica, which shall not vote"}, true
		}
	case p.Voter && !s.Voter && v.survives(p.ID):
		return do(consensus.Demote, "it is a read replica, which shall not vote")
	}
	return step{}, false
}

// free reports whether no server in Raft has the address.
func (v *view) free(address string) bool {
	return !slices.ContainsFunc(v.peers, func(p consensus.Peer) bool { return p.Address == address })
}

// another reports whether there is a healthy voter besides this leader that shall vote.
func (v *view) another() bool {
	return slices.ContainsFunc(v.peers, func(p consensus.Peer) bool {
		s, known := v.find(p.ID)
		return p.ID != v.self && p.Voter && known && s.Voter && v.health[p.ID].ok
	})
}

// stable reports whether a server was healthy for long enough. A leader that has not looked for so long itself takes what
// it sees: else the servers of a new cluster would wait for their votes.
func (v *view) stable(id string) bool {
	h, wait := v.health[id], time.Duration(v.config.ServerStabilizationTime)
	return h.ok && (v.now.Sub(v.began) < wait || v.now.Sub(h.since) >= wait)
}

// additions are the servers that gossip knows and Raft does not, and those in whose place they came.
func (v *view) additions() (steps []step, problems []problem) {
	inRaft := func(id string) bool {
		return slices.ContainsFunc(v.peers, func(p consensus.Peer) bool { return p.ID == id })
	}
	news := slices.DeleteFunc(slices.Clone(v.known), func(s roster.Server) bool {
		return s.Status != gossip.StatusAlive || s.ID == "" || inRaft(s.ID)
	})
	foreign := func(s roster.Server) bool {
		peers := v.said[s.ID].Peers
		return len(peers) > 0 && !slices.ContainsFunc(peers, inRaft)
	}
	// One with bootstrap whose data name this leader was in this group before, and makes no other.
	alone := func(s roster.Server) bool { return s.Bootstrap && !slices.Contains(v.said[s.ID].Peers, v.self) }
	rival := slices.IndexFunc(news, func(s roster.Server) bool { return alone(s) || foreign(s) })
	for _, s := range news {
		said, answered := v.said[s.ID]
		switch {
		case !answered:
			problems = append(problems, problem{node: s.Node, why: "its server port gives no answer", err: v.mute[s.ID]})
		case alone(s):
			problems = append(problems, problem{node: s.Node, why: "it was started with bootstrap, so it is a cluster of its own; start it without"})
		case foreign(s):
			problems = append(problems, problem{node: s.Node, why: "its data directory is of another cluster; stop it, move its raft directory away, start it again"})
		case rival >= 0 && len(said.Peers) == 0: // its leader, too, would take it
			problems = append(problems, problem{node: s.Node, why: "there is another cluster in this pool, that of server " + news[rival].Node + ": stop that first"})
		case v.free(s.Address):
			steps = append(steps, step{Change: consensus.Change{Verb: consensus.AddNonvoter, ID: s.ID, Address: s.Address}, node: s.Node, why: "it is new"})
		default:
			i := slices.IndexFunc(v.peers, func(p consensus.Peer) bool { return p.Address == s.Address })
			old := v.peers[i]
			// Whoever is now at that address, it is not the old server; if that lives, its new address is stored first.
			if now, known := v.find(old.ID); known && now.Status == gossip.StatusAlive || old.ID == v.self || old.Voter && !v.survives(old.ID) {
				problems = append(problems, problem{node: s.Node, why: "its address " + s.Address + " is stored for server " + old.ID})
				continue
			}
			steps = append(steps, step{Change: consensus.Change{Verb: consensus.Remove, ID: old.ID}, why: "server " + s.Node + " has its address now"})
		}
	}
	return steps, problems
}

// cleanups are the dead servers that may go now: those that failed and do not answer either, and those that gossip has
// forgotten. As many voters stay as min_quorum says, and fewer than half of them go in one round.
func (v *view) cleanups() (steps []step) {
	if v.cleanup == nil || !v.config.CleanupDeadServers {
		return nil
	}
	voters := 0
	for _, p := range v.peers {
		if p.Voter {
			voters++
		}
	}
	enough := uint64(voters) > v.config.MinQuorum && v.cleanup.removed < (v.cleanup.voters-1)/2
	for _, p := range v.peers {
		s, known := v.find(p.ID)
		why := "it failed"
		switch {
		case p.ID == v.self || v.live(p.ID) || known && s.Status != gossip.StatusFailed || !known && !v.settled:
			continue
		case !known:
			why = "gossip does not know it"
		}
		if !p.Voter || enough && v.survives(p.ID) {
			steps = append(steps, step{Change: consensus.Change{Verb: consensus.Remove, ID: p.ID}, node: s.Node, why: why, cleanup: true})
		}
	}
	return steps
}

// done notes that a step was carried out.
func (v *view) done(s step) {
	if s.cleanup && v.cleanup != nil && slices.ContainsFunc(v.peers, func(p consensus.Peer) bool { return p.ID == s.ID && p.Voter }) {
		v.cleanup.removed++
	}
}
