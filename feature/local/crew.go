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
}

func newCrew() *crew {
	c := &crew{}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// launch runs f until stop is called, which waits for its end, or the crew is closed.
func (c *crew) launch(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	c.wait.Add(1)
	go func() {
		defer c.wait.Done()
		defer close(done)
		_ = f(ctx) // a runner only ends with its ctx
	}()
	return func() {
		cancel()
		<-done
	}
}

// close ends all and waits.
func (c *crew) close() {
	c.end()
	c.wait.Wait()
}
