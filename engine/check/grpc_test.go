package check

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// serveGRPC starts a server with the standard health service, with TLS if conf is not nil.
func serveGRPC(t *testing.T, conf *tls.Config) string {
	t.Helper()
	var options []grpc.ServerOption
	if conf != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(conf)))
	}
	srv, states := grpc.NewServer(options...), health.NewServer()
	states.SetServingStatus("db", healthpb.HealthCheckResponse_SERVING)
	states.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(srv, states)
	l := listen(t)
	ended := make(chan error)
	go func() { ended <- srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-ended })
	return l.Addr().String()
}

// Spec agent.md §6, grpc: the standard health service; the service is the text after the first slash.
func TestGRPC(t *testing.T) {
	plain := serveGRPC(t, nil)
	s, trust := secured(t, true, false)
	secure := serveGRPC(t, &tls.Config{Certificates: s.TLS.Certificates})
	closed, silent := closedPort(t), listen(t).Addr().String()
	_, port, _ := net.SplitHostPort(plain)
	for name, c := range map[string]struct {
		spec   Spec
		env    Env
		status Status
		want   string // exact, or the end if it starts with "..."
	}{
		"server":      {Spec{Target: plain}, Env{}, Passing, "gRPC check " + plain + ": success"},
		"service":     {Spec{Target: plain + "/db"}, Env{}, Passing, "gRPC check " + plain + "/db: success"},
		"by name":     {Spec{Target: "localhost:" + port}, Env{}, Passing, "gRPC check localhost:" + port + ": success"},
		"not serving": {Spec{Target: plain + "/down"}, Env{}, Critical, "gRPC " + plain + "/down serving status: NOT_SERVING"},
		"unknown":     {Spec{Target: plain + "/what"}, Env{}, Critical, "...code = NotFound desc = unknown service"},
		"refused":     {Spec{Target: closed}, Env{}, Critical, "...dial tcp " + closed + `: connect: connection refused"`},
		"silent":      {Spec{Target: silent, Timeout: 300 * time.Millisecond}, Env{}, Critical, "...while waiting for connections to become ready"},
		"tls":         {Spec{Target: secure, UseTLS: true}, Env{TLS: always(trust)}, Passing, "gRPC check " + secure + ": success"},
		"tls, skip":   {Spec{Target: secure, UseTLS: true, TLSSkipVerify: true}, Env{}, Passing, "gRPC check " + secure + ": success"},
		"tls, name": {Spec{Target: secure, UseTLS: true, TLSServerName: "example.com"}, Env{TLS: always(trust)}, Passing,
			"gRPC check " + secure + ": success"},
		"tls, unknown": {Spec{Target: secure, UseTLS: true}, Env{}, Critical, `...certificate signed by unknown authority"`},
		"tls, wrong name": {Spec{Target: secure, UseTLS: true, TLSServerName: "else.where"}, Env{TLS: always(trust)}, Critical,
			`...not else.where"`},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Kind = GRPC
			got := first(t, c.spec, c.env)
			if end, part := strings.CutPrefix(c.want, "..."); got.Status != c.status ||
				got.Output != c.want && !(part && strings.HasSuffix(got.Output, end)) {
				t.Errorf("got %q, want %s %q", got, c.status, c.want)
			}
		})
	}
}
