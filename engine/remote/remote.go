// Package remote is the door of an agent without state of its own: it asks servers. Reads that need not be newer than what
// the agent knows, and repeated blocking ones, are answered from live answers that all come over one stream from one
// server, so that a thousand waiters cost it one subscription; while no server can be reached those answers stay, with
// their age. It knows no feature.
package remote

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"rostra/engine/gossip"
	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/engine/rpc"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/notice"
)

// ErrNoServers is the answer while the agent knows no server, or none that lives.
var ErrNoServers = fault.New(fault.NoLeader, "No known Consul servers")

// Options are what a remote door is made of.
type Options struct {
	Datacenter   string
	Domain       string        // DNS domain with its last dot: servers' certificates are named by it
	Hold         time.Duration // how long a request is tried with other servers (rpc_hold_timeout); default 7 s
	QueryTime    time.Duration // a blocking query's default wait; default 300 s
	MaxQueryTime time.Duration // its longest; default 600 s
	Log          *slog.Logger
	Timeout      time.Duration // how long an answer may take (limits.rpc_client_timeout); 0: as long as servers may wait
	Rate         float64       // calls to servers a second (limits.rpc_rate); 0 or below: no bound
	Burst        int           // of them at once (limits.rpc_max_burst)
}

// Remote is the door of a client agent. Create it with New and Run it.
type Remote struct {
	opts    Options
	clients *relay.Clients
	types   *relay.Types
	choice  choice
	cells   cells
	stats   counters
	limit   limit
	tie     atomic.Pointer[tie] // nil before the first stream
}

// counters count since the start.
type counters struct {
	calls, failed, exceeded, streams atomic.Uint64
}

var (
	_ room.Door    = (*Remote)(nil)
	_ room.Cluster = (*Remote)(nil)
)

// New returns a door that asks the servers in the roster over the port.
func New(o Options, types *relay.Types, port relay.Caller, servers *roster.Roster) *Remote {
	if o.Hold == 0 {
		o.Hold = 7 * time.Second
	}
	if o.QueryTime == 0 {
		o.QueryTime = 300 * time.Second
	}
	if o.MaxQueryTime == 0 {
		o.MaxQueryTime = 600 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Remote{opts: o, types: types, clients: relay.NewClients(types, port, o.Hold)}
	r.choice.roster, r.choice.least = servers, rebalanceMin
	r.cells.init()
	r.SetRate(o.Rate, o.Burst)
	r.SetTimeout(o.Timeout)
	return r
}

// limit bounds the calls that this agent makes, so that one agent cannot take the servers for itself. The one stream that
// keeps live answers current is none of them.
type limit struct {
	bucket atomic.Pointer[rate.Limiter]
	told   notice.Board
}

// SetTimeout changes how long an answer may take.
func (r *Remote) SetTimeout(d time.Duration) { r.clients.SetTimeout(d) }

// SetRate changes how many calls a second this agent makes; a rate of 0 or below does not bound them.
func (r *Remote) SetRate(a float64, burst int) {
	next := rate.NewLimiter(rate.Inf, 1)
	if a > 0 {
		next = rate.NewLimiter(rate.Limit(a), max(1, burst))
	}
	if was := r.limit.bucket.Load(); was == nil || was.Limit() != next.Limit() || was.Burst() != next.Burst() {
		r.limit.bucket.Store(next) // the same again keeps what was used of it
	}
}

func (r *Remote) admit() error {
	l := &r.limit
	if l.bucket.Load().Allow() {
		return nil
	}
	r.stats.exceeded.Add(1)
	l.told.Tell(r.opts.Log, slog.LevelWarn, "", "this agent", "a call to the servers is over the rate limit of this agent; more within a minute are only counted",
		"limit", "limits.rpc_rate", "metric", "client.rpc.exceeded")
	return fault.New(fault.Busy, "RPC rate limit exceeded (limits.rpc_rate of this agent)")
}

// Run keeps the live answers current until ctx ends.
func (r *Remote) Run(ctx context.Context) error {
	r.follow(ctx)
	r.cells.end()
	r.clients.Close()
	return nil
}

// client returns the Client of a server.
func (r *Remote) client(s roster.Server) *relay.Client {
	return r.clients.To(rpc.Target{Address: s.Address, Server: rpc.ServerName(s.Datacenter, r.opts.Domain)})
}

// firstPause and lastPause bound the rest between two tries.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// ask asks one server after the other, for as long as the hold time allows: when one surely did not get the question, or,
// as the risk allows, when it may have. A server that has no room for it is asked once, and stays the one that this agent
// talks to. Where gossip says that no server lives each is tried once, for it may be wrong.
func ask[T any](ctx context.Context, r *Remote, risk relay.Risk, one func(context.Context, *relay.Client) (T, room.Meta, error)) (T, room.Meta, error) {
	var v T
	var meta room.Meta
	if err := r.admit(); err != nil {
		return v, meta, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := time.NewTimer(r.opts.Hold)
	defer end.Stop()
	dead := 0         // tries with none alive
	var full []string // servers that are over their rate,
	var over error    // and what the last of them said
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		server, known := r.choice.pick(full...)
		switch {
		case !known && over != nil:
			return v, meta, over
		case !known:
			return v, meta, ErrNoServers
		}
		r.stats.calls.Add(1)
		var err error
		v, err = bounded(ctx, r, server, func(ctx context.Context) (v T, err error) {
			v, meta, err = one(ctx, r.client(server))
			return v, err
		})
		switch {
		case err == nil || ctx.Err() != nil:
			return v, meta, err
		case fault.Is(err, fault.Elsewhere):
			full, over = append(full, server.ID), err
			continue
		case !fault.Is(err, fault.NotApplied) && (risk == relay.Single || !fault.Is(err, fault.Unknown)):
			return v, meta, err
		}
		r.stats.failed.Add(1)
		r.choice.failed(server)
		if server.Status == gossip.StatusAlive {
			dead = 0
		} else if dead++; dead >= len(r.choice.alive()) {
			return v, meta, ErrNoServers
		}
		rest := time.NewTimer(pause)
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			return v, meta, err
		case <-end.C:
			rest.Stop()
			if risk == relay.Repeatable && fault.Is(err, fault.Unknown) {
				return v, meta, err
			}
			return v, meta, fault.ErrNoLeader
		}
	}
}

