package check

import (
	"context"
	"crypto/tls"
	"fmt"
)

// newTCP returns the probe of a tcp check: connect, with TLS if asked, and close.
func newTCP(spec Spec, env Env) func(context.Context) Result {
	what := "TCP"
	if spec.UseTLS {
		what = "TCP+TLS"
	}
	healthy := Result{Passing, fmt.Sprintf("%s connect %s: Success", what, spec.Target)}
	return func(ctx context.Context) Result {
		ctx, cancel := spec.limited(ctx)
		defer cancel()
		conn, err := env.Dial(ctx, "tcp", spec.Target)
		if err != nil {
			return Result{Critical, err.Error()}
		}
		defer conn.Close()
		if spec.UseTLS {
			if err := tls.Client(conn, env.tlsTo(spec.Target, spec)).HandshakeContext(ctx); err != nil {
				return Result{Critical, err.Error()}
			}
		}
		return healthy
	}
}
