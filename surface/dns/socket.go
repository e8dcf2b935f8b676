package dns

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
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

// answerFrom turns the received control message into the one to send: the same address, over whatever interface leads
// to the client. It returns its size; 0: there is none.
func answerFrom(b []byte) int {
	h, data, _, err := unix.ParseOneSocketControlMessage(b)
	if err != nil {
		return 0
	}
	switch {
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= 12:
		clear(data[:4]) // the interface
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= 20:
		if addr := netip.AddrFrom16([16]byte(data[:16])); !addr.IsLinkLocalUnicast() {
			binary.NativeEndian.PutUint32(data[16:], 0)
		}
	default:
		return 0
	}
	return len(b)
}

// lost returns how many packets the kernel has dropped since the socket was opened, because nobody read them in time.
func lost(c net.PacketConn) uint64 {
	u, ok := c.(*net.UDPConn)
	if !ok {
		return 0
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	const drops = 8 // SK_MEMINFO_DROPS of linux/sock_diag.h
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	if err := raw.Control(func(fd uintptr) {
		_, _, _ = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0) // an old kernel has none: 0
	}); err != nil {
		return 0
	}
	return uint64(info[drops])
}
