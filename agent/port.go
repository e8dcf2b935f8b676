package agent

import (
	"context"
	"fmt"
	"maps"
	"net"
	"strconv"
	"sync"
	"time"

	"rostra/engine/relay"
	"rostra/engine/rpc"
)

// serverPort is the port between agents with its goroutine. It outlives the run group: the log needs it until it is closed.
type serverPort struct {
	*rpc.Port
	host  *relay.Host // answers what arrives; nil on agents that are no servers
	run   context.Context
	stop  context.CancelFunc
	work  sync.WaitGroup
	ended chan struct{} // closed when what start started has ended
	err   error         // valid then
}

// openPort opens the port; on agents that are not servers it only reaches others.
func (a *Agent) openPort(s *Settings) error {
	name := rpc.ServerName(a.host.Self.Datacenter, a.host.Self.Domain)
	o := rpc.Options{MaxConnsPerClient: s.MaxRPCConns, HandshakeTimeout: s.HandshakeTimeout, Log: a.log.WithGroup("rpc"),
		Dial: a.net.Dial, Security: rpc.Certified(a.host.Certs, name), LogServer: name}
	if s.Server {
		l, err := a.net.Listen(net.JoinHostPort(s.BindAddr, strconv.Itoa(s.ServerPort)))
		if err != nil {
			return fmt.Errorf("cannot open the server port: %w; free the address, or set ports.server or bind_addr", err)
		}
		o.Listener = l
		a.closes = append(a.closes, func() error { _ = l.Close(); return nil }) // the port closes it too, once it runs
	}
	port, err := rpc.New(o)
	if err != nil {
		return err
	}
	a.port = &serverPort{Port: port, ended: make(chan struct{})}
	a.port.run, a.port.stop = context.WithCancel(context.Background())
	a.closes = append(a.closes, a.port.close)
	return nil
}

// serve sets who answers what arrives. It is called before start.
func (p *serverPort) serve(h *relay.Host) {
	p.host = h
	p.Port.Serve(h)
}

// Counters returns what the port counted, and who answers there.
func (p *serverPort) Counters() map[string]uint64 {
	out := p.Port.Counters()
	if p.host != nil {
		maps.Copy(out, p.host.Counters())
	}
	return out
}

// start lets the port serve.
func (p *serverPort) start() {
	p.work.Go(func() {
		defer close(p.ended)
		p.err = p.Port.Run(p.run)
	})
}

// wait returns when the port has failed or ctx ends.
func (p *serverPort) wait(ctx context.Context) error {
	select {
	case <-p.ended:
		return p.err
	case <-ctx.Done():
		return nil
	}
}

// close stops the port.
func (p *serverPort) close() error {
	p.stop()
	p.work.Wait()
	return p.err
}

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
