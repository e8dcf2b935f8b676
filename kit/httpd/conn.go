package httpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Port is a socket on which requests come in.
type Port struct {
	net.Listener // TCP or unix, without TLS

	// TLS returns what a connection that begins now is held to, never nil; a nil TLS is a port without TLS. The protocols
	// of HTTP are set in it. It is called by one goroutine.
	TLS func() *tls.Config
}

// gate lets connections in, as many as a client may have.
type gate struct {
	Port
	conns *conns

	given *tls.Config // what TLS returned last
	ready *tls.Config // the same for HTTP
	plain *tls.Config // and for who is refused, in the words of HTTP/1.1
}

// Accept returns the next connection that its client may have.
func (g *gate) Accept() (net.Conn, error) {
	for {
		raw, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !g.conns.enter(raw) {
			g.conns.refuse(g.secured(raw))
			continue
		}
		c := &conn{Conn: raw, conns: g.conns}
		if g.TLS == nil {
			c.stage.Store(silent)
		}
		return g.secured(c), nil
	}
}

// secured puts TLS above a connection, if the port has it: one that is served or, bare, one that is refused.
func (g *gate) secured(c net.Conn) net.Conn {
	if g.TLS == nil {
		return c
	}
	if now := g.TLS(); now != g.given {
		g.given, g.ready = now, now.Clone()
		g.ready.NextProtos = []string{"h2", "http/1.1"}
		g.plain = now.Clone()
		g.plain.NextProtos = []string{"http/1.1"}
	}
	if own, is := c.(*conn); is {
		own.above = tls.Server(c, g.ready)
		return own.above
	}
	return tls.Server(c, g.plain)
}

// The stages of a connection.
const (
	greeting = iota // its TLS handshake
	silent          // not a byte of a request has come
	talking
)

// conn is a client's connection, below TLS. It bounds what net/http alone would wait for without end, or not long enough:
//   - a TLS handshake takes at most Options.HandshakeTimeout;
//   - a client may stay silent for as long as it likes, as before its second request so before its first, but the headers it
//     has begun to send are there within Options.Patience (net/http's ReadHeaderTimeout);
//   - of what is sent to it a client takes some share within Options.Patience, or is cut off.
type conn struct {
	net.Conn
	conns *conns

	stage  atomic.Int32
	first  time.Duration // how long the rest of the first headers may take; of the goroutine that reads them
	urged  atomic.Bool   // the read deadline is a bound, and not net/http ending a read
	asked  atomic.Int64  // the write deadline that net/http or TLS asks for, Unix ns; 0: none
	armed  atomic.Int64  // the one that is set
	gone   atomic.Bool   // the client has hung up, or was too slow
	unseen atomic.Bool   // no handler has seen a request since one was waited for
	framed atomic.Bool   // it is HTTP/2 without TLS
	above  *tls.Conn     // nil without TLS
	closed atomic.Bool
	deaf   atomic.Bool // while a short write is answered; see attend

	wait sync.Mutex // guards the three
	due  time.Time  // the read deadline that is asked for; zero: none
	set  time.Time  // the one the socket has
	in   int        // reads that go on
}

// An answer is sent in pieces, since a deadline is for one write. In small ones a large answer costs half as much again.
// Of a piece a client has to take a share within Options.Patience. Both are in bytes.
const piece, share = 256 << 10, 64 << 10

// preface is how a client begins that speaks HTTP/2 without TLS (RFC 9113 §3.4).
var preface = []byte("PRI * HTTP/2.0")

// Read reads what the client sends.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 1 && c.deaf.Load() {
		return 0, nil
	}
	c.enter()
	n, err := c.Conn.Read(p)
	c.leave()
	if n > 0 && c.stage.Load() == silent {
		c.stage.Store(talking)
		seen := min(n, len(preface))
		c.framed.Store(bytes.Equal(p[:seen], preface[:seen]))
		if c.first > 0 {
			c.urged.Store(true)
			_ = c.until(time.Now().Add(c.first))
		}
	}
	switch {
	case err == nil:
	case !errors.Is(err, os.ErrDeadlineExceeded):
		c.gone.Store(true)
	case c.urged.Swap(false):
		c.gone.Store(true)
		c.conns.slow(c.RemoteAddr().String(), "did not send what it had begun")
	}
	return n, err
}

