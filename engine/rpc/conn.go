package rpc

import (
	"net"
	"sync"
)

// conn is a connection that came in: what sniff has read is read again.
type conn struct {
	net.Conn
	head  []byte // only Read touches it once the connection is handed over
	peer  Peer
	once  sync.Once
	ended func() // the first Close calls it
}

// Read reads what was looked at already, then from the network.
func (c *conn) Read(b []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(b, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// Close also gives its place back.
func (c *conn) Close() error {
	if c.ended != nil {
		c.once.Do(c.ended)
	}
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
func (t *conns) add(raw net.Conn, ip string, limit int) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.perIP[ip] >= limit {
		return nil
	}
	c := &conn{Conn: raw}
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
