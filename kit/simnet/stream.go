package simnet

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	streamBytes  = 256 << 10 // that may be on their way or unread, each way
	segmentBytes = 64 << 10
	retransmit   = 200 * time.Millisecond // how soon what was lost is sent again
)

// segment is a piece of a stream on its way.
type segment struct {
	due  time.Duration
	held bool   // written while the machine was stalled
	data []byte // nil for the end
	end  error  // io.EOF, or that of a reset
}

// half is one direction of a connection. It is guarded by net.mu.
type half struct {
	from, to *conn
	flight   []segment // in order, nothing overtakes; the first has an event, unless stuck
	stuck    bool      // the first cannot go on until someone kicks
	arrived  [][]byte
	size     int   // bytes in flight and arrived
	end      error // what comes after what has arrived
	broken   error // that of whoever writes
	resets   bool  // a reset is in flight

	readable, writable signal
}

// send puts a segment on its way.
func (h *half) send(s segment) {
	if s.end != nil && s.end != io.EOF {
		if h.resets {
			return
		}
		h.resets = true
	}
	n := h.from.host.net
	h.from.host.conns[h.from] = struct{}{} // again, if this answers what came after the end
	s.held = h.from.host.paused
	s.due = n.now() + h.travel()
	if h.flight = append(h.flight, s); len(h.flight) == 1 {
		n.at(s.due, h.arrive)
	}
}

// travel is how long a segment takes with all the times that it is lost.
func (h *half) travel() time.Duration {
	from := h.from.host
	l := from.net.link(from, h.to.host)
	d := from.travel(l)
	for again := retransmit; from.hits(l.Loss) && again < time.Minute; again *= 2 {
		d += again
	}
	return d
}

// arrive takes in what is due, unless it cannot come through.
func (h *half) arrive() {
	from, to := h.from.host, h.to.host
	for len(h.flight) > 0 {
		s := h.flight[0]
		if s.held && from.paused || !from.net.open(from, to) {
			h.stuck = true
			return
		}
		if s.due > from.net.now() {
			from.net.at(s.due, h.arrive)
			return
		}
		h.flight[0] = segment{}
		if h.flight = h.flight[1:]; len(h.flight) == 0 {
			h.flight = nil
		}
		h.take(s)
	}
	h.from.forget()
}

// kick lets what is stuck try again.
func (h *half) kick(late time.Duration) {
	from, to := h.from.host, h.to.host
	if !h.stuck || h.flight[0].held && from.paused || !from.net.open(from, to) {
		return
	}
	h.stuck = false
	s := &h.flight[0]
	s.due = max(s.due, from.net.now()+late+h.travel())
	from.net.at(s.due, h.arrive)
}

// take is the arrival of a segment.
func (h *half) take(s segment) {
	switch {
	case s.end == io.EOF:
		if h.end == nil {
			h.end = io.EOF
		}
		h.readable.wake()
	case s.end != nil:
		if h.end == nil {
			h.end = s.end
		}
		h.readable.wake()
		h.to.out.broken = s.end
		h.to.out.writable.wake()
	case h.to.closed: // nobody is there to read it
		h.size -= len(s.data)
		h.to.out.send(segment{end: errReset})
	default:
		h.arrived = append(h.arrived, s.data)
		h.to.host.count.StreamIn += uint64(len(s.data))
		h.readable.wake()
	}
}

var errReset = os.NewSyscallError("read", syscall.ECONNRESET)

// conn is one end of a connection, a net.Conn.
type conn struct {
	host          *Host
	number        uint64
	in, out       *half // that of the other end is the other way round
	local, remote *net.TCPAddr

	// The rest is guarded by net.mu.
	closed      bool
	writing     bool // somebody does: a Write is not mixed with another
	read, write deadline
}

// connect makes the two ends of a connection.
func connect(from, to *Host, local, remote *net.TCPAddr) (near, far *conn) {
	near, far = from.conn(local, remote), to.conn(remote, local)
	there, back := &half{from: near, to: far}, &half{from: far, to: near}
	near.out, near.in, far.out, far.in = there, back, back, there
	return near, far
}

