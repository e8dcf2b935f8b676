package check

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"rostra/kit/fault"
)

// The texts of an expired check.
const (
	expired     = "TTL expired"
	expiredLast = "TTL expired (last output before timeout follows): "
)

// countdown is a ttl check: it turns critical when nobody has spoken for ttl.
type countdown struct {
	ttl, remaining time.Duration
	keep           int

	mu       sync.Mutex // guards what follows; held while reporting, so that an expiry cannot follow the update it lost to
	report   func(Result)
	last     string      // the output last given
	deadline time.Time   // zero before the first of Run and Update
	timer    *time.Timer // nil unless Run is running
	ended    bool
}

// newCountdown returns the countdown of spec; it starts with run or update, whichever is first.
func newCountdown(spec Spec, initial Result, report func(Result)) *countdown {
	c := &countdown{ttl: spec.TTL, remaining: spec.TTL, keep: spec.outputMax(), report: report}
	if spec.Remaining > 0 && spec.Remaining < spec.TTL {
		c.remaining = spec.Remaining
	}
	// A check that is registered anew after it expired shows our own text; quoting that would grow it each time.
	if last, ok := strings.CutPrefix(initial.Output, expiredLast); ok || initial.Output != expired {
		c.last = last
	}
	return c
}

// run waits for expiries until ctx ends.
func (c *countdown) run(ctx context.Context) {
	timer := c.start()
	defer c.stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			c.expire()
		}
	}
}

func (c *countdown) start() *time.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deadline.IsZero() {
		c.deadline = time.Now().Add(c.remaining)
	}
	c.timer = time.NewTimer(time.Until(c.deadline))
	return c.timer
}

func (c *countdown) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
	c.timer, c.ended = nil, true
}

// expire reports the end of the time, once per update.
func (c *countdown) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left := time.Until(c.deadline); left > 0 {
		c.timer.Reset(left) // an update came between the timer and us
		return
	}
	text := expired
	if c.last != "" {
		text = expiredLast + c.last
	}
	c.report(Result{Critical, text})
}

// update takes what the service says of itself.
func (c *countdown) update(status Status, output string) error {
	if total := len(output); total > c.keep {
		output = fmt.Sprintf("%s ... (captured %d of %d bytes)", output[:c.keep], c.keep, total)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return fault.New(fault.Refused, "cannot update the check: it has been stopped")
	}
	c.last = output
	c.deadline = time.Now().Add(c.ttl)
	if c.timer != nil {
		c.timer.Reset(c.ttl)
	}
	c.report(Result{status, output})
	return nil
}
