package rpc

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

// conn is a connection that came in: what sniff has read is read again.
type conn struct {
	net.Conn
	port  *Port
	head  []byte // only Read touches it once the connection is handed over
	peer  Peer
	once  sync.Once
	ended func() // the first Close calls it

	first   [1]byte     // for ReadOnReady, and only in it
	ready   bool        // likewise: the last reading was that of the first byte
	reading atomic.Bool // somebody waits for the other end
	over    atomic.Bool // the other end is gone
	watched atomic.Bool // gRPC has it: a Close while the other end is neither gone nor silent is for a broken protocol
}

// Read reads what was looked at already, then from the network.
func (c *conn) Read(b []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(b, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	c.reading.Store(true)
	n, err := c.Conn.Read(b)
	c.reading.Store(false)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.over.Store(true)
	}
	return n, err
}

// ReadOnReady is how gRPC reads if a connection lets it: it takes a buffer only when there is something to put in, which
// saves 32 KiB for each connection that is quiet, as those of client agents are. gRPC itself knows how to wait only for a
// bare TCP connection. Here one byte is waited for, and the next reading takes what came with it. (More in one go might
// wait for what the other end sends only after an answer.)
func (c *conn) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	if !c.ready {
		if _, err := io.ReadFull(c, c.first[:]); err != nil {
			return nil, 0, err
		}
		c.ready = true
		b := pool.Get(size)
		(*b)[0] = c.first[0]
		return b, 1, nil
	}
	c.ready = false
	b := pool.Get(size)
	n, err := c.Read(*b)
	if n == 0 {
		pool.Put(b)
		b = nil
	}
	return b, n, err
}

// Close also gives its place back.
func (c *conn) Close() error {
	c.once.Do(func() {
		if c.watched.Load() && !c.reading.Load() && !c.over.Load() && c.port.ending.Err() == nil {
			c.port.refuse(refusedGarbage, ipOfPeer(c.peer), errors.New("it broke the protocol (HTTP/2)"))
		}
		if c.ended != nil {
			c.ended()
		}
	})
	return c.Conn.Close()
}

// ipOf returns the IP address of who is at the other end, or all of its address if that has none.
func ipOf(a net.Addr) string {
	if host, _, err := net.SplitHostPort(a.String()); err == nil {
		return host
	}
	return a.String()
}

// conns are the connections that came in and are open.
type conns struct {
	mu     sync.Mutex // guards all below
	open   map[*conn]bool
	perIP  map[string]int
	closed bool
}

func (t *conns) init() { t.open, t.perIP = map[*conn]bool{}, map[string]int{} }

// add wraps raw and counts it, or returns nil if its peer has limit connections already.
func (t *conns) add(p *Port, raw net.Conn, ip string, limit int) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.perIP[ip] >= limit {
		return nil
	}
	c := &conn{Conn: raw, port: p}
	c.ended = func() { t.remove(c, ip) }
	t.open[c] = true
	t.perIP[ip]++
	return c
}

func (t *conns) remove(c *conn, ip string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	if t.perIP[ip]--; t.perIP[ip] == 0 {
		delete(t.perIP, ip)
	}
}

func (t *conns) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// close closes all, and refuses those that come.
func (t *conns) close() {
	t.mu.Lock()
	t.closed = true
	list := make([]*conn, 0, len(t.open))
	for c := range t.open {
		list = append(list, c)
	}
	t.mu.Unlock()
	for _, c := range list {
		_ = c.Close() // its owner hears of it from Read
	}
}
