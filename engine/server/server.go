// Package server is the door of an agent that holds the replicated state: it turns log entries into Commands run in the
// store, answers Queries from views, shares answers among all who ask the same, and runs the features' loops while it
// leads. It is the consensus.Machine; it knows no feature.
package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// Options are what a server is made of.
type Options struct {
	Datacenter   string
	Rooms        []room.Room
	Hold         time.Duration // how long a request waits for a leader (rpc_hold_timeout); default 7 s
	QueryTime    time.Duration // a blocking query's default wait; default 300 s
	MaxQueryTime time.Duration // its longest; default 600 s
	Log          *slog.Logger
	History      store.Limits
	Lineage      func() string // makes the identity of a new history; a random UUID
	Dir          string        // where an archive is unpacked before it replaces the state; "" in memory
}

// Server is the door and the state machine of one server. Create it with New, hand it to consensus.Open as the Machine,
// Attach the node that gives and Run it.
type Server struct {
	opts     Options
	store    *store.Store
	commands map[string]room.CommandType
	node     *consensus.Node
	host     *room.Host
	answers  answers

	ready    atomic.Pointer[term] // the term in which this server leads and its state is whole; nil otherwise
	whole    chan struct{}        // closed once everything committed before the start has been applied
	once     sync.Once            // closes whole
	ended    chan struct{}        // closed when Run returns
	began    chan struct{}        // closed and replaced whenever ready changes
	mu       sync.Mutex           // guards began and replaced
	replaced chan struct{}        // closed and replaced whenever an archive replaces the state
	stats    counters

	restoring sync.RWMutex // held by a restore; writers share it
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
	s := &Server{opts: o, whole: make(chan struct{}), began: make(chan struct{}), replaced: make(chan struct{}),
		ended: make(chan struct{}), commands: map[string]room.CommandType{}}
	var tables []store.AnyTable
	var triggers []store.Trigger
	types := []room.CommandType{{New: func() room.Command { return new(Begin) }, Rules: 1}}
	for _, r := range o.Rooms {
		tables = append(tables, r.Tables...)
		triggers = append(triggers, r.Triggers...)
		types = append(types, r.Commands...)
	}
	for _, t := range types {
		name := t.New().Name()
		if _, twice := s.commands[name]; twice {
			return nil, fault.New(fault.Internal, "the command %q is declared twice", name)
		}
		s.commands[name] = t
	}
	s.store = store.New(tables, triggers, o.History)
	s.answers.init(s)
	return s, nil
}

// Apply carries a Command through the log and returns what its Run returned.
func (s *Server) Apply(ctx context.Context, c room.Command, o room.Options) (room.Result, room.Meta, error) {
	var meta room.Meta
	if err := s.here(o.Datacenter); err != nil {
		return nil, meta, err
	}
	entry, err := s.encode(c)
	if err != nil {
		return nil, meta, err
	}
	hold := holder{limit: s.opts.Hold}
	defer hold.stop()
	for {
		if err := s.awaitReady(ctx, &hold); err != nil {
			return nil, meta, err
		}
		if err := s.allowed(c, o); err != nil {
			return nil, meta, err
		}
		s.restoring.RLock()
		result, err := s.node.Propose(ctx, entry)
		s.restoring.RUnlock()
		if err == nil || !retryable(err) || ctx.Err() != nil {
			return result, s.meta(s.store.Index(), o), err
		}
		if !hold.pause(ctx) {
			return nil, meta, fault.ErrNoLeader
		}
	}
}

// retryable: the write certainly did not happen (design rule 1).
func retryable(err error) bool {
	k := fault.KindOf(err)
	return k == fault.NotApplied || k == fault.NoLeader
}

func (s *Server) allowed(c room.Command, o room.Options) error {
	v := s.store.View()
	defer v.Release()
	return c.Allowed(v, s.decider(o))
}

// decider resolves the caller's rights. Access rules come with the acl feature; until then everything is allowed.
func (s *Server) decider(room.Options) authz.Decider { return authz.AllowAll{} }

func (s *Server) here(datacenter string) error {
	if datacenter != "" && datacenter != s.opts.Datacenter {
		return fault.ErrNoPath
	}
	return nil
}

// Call runs a procedure here.
func (s *Server) Call(ctx context.Context, p room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	if err := s.here(o.Datacenter); err != nil {
		return nil, room.Meta{}, err
	}
	hold := holder{limit: s.opts.Hold}
	defer hold.stop()
	if err := s.awaitReady(ctx, &hold); err != nil {
		return nil, room.Meta{}, err
	}
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
	t := time.NewTimer(h.limit / 64)
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

// awaitReady waits until this server leads and its state is whole.
func (s *Server) awaitReady(ctx context.Context, h *holder) error {
	for s.ready.Load() == nil {
		s.mu.Lock()
		began := s.began
		s.mu.Unlock()
		if s.ready.Load() != nil {
			return nil
		}
		select {
		case <-began:
		case <-h.expired():
			return fault.ErrNoLeader
		case <-ctx.Done():
			return fault.ErrNoLeader
		}
	}
	return nil
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
	return room.Meta{Index: index, KnownLeader: s.ready.Load() != nil, LastContact: s.lastContact(), Consistency: o.Consistency}
}
