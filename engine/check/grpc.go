package check

import (
	"context"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
)

// newGRPC returns the probe of a grpc check: it asks the standard health service (grpc.health.v1) on a new connection.
func newGRPC(spec Spec, env Env) func(context.Context) Result {
	address, service, _ := strings.Cut(spec.Target, "/")
	healthy := Result{Passing, fmt.Sprintf("gRPC check %s: success", spec.Target)}
	return func(ctx context.Context) Result {
		ctx, cancel := spec.limited(ctx)
		defer cancel()
		creds := insecure.NewCredentials()
		if spec.UseTLS {
			creds = credentials.NewTLS(env.tlsTo(address, spec))
		}
		// passthrough: the dialler resolves names itself and tries every address.
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds),
			grpc.WithUserAgent(userAgent), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
				return env.Dial(ctx, "tcp", address)
			}))
		if err != nil {
			return Result{Critical, err.Error()}
		}
		defer conn.Close()
		answer, err := health.NewHealthClient(conn).Check(ctx, &health.HealthCheckRequest{Service: service})
		switch {
		case err != nil:
			return Result{Critical, err.Error()}
		case answer.Status != health.HealthCheckResponse_SERVING:
			return Result{Critical, fmt.Sprintf("gRPC %s serving status: %s", spec.Target, answer.Status)}
		}
		return healthy
	}
}
