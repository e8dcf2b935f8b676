package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"rostra/kit/fault"
)

const (
	callPath   = "/rostra/call"
	streamPath = "/rostra/stream"
	lanePath   = "/rostra/lane"

	// maxHeaders bounds the headers of one request; ours are under 200 bytes.
	maxHeaders = 16 << 10

	// window is how much of one message may be on its way unread, connWindow of all of a connection. They are fixed: gRPC's
	// own estimate sends a ping with nearly each lone call.
	window     = 4 << 20
	connWindow = 8 << 20
)

// quietGRPC keeps gRPC from writing to stderr: what matters of it is an error that somebody gets.
var quietGRPC = sync.OnceFunc(func() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
})

func (p *Port) newServer() *grpc.Server {
	s := grpc.NewServer(
		grpc.Creds(greeted{}),
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(MaxMessage+envelope),
		grpc.MaxSendMsgSize(MaxMessage+envelope),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(connWindow),
		grpc.ConnectionTimeout(p.opts.HandshakeTimeout),
		// The default lets a client ping every 5 minutes only, and drops the connection of one that does so more often.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery / 2, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 3 * pingEvery, Timeout: pingTimeout}),
	)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "rostra",
		Methods:     []grpc.MethodDesc{{MethodName: "call", Handler: p.serveCall}},
		Streams: []grpc.StreamDesc{
			{StreamName: "lane", Handler: p.serveLane, ServerStreams: true, ClientStreams: true},
			{StreamName: "stream", Handler: p.serveStream, ServerStreams: true, ClientStreams: true},
		},
	}, nil)
	return s
}

// greeted are gRPC's credentials for connections that greet has secured already: they only tell who is at the other end.
type greeted struct{}

// identity is what gRPC keeps with each connection.
type identity struct {
	Peer
	inbox inbox
}

// AuthType is never shown.
func (*identity) AuthType() string { return "rostra" }

func (greeted) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	known, ok := c.(*conn)
	if !ok {
		return nil, nil, fmt.Errorf("a %T did not come through the server port", c)
	}
	return c, &identity{known.peer, newInbox()}, nil
}

func (greeted) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a server's")
}

func (greeted) Info() credentials.ProtocolInfo            { return credentials.ProtocolInfo{} }
func (g greeted) Clone() credentials.TransportCredentials { return g }
func (greeted) OverrideServerName(string) error           { return nil }

func peerOf(ctx context.Context) Peer { return connectionOf(ctx).Peer }

// connectionOf returns what is kept with the connection of a call or stream that came in.
func connectionOf(ctx context.Context) *identity {
	known, _ := peer.FromContext(ctx) // gRPC gives each its peer, and greeted gave that its identity
	return known.AuthInfo.(*identity)
}

var errStopping = fault.New(fault.NotApplied, "the server is stopping")

// serveCall answers one call. What it returns as an error is gRPC's own; the handler's is in the reply.
func (p *Port) serveCall(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var f frame
	at := connectionOf(ctx)
	from := at.Peer
	done, err := at.inbox.receive(ctx, decode, &f)
	if err != nil {
		if status.Code(err) == codes.ResourceExhausted {
			p.refuse(refusedSize, ipOfPeer(from), err)
		}
		return nil, err
	}
	defer done()
	method, body, err := readCall(f.body)
	if err != nil {
		p.refuse(refusedGarbage, ipOfPeer(from), err)
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if !p.work.begin() {
		return errorFrame(errStopping), nil
	}
	defer p.work.done()
	p.counts.add(served)
	reply, err := p.handleCall(ctx, from, method, body)
	if err == nil && len(reply) > MaxMessage {
		err = tooLarge(method, reply)
	}
	if err != nil {
		return errorFrame(err), nil
	}
	return replyFrame(reply), nil
}

func (p *Port) handleCall(ctx context.Context, from Peer, method string, body []byte) (reply []byte, err error) {
	defer p.recovered(from, method, &err)
	reply, err = p.handler.Call(ctx, from, method, body)
	if err != nil {
		p.counts.add(servedFailed)
	}
	if cause := ctx.Err(); cause != nil && errors.Is(err, cause) && fault.KindOf(err) == fault.Internal {
		err = &wayError{fault.Error{Kind: fault.Unknown, Text: err.Error()}, cause} // as the caller finds on its own
	}
	return reply, err
}

// recovered makes an error of a panic.
func (p *Port) recovered(from Peer, method string, err *error) {
	cause := recover()
	if cause == nil {
		return
	}
	p.counts.add(panicked)
	p.opts.Log.Error("a handler panicked", slog.String("method", method), slog.String("peer", from.Address),
		slog.Any("panic", cause), slog.String("stack", string(debug.Stack())))
	*err = fault.New(fault.Internal, "cannot serve %s: it panicked; the server's log says where", method)
}

func (p *Port) serveStream(_ any, s grpc.ServerStream) error {
	from := peerOf(s.Context())
	end := &serverStream{port: p, s: s, from: from}
	opening, err := end.Recv()
	if err != nil {
		return nil // gRPC told the client why
	}
	method := string(opening)
	if len(method) == 0 || len(method) > maxMethod {
		p.refuse(refusedGarbage, ipOfPeer(from), errors.New("a stream's method has no name"))
		return status.Error(codes.InvalidArgument, "a stream begins with the name of its method")
	}
	if p.ending.Err() != nil {
		_ = s.SendMsg(errorFrame(errStopping))
		return nil
	}
	ctx, cancel := context.WithCancelCause(s.Context())
	defer cancel(nil)
	defer context.AfterFunc(p.ending, func() { cancel(errStopping) })()
	p.counts.add(streamed)
	err = p.handleStream(ctx, from, method, end)
	switch {
	case context.Cause(ctx) == errStopping: // also if the handler took it for a good end
		err = fault.New(fault.Unknown, "%s", errStopping.Error())
	case err == nil, errors.Is(err, io.EOF):
		return nil
	}
	_ = s.SendMsg(errorFrame(err)) // it fails if the client is gone
	return nil
}

func (p *Port) handleStream(ctx context.Context, from Peer, method string, s Stream) (err error) {
	defer p.recovered(from, method, &err)
	return p.handler.Stream(ctx, from, method, s)
}

// serverStream is the handler's end of a stream.
type serverStream struct {
	port *Port
	s    grpc.ServerStream
	from Peer
}

func (s *serverStream) Send(b []byte) error {
	if len(b) > MaxMessage {
		return tooLarge("a stream", b)
	}
	if err := s.s.SendMsg(replyFrame(b)); err != nil {
		return io.EOF
	}
	return nil
}

func (s *serverStream) Recv() ([]byte, error) {
	var f frame
	err := s.s.RecvMsg(&f)
	switch {
	case err == nil:
		return f.body, nil
	case err == io.EOF:
		return nil, io.EOF
	case status.Code(err) == codes.ResourceExhausted:
		s.port.refuse(refusedSize, ipOfPeer(s.from), err)
		return nil, fault.New(fault.TooLarge, "%s", status.Convert(err).Message())
	case s.s.Context().Err() != nil:
		return nil, s.s.Context().Err()
	}
	return nil, fault.New(fault.Unknown, "the stream broke: %s", status.Convert(err).Message())
}

func ipOfPeer(p Peer) string {
	if host, _, err := net.SplitHostPort(p.Address); err == nil {
		return host
	}
	return p.Address
}

const (
	pingEvery   = 10 * time.Second // gRPC allows no less
	pingTimeout = 5 * time.Second
)
