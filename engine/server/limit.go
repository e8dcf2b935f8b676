package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rostra/engine/caller"
	"rostra/kit/fault"
	"rostra/kit/metric"
	"rostra/kit/rate"
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
	Read, Write float64 // a second; below 0 without bound. Ten seconds' worth may come at once
}

// burst is how many seconds' worth of requests may come at once.
const burst = 10

// limits are the Limits at work.
type limits struct {
	mode        atomic.Value // string
	read, write rate.Limit
	metrics     *metric.Registry
	log         *slog.Logger
	over        atomic.Uint64

	mu   sync.Mutex // guards said
	said map[string]time.Time
}

func (l *limits) init(o *Options) {
	l.metrics, l.log, l.said = o.Metrics, o.Log, map[string]time.Time{}
	l.set(o.Limits)
}

func (l *limits) set(to Limits) {
	l.read.Set(to.Read, int(min(to.Read*burst, 1<<31)))
	l.write.Set(to.Write, int(min(to.Write*burst, 1<<31)))
	if to.Mode == "" {
		to.Mode = LimitsDisabled
	}
	l.mode.Store(to.Mode)
}

// SetLimits changes the limits of a running server.
func (s *Server) SetLimits(to Limits) { s.limits.set(to) }

// SetTimeout changes how long an answer of another server may take.
func (s *Server) SetTimeout(d time.Duration) {
	if s.clients != nil {
		s.clients.SetTimeout(d)
	}
}

// within counts what somebody else has asked for, a read or a write of that name, and refuses it over the limit.
func (s *Server) within(ctx context.Context, write bool, op string) error {
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
	if limit.Allow(time.Now()) {
		return nil
	}
	l.exceeded(mode, kind, key, op, from)
	switch {
	case mode != LimitsEnforcing:
		return nil
	case write && s.ready.Load() != nil:
		return fault.New(fault.Unavailable, "rate limit exceeded for operation that can only be performed by the leader, try again later (%s of server %s)", key, s.opts.ID)
	}
	return fault.New(fault.Elsewhere, "rate limit exceeded, try again later or against a different server (%s of server %s)", key, s.opts.ID)
}

// sayAgain is how seldom the log tells of one limit.
const sayAgain = time.Minute

func (l *limits) exceeded(mode, kind, key, op, from string) {
	l.over.Add(1)
	l.metrics.Counter("rpc.rate_limit.exceeded", metric.Label{Name: "limit_type", Value: kind},
		metric.Label{Name: "op", Value: op}, metric.Label{Name: "mode", Value: mode}).Inc()
	now := time.Now()
	l.mu.Lock()
	due := now.Sub(l.said[kind]) >= sayAgain
	if due {
		l.said[kind] = now
	}
	l.mu.Unlock()
	if due {
		l.log.Warn("a request is over the rate limit; more of this limit within a minute are only counted", "limit", key,
			"mode", mode, "op", op, "source_addr", from, "metric", "rpc.rate_limit.exceeded")
	}
}
