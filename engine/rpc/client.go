package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"rostra/kit/fault"
)

// Call makes a call and returns its reply. body must not be changed afterwards, not even when Call has returned. An error
// is the handler's, with its kind and text, or one of the way: fault.NotApplied if the handler certainly never saw the
// call (nobody there, refused, ctx ended before it was sent), fault.Unknown if it may have. An unreachable server is
// noticed at once if that is known already, else within 5 s or ctx; nothing is tried twice.
func (p *Port) Call(ctx context.Context, to Target, method string, body []byte) ([]byte, error) {
	if err := checkSize(to, method, body); err != nil {
		return nil, err
	}
	c, err := p.clients.acquire(p, to)
	if err != nil {
		return nil, err
	}
	defer p.clients.release(c)
	p.counts.add(called)
	if len(body) <= laneBody {
		reply, err := c.call(ctx, method, body)
		if way := (*wayError)(nil); errors.As(err, &way) {
			p.counts.add(callFailed)
		}
		return reply, err
	}
	request, reply := callFrame(method, body), frame{}
	if err := c.cc.Invoke(ctx, callPath, request, &reply); err != nil {
		p.counts.add(callFailed)
		return nil, c.trouble(ctx, method, request.sent, err)
	}
	return readReply(reply.body)
}

// Stream opens a stream. It ends with the handler, with ctx, or with the connection; the client cancels ctx when it is
// done with it. A server that falls silent is noticed within 15 s. An error is one of the way, see Call.
func (p *Port) Stream(ctx context.Context, to Target, method string) (Stream, error) {
	if err := checkSize(to, method, nil); err != nil {
		return nil, err
	}
	c, err := p.clients.acquire(p, to)
	if err != nil {
		return nil, err
	}
	p.counts.add(called)
	s, err := c.cc.NewStream(ctx, &streamShape, streamPath)
	if err == nil {
		context.AfterFunc(s.Context(), func() { p.clients.release(c) }) // gRPC ends it with the stream
		if err = s.SendMsg(&frame{body: []byte(method)}); err == nil {
			return &clientStream{c: c, s: s, method: method}, nil
		}
		if err == io.EOF { // the reason comes from receiving
			err = s.RecvMsg(&frame{})
		}
	} else {
		p.clients.release(c)
	}
	p.counts.add(callFailed)
	return nil, c.trouble(ctx, method, false, err)
}

var streamShape = grpc.StreamDesc{StreamName: "stream", ServerStreams: true, ClientStreams: true}

// Forget closes the connections to an address, and breaks what is under way on them. A later call dials anew, at once.
func (p *Port) Forget(address string) { p.clients.forget(address) }

// clientStream is the client's end of a stream.
type clientStream struct {
	c      *client
	s      grpc.ClientStream
	method string
}

func (s *clientStream) Send(b []byte) error {
	if len(b) > MaxMessage {
		return tooLarge(s.method, b)
	}
	if err := s.s.SendMsg(&frame{body: b}); err != nil {
		return io.EOF
	}
	return nil
}

func (s *clientStream) CloseSend() error { return s.s.CloseSend() }

func (s *clientStream) Recv() ([]byte, error) {
	var f frame
	switch err := s.s.RecvMsg(&f); {
	case err == nil:
		return readReply(f.body)
	case err == io.EOF:
		return nil, io.EOF
	default:
		return nil, s.c.trouble(s.s.Context(), s.method, true, err)
	}
}

// client is the connection to one Target. gRPC makes it at the first call, and again when it broke.
type client struct {
	to     Target
	cc     *grpc.ClientConn
	failed atomic.Pointer[error] // why the last dial did, nil if it did not

	mu     sync.Mutex // guards calls and closed
	calls  *lane      // what calls go by; nil before the first
	closed bool
	lanes  sync.WaitGroup

	suspicion atomic.Value // a string: what is wrong if the server hangs up without a word

	busy int       // calls and streams under way; guarded by clients.mu
	used time.Time // when the last of them ended; guarded by clients.mu
}

