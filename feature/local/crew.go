package local

import (
	"context"
	"sync"
)

// crew runs the checks' runners, and ends them all when the agent ends.
type crew struct {
	ctx  context.Context
	end  context.CancelFunc
	wait sync.WaitGroup

	mu     sync.Mutex // guards closed; held while wait is added to
	closed bool
}

func newCrew() *crew {
	c := &crew{}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// launch runs f until stop is called, which waits for its end, or the crew is closed. A closed crew runs nothing: a
// registration may come while the agent ends.
func (c *crew) launch(f func(context.Context) error) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return func() {}
	}
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	c.wait.Go(func() {
		defer close(done)
		_ = f(ctx) // a runner only ends with its ctx
	})
	return func() {
		cancel()
		<-done
	}
}

// close ends all and waits. It may be called twice.
func (c *crew) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.wait.Wait()
}