// Apply sends a Command to a server. One of unknown outcome is never sent again.
func (r *Remote) Apply(ctx context.Context, c room.Command, o room.Options) (room.Result, room.Meta, error) {
	// For all servers that may be asked, perhaps older than this agent; they encode it anew with the rules that are in use.
	raw, err := r.types.Command(c, r.choice.roster.Level(""))
	if err != nil {
		return nil, room.Meta{}, err
	}
	return ask(ctx, r, relay.Single, func(ctx context.Context, to *relay.Client) (room.Result, room.Meta, error) {
		return to.Apply(ctx, c.Name(), raw, false, o)
	})
}

// Call runs a procedure on a server. Those that any server may run can be run again, by another (room.Door).
func (r *Remote) Call(ctx context.Context, p room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	return ask(ctx, r, relay.RiskOf(p, o), func(ctx context.Context, to *relay.Client) (room.Result, room.Meta, error) {
		return to.Call(ctx, p, o)
	})
}

// Read answers a Query: from a live answer if that is new enough for what is asked, else by a server.
func (r *Remote) Read(ctx context.Context, q room.Query, o room.Options) (room.Answer, room.Meta, error) {
	if r.local(q, o) {
		return r.cells.read(ctx, r, q, o)
	}
	return ask(ctx, r, relay.Harmless, func(ctx context.Context, to *relay.Client) (room.Answer, room.Meta, error) {
		return to.Read(ctx, q, o)
	})
}

// local reports whether the agent may answer by itself (design rule 15).
func (r *Remote) local(q room.Query, o room.Options) bool {
	if o.Datacenter != "" && o.Datacenter != r.opts.Datacenter || o.Server != "" {
		return false
	}
	if _, travels := r.types.Answers(q); !travels {
		return false
	}
	switch o.Consistency {
	case httpd.Stale:
		return o.MaxStale == 0 || r.cells.age() <= o.MaxStale
	case httpd.Consistent:
		return false
	}
	return o.Index > 0 || o.Cached
}

// Watch returns a live answer.
func (r *Remote) Watch(ctx context.Context, q room.Query, o room.Options) (room.Watch, error) {
	if !r.local(q, room.Options{Consistency: httpd.Stale, Datacenter: o.Datacenter, Server: o.Server}) {
		return nil, fault.New(fault.Refused, "cannot watch another datacenter or server")
	}
	return r.cells.watch(ctx, r, q, o)
}

// Moved returns another number after any Watch may have another answer. Read it before Latest.
func (r *Remote) Moved() uint64 { return r.cells.moved.Load() }

// Archive asks a server for an archive.
func (r *Remote) Archive(ctx context.Context, o room.Options) (func(io.Writer) error, uint64, error) {
	type archive struct {
		write func(io.Writer) error
		index uint64
	}
	a, _, err := ask(ctx, r, relay.Harmless, func(_ context.Context, to *relay.Client) (a archive, m room.Meta, err error) {
		a.write, a.index, err = to.Archive(ctx, o)
		return a, m, err
	})
	return a.write, a.index, err
}

// Unarchive sends a server an archive. It can be read once, so one server is tried.
func (r *Remote) Unarchive(ctx context.Context, body io.Reader, o room.Options) error {
	server, known := r.choice.pick()
	if !known {
		return ErrNoServers
	}
	return r.client(server).Unarchive(ctx, body, o)
}

// Counters returns what this door counted since its start.
func (r *Remote) Counters() map[string]uint64 {
	return map[string]uint64{"remote.calls": r.stats.calls.Load(), "remote.calls.failed": r.stats.failed.Load(),
		"remote.calls.exceeded": r.stats.exceeded.Load(),
		"remote.streams":        r.stats.streams.Load(), "remote.subscriptions": uint64(r.cells.count())}
}

// Restored closes when an archive next replaces the state.
func (r *Remote) Restored() <-chan struct{} { return r.cells.restored() }

// Stats returns the section "consul" of info.
func (r *Remote) Stats() map[string]map[string]string {
	return map[string]map[string]string{"consul": {"acl": "disabled", "server": "false",
		"known_servers": strconv.Itoa(r.choice.living())}}
}