func (h *Host) conn(local, remote *net.TCPAddr) *conn {
	h.nextConn++
	c := &conn{host: h, number: h.nextConn, local: local, remote: remote}
	h.conns[c] = struct{}{}
	return c
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n := c.host.net
	n.lock()
	defer n.unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fail("read", net.ErrClosed)
		case c.read.passed(n):
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case c.host.paused:
		case len(c.in.arrived) > 0:
			return c.in.consume(b), nil
		case c.in.end == io.EOF:
			return 0, io.EOF
		case c.in.end != nil:
			return 0, c.fail("read", c.in.end)
		}
		n.wait(&c.in.readable)
	}
}

// consume moves what has arrived into b and makes room for more.
func (h *half) consume(b []byte) int {
	total := 0
	for total < len(b) && len(h.arrived) > 0 {
		k := copy(b[total:], h.arrived[0])
		total += k
		if h.arrived[0] = h.arrived[0][k:]; len(h.arrived[0]) == 0 {
			h.arrived[0] = nil
			if h.arrived = h.arrived[1:]; len(h.arrived) == 0 {
				h.arrived = nil
			}
		}
	}
	h.size -= total
	h.writable.wake()
	return total
}

// Write implements net.Conn. It waits while too much is on its way or unread.
func (c *conn) Write(b []byte) (int, error) {
	n := c.host.net
	n.lock()
	defer n.unlock()
	mine, total := false, 0
	defer func() {
		if mine {
			c.writing = false
			c.out.writable.wake()
		}
	}()
	for {
		switch {
		case mine && total == len(b):
			return total, nil
		case c.closed:
			return total, c.fail("write", net.ErrClosed)
		case c.write.passed(n):
			return total, c.fail("write", os.ErrDeadlineExceeded)
		case c.out.broken != nil:
			return total, c.fail("write", os.NewSyscallError("write", syscall.ECONNRESET))
		case c.writing && !mine:
		case !mine:
			c.writing, mine = true, true
			continue
		default:
			if room := min(streamBytes-c.out.size, segmentBytes, len(b)-total); room > 0 {
				data := append(make([]byte, 0, room), b[total:total+room]...)
				total += room
				c.out.size += room
				c.host.count.StreamOut += uint64(room)
				c.out.send(segment{data: data})
				continue
			}
		}
		n.wait(&c.out.writable)
	}
}

// Close implements net.Conn: what was written before still arrives. As with TCP, the other end is reset instead if it
// has sent what nobody read.
func (c *conn) Close() error {
	n := c.host.net
	n.lock()
	defer n.unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.shut(len(c.in.arrived) > 0)
	return nil
}

// shut closes this end, which is open.
func (c *conn) shut(reset bool) {
	c.closed = true
	if reset {
		c.out.send(segment{end: errReset})
	} else {
		c.out.send(segment{end: io.EOF})
	}
	for _, data := range c.in.arrived {
		c.in.size -= len(data)
	}
	c.in.arrived = nil
	c.in.readable.wake()
	c.out.writable.wake()
	c.forget()
}

// forget drops the connection from the host's list once nothing of it can be on its way.
func (c *conn) forget() {
	if c.closed && len(c.out.flight) == 0 {
		delete(c.host.conns, c)
	}
}

// LocalAddr implements net.Conn; it is a *net.TCPAddr.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn; it is a *net.TCPAddr.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.move(t, true, true) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.move(t, true, false) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.move(t, false, true) }

func (c *conn) move(t time.Time, read, write bool) error {
	n := c.host.net
	n.lock()
	defer n.unlock()
	if c.closed {
		return c.fail("set", net.ErrClosed)
	}
	if read {
		c.read.move(n, t, &c.in.readable)
	}
	if write {
		c.write.move(n, t, &c.out.writable)
	}
	return nil
}

func (c *conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
