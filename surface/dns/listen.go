package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
)

// unread is how much may wait in a socket, as the kernel counts it (about 340 questions: it doubles the figure): what comes
// when there is no room is lost, so that what is read is young however much more comes than can be answered.
const unread = 128 << 10

// Listen opens the sockets for one address, "ip:port": one for TCP, and for UDP one for every two processors, among which
// the kernel deals the clients (measured on two: a second one costs CPU and latency). TCP comes first and alone, so that a second agent is refused. With port 0 both get the same
// free one. Of the sockets of an address in error none stays open.
func Listen(addr string) (udp []net.PacketConn, tcp net.Listener, err error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot listen for DNS: %q is not an IP address with a port", addr)
	}
	for range 10 {
		if udp, tcp, err = listen(at); err == nil || at.Port() != 0 {
			break
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, nil, fmt.Errorf("cannot listen for DNS on %s: the address is in use: stop the other program, or choose another port with ports.dns", addr)
	case err != nil:
		return nil, nil, fmt.Errorf("cannot listen for DNS on %s: %w", addr, err)
	}
	return udp, tcp, nil
}

func listen(at netip.AddrPort) (udp []net.PacketConn, tcp net.Listener, err error) {
	defer func() {
		if err != nil {
			closeAll(udp, tcp)
			udp, tcp = nil, nil
		}
	}()
	if tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at)); err != nil {
		return nil, nil, err
	}
	at = tcp.Addr().(*net.TCPAddr).AddrPort()
	probe, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) // refused if anybody else has it, sharing or not
	if err != nil {
		return nil, tcp, err
	}
	_ = probe.Close()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return prepare(c, at.Addr()) }}
	for range min(max(1, runtime.GOMAXPROCS(0)/2), mostSockets) {
		c, err := config.ListenPacket(context.Background(), "udp", at.String())
		if err != nil {
			return udp, tcp, err
		}
		udp = append(udp, c)
	}
	return udp, tcp, nil
}

func closeAll(udp []net.PacketConn, tcp net.Listener) {
	for _, c := range udp {
		_ = c.Close()
	}
	if tcp != nil {
		_ = tcp.Close()
	}
}
