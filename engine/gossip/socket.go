package gossip

import (
	"context"
	"errors"
	"log"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// sockets are memberlist's TCP and UDP sockets, except that dials and the connections they made end at Shutdown:
// otherwise a Join or a rejoin to a machine that does not answer would outlive the pool by some ten seconds.
type sockets struct {
	*memberlist.NetTransport
	life context.Context
	end  context.CancelFunc
}

// listen opens the TCP and the UDP socket, on one port. The error is that of the system.
func listen(addr string, port int, logger *log.Logger) (*sockets, error) {
	attempts := 1
	if port == 0 {
		attempts = 10 // the port that TCP was given may be taken for UDP
	}
	var err error
	for range attempts {
		var t *memberlist.NetTransport
		t, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{addr}, BindPort: port, Logger: logger,
		})
		if err == nil {
			life, end := context.WithCancel(context.Background())
			return &sockets{t, life, end}, nil
		}
	}
	return nil, reason(addr, port, err)
}

// reason finds out again why a port cannot be had: memberlist keeps the text of the error only, and a long one.
func reason(addr string, port int, err error) error {
	var again error
	if tcp, e := net.Listen("tcp", hostPort(addr, port)); e != nil {
		again = e
	} else {
		defer tcp.Close()
		if udp, e := net.ListenPacket("udp", hostPort(addr, port)); e != nil {
			again = e
		} else {
			defer udp.Close()
		}
	}
	var op *net.OpError
	if errors.As(again, &op) {
		return op.Err
	}
	return err
}

// DialTimeout implements memberlist.Transport.
func (s *sockets) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return s.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (s *sockets) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	c, err := d.DialContext(s.life, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	return &dialed{c, context.AfterFunc(s.life, func() { _ = c.Close() })}, nil
}

// Shutdown implements memberlist.Transport. It may be called twice.
func (s *sockets) Shutdown() error {
	s.end()
	return s.NetTransport.Shutdown()
}

// dialed is a connection that is closed by its user or, if that comes first, by the end of its sockets.
type dialed struct {
	net.Conn
	forget func() bool
}

// Close implements net.Conn.
func (d *dialed) Close() error {
	d.forget()
	return d.Conn.Close()
}
