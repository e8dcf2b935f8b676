package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Dial connects to "ip:port" until its context ends.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// largestPacket is what a packet has room for; memberlist sends 1,400 bytes at most, others may do what they like.
const largestPacket = 64 << 10

// errorPause is how long a socket that cannot be read is left alone.
const errorPause = 100 * time.Millisecond

// carrier is a memberlist.Transport over sockets that somebody else opened.
type carrier struct {
	packets  net.PacketConn
	streams  net.Listener
	dial     Dial
	incoming chan *memberlist.Packet
	accepted chan net.Conn
	life     context.Context
	end      context.CancelFunc
	work     sync.WaitGroup
}

// Over returns a transport for Options over sockets that somebody else opened, which others reach at the same port, by
// default at the listener's address. It owns them from now on: it closes them, and ends its dials and the connections
// that they made, when it is shut down, as Pool.Close does. If they are closed before, the pool hears nothing more.
func Over(packets net.PacketConn, streams net.Listener, dial Dial) memberlist.Transport {
	life, end := context.WithCancel(context.Background())
	c := &carrier{
		packets: packets, streams: streams, dial: dial,
		incoming: make(chan *memberlist.Packet), accepted: make(chan net.Conn), life: life, end: end,
	}
	c.work.Go(c.receive)
	c.work.Go(c.accept)
	return c
}

// receive hands packets to memberlist until the socket is closed.
func (c *carrier) receive() {
	for buf := make([]byte, largestPacket); ; {
		n, from, err := c.packets.ReadFrom(buf)
		if err != nil {
			if c.over(err) {
				return
			}
			continue
		}
		if n == 0 {
			continue // memberlist asks its transport for one byte at least
		}
		p := &memberlist.Packet{Buf: append(make([]byte, 0, n), buf[:n]...), From: from, Timestamp: time.Now()}
		select {
		case c.incoming <- p:
		case <-c.life.Done():
			return
		}
	}
}

// accept hands connections to memberlist until the listener is closed.
func (c *carrier) accept() {
	for {
		conn, err := c.streams.Accept()
		if err != nil {
			if c.over(err) {
				return
			}
			continue
		}
		select {
		case c.accepted <- conn:
		case <-c.life.Done():
			_ = conn.Close() // nobody has read from it
			return
		}
	}
}

// over says whether an error is the last one, and otherwise waits a little.
func (c *carrier) over(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return true
	}
	select {
	case <-time.After(errorPause):
		return false
	case <-c.life.Done():
		return true
	}
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (c *carrier) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	bound, err := netip.ParseAddrPort(c.streams.Addr().String())
	if err != nil {
		return nil, 0, fmt.Errorf("cannot advertise the listener's address: %w", err)
	}
	if port == 0 {
		port = int(bound.Port())
	}
	at := bound.Addr()
	if ip != "" {
		if at, err = netip.ParseAddr(ip); err != nil {
			return nil, 0, fmt.Errorf("cannot advertise %q: %w", ip, err)
		}
	}
	if at.IsUnspecified() {
		return nil, 0, fmt.Errorf("cannot advertise %s, which is no machine's address: set one to advertise", at)
	}
	return at.Unmap().AsSlice(), port, nil
}

// WriteTo implements memberlist.Transport.
func (c *carrier) WriteTo(b []byte, address string) (time.Time, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot send a packet: %w", err)
	}
	_, err = c.packets.WriteTo(b, net.UDPAddrFromAddrPort(at))
	return time.Now(), err
}

// PacketCh implements memberlist.Transport.
func (c *carrier) PacketCh() <-chan *memberlist.Packet { return c.incoming }

// StreamCh implements memberlist.Transport.
func (c *carrier) StreamCh() <-chan net.Conn { return c.accepted }

// DialTimeout implements memberlist.Transport.
func (c *carrier) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(c.life, timeout)
	defer cancel()
	conn, err := c.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return &dialed{conn, context.AfterFunc(c.life, func() { _ = conn.Close() })}, nil
}

// Shutdown implements memberlist.Transport. It may be called twice.
func (c *carrier) Shutdown() error {
	c.end()
	// Whoever has closed them before has done what is to be done.
	_, _ = c.streams.Close(), c.packets.Close()
	c.work.Wait()
	return nil
}
