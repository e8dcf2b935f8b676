// Package rpc is the server port and the client's side of it: calls, streams and log streams between agents, on one TCP
// port that serves plain text and TLS. It carries bytes and knows neither what they say nor who may say it; the doors
// and consensus use it. The first byte of a connection says what it is; see sniff.go. Calls and streams are gRPC (HTTP/2)
// with a codec of our own, calls many in one stream (lane.go); log streams are bare connections for Raft and its snapshots.
package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"rostra/kit/fault"
	"rostra/kit/notice"
)

const (
	// MaxMessage is the most that one request, reply or message of a stream may hold, in bytes.
	MaxMessage = 64 << 20

	// maxCalls bounds the calls on the lane of one connection that are under way at a time; its next ones wait for a place,
	// within their deadlines. It is high because a whole client agent is one connection.
	maxCalls = 16384
	// maxStreams bounds everything else of one connection in the same way: streams, of which an agent has a few, and calls
	// with bodies too big for the lane.
	maxStreams = 256

	defaultMaxConns  = 100              // limits.rpc_max_conns_per_client
	defaultHandshake = 5 * time.Second  // limits.rpc_handshake_timeout
	dialTimeout      = 5 * time.Second  // of the default dialer, and for a connection as a whole
	idleTimeout      = 10 * time.Minute // after which an unused client connection is closed
)

// Options say what a Port serves and how it reaches others. Nothing in them is changed after New.
type Options struct {
	Listener net.Listener // the server port; nil on agents that only dial. Run closes it

	// Dial reaches an address; nil: TCP, within 5 s.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	Security Security // nil: plain text only
	Handler  Handler  // serves what arrives; required with Listener, here or through Serve before Run

	// LogServer is the Target.Server of log streams that Streams dials: the name servers' certificates hold.
	LogServer string

	MaxConnsPerClient int           // connections from one IP address; 0: 100
	HandshakeTimeout  time.Duration // until a connection must have said what it is, TLS included; 0: 5 s
	Log               *slog.Logger  // nil: nothing is logged
}

// Security says how connections are protected. Its methods are called for each connection, so that certificates can be
// reloaded; what they return is not changed afterwards, and the same pointer is returned while nothing changed.
type Security interface {
	Incoming() *tls.Config             // for connections that come in; nil: TLS is not offered
	Outgoing(to Target) *tls.Config    // nil: dial in plain text
	Plain() bool                       // whether plain text may come in
	LogPeer(tls.ConnectionState) error // whether that peer may act as a server (verify_server_hostname: only servers may)
}

// Target is a server to reach.
type Target struct {
	Address string // host:port
	Server  string // the name its certificate must hold where names are verified, as server.dc1.consul; "" is unknown
}

// Peer is the other end of a connection that came in.
type Peer struct {
	Address      string              // ip:port
	Certificates []*x509.Certificate // as it presented them, its own first; nil in plain text or if it has none

	port    *Port
	foreign error // why it is no server of this datacenter; nil if it is one, or nobody can tell
}

// Serves returns an error, which is counted, unless the peer may do what servers do among themselves: who may open a log
// stream may.
func (p Peer) Serves() error {
	if p.foreign == nil {
		return nil
	}
	p.port.refuse(refusedPeer, ipOfPeer(p), p.foreign)
	return fault.New(fault.Refused, "this is between servers: %v", p.foreign)
}

// Handler serves what arrives. Its methods are called concurrently and end soon after their context does. An error's
// fault.Kind and text arrive at the caller; one without a kind arrives as fault.Internal. A panic is caught, logged and
// becomes fault.Internal, the bare error of an ended context fault.Unknown. The context has the caller's deadline and ends when the caller gives up or is gone.
type Handler interface {
	// Call answers a call. It may keep body; the reply must not be changed afterwards.
	Call(ctx context.Context, from Peer, method string, body []byte) ([]byte, error)

	// Stream serves a stream until it returns. nil and io.EOF end it normally: the caller's Recv gives io.EOF.
	Stream(ctx context.Context, from Peer, method string, s Stream) error
}

// Stream is one end of a sequence of messages in both directions. One goroutine may send while another receives. It has
// flow control: Send waits while the other end does not receive.
//
// The client's end also has CloseSend() error: the handler's Recv then gives io.EOF. To be rid of a stream before its end
// the client cancels the context that it was opened with.
type Stream interface {
	// Send sends b, which must not be changed afterwards. io.EOF: the stream is over, and Recv tells why.
	Send(b []byte) error

	// Recv returns the next message, io.EOF at the normal end, the handler's error, or a fault.Unknown if the stream broke.
	Recv() ([]byte, error)
}

// Port is one agent's end of all its connections to other agents. Its methods may be called concurrently.
type Port struct {
	opts     Options
	handler  Handler
	perIP    atomic.Int64 // the limit of connections
	counts   counters
	refusals notice.Board

	grpc    *grpc.Server // nil without a Listener
	calls   *queue       // connections for grpc
	streams *queue       // log streams
	conns   conns
	clients clients
	inTLS   tailored

	begun    atomic.Bool
	greeting sync.WaitGroup  // connections before their handshake
	work     work            // calls being served
	ending   context.Context // ends when the Port stops
	end      context.CancelFunc
}

// New returns a Port. Calls may be made at once; nothing is served before Run.
func New(o Options) (*Port, error) {
	if o.MaxConnsPerClient < 0 || o.HandshakeTimeout < 0 {
		return nil, fmt.Errorf("cannot open the server port: limits must not be negative (%d connections, %s); leave them out for the defaults",
			o.MaxConnsPerClient, o.HandshakeTimeout)
	}
	if o.MaxConnsPerClient == 0 {
		o.MaxConnsPerClient = defaultMaxConns
	}
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = defaultHandshake
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		dialer := &net.Dialer{Timeout: dialTimeout}
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		}
	}
	quietGRPC()
	p := &Port{opts: o, handler: o.Handler}
	p.perIP.Store(int64(o.MaxConnsPerClient))
	p.work.idle = make(chan struct{}, 1)
	p.ending, p.end = context.WithCancel(context.Background())
	p.conns.init()
	p.clients.init()
	var addr net.Addr
	if o.Listener != nil {
		addr = o.Listener.Addr()
		p.grpc = p.newServer()
	}
	p.calls, p.streams = newQueue(addr), newQueue(addr)
	return p, nil
}

// Serve sets the handler. It is called before Run.
func (p *Port) Serve(h Handler) { p.handler = h }

// LimitConns changes how many connections one IP address may have; those it has stay.
func (p *Port) LimitConns(perClient int) { p.perIP.Store(int64(perClient)) }

// Counters returns what was counted since New, by name: rpc.accepted, rpc.refused.<reason>, rpc.calls, and so on.
func (p *Port) Counters() map[string]uint64 {
	m := p.counts.all()
	m["rpc.open"] = uint64(p.conns.len())
	return m
}
