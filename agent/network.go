package agent

import (
	"context"
	"net"
	"time"
)

// network is where an agent meets others: the machine's, or in tests one in memory. Addresses are ip:port.
type network interface {
	Listen(address string) (net.Listener, error)
	ListenPacket(address string) (net.PacketConn, error)
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// system is the machine's network.
type system struct{}

// Listen opens a TCP port.
func (system) Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

// ListenPacket opens a UDP port.
func (system) ListenPacket(address string) (net.PacketConn, error) {
	return net.ListenPacket("udp", address)
}

// dialTime bounds a dial.
const dialTime = 5 * time.Second

// Dial connects by TCP.
func (system) Dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTime}
	return d.DialContext(ctx, "tcp", address)
}
