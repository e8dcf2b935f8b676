package check

import (
	"context"
	"sync"
)

// Crew is the Runners of one agent: each is ended by itself, or all by Close. Safe for concurrent use.
type Crew struct {
	ctx  context.Context
	end  context.CancelFunc
	wait sync.WaitGroup

	mu     sync.Mutex // guards closed; held while wait is added to
	closed bool
}

// NewCrew returns a Crew without Runners; its owner calls Close.
func NewCrew() *Crew {
	c := &Crew{}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// Launch runs r until stop is called, which waits for its end, or the Crew is closed. A closed Crew runs nothing: a
// registration may come while the agent ends.
func (c *Crew) Launch(r *Runner) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return func() {}
	}
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	c.wait.Go(func() {
		defer close(done)
		_ = r.Run(ctx) // it ends with its ctx only
	})
	return func() {
		cancel()
		<-done
	}
}

// Closed reports whether Close was called.
func (c *Crew) Closed() bool { return c.ctx.Err() != nil }

// Close ends all Runners and waits for them. It may be called twice.
func (c *Crew) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.wait.Wait()
}
