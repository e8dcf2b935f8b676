package rpc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"rostra/kit/fault"
)

// lane is the client's end of a stream of calls. outbox.mu also guards what is marked so.
type lane struct {
	outbox
	ready   chan struct{}       // closes when the stream is open or cannot be opened
	waiting map[uint64]*pending // guarded: calls without a reply, by number
	last    uint64              // guarded: the number of the newest call
	free    []*pending          // guarded: for reuse
	over    bool                // guarded: no call is sent any more
	reason  error               // guarded: why it is over
	full    func()              // no frame is sent any more but those that are there; nil if the stream was never open
}

// pending is a call that waits for its reply.
type pending struct {
	done  chan struct{} // gets a value when the rest is set
	batch uint64        // it has left if the outbox has come further
	body  []byte
	err   error // of the handler
	lost  error // of the way
	sent  bool  // with lost: it may have left
}

const maxFree = 1024

// call makes a call on the client's lane.
func (c *client) call(ctx context.Context, method string, body []byte) ([]byte, error) {
	timeout := time.Duration(0)
	if at, has := ctx.Deadline(); has {
		timeout = min(max(time.Until(at), time.Microsecond), maxTimeout)
	}
	if err := ctx.Err(); err != nil {
		return nil, c.trouble(ctx, method, false, err)
	}
	reply, err, again := c.attempt(ctx, timeout, method, body)
	if again {
		reply, err, _ = c.attempt(ctx, timeout, method, body)
	}
	return reply, err
}

// attempt makes a call on the lane of now. again: that lane was open but has ended, and the call was certainly not sent.
func (c *client) attempt(ctx context.Context, timeout time.Duration, method string, body []byte) (reply []byte, err error, again bool) {
	l := c.lane()
	select {
	case <-l.ready:
	case <-ctx.Done():
		return nil, c.trouble(ctx, method, false, ctx.Err()), false
	}
	if err := l.lock(ctx); err != nil {
		return nil, c.trouble(ctx, method, false, err), false
	}
	if l.over {
		reason := l.reason
		l.mu.Unlock()
		return nil, c.trouble(ctx, method, false, reason), l.full != nil
	}
	l.last++
	id := l.last
	w := l.take()
	w.batch = l.batch
	l.waiting[id] = w
	l.frames = appendCall(l.frames, id, timeout, method, body)
	l.unlock()
	select {
	case <-w.done:
	case <-ctx.Done():
		if l.abandon(ctx, id) {
			return nil, c.trouble(ctx, method, true, ctx.Err()), false
		}
		<-w.done // it came at the same moment
	}
	got := *w
	l.recycle(w)
	if got.lost != nil {
		return nil, c.trouble(ctx, method, got.sent, got.lost), !got.sent
	}
	return got.body, got.err, false
}

// lane returns the lane that calls go by, perhaps a new one that is being opened.
func (c *client) lane() *lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.calls; l != nil && !l.ended() {
		return l
	}
	l := &lane{outbox: outbox{wake: make(chan struct{}, 1)}, ready: make(chan struct{}), waiting: map[uint64]*pending{}}
	if c.closed {
		l.fail(errors.New("the connection was given up"))
		close(l.ready)
		return l
	}
	c.calls = l
	c.lanes.Go(func() { l.run(c.cc) })
	return l
}

func (l *lane) ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// run opens the stream and gives out replies until it breaks or the server stops. It ends when the connection does.
func (l *lane) run(cc *grpc.ClientConn) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s, err := cc.NewStream(ctx, &streamShape, lanePath)
	if err != nil {
		l.fail(err)
		close(l.ready)
		return
	}
	sending, full := context.WithCancel(ctx)
	defer full()
	l.full = full
	close(l.ready)
	var writer sync.WaitGroup
	writer.Go(func() {
		send := func(b []byte) error { return s.SendMsg(&frame{body: b}) }
		l.outbox.run(sending, send)
		l.flush(send)
		_ = s.CloseSend() // it fails only if all is over
	})
	for err == nil {
		var f frame
		if err = s.RecvMsg(&f); err == nil {
			err = l.deliver(f.body)
		}
	}
	l.end(err)
	stop()
	writer.Wait() // then it is certain what was sent
	l.fail(err)
}

// deliver gives out the replies of one message.
func (l *lane) deliver(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(b) > 0 {
		r, rest, err := readResponse(b)
		if err != nil {
			return err
		}
		b = rest
		if r.kind == frameLast {
			l.over, l.reason = true, errStopping
			l.full()
			continue
		}
		w := l.waiting[r.id]
		if w == nil {
			continue // its caller gave up
		}
		switch r.kind {
		case framePart, frameReply:
			if len(w.body)+len(r.body) > MaxMessage {
				return errors.New("a reply is larger than a message may be")
			}
			w.body = append(slices.Grow(w.body, len(r.body)), r.body...) // a copy: replies must not keep each other
			if r.kind == framePart {
				continue
			}
		case frameError:
			w.body, w.err = nil, handlerError(fault.Kind(r.body[0]), string(r.body[1:]))
		}
		delete(l.waiting, r.id)
		w.done <- struct{}{}
	}
	return nil
}

// fail ends the lane and all its calls.
func (l *lane) fail(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over, l.reason = true, reason
	l.frames = nil
	for id, w := range l.waiting {
		delete(l.waiting, id)
		w.lost, w.sent = reason, l.sent > w.batch
		w.done <- struct{}{}
	}
	if l.taken != nil { // those who wait for room see that it is over
		close(l.taken)
		l.taken = nil
	}
}

// end keeps new calls away.
func (l *lane) end(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over, l.reason = true, reason
}

// abandon gives up on a call whose ctx has ended, and tells the server unless it knows by the deadline. false: the reply
// is there.
func (l *lane) abandon(ctx context.Context, id uint64) bool {
	l.mu.Lock()
	_, waits := l.waiting[id]
	delete(l.waiting, id)
	if waits && !l.over && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		l.frames = appendCancel(l.frames, id)
	}
	l.unlock()
	return waits
}

// take returns a pending call. mu is held.
func (l *lane) take() *pending {
	if n := len(l.free); n > 0 {
		w := l.free[n-1]
		l.free = l.free[:n-1]
		return w
	}
	return &pending{done: make(chan struct{}, 1)}
}

// recycle takes back a pending call whose done was received.
func (l *lane) recycle(w *pending) {
	*w = pending{done: w.done}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) < maxFree {
		l.free = append(l.free, w)
	}
}
