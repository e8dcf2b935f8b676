package check

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"rostra/kit/fault"
)

// Runner runs one check. Make it with New, run it once with Run.
type Runner struct {
	env      Env
	interval time.Duration
	probe    func(context.Context) Result // one run; nil for ttl and alias
	filter   threshold
	ttl      *countdown // nil for the others
	report   func(Result)
	seen     Status // the status last reported; Run's own
}

// New returns the Runner of spec; the error is that of Spec.Validate. initial is what the check shows now: a ttl check
// names its Output when it expires without an update.
//
// report is told every result that counts, whether or not it differs from the one before, one at a time and never after
// Run has returned. It is called by Run and, for ttl, by Update before that returns: who calls Update, or waits for Run
// to end, must not hold a lock that report takes.
func New(spec Spec, initial Result, report func(Result), env Env) (*Runner, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if report == nil {
		return nil, errors.New("cannot make a check runner: nobody to report to")
	}
	r := &Runner{env: env.filled(), interval: spec.Interval, filter: newThreshold(spec), report: report,
		seen: initial.Status}
	switch spec.Kind {
	case TTL:
		r.ttl = newCountdown(spec, initial, r.tell)
	case Alias:
		if env.Follow == nil {
			return nil, errors.New("cannot make a check runner: nothing to follow")
		}
	default:
		r.probe = kinds[spec.Kind].probe(spec, r.env)
	}
	if r.probe != nil && r.interval < minInterval {
		r.env.Logger.Warn("check has interval below minimum", "interval", r.interval, "minimum", minInterval)
		r.interval = minInterval
	}
	return r, nil
}

// Run runs the check until ctx ends, then returns nil; it must be called once. The end of ctx kills a running script
// with its whole process group and cuts a request short; their results are not reported. Between runs it costs a parked
// goroutine and a timer.
func (r *Runner) Run(ctx context.Context) error {
	switch {
	case r.ttl != nil:
		r.ttl.run(ctx)
		return nil
	case r.probe == nil:
		r.env.Follow(ctx, r.tell)
		return nil
	}
	// Checks registered together, at a start or by one tool, must not all fire together for ever after.
	timer := time.NewTimer(time.Duration(r.env.Rand() * float64(r.interval)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		res := r.probe(ctx)
		if ctx.Err() != nil {
			return nil // the result speaks of our own end, not of the service's health
		}
		if counted, ok := r.filter.judge(res); ok {
			r.tell(counted)
		} else {
			r.env.Logger.Debug("check result below threshold", "status", res.Status)
		}
		timer.Reset(untilBeat(time.Now(), r.interval))
	}
}

// untilBeat is how long to wait until the first beat that is at least interval away. Beats are a hundredth of the interval
// apart, the same ones for all checks of that interval: an agent with thousands of them wakes up for several at once, and
// waking up costs as much as many a check. A clock that is set moves them once, by less than that.
func untilBeat(now time.Time, interval time.Duration) time.Duration {
	beat := interval / 100
	over := time.Duration(now.Add(interval).UnixNano()) % beat
	if over == 0 {
		return interval
	}
	return interval + beat - over
}

// Update sets status and output of a ttl check and starts its time anew; longer output is cut. It has reported when it
// returns. It may be called before Run and from many goroutines. Errors: not a ttl check (fault.Refused), a status
// that does not exist (fault.Invalid), Run has ended (fault.Refused).
func (r *Runner) Update(status Status, output string) error {
	switch {
	case r.ttl == nil:
		return fault.New(fault.Refused, "check does not have associated TTL")
	case !status.valid():
		return fault.New(fault.Invalid, "Invalid check status: '%s'", string(status))
	}
	return r.ttl.update(status, output)
}

// tell reports res. A change is worth a line in the log, a repetition only when somebody is looking.
func (r *Runner) tell(res Result) {
	level := slog.LevelDebug
	switch {
	case res.Status == r.seen:
	case res.Status == Passing:
		level = slog.LevelInfo
	default:
		level = slog.LevelWarn
	}
	r.seen = res.Status
	r.env.Logger.Log(context.Background(), level, "check is now "+string(res.Status))
	r.report(res)
}