// SetReadDeadline takes the end of a handshake, and of headers that have not begun, for what they are.
func (c *conn) SetReadDeadline(t time.Time) error {
	var left time.Duration
	if !t.IsZero() {
		left = time.Until(t)
	}
	bound := left > 0
	switch c.stage.Load() {
	case greeting:
		if bound {
			t = time.Now().Add(min(left, c.conns.handshake))
		} else {
			c.stage.Store(silent)
		}
	case silent:
		if bound {
			c.first = left
			return nil
		}
	}
	c.urged.Store(bound)
	return c.until(t)
}

// until sets the read deadline. The socket learns of it when somebody reads: net/http sets and clears several for each
// request, and mostly has read all of it by then.
func (c *conn) until(t time.Time) error {
	c.wait.Lock()
	defer c.wait.Unlock()
	c.due = t
	if c.in == 0 {
		return nil
	}
	return c.apply()
}

func (c *conn) enter() {
	c.wait.Lock()
	defer c.wait.Unlock()
	c.in++
	_ = c.apply() // of a closed connection, and then the read says so
}

func (c *conn) leave() {
	c.wait.Lock()
	defer c.wait.Unlock()
	c.in--
}

func (c *conn) apply() error {
	if c.due.Equal(c.set) {
		return nil
	}
	c.set = c.due
	return c.Conn.SetReadDeadline(c.due)
}

// SetDeadline sets both.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline bounds all writes together, each piece of them is bounded anyway.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.stage.Load() == greeting && !t.IsZero() {
		return c.Conn.SetWriteDeadline(time.Now().Add(min(time.Until(t), c.conns.handshake)))
	}
	if t.IsZero() {
		c.asked.Store(0)
		return nil
	}
	c.asked.Store(t.UnixNano())
	c.armed.Store(0)
	return c.Conn.SetWriteDeadline(t)
}

// Write sends p piece by piece.
func (c *conn) Write(p []byte) (n int, err error) {
	if c.stage.Load() == greeting {
		return c.Conn.Write(p)
	}
	c.unasked(len(p))
	for {
		c.arm()
		part := p[n:min(n+piece, len(p))]
		var sent int
		sent, err = c.Conn.Write(part)
		n += sent
		if sent >= share && c.asked.Load() == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			c.armed.Store(0)
			continue
		}
		if err != nil || n == len(p) {
			break
		}
	}
	switch {
	case err == nil:
	case !errors.Is(err, os.ErrDeadlineExceeded):
		c.gone.Store(true) // as a read would have found a moment later
	case c.asked.Load() == 0:
		c.conns.slow(c.RemoteAddr().String(), "did not take its answer")
	}
	return n, err
}

// arm sets the deadline of the next piece. One that is not far along is left: setting it costs more than the write of a
// short answer.
func (c *conn) arm() {
	now := time.Now()
	if c.asked.Load() != 0 || c.armed.Load() > now.Add(c.conns.patience/2).UnixNano() {
		return
	}
	until := now.Add(c.conns.patience)
	c.armed.Store(until.UnixNano())
	_ = c.Conn.SetWriteDeadline(until)
}

// CloseWrite tells the client that nothing more will come.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes the connection and makes room for another of its client. Who was refused in the handshake, because of a
// certificate, has sent a request before it knows and has to read why.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.conns.leave(c.Conn)
	c.ousted()
	if c.stage.Load() == greeting && c.conns.meanwhile(func() { part(c.Conn) }) {
		return nil
	}
	return c.Conn.Close()
}
