package server

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"rostra/engine/caller"
	"rostra/kit/fault"
	"rostra/kit/metric"
	"rostra/kit/notice"
)

// How request limits are obeyed.
const (
	LimitsDisabled   = "disabled"
	LimitsPermissive = "permissive" // what is over the rate is told and counted, and served
	LimitsEnforcing  = "enforcing"  // it is refused
)

// Limits bound what a server does for others in a second (limits.request_limits). What it does of its own accord, the live
// answers that agents follow, and what operators ask for (procedures, archives) does not count.
type Limits struct {
	Mode        string
	Read, Write float64 // a second; 0 or below without bound. Ten seconds' worth may come at once
}

// burst is how many seconds' worth of requests may come at once.
const burst = 10

// limits are the Limits at work.
type limits struct {
	mode        atomic.Value // string
	read, write atomic.Pointer[rate.Limiter]
	metrics     *metric.Registry
	log         *slog.Logger
	over        atomic.Uint64

	told notice.Board
}

func (l *limits) init(o *Options) {
	l.metrics, l.log = o.Metrics, o.Log
	l.set(o.Limits)
}

func (l *limits) set(to Limits) {
	change(&l.read, to.Read)
	change(&l.write, to.Write)
	if to.Mode == "" {
		to.Mode = LimitsDisabled
	}
	l.mode.Store(to.Mode)
}

// change puts another limit in the place of one; the same again keeps what was used of it.
func change(at *atomic.Pointer[rate.Limiter], a float64) {
	next := rate.NewLimiter(rate.Inf, 1)
	if a > 0 {
		next = rate.NewLimiter(rate.Limit(a), max(1, int(min(a*burst, 1<<31))))
	}
	if was := at.Load(); was == nil || was.Limit() != next.Limit() || was.Burst() != next.Burst() {
		at.Store(next)
	}
}

// SetLimits changes the limits of a running server.
func (s *Server) SetLimits(to Limits) { s.limits.set(to) }

// SetTimeout changes how long an answer of another server may take.
func (s *Server) SetTimeout(d time.Duration) {
	if s.clients != nil {
		s.clients.SetTimeout(d)
	}
}

// within counts what somebody else has asked for, a read or a write, and refuses it over the limit. op names it then.
func (s *Server) within(ctx context.Context, write bool, op func() string) error {
	l := &s.limits
	mode := l.mode.Load().(string)
	if mode == LimitsDisabled {
		return nil
	}
	from := caller.Of(ctx)
	if from == "" {
		return nil
	}
	limit, kind, key := &l.read, "global/read", "limits.request_limits.read_rate"
	if write {
		limit, kind, key = &l.write, "global/write", "limits.request_limits.write_rate"
	}
	if limit.Load().Allow() {
		return nil
	}
	l.exceeded(mode, kind, key, op(), from)
	switch {
	case mode != LimitsEnforcing:
		return nil
	case write && s.ready.Load() != nil:
		return fault.New(fault.Unavailable, "rate limit exceeded for operation that can only be performed by the leader, try again later (%s of server %s)", key, s.opts.ID)
	}
	return fault.New(fault.Elsewhere, "rate limit exceeded, try again later or against a different server (%s of server %s)", key, s.opts.ID)
}

func (l *limits) exceeded(mode, kind, key, op, from string) {
	l.over.Add(1)
	l.metrics.Counter("rpc.rate_limit.exceeded", metric.Label{Name: "limit_type", Value: kind},
		metric.Label{Name: "op", Value: op}, metric.Label{Name: "mode", Value: mode}).Inc()
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	l.told.Tell(l.log, slog.LevelWarn, kind, from, "a request is over the rate limit; more from there within a minute are only counted",
		"limit", key, "mode", mode, "op", op, "metric", "rpc.rate_limit.exceeded")
}
