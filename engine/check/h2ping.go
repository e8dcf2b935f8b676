package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
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
	return ping(conn)
}

// ping opens the HTTP/2 connection by hand: net/http shows its user no PING.
func ping(conn net.Conn) error {
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	sent := [8]byte{'r', 'o', 's', 't', 'r', 'a'}
	f := http2.NewFramer(conn, conn)
	f.SetMaxReadFrameSize(1 << 14) // what we have not allowed to be longer
	if err := errors.Join(f.WriteSettings(), f.WritePing(false, sent)); err != nil {
		return err
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if frame.IsAck() {
				continue
			}
			if err := f.WriteSettingsAck(); err != nil {
				return err
			}
		case *http2.PingFrame:
			if frame.IsAck() && frame.Data == sent {
				return nil
			}
		case *http2.GoAwayFrame:
			return fmt.Errorf("the server ends the connection: %v", frame.ErrCode)
		}
	}
}
