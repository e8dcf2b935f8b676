package link

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Streams connects servers: what is dialled at one's address is accepted there. The Transport closes it.
type Streams interface {
	net.Listener
	Dial(address string, timeout time.Duration) (net.Conn, error)
}

// stall is how long a server waits for the rest of a message that has begun. While a snapshot comes in, Raft's main loop
// does nothing else, so a leader that vanishes in its middle must not hold it.
const stall = 5 * time.Second

// streams is raft.StreamLayer on Streams. It knows its connections, because Raft leaves some of them open.
type streams struct {
	Streams
	self    string
	dialing time.Duration // the most that Dial takes
	closed  chan struct{}

	mu    sync.Mutex
	conns map[*conn]bool
	over  bool
}

func newStreams(s Streams, self string) *streams {
	return &streams{Streams: s, self: self, closed: make(chan struct{}), conns: map[*conn]bool{}}
}

// Addr implements net.Listener with the address others know, whatever is bound.
func (s *streams) Addr() net.Addr { return named(s.self) }

type named string

func (named) Network() string { return "tcp" }

func (n named) String() string { return string(n) }

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	c, err := s.Streams.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(&conn{Conn: c, of: s, accepted: true})
}

// Dial implements raft.StreamLayer.
func (s *streams) Dial(a raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	c, err := s.Streams.Dial(string(a), min(timeout, s.dialing))
	if err != nil {
		return nil, err
	}
	return s.track(&conn{Conn: c, of: s, to: string(a)})
}

func (s *streams) track(c *conn) (net.Conn, error) {
	c.moved.Store(time.Now().UnixNano())
	s.mu.Lock()
	over := s.over
	if !over {
		s.conns[c] = true
	}
	s.mu.Unlock()
	if over {
		return nil, errors.Join(net.ErrClosed, c.Conn.Close())
	}
	return c, nil
}

// Close implements net.Listener; it ends the connections, too.
func (s *streams) Close() error {
	s.mu.Lock()
	over := s.over
	s.over = true
	var conns []*conn
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	if over {
		return nil
	}
	close(s.closed)
	err := s.Streams.Close()
	for _, c := range conns {
		_ = c.Close()
	}
	return err
}

func (s *streams) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// cut ends the connections to an address over which nothing went since a moment.
func (s *streams) cut(to string, since time.Time) {
	var dead []*conn
	s.mu.Lock()
	for c := range s.conns {
		if c.to == to && c.moved.Load() < since.UnixNano() {
			dead = append(dead, c)
		}
	}
	s.mu.Unlock()
	for _, c := range dead {
		_ = c.Close()
	}
}

// conn is one connection. One goroutine at a time reads it.
type conn struct {
	net.Conn
	of       *streams
	to       string // the address that was dialled
	accepted bool
	begun    bool         // a message came, or part of one, and is not answered
	limited  bool         // there is a deadline for the rest
	moved    atomic.Int64 // when bytes last went, unix nanoseconds
}

func (c *conn) Read(b []byte) (int, error) {
	if c.accepted && c.begun != c.limited {
		c.limited = c.begun
		if !c.begun {
			_ = c.SetReadDeadline(time.Time{})
		}
	}
	if c.limited {
		_ = c.SetReadDeadline(time.Now().Add(stall))
	}
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.moved.Store(time.Now().UnixNano())
		if c.accepted {
			c.begun = true
		}
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > 0 {
		c.moved.Store(time.Now().UnixNano())
	}
	if c.accepted {
		c.begun = false
	}
	return n, err
}

func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// outward is streams for one that only dials: nothing is accepted until the end.
type outward struct{ *streams }

func (o outward) Accept() (net.Conn, error) {
	<-o.closed
	return nil, net.ErrClosed
}

// Close leaves the connections to their streams.
func (o outward) Close() error { return nil }
