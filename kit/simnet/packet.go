package simnet

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// What waits in a socket to be read, at most; and what fits into a packet.
const (
	queuePackets = 4096
	queueBytes   = 2 << 20
	packetBytes  = 65507
)

type packet struct {
	data []byte
	from *net.UDPAddr
}

// packetConn is a net.PacketConn.
type packetConn struct {
	host *Host
	at   netip.AddrPort
	addr *net.UDPAddr

	// The rest is guarded by net.mu.
	queue              []packet
	size               int // bytes in the queue
	closed             bool
	readable, writable signal
	read, write        deadline
}

// ListenPacket opens a UDP socket at "ip:port", where the IP is the machine's or a loopback address; no IP stands for both,
// port 0 for one that is free.
func (h *Host) ListenPacket(address string) (net.PacketConn, error) {
	h.net.lock()
	defer h.net.unlock()
	at, err := h.local("udp", address)
	if err == nil && h.sockets[at] != nil {
		err = os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: err}
	}
	s := &packetConn{host: h, at: at, addr: udp(at)}
	h.sockets[at] = s
	return s, nil
}

// ReadFrom implements net.PacketConn: what does not fit into b is lost.
func (s *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n := s.host.net
	n.lock()
	defer n.unlock()
	for {
		switch {
		case s.closed:
			return 0, nil, s.fail("read", nil, net.ErrClosed)
		case s.read.passed(n):
			return 0, nil, s.fail("read", nil, os.ErrDeadlineExceeded)
		case !s.host.paused && len(s.queue) > 0:
			p := s.queue[0]
			s.queue[0] = packet{}
			if s.queue = s.queue[1:]; len(s.queue) == 0 {
				s.queue = nil
			}
			s.size -= len(p.data)
			return copy(b, p.data), p.from, nil
		}
		n.wait(&s.readable)
	}
}

// WriteTo implements net.PacketConn. It waits only while the machine is stalled, and does not tell whether the packet arrives.
func (s *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	var at netip.AddrPort
	if u, ok := to.(*net.UDPAddr); ok {
		at = u.AddrPort()
		at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	} else if a, err := parse("udp", to.String()); err != nil {
		return 0, s.fail("write", to, err)
	} else {
		at = a
	}
	if len(b) > packetBytes {
		return 0, s.fail("write", to, os.NewSyscallError("sendto", syscall.EMSGSIZE))
	}
	n := s.host.net
	n.lock()
	defer n.unlock()
	for {
		switch {
		case s.closed:
			return 0, s.fail("write", to, net.ErrClosed)
		case s.write.passed(n):
			return 0, s.fail("write", to, os.ErrDeadlineExceeded)
		case !s.host.paused:
			s.send(b, at)
			return len(b), nil
		}
		n.wait(&s.writable)
	}
}

// send puts a packet on its way.
func (s *packetConn) send(b []byte, at netip.AddrPort) {
	h := s.host
	h.count.PacketsOut++
	h.count.BytesOut += uint64(len(b))
	to := h.to(at.Addr())
	if to == nil || !h.net.open(h, to) {
		h.count.PacketsLost++
		return
	}
	l := h.net.link(h, to)
	if h.hits(l.Loss) {
		h.count.PacketsLost++
		return
	}
	p := packet{append(make([]byte, 0, len(b)), b...), s.addr}
	if at.Addr().IsLoopback() && !s.at.Addr().IsLoopback() {
		p.from = udp(netip.AddrPortFrom(at.Addr(), s.at.Port()))
	}
	copies := 1
	if h.hits(l.Duplicate) {
		copies = 2
	}
	for range copies {
		d := h.travel(l)
		if h.hits(l.Reorder) {
			d += time.Duration(h.chance.Int64N(int64(2*(l.Delay+l.Jitter) + time.Millisecond)))
		}
		h.net.after(d, func() { h.deliver(to, at, p) })
	}
}

// deliver puts a packet of this machine into the socket it was sent to.
func (h *Host) deliver(to *Host, at netip.AddrPort, p packet) {
	s, ok := find(to.sockets, at, to.ip)
	if !ok || !h.net.open(h, to) || len(s.queue) >= queuePackets || s.size+len(p.data) > queueBytes {
		h.count.PacketsLost++
		return
	}
	s.queue = append(s.queue, p)
	s.size += len(p.data)
	to.count.PacketsIn++
	to.count.BytesIn += uint64(len(p.data))
	s.readable.wake()
}

// Close implements net.PacketConn: what waits in the socket is lost.
func (s *packetConn) Close() error {
	n := s.host.net
	n.lock()
	defer n.unlock()
	if s.closed {
		return s.fail("close", nil, net.ErrClosed)
	}
	s.shut()
	return nil
}

func (s *packetConn) shut() {
	s.closed, s.queue, s.size = true, nil, 0
	delete(s.host.sockets, s.at)
	s.readable.wake()
	s.writable.wake()
}

// LocalAddr implements net.PacketConn; it is a *net.UDPAddr.
func (s *packetConn) LocalAddr() net.Addr { return s.addr }

// SetDeadline implements net.PacketConn.
func (s *packetConn) SetDeadline(t time.Time) error { return s.move(t, true, true) }

// SetReadDeadline implements net.PacketConn.
func (s *packetConn) SetReadDeadline(t time.Time) error { return s.move(t, true, false) }

// SetWriteDeadline implements net.PacketConn.
func (s *packetConn) SetWriteDeadline(t time.Time) error { return s.move(t, false, true) }

func (s *packetConn) move(t time.Time, read, write bool) error {
	n := s.host.net
	n.lock()
	defer n.unlock()
	if s.closed {
		return s.fail("set", nil, net.ErrClosed)
	}
	if read {
		s.read.move(n, t, &s.readable)
	}
	if write {
		s.write.move(n, t, &s.writable)
	}
	return nil
}

func (s *packetConn) fail(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: s.addr, Addr: to, Err: err}
}
