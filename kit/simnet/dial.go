package simnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	backlog      = 1024        // connections that wait for Accept
	dialAgain    = time.Second // then twice, four times …: as Linux does
	dialAttempts = 7           // the last is given up when the next would be due, after 127 s
)

// listener is a net.Listener.
type listener struct {
	host *Host
	at   netip.AddrPort
	addr *net.TCPAddr

	// The rest is guarded by net.mu.
	waiting []*conn
	closed  bool
	changed signal
	until   deadline
}

// Listen opens a TCP listener at "ip:port", where the IP is the machine's or a loopback address; no IP stands for both,
// port 0 for one that is free.
func (h *Host) Listen(address string) (net.Listener, error) {
	h.net.lock()
	defer h.net.unlock()
	at, err := h.local("tcp", address)
	if err == nil && h.listeners[at] != nil {
		err = os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	l := &listener{host: h, at: at, addr: tcp(at)}
	h.listeners[at] = l
	return l, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	n := l.host.net
	n.lock()
	defer n.unlock()
	for {
		switch {
		case l.closed:
			return nil, l.fail("accept", net.ErrClosed)
		case l.until.passed(n):
			return nil, l.fail("accept", os.ErrDeadlineExceeded)
		case !l.host.paused && len(l.waiting) > 0:
			c := l.waiting[0]
			l.waiting = l.waiting[1:]
			return c, nil
		}
		n.wait(&l.changed)
	}
}

// SetDeadline is that of *net.TCPListener: until when Accept waits.
func (l *listener) SetDeadline(t time.Time) error {
	n := l.host.net
	n.lock()
	defer n.unlock()
	if l.closed {
		return l.fail("set", net.ErrClosed)
	}
	l.until.move(n, t, &l.changed)
	return nil
}

// Close implements net.Listener: connections that were not accepted are reset.
func (l *listener) Close() error {
	n := l.host.net
	n.lock()
	defer n.unlock()
	if l.closed {
		return l.fail("close", net.ErrClosed)
	}
	l.shut()
	return nil
}

func (l *listener) shut() {
	l.closed = true
	delete(l.host.listeners, l.at)
	for _, c := range l.waiting {
		c.shut(true)
	}
	l.waiting = nil
	l.changed.wake()
}

// Addr implements net.Listener; it is a *net.TCPAddr.
func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.addr, Err: err}
}

// dialing is a connection that is not made yet. It is guarded by net.mu.
type dialing struct {
	host    *Host
	at      netip.AddrPort
	done    bool
	conn    *conn // nil with an error
	err     error
	changed signal
}

// Dial connects to "ip:port". Where nobody listens it is refused with syscall.ECONNREFUSED; where nothing comes through or
// no machine is it gives up with ctx, or after 127 s with syscall.ETIMEDOUT.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	at, err := parse("tcp", address)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	if at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(loopback, at.Port())
	}
	n := h.net
	n.lock()
	defer n.unlock()
	d := &dialing{host: h, at: at}
	h.dials[d] = struct{}{}
	h.count.Dials++
	h.patiently(func() { d.attempt(dialAgain, dialAttempts) })
	for !d.done {
		changed := d.changed.channel()
		n.unlock()
		select {
		case <-changed:
			n.lock()
		case <-ctx.Done():
			n.lock()
			d.end(nil, ctx.Err())
		}
	}
	if d.err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: tcp(at), Err: d.err}
	}
	return d.conn, nil
}

// end settles the dial, once.
func (d *dialing) end(c *conn, err error) {
	if d.done {
		return
	}
	d.done, d.conn, d.err = true, c, err
	delete(d.host.dials, d)
	d.changed.wake()
}

// attempt knocks, and again later.
func (d *dialing) attempt(again time.Duration, left int) {
	n := d.host.net
	if d.done {
		return
	}
	n.after(again, func() {
		if left == 1 {
			d.end(nil, os.NewSyscallError("connect", syscall.ETIMEDOUT))
			return
		}
		d.host.patiently(func() { d.attempt(2*again, left-1) })
	})
	if to := d.host.to(d.at.Addr()); to != nil {
		d.carry(d.host, to, func() { d.knock(to) })
	}
}

// carry runs something at the other end of a link, if it comes through.
func (d *dialing) carry(from, to *Host, run func()) {
	n := from.net
	l := n.link(from, to)
	if !n.open(from, to) || from.hits(l.Loss) {
		return
	}
	n.after(from.travel(l), func() {
		if !n.open(from, to) {
			return
		}
		to.patiently(func() {
			if !d.done {
				run()
			}
		})
	})
}

// knock is at the machine that is dialled: the answer goes back.
func (d *dialing) knock(to *Host) {
	refused := func() { d.end(nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)) }
	l, ok := find(to.listeners, d.at, to.ip)
	if !ok {
		d.carry(to, d.host, refused)
		return
	}
	if len(l.waiting) >= backlog {
		return
	}
	d.carry(to, d.host, func() {
		if l.closed {
			refused()
			return
		}
		ip := d.host.ip
		if d.at.Addr().IsLoopback() {
			ip = d.at.Addr()
		}
		near, far := connect(d.host, to, tcp(netip.AddrPortFrom(ip, d.host.port())), tcp(d.at))
		l.waiting = append(l.waiting, far)
		l.changed.wake()
		d.end(near, nil)
	})
}
