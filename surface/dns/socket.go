package dns

import (
	"net"
	"net/netip"
)

// socket reads and writes packets; UDP sockets without an allocation.
type socket struct {
	udp  *net.UDPConn // nil: any
	any  net.PacketConn
	wild bool // bound to no address: answers must leave from the one the question came to
}

// peer is where a packet came from.
type peer struct {
	udp  netip.AddrPort
	any  net.Addr
	at   [64]byte // the control message that sends the answer from the address the question came to
	size int
}

// host is the address of the machine that it came from.
func (p *peer) host() string {
	if p.any != nil {
		return host(p.any)
	}
	return p.udp.Addr().Unmap().String()
}

// host is an address without its port.
func host(a net.Addr) string {
	if ip, _, err := net.SplitHostPort(a.String()); err == nil {
		return ip
	}
	return a.String()
}

func newSocket(c net.PacketConn) socket {
	s := socket{any: c}
	if u, ok := c.(*net.UDPConn); ok {
		local, _ := u.LocalAddr().(*net.UDPAddr)
		s.udp, s.wild = u, local != nil && local.IP.IsUnspecified()
	}
	return s
}

func (s socket) read(b []byte, from *peer) (n int, err error) {
	from.size = 0
	switch {
	case s.udp == nil:
		n, from.any, err = s.any.ReadFrom(b)
	case s.wild:
		var size int
		if n, size, _, from.udp, err = s.udp.ReadMsgUDPAddrPort(b, from.at[:]); err == nil {
			from.size = answerFrom(from.at[:size])
		}
	default:
		n, from.udp, err = s.udp.ReadFromUDPAddrPort(b)
	}
	return n, err
}

// write sends an answer. Nobody is told if it fails: the client asks again.
func (s socket) write(b []byte, to *peer) {
	switch {
	case len(b) == 0:
	case s.udp == nil:
		_, _ = s.any.WriteTo(b[lead:], to.any)
	case to.size > 0:
		_, _, _ = s.udp.WriteMsgUDPAddrPort(b[lead:], to.at[:to.size], to.udp)
	default:
		_, _ = s.udp.WriteToUDPAddrPort(b[lead:], to.udp)
	}
}
