package check

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

var discard = log.New(io.Discard, "", 0)

func TestTCP(t *testing.T) {
	l := listen(t)
	open, closed := l.Addr().String(), closedPort(t)
	_, port, _ := net.SplitHostPort(open)
	s, trust := secured(t, false, false)
	secure := s.Listener.Addr().String()
	for name, c := range map[string]struct {
		spec   Spec
		env    Env
		status Status
		want   string // exact, or the end if it starts with "..."
	}{
		"open":    {Spec{Target: open}, Env{}, Passing, "TCP connect " + open + ": Success"},
		"refused": {Spec{Target: closed}, Env{}, Critical, "dial tcp " + closed + ": connect: connection refused"},
		"by name, every address": {Spec{Target: "localhost:" + port}, Env{}, Passing,
			"TCP connect localhost:" + port + ": Success"}, // the listener has no ::1
		"no port":     {Spec{Target: "localhost"}, Env{}, Critical, "dial tcp: address localhost: missing port in address"},
		"tls":         {Spec{Target: secure, UseTLS: true}, Env{TLS: always(trust)}, Passing, "TCP+TLS connect " + secure + ": Success"},
		"tls, name":   {Spec{Target: secure, UseTLS: true, TLSServerName: "example.com"}, Env{TLS: always(trust)}, Passing, "TCP+TLS connect " + secure + ": Success"},
		"tls, skip":   {Spec{Target: secure, UseTLS: true, TLSSkipVerify: true}, Env{}, Passing, "TCP+TLS connect " + secure + ": Success"},
		"tls unknown": {Spec{Target: secure, UseTLS: true}, Env{}, Critical, "...certificate signed by unknown authority"},
		"tls, wrong name": {Spec{Target: secure, UseTLS: true, TLSServerName: "else.where"}, Env{TLS: always(trust)}, Critical,
			"...not else.where"},
		"tls refused": {Spec{Target: closed, UseTLS: true}, Env{}, Critical, "dial tcp " + closed + ": connect: connection refused"},
		"tls, silent peer": {Spec{Target: open, UseTLS: true, Timeout: 200 * time.Millisecond}, Env{}, Critical,
			"context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Kind = TCP
			got := first(t, c.spec, c.env)
			if end, part := strings.CutPrefix(c.want, "..."); got.Status != c.status ||
				got.Output != c.want && !(part && strings.HasSuffix(got.Output, end)) {
				t.Errorf("got %q, want %s %q", got, c.status, c.want)
			}
		})
	}
}

// The connection is closed at once, not when the garbage collector finds it.
func TestTCPCloses(t *testing.T) {
	l := listen(t)
	if got := first(t, Spec{Kind: TCP, Target: l.Addr().String()}, Env{}); got.Status != Passing {
		t.Fatal(got)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
}

// A run's cost is what an agent with hundreds of checks multiplies.
func BenchmarkRun(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			conn.Close()
		}
	}()
	defer func() { l.Close(); <-ended }()
	env := Env{}.filled()
	for name, probe := range map[string]func(context.Context) Result{
		"tcp":    newTCP(Spec{Kind: TCP, Target: l.Addr().String()}, env),
		"http":   newHTTP(Spec{Kind: HTTP, Target: "http://" + l.Addr().String()}, env),
		"script": newScript(Spec{Kind: Script, Args: []string{"/bin/true"}}, env),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if res := probe(b.Context()); res.Status != Passing {
					b.Fatal(res)
				}
			}
		})
	}
	b.Run("idle ttl bytes", func(b *testing.B) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		ctx, cancel := context.WithCancel(b.Context())
		const n = 1000
		done := make(chan error, n)
		for range n {
			r, err := New(Spec{Kind: TTL, TTL: time.Hour}, Result{}, func(Result) {}, Env{})
			if err != nil {
				b.Fatal(err)
			}
			go func() { done <- r.Run(ctx) }()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/n, "B/check")
		cancel()
		for range n {
			<-done
		}
	})
}

// always is Env.TLS of a configuration that stays.
func always(c *tls.Config) func() *tls.Config { return func() *tls.Config { return c } }
