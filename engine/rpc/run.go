package rpc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// How long a stop may take, at most, one after the other.
const (
	callGrace    = time.Second            // for calls being served to end
	flushGrace   = 100 * time.Millisecond // for their replies to leave
	handlerGrace = 500 * time.Millisecond // for handlers whose contexts have ended
)

// Run serves the port and keeps the client's connections until ctx ends. Then new calls are refused as not applied,
// streams end, calls being served get a second, all connections are closed, log streams that came in included. It returns
// after everything it started has ended, within 2 s. So what still needs the port must end before it. It can run once.
func (p *Port) Run(ctx context.Context) error {
	switch {
	case !p.begun.CompareAndSwap(false, true):
		return errors.New("cannot run the server port: it has run already")
	case p.grpc != nil && p.handler == nil:
		return errors.New("cannot run the server port: it has no handler")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var parts sync.WaitGroup
	broken := make(chan error, 1)
	if p.grpc != nil {
		parts.Go(func() { _ = p.grpc.Serve(p.calls) }) // it ends when it is stopped
		parts.Go(func() {
			if err := p.accept(ctx); err != nil {
				broken <- err
			}
		})
	}
	parts.Go(func() { p.clients.sweep(ctx) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-broken:
	}
	stop()
	p.stop()
	parts.Wait()
	p.greeting.Wait()
	return err
}

func (p *Port) stop() {
	p.work.stop()
	p.end()
	_ = p.streams.Close()
	if p.grpc == nil {
		p.clients.close()
		return
	}
	_ = p.opts.Listener.Close()
	drained := make(chan struct{})
	go func() { defer close(drained); p.grpc.GracefulStop() }() // waited for below, as long as handlers let us
	bound := time.NewTimer(callGrace)
	defer bound.Stop()
	select {
	case <-p.work.idle:
	case <-drained:
	case <-bound.C:
	}
	within(drained, flushGrace) // a stream whose handler sits in Recv ends only with its connection
	p.clients.close()           // not before: handlers may be calling others
	p.conns.close()
	p.grpc.Stop()
	if !within(drained, handlerGrace) {
		p.opts.Log.Warn("stopping without the end of some calls: their handlers do not obey their contexts")
	}
}

// within reports whether done closes in that time.
func within(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// work counts the calls that are being served.
type work struct {
	n       atomic.Int64
	stopped atomic.Bool
	idle    chan struct{} // gets one value when nothing is left after stop
}

// begin reports whether one more may begin; then done must follow.
func (w *work) begin() bool {
	w.n.Add(1)
	if w.stopped.Load() {
		w.done()
		return false
	}
	return true
}

func (w *work) done() {
	if w.n.Add(-1) == 0 && w.stopped.Load() {
		w.signal()
	}
}

func (w *work) stop() {
	w.stopped.Store(true)
	if w.n.Load() == 0 {
		w.signal()
	}
}

func (w *work) signal() {
	select {
	case w.idle <- struct{}{}:
	default:
	}
}
