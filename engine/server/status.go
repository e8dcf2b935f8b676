package server

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"rostra/engine/consensus"
)

// counters count since the process started.
type counters struct {
	commands    atomic.Uint64 // run, also at replay
	entries     atomic.Uint64 // log entries they came in
	evaluations atomic.Uint64 // of shared Queries
	blocking    atomic.Int64  // requests parked now
	compared    atomic.Uint64 // times this state was found to be the leader's
}

// Peers returns the stored configuration, and the leader's ID: "" while there is none or the state is not whole.
func (s *Server) Peers() (leader string, all []consensus.Peer) {
	if leader, _ = s.node.Leader(); leader == s.opts.ID && s.ready.Load() == nil {
		leader = ""
	}
	return leader, s.node.Peers()
}

// Change adds or removes a server, or moves leadership to it.
func (s *Server) Change(ctx context.Context, c consensus.Change) error { return s.node.Change(ctx, c) }

// Progress returns how far this server is.
func (s *Server) Progress() consensus.Progress { return s.node.Progress() }

// Counters returns what this server has counted since its start, and how many queries are parked now. Commands divided
// by syncs is the number of writes per fsync.
func (s *Server) Counters() map[string]uint64 {
	c := s.node.Counters()
	return map[string]uint64{
		"commands": c.Commands, "entries": c.Entries, "appends": c.Appends, "syncs": c.Syncs, "snapshots": c.Snapshots,
		"applied_commands": s.stats.commands.Load(), "applied_entries": s.stats.entries.Load(),
		"evaluations": s.stats.evaluations.Load(), "blocking_queries": uint64(s.stats.blocking.Load()),
		"compared_states": s.stats.compared.Load(), "requests_over_limit": s.limits.over.Load(), "index": s.store.Index(),
	}
}

// Stats returns the sections "consul" and "raft" of info.
func (s *Server) Stats() map[string]map[string]string {
	raft := s.node.Stats()
	_, leader := s.node.Leader()
	datacenters := 1
	if s.host != nil && s.host.Roster != nil {
		datacenters = len(s.host.Roster.Datacenters())
	}
	return map[string]map[string]string{
		"raft": raft,
		"consul": {"acl": "disabled", "bootstrap": strconv.FormatBool(len(s.node.Peers()) <= 1), "known_datacenters": strconv.Itoa(datacenters),
			"leader": strconv.FormatBool(s.ready.Load() != nil), "leader_addr": leader, "server": "true"},
	}
}

// lastContact is zero on the leader; else the time since the leader was last heard of.
func (s *Server) lastContact() time.Duration {
	if s.ready.Load() != nil {
		return 0
	}
	at := s.node.LastContact()
	if at.IsZero() {
		return 0
	}
	return time.Since(at)
}
