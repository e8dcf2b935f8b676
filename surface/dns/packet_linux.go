package dns

import (
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

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
