//go:build unix

package dns

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// mostSockets is how many UDP sockets share one address at most: each has one reader.
const mostSockets = 8

// prepare lets several sockets of this process have one address, and the wildcard's tell where a packet came to.
func prepare(c syscall.RawConn, addr netip.Addr) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, unread)
		}
		switch {
		case err != nil || !addr.IsUnspecified():
		case addr.Is4():
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		default:
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
	}); e != nil {
		return e
	}
	return err
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
