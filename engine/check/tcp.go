package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// newTCP returns the probe of a tcp check: connect, with TLS if asked, and close.
func newTCP(spec Spec, env Env) func(context.Context) Result {
	what := "TCP"
	var secure *tls.Config
	if spec.TCPUseTLS {
		what, secure = "TCP+TLS", env.tlsFor(spec)
		if host, _, err := net.SplitHostPort(spec.TCP); err == nil && secure.ServerName == "" {
			secure.ServerName = host
		}
	}
	healthy := Result{Passing, fmt.Sprintf("%s connect %s: Success", what, spec.TCP)}
	return func(ctx context.Context) Result {
		ctx, cancel := context.WithTimeout(ctx, spec.timeout())
		defer cancel()
		conn, err := env.Dial(ctx, "tcp", spec.TCP)
		if err != nil {
			return Result{Critical, err.Error()}
		}
		defer conn.Close()
		if secure != nil {
			if err := tls.Client(conn, secure).HandshakeContext(ctx); err != nil {
				return Result{Critical, err.Error()}
			}
		}
		return healthy
	}
}