func (p *Port) newClient(to Target) (*client, error) {
	c := &client{to: to}
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := p.dial(ctx, to, alpnCalls)
		if err != nil {
			c.failed.Store(&err)
			return nil, err
		}
		c.failed.Store(nil)
		c.suspicion.Store("it may require TLS (verify_outgoing)")
		if _, secured := conn.(*tls.Conn); secured {
			c.suspicion.Store("it may not accept this agent's certificate") // TLS 1.3 tells the client too late
		}
		return conn, nil
	}
	var err error
	c.cc, err = grpc.NewClient("passthrough:///rostra", // the dialer knows better
		grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the dialer does TLS
		grpc.WithAuthority("rostra"),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // what certainly did not reach a handler is still sent again, once
		grpc.WithDisableHealthCheck(),
		grpc.WithIdleTimeout(0), // sweep does it
		grpc.WithStaticStreamWindowSize(window),
		grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: dialTimeout,
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}),
			grpc.MaxCallRecvMsgSize(MaxMessage+envelope), grpc.MaxCallSendMsgSize(MaxMessage+envelope)),
	)
	if err != nil {
		return nil, fault.New(fault.NotApplied, "cannot reach %s: %s", to.Address, err.Error())
	}
	return c, nil
}

func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	_ = c.cc.Close() // it only ever says that it is closed; lanes end with it
	c.lanes.Wait()
}

// trouble makes a fault of gRPC's error. sent: the bytes may have left.
func (c *client) trouble(ctx context.Context, method string, sent bool, err error) error {
	st, ok := status.FromError(err)
	kind, cause := fault.NotApplied, err
	if ok {
		cause = errors.New(st.Message())
	}
	if sent {
		kind = fault.Unknown
	}
	switch st.Code() {
	case codes.DeadlineExceeded:
		cause = context.DeadlineExceeded
	case codes.Canceled:
		if ctx.Err() != nil {
			cause = ctx.Err()
		}
	case codes.Unavailable:
		if last := c.failed.Load(); last != nil && !sent {
			cause = *last
		} else if !sent {
			cause = fmt.Errorf("it hung up before it said anything; %s, or have too many connections from here: %w", c.suspicion.Load(), cause)
		}
	case codes.Unimplemented: // something else answers there
		kind = fault.NotApplied
	}
	text := fmt.Sprintf("cannot call %s at %s: %s", method, c.to.Address, cause)
	return &wayError{fault: fault.Error{Kind: kind, Text: text}, cause: cause}
}

// wayError is a fault that keeps its cause, for callers that look for the end of a context.
type wayError struct {
	fault fault.Error
	cause error
}

func (e *wayError) Error() string   { return e.fault.Text }
func (e *wayError) Unwrap() []error { return []error{&e.fault, e.cause} }

// clients are the connections to servers that were called lately.
type clients struct {
	mu     sync.Mutex // guards all below
	byName map[Target]*client
	closed bool
}

func (t *clients) init() { t.byName = map[Target]*client{} }

// acquire returns the client for a target; release must follow.
func (t *clients) acquire(p *Port, to Target) (*client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.byName[to]
	if c == nil {
		if t.closed {
			return nil, fault.New(fault.NotApplied, "cannot call %s: this agent is stopping", to.Address)
		}
		var err error
		if c, err = p.newClient(to); err != nil {
			return nil, err
		}
		t.byName[to] = c
	}
	c.busy++
	return c, nil
}

func (t *clients) release(c *client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.busy--; c.busy == 0 {
		c.used = time.Now()
	}
}

func (t *clients) forget(address string) {
	t.take(func(c *client) bool { return c.to.Address == address })
}

// sweep closes connections that nobody has used for long.
func (t *clients) sweep(ctx context.Context) {
	tick := time.NewTicker(idleTimeout / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			t.take(func(c *client) bool { return c.busy == 0 && now.Sub(c.used) >= idleTimeout })
		}
	}
}

// close closes all, for good.
func (t *clients) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.take(func(*client) bool { return true })
}

// take removes and closes those that match.
func (t *clients) take(match func(*client) bool) {
	var gone []*client
	t.mu.Lock()
	for to, c := range t.byName {
		if match(c) {
			gone = append(gone, c)
			delete(t.byName, to)
		}
	}
	t.mu.Unlock()
	for _, c := range gone {
		c.close()
	}
}
