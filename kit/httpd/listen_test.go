package httpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dial connects and, if it sends a request, waits for its answer's status line.
func dial(t *testing.T, url, request string) (net.Conn, string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if request == "" {
		return c, ""
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return c, line
}

const getAny = "GET /v1/any HTTP/1.1\r\nHost: x\r\n\r\n"

func TestTooManyConnections(t *testing.T) { // §1, to the byte
	s, url := startServer(t, Options{MaxConnsPerClient: 2}, testRoutes())
	first, line := dial(t, url, getAny)
	if !strings.Contains(line, "200") {
		t.Fatal(line)
	}
	dial(t, url, getAny)
	want := "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: 81\r\nConnection: close\r\n\r\n" +
		"Your IP is issuing too many concurrent connections, please rate limit your calls\n"
	for _, send := range []string{"", getAny} { // the answer comes with or without a request
		c, _ := dial(t, url, "")
		if send != "" {
			_, _ = io.WriteString(c, send)
		}
		if got, err := io.ReadAll(c); string(got) != want || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if c := s.Counters(); c["http.connections"] != 2 || c["http.connections.refused"] != 2 {
		t.Errorf("counted %v", c)
	}
	// A connection that ends makes room; the server sees that a moment later.
	first.Close()
	for end := time.Now().Add(5 * time.Second); ; {
		if _, line := dial(t, url, getAny); strings.Contains(line, "200") {
			return
		} else if time.Now().After(end) {
			t.Fatal("no room after a connection ended")
		}
	}
}

func TestLimitChangesAndUnixIsFree(t *testing.T) {
	s, err := New(Options{MaxConnsPerClient: 1}, testRoutes())
	if err != nil {
		t.Fatal(err)
	}
	s.SetMaxConnsPerClient(0)
	path := filepath.Join(t.TempDir(), "http.sock")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, Port{Listener: unix}, Port{Listener: tcp}) }()
	for range 3 {
		if _, line := dial(t, tcp.Addr().String(), getAny); !strings.Contains(line, "200") {
			t.Errorf("without a limit: %s", line)
		}
	}
	s.SetMaxConnsPerClient(1)
	for range 3 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, getAny)
		if line, _ := bufio.NewReader(c).ReadString('\n'); !strings.Contains(line, "200") {
			t.Errorf("unix: %s", line)
		}
	}
	if _, line := dial(t, tcp.Addr().String(), getAny); !strings.Contains(line, "429") {
		t.Errorf("with a limit: %s", line)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestStopReleasesParkedReads(t *testing.T) {
	parked := make(chan struct{}, 4)
	routes := []Route{{Method: "GET", Path: "/v1/park", Read: true, Serve: func(r *Request) (Reply, error) {
		parked <- struct{}{}
		<-r.Context().Done()
		return Reply{}, r.Context().Err()
	}}}
	url, stop := start(t, Options{DrainTimeout: time.Minute}, routes)
	dial(t, url, "") // a connection without a request must not hold the server either
	client := rawClient(t)
	answers := make(chan string, 4)
	for range 4 {
		go func() {
			resp, err := client.Get(url + "/v1/park?index=5")
			if err != nil {
				answers <- err.Error()
				return
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			answers <- resp.Status + " " + string(body)
		}()
	}
	for range 4 {
		<-parked
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("stopping took %v", took)
	}
	for range 4 {
		if got := <-answers; got != "500 Internal Server Error the agent is stopping" {
			t.Errorf("a parked reader got %q", got)
		}
	}
}

func TestStopWaitsForWritesButNotForever(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	routes := []Route{
		{Method: "PUT", Path: "/v1/slow", Serve: func(r *Request) (Reply, error) {
			began <- struct{}{}
			select {
			case <-finish:
				return Reply{Value: true}, nil
			case <-r.Context().Done():
				return Reply{}, r.Context().Err()
			}
		}},
	}
	for _, finishes := range []bool{true, false} {
		url, stop := start(t, Options{DrainTimeout: 300 * time.Millisecond}, routes)
		answer := make(chan string, 1)
		go func() {
			req, _ := http.NewRequest("PUT", url+"/v1/slow", nil)
			resp, err := rawClient(t).Do(req)
			if err != nil {
				answer <- err.Error()
				return
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			answer <- string(body)
		}()
		<-began
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		want := "the agent is stopping"
		if finishes {
			finish <- struct{}{}
			want = "true"
		}
		if got := <-answer; got != want {
			t.Errorf("the write got %q, want %q", got, want)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}
}

func TestWriteOutlivesItsClient(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	routes := []Route{{Method: "PUT", Path: "/v1/w", Serve: func(r *Request) (Reply, error) {
		began <- struct{}{}
		<-r.HTTP.Context().Done() // the client has left
		ended <- r.Context().Err()
		return Reply{}, nil
	}}}
	url, _ := start(t, Options{}, routes)
	c, _ := dial(t, url, "")
	_, _ = io.WriteString(c, "PUT /v1/w HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	<-began
	c.Close()
	if err := <-ended; err != nil {
		t.Errorf("the write was given up: %v", err)
	}
}

func TestListenerFailureEndsServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s, _ := New(Options{}, testRoutes())
	if err := s.Serve(context.Background(), Port{Listener: l}); err == nil || !strings.Contains(err.Error(), "cannot serve HTTP on") {
		t.Errorf("got %v", err)
	}
}

func TestTLS(t *testing.T) {
	// httptest lends its certificate.
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	defer lender.Close()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: lender.TLS.Certificates}
	_, stop := serveOn(t, Options{HandshakeTimeout: 200 * time.Millisecond, MaxConnsPerClient: 2}, testRoutes(),
		Port{inner, func() *tls.Config { return config }})
	roots := lender.Client().Transport.(*http.Transport).TLSClientConfig
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots.RootCAs, ServerName: "example.com"}, ForceAttemptHTTP2: true}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	defer transport.CloseIdleConnections()
	resp, err := client.Get("https://" + inner.Addr().String() + "/v1/list")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != 200 || resp.Header.Get("X-Consul-Index") != "7" {
		t.Errorf("got %s %s %v", resp.Proto, resp.Status, resp.Header)
	}
	// A client that never begins its handshake is dropped, a surplus one is told over TLS.
	silent, _ := dial(t, inner.Addr().String(), "")
	surplus, err := tls.Dial("tcp", inner.Addr().String(), &tls.Config{RootCAs: roots.RootCAs, ServerName: "example.com", NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := surplus.ConnectionState().NegotiatedProtocol; got != "http/1.1" { // in which it is told
		t.Errorf("the surplus client speaks %q", got)
	}
	defer surplus.Close()
	if got, _ := io.ReadAll(surplus); string(got) != tooMany {
		t.Errorf("the surplus client read %q", got)
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the silent connection: %v", err)
	}
	transport.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestOnRequest(t *testing.T) {
	type seen struct {
		method, path string
		status       int
	}
	got := make(chan seen, 8)
	url, _ := start(t, Options{OnRequest: func(m, p string, s int, took time.Duration) { got <- seen{m, p, s} }}, testRoutes())
	for path, want := range map[string]seen{
		"/v1/kv/a":   {"GET", "/v1/kv/", 200},
		"/v1/denied": {"GET", "/v1/denied", 403},
		"/v1/busy":   {"GET", "/v1/busy", 409},
		"/nope":      {"GET", "", 404},
	} {
		resp, err := rawClient(t).Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if s := <-got; s != want {
			t.Errorf("%s: %+v, want %+v", path, s, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	ok := func(*Request) (Reply, error) { return Reply{}, nil }
	for name, routes := range map[string][]Route{
		"twice":         {{Method: "GET", Path: "/a", Serve: ok}, {Method: "GET", Path: "/a", Serve: ok}},
		"any and other": {{Path: "/a", Serve: ok}, {Method: "GET", Path: "/a", Serve: ok}},
		"other and any": {{Method: "GET", Path: "/a", Serve: ok}, {Path: "/a", Serve: ok}},
		"no function":   {{Method: "GET", Path: "/a"}},
		"no slash":      {{Method: "GET", Path: "a", Serve: ok}},
		"HEAD":          {{Method: "HEAD", Path: "/a", Serve: ok}},
		"bad sample":    {{Method: "GET", Path: "/a", Serve: ok, Filter: 3}},
	} {
		if _, err := New(Options{}, routes); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	one := []Route{{Method: "GET", Path: "/a", Serve: ok}}
	for _, path := range []string{"/a", "x"} {
		if _, err := New(Options{Extra: map[string]http.Handler{path: http.NotFoundHandler()}}, one); err == nil {
			t.Errorf("extra %q: accepted", path)
		}
	}
	// The longest prefix wins, an exact path before it.
	s, err := New(Options{}, []Route{{Method: "GET", Path: "/a/", Serve: ok}, {Method: "GET", Path: "/a/b/", Serve: ok},
		{Method: "GET", Path: "/a/b/c", Serve: ok}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/a/x": "/a/", "/a/b/": "/a/b/", "/a/b/c": "/a/b/c", "/a/b/c/d": "/a/b/", "/a/bb": "/a/"} {
		if e, arg := s.table.find(path); e == nil || e.path != want || e.path != "/a/b/c" && e.path+arg != path {
			t.Errorf("%s: %+v %q", path, e, arg)
		}
	}
}

// TestContext: what Options.Context adds to a connection is in the contexts of its reads and writes.
func TestContext(t *testing.T) {
	type mark struct{}
	tell := func(r *Request) (Reply, error) { return Reply{Value: r.Context().Value(mark{})}, nil }
	s, err := New(Options{Context: func(ctx context.Context, from net.Addr) context.Context {
		return context.WithValue(ctx, mark{}, from.Network())
	}}, []Route{{Method: "GET", Path: "/v1/a", Serve: tell}, {Method: "PUT", Path: "/v1/a", Serve: tell}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, Port{Listener: l}) }()
	for _, method := range []string{"GET", "PUT"} {
		r, err := http.NewRequest(method, "http://"+l.Addr().String()+"/v1/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(body) != `"tcp"` {
			t.Errorf("%s: %s", method, body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
