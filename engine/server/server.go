// Package server is the door of an agent that holds the replicated state: it turns log entries into Commands run in the
// store, answers Queries from views, shares answers among all who ask the same, sends on what only the leader or another
// datacenter can do, and runs the features' loops while it leads. It is the consensus.Machine; it knows no feature.
package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/metric"
	"rostra/kit/store"
)

// Options are what a server is made of.
type Options struct {
	Datacenter   string
	ID           string // this server's ID in the log
	Expect       int    // form a cluster with so many servers (bootstrap_expect) if there is no state; 0 waits to be added
	Domain       string // DNS domain with its last dot: servers' certificates are named by it
	Rooms        []room.Room
	Hold         time.Duration // how long a request waits for a leader (rpc_hold_timeout); default 7 s
	QueryTime    time.Duration // a blocking query's default wait; default 300 s
	MaxQueryTime time.Duration // its longest; default 600 s
	Log          *slog.Logger
	History      store.Limits
	Lineage      func() string // makes the identity of a new history; a random UUID
	Metrics      *metric.Registry
	Dir          string // where an archive is unpacked before it replaces the state; "" in memory
	Limits       Limits
	Timeout      time.Duration // how long an answer of another server may take (limits.rpc_client_timeout); 0: as long as it may wait
}

// Server is the door and the state machine of one server. Create it with New, hand it to consensus.Open as the Machine,
// Attach the node that gives and Run it.
type Server struct {
	opts    Options
	rules   rules
	types   *relay.Types
	store   *store.Store
	node    *consensus.Node
	host    *room.Host
	clients *relay.Clients // of other servers; nil on a lone one
	answers answers
	rounds  rounds
	views   views
	marks   marks

	ready atomic.Pointer[term] // the term in which this server leads and its state is whole; nil otherwise
	wholeness
	ended   chan struct{} // closed when Run returns
	signals signals
	formed  atomic.Pointer[[]string] // with whom this process has formed the cluster
	stats   counters
	meters  meters
	limits  limits

	restoring sync.RWMutex // held by a restore; writers share it
}

// wholeness says when the state holds what it must before anybody is answered.
type wholeness struct {
	whole chan struct{} // closed once everything committed before the start has been applied
	once  sync.Once     // closes whole
}

// signals are channels that close and are replaced when something has happened.
type signals struct {
	mu       sync.Mutex    // guards the others
	began    chan struct{} // ready or the known leader has changed
	lost     chan struct{} // there has been no contact with a leader for a while
	replaced chan struct{} // an archive has replaced the state

	reign atomic.Pointer[reign] // of the other server that leads; what is sent on to it waits for its end
}

func (s *signals) init() {
	s.began, s.lost, s.replaced = make(chan struct{}), make(chan struct{}), make(chan struct{})
}

// of returns the channel that closes when it happens next.
func (s *signals) of(which *chan struct{}) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *which
}

// give wakes who waits for it.
func (s *signals) give(which *chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(*which)
	*which = make(chan struct{})
}

// term is one period of leadership.
type term struct {
	number uint64
}

// New returns a server with an empty state.
func New(o Options) (*Server, error) {
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
		o.Log = slog.Default()
	}
	types, err := NewTypes(o.Rooms)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, rules: rules{known: room.Level(o.Rooms)}, types: types, wholeness: wholeness{whole: make(chan struct{})},
		ended: make(chan struct{})}
	s.rules.used.Store(1)
	s.signals.init()
	tables := []store.AnyTable{levels}
	var triggers []store.Trigger
	for _, r := range o.Rooms {
		tables = append(tables, r.Tables...)
		triggers = append(triggers, r.Triggers...)
	}
	s.store = store.New(tables, triggers, o.History)
	s.meters.init(&o)
	s.limits.init(&o)
	s.answers.init(s)
	s.rounds.run = s.round
	return s, nil
}

// NewTypes returns what travels between agents with the given rooms.
func NewTypes(rooms []room.Room) (*relay.Types, error) {
	return relay.NewTypes(rooms, room.CommandType{New: func() room.Command { return new(Begin) }, Rules: 1, Leaders: true},
		room.CommandType{New: func() room.Command { return new(SetLevel) }, Rules: 1, Leaders: true},
		room.CommandType{New: func() room.Command { return new(Compare) }, Rules: 1, Leaders: true})
}

// Apply carries a Command through the log and returns what its Run returned.
func (s *Server) Apply(ctx context.Context, c room.Command, o room.Options) (room.Result, room.Meta, error) {
	if err := s.within(ctx, true, c.Name); err != nil {
		return nil, room.Meta{}, err
	}
	if !s.own(o) {
		entry, err := s.encodeFor(c, o.Datacenter)
		if err != nil {
			return nil, room.Meta{}, err
		}
		return elsewhere(s, ctx, o, relay.Single, func(ctx context.Context, to *relay.Client, o room.Options) (room.Result, room.Meta, error) {
			return to.Apply(ctx, c.Name(), entry, false, o)
		})
	}
	entry, err := s.encode(c)
	if err != nil {
		return nil, room.Meta{}, err
	}
	hold := holder{limit: s.opts.Hold}
	defer hold.stop()
	for {
		leader, err := s.awaitLeader(ctx, &hold)
		if err != nil {
			return nil, room.Meta{}, err
		}
		var result room.Result
		var meta room.Meta
		if leader == nil {
			result, err = s.propose(ctx, c, entry, o)
			meta = s.meta(s.store.Index(), o)
		} else {
			result, err = underLeader(ctx, s, leader, func(ctx context.Context) (r room.Result, err error) {
				r, meta, err = leader.Apply(ctx, c.Name(), entry, true, o)
				return r, err
			})
		}
		if err == nil || !retryable(err) || ctx.Err() != nil {
			return result, meta, err
		}
		if !hold.pause(ctx) {
			return nil, meta, fault.ErrNoLeader
		}
	}
}

