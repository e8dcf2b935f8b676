package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// Calls travel on lanes: one stream of gRPC for each client, on which requests and replies are frames, many in one message
// of gRPC when they come close together. Only calls with a big body are calls of gRPC's own. Measured with 150 bytes each
// way, both ends in one process on 2 busy cores (bench_test.go): 128 callers 12 µs and 32 allocations a call, gRPC's own
// calls 32 µs and 142; a lone call 48 µs, gRPC's own 120 to 160. A message of a stream takes 2 µs and 12 allocations.
//
// A frame is its kind (one byte), the call's number (uvarint), and
//
//	a call      the time left in µs, 0 for no deadline (uvarint); length of the method's name (one byte), the name;
//	            length of the body (uvarint), the body
//	a cancel    nothing: the caller gave up
//	a reply     length (uvarint), the body or its last part
//	a part      length (uvarint), some of a body of which more follows, other frames in between
//	an error    length (uvarint), a fault.Kind (one byte), the text
//	the last    its number is 0, and a length of 0: the server is stopping; the client sends no more calls, says so by
//	            ending its side of the stream, and gets the replies that it still waits for
const (
	frameCall   = 1
	frameCancel = 2
	frameReply  = 3
	framePart   = 4
	frameError  = 5
	frameLast   = 6

	laneBody   = 32 << 10 // the biggest body of a call on a lane
	lanePart   = 64 << 10 // the biggest part of a reply
	laneOutbox = 1 << 20  // bytes that wait to be sent before those who add more must wait
)

var errFrame = errors.New("cannot read a frame of calls: it is cut off or of no known kind")

// request is a frame from a client.
type request struct {
	cancel  bool
	id      uint64
	timeout time.Duration // 0: no deadline
	method  string
	body    []byte // shares the message's memory
}

func appendCall(b []byte, id uint64, timeout time.Duration, method string, body []byte) []byte {
	b = binary.AppendUvarint(append(b, frameCall), id)
	b = binary.AppendUvarint(b, uint64(timeout.Microseconds()))
	b = append(append(b, byte(len(method))), method...)
	return append(binary.AppendUvarint(b, uint64(len(body))), body...)
}

func appendCancel(b []byte, id uint64) []byte {
	return binary.AppendUvarint(append(b, frameCancel), id)
}

// readRequest reads the first frame of b.
func readRequest(b []byte) (r request, rest []byte, err error) {
	c := cursor{b: b}
	kind := c.byte()
	r.id = c.uvarint()
	switch kind {
	case frameCall:
		us := c.uvarint()
		if us > uint64(maxTimeout.Microseconds()) {
			c.bad = true
		}
		r.timeout = time.Duration(us) * time.Microsecond
		r.method = string(c.take(uint64(c.byte())))
		r.body = c.take(c.uvarint())
		if r.method == "" || len(r.body) > laneBody {
			c.bad = true
		}
	case frameCancel:
		r.cancel = true
	default:
		c.bad = true
	}
	if c.bad {
		return request{}, nil, errFrame
	}
	return r, c.b, nil
}

// maxTimeout is more than anybody waits; longer ones are cut to it.
const maxTimeout = 30 * 24 * time.Hour

// response is a frame from a server.
type response struct {
	kind byte
	id   uint64
	body []byte // shares the message's memory
}

func appendResponse(b []byte, kind byte, id uint64, body []byte) []byte {
	b = binary.AppendUvarint(append(b, kind), id)
	return append(binary.AppendUvarint(b, uint64(len(body))), body...)
}

func appendFailure(b []byte, id uint64, kind byte, text string) []byte {
	b = binary.AppendUvarint(append(b, frameError), id)
	b = binary.AppendUvarint(b, uint64(1+len(text)))
	return append(append(b, kind), text...)
}

// readResponse reads the first frame of b.
func readResponse(b []byte) (r response, rest []byte, err error) {
	c := cursor{b: b}
	r.kind = c.byte()
	r.id = c.uvarint()
	r.body = c.take(c.uvarint())
	if c.bad || r.kind < frameReply || r.kind > frameLast || r.kind == frameError && len(r.body) == 0 {
		return response{}, nil, errFrame
	}
	return r, c.b, nil
}

// cursor reads fields one after the other. After one that is cut off all are zero.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) byte() byte {
	if b := c.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.b, c.bad = nil, true
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

// outbox gathers frames while the ones before them are being sent, without ever waiting for more to come.
type outbox struct {
	mu     sync.Mutex    // guards all below, and what its owner says
	frames []byte        // what will be sent next
	batch  uint64        // how often frames were taken to be sent
	sent   uint64        // how often gRPC took them over
	wake   chan struct{} // gets a value when there is something to send
	taken  chan struct{} // closes when frames is taken; nil while nobody waits for that
}

// lock locks mu once there is room for a frame. unlock must follow, unless it returns an error.
func (o *outbox) lock(ctx context.Context) error {
	o.mu.Lock()
	for len(o.frames) >= laneOutbox {
		if o.taken == nil {
			o.taken = make(chan struct{})
		}
		taken := o.taken
		o.mu.Unlock()
		select {
		case <-taken:
		case <-ctx.Done():
			return ctx.Err()
		}
		o.mu.Lock()
	}
	return nil
}

// unlock unlocks mu and has sent what was appended to frames.
func (o *outbox) unlock() {
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run sends what is added until ctx ends or it cannot be sent.
func (o *outbox) run(ctx context.Context, send func([]byte) error) {
	for {
		select {
		case <-o.wake:
		case <-ctx.Done():
			return
		}
		if !o.flush(send) {
			return
		}
	}
}

// flush sends what is there. false: it cannot be sent, and whoever receives hears why.
func (o *outbox) flush(send func([]byte) error) bool {
	for b := o.take(); len(b) > 0; b = o.take() {
		if send(b) != nil { // then gRPC has not taken it over, and never will
			return false
		}
		o.mu.Lock()
		o.sent++
		o.mu.Unlock()
	}
	return true
}

func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.frames
	if len(b) > 0 {
		o.frames = nil
		o.batch++
		if o.taken != nil {
			close(o.taken)
			o.taken = nil
		}
	}
	return b
}
