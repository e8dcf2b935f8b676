package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/http2"
)

// newH2Ping returns the probe of an h2ping check: a new HTTP/2 connection, a PING frame and its answer. Without TLS the
// server must speak HTTP/2 from the first byte.
func newH2Ping(spec Spec, env Env) func(context.Context) Result {
	return func(ctx context.Context) Result {
		ctx, cancel := spec.limited(ctx)
		defer cancel()
		if err := h2Ping(ctx, spec, env); err != nil {
			return Result{Critical, err.Error()}
		}
		return Result{Passing, "HTTP2 ping was successful"}
	}
}

func h2Ping(ctx context.Context, spec Spec, env Env) error {
	var conn net.Conn
	conn, err := env.Dial(ctx, "tcp", spec.Target)
	if err != nil {
		return err
	}
	defer func() { conn.Close() }()
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end) // the library's first writes know no context
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if spec.UseTLS {
		conf := env.tlsTo(spec.Target, spec)
		conf.NextProtos = []string{http2.NextProtoTLS}
		secure := tls.Client(conn, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		if got := secure.ConnectionState().NegotiatedProtocol; got != http2.NextProtoTLS {
			return fmt.Errorf("%s does not speak HTTP/2: it chose the protocol %q", spec.Target, got)
		}
		conn = secure
	}
	client, err := new(http2.Transport).NewClientConn(conn)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Ping(ctx)
}