// propose carries a Command through this leader's log.
func (s *Server) propose(ctx context.Context, c room.Command, entry []byte, o room.Options) (room.Result, error) {
	if err := s.allowed(c, o); err != nil {
		return nil, err
	}
	s.restoring.RLock()
	defer s.restoring.RUnlock()
	defer s.meters.applied(c.Name())()
	return s.node.Propose(ctx, entry)
}

// retryable: what was asked certainly did not happen (design rule 1).
func retryable(err error) bool {
	k := fault.KindOf(err)
	return k == fault.NotApplied || k == fault.NoLeader
}

func (s *Server) allowed(c room.Command, o room.Options) error {
	r := s.store.Late() // most Commands ask nothing
	defer r.Release()
	return c.Allowed(r, s.decider(o))
}

// decider resolves the caller's rights. Access rules come with the acl feature; until then everything is allowed.
func (s *Server) decider(room.Options) authz.Decider { return authz.AllowAll{} }

// Call runs a procedure: on the leader, with Stale here, with o.Server on that server.
func (s *Server) Call(ctx context.Context, p room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	if !s.own(o) {
		return elsewhere(s, ctx, o, relay.RiskOf(p, o), func(ctx context.Context, to *relay.Client, o room.Options) (room.Result, room.Meta, error) {
			return to.Call(ctx, p, o)
		})
	}
	if o.Server != "" || o.Consistency == httpd.Stale {
		return s.callHere(ctx, p, o)
	}
	hold := holder{limit: s.opts.Hold}
	defer hold.stop()
	for {
		leader, err := s.awaitLeader(ctx, &hold)
		if err != nil {
			return nil, room.Meta{}, err
		}
		var result room.Result
		var meta room.Meta
		if leader == nil {
			result, meta, err = s.callHere(ctx, p, o)
		} else {
			result, err = underLeader(ctx, s, leader, func(ctx context.Context) (r room.Result, err error) {
				r, meta, err = leader.Call(ctx, p, o)
				return r, err
			})
		}
		if err == nil || !retryable(err) || ctx.Err() != nil {
			return result, meta, err
		}
		if !hold.pause(ctx) {
			return nil, meta, fault.ErrNoLeader
		}
	}
}

func (s *Server) callHere(ctx context.Context, p room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	if err := p.Allowed(s.decider(o)); err != nil {
		return nil, room.Meta{}, err
	}
	result, err := p.Call(ctx, s.host)
	return result, s.meta(s.store.Index(), o), err
}

// holder bounds how long one request waits for a leader, over all its tries.
type holder struct {
	limit time.Duration
	timer *time.Timer
}

func (h *holder) expired() <-chan time.Time {
	if h.timer == nil {
		h.timer = time.NewTimer(h.limit)
	}
	return h.timer.C
}

// pause waits a moment before another try and reports whether one is still allowed.
func (h *holder) pause(ctx context.Context) bool {
	t := time.NewTimer(min(h.limit/64, maxPause))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-h.expired():
	case <-ctx.Done():
	}
	return false
}

func (h *holder) stop() {
	if h.timer != nil {
		h.timer.Stop()
	}
}

// maxPause is the longest rest between two tries: a new leader should be found soon after it is there.
const maxPause = 25 * time.Millisecond

// awaitLeader waits until there is a leader whose state is whole: this server, then it returns nil, or another.
func (s *Server) awaitLeader(ctx context.Context, h *holder) (*relay.Client, error) {
	for {
		began := s.signals.of(&s.signals.began)
		if s.ready.Load() != nil {
			return nil, nil
		}
		if to, ok := s.leader(); ok {
			return s.clients.To(to), nil
		}
		select {
		case <-began:
		case <-h.expired():
			return nil, fault.ErrNoLeader
		case <-ctx.Done():
			return nil, fault.ErrNoLeader
		}
	}
}

// awaitWhole waits until the state holds everything committed before this process started.
func (s *Server) awaitWhole(ctx context.Context, h *holder) error {
	select {
	case <-s.whole:
		return nil
	default:
	}
	select {
	case <-s.whole:
		return nil
	case <-h.expired():
	case <-ctx.Done():
	}
	return fault.ErrNoLeader
}

func (s *Server) meta(index uint64, o room.Options) room.Meta {
	return room.Meta{Index: index, KnownLeader: s.knowsLeader(), LastContact: s.lastContact(), Consistency: o.Consistency}
}

// Types returns what travels between this server and others.
func (s *Server) Types() *relay.Types { return s.types }
