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

// addr returns the address of the peer; invalid if it has none.
func (p *peer) addr() netip.Addr {
	if p.any != nil {
		return addrOf(p.any)
	}
	return p.udp.Addr().Unmap()
}

func addrOf(a net.Addr) netip.Addr {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}
