package httpd

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// startServer is start for tests that look at the server itself.
func startServer(t testing.TB, opts Options, routes []Route) (*Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := serveOn(t, opts, routes, Port{Listener: l})
	return s, "http://" + l.Addr().String()
}

// eventually waits for what is bound to come about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("there never was %s", what)
		}
	}
}

// cutOff waits until the server has hung up on a connection.
func cutOff(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Fatal("the server did not hang up")
	}
}

// bigRoutes has answers and bodies that no buffer of a connection holds.
func bigRoutes(answered chan<- error) []Route {
	big := bytes.Repeat([]byte("x"), 64<<20)
	return []Route{
		{Method: "GET", Path: "/v1/big", Serve: func(*Request) (Reply, error) {
			return Reply{Raw: big, ContentType: "text/plain"}, nil
		}},
		{Method: "PUT", Path: "/v1/sink", Serve: func(r *Request) (Reply, error) {
			_, err := r.Body(1<<20, nil)
			answered <- err
			return Reply{Value: true}, err
		}},
		{Method: "GET", Path: "/v1/any", Serve: func(*Request) (Reply, error) { return Reply{Value: 1}, nil }},
	}
}

// TestSlowClients: who does not send or take what was begun is cut off and counted; who is silent between requests, also
// before the first one, is not.
func TestSlowClients(t *testing.T) {
	answered := make(chan error, 1)
	s, url := startServer(t, Options{Patience: 300 * time.Millisecond}, bigRoutes(answered))
	slow := func() uint64 { return s.Counters()["http.connections.slow"] }
	quiet, _ := dial(t, url, "")
	asked, line := dial(t, url, getAny)
	if !strings.Contains(line, "200") {
		t.Fatal(line)
	}

	header, _ := dial(t, url, "")
	_, _ = io.WriteString(header, "GET /v1/any HTTP/1.1\r\nHost:")
	cutOff(t, header)
	if slow() != 1 {
		t.Errorf("slow headers: counted %d", slow())
	}

	body, _ := dial(t, url, "")
	_, _ = io.WriteString(body, "PUT /v1/sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf")
	if err := <-answered; err == nil || err.Error() != "cannot read the request body: it stopped coming" {
		t.Errorf("a body that stopped: %v", err)
	}
	if line, _ := bufio.NewReader(body).ReadString('\n'); !strings.Contains(line, "400") {
		t.Errorf("a body that stopped: answered %q", line)
	}
	cutOff(t, body)
	if slow() != 2 {
		t.Errorf("a body that stopped: counted %d", slow())
	}

	reader, _ := dial(t, url, "")
	_, _ = io.WriteString(reader, "GET /v1/big HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "a cut", func() bool { return slow() == 3 })

	for name, c := range map[string]net.Conn{"never asked": quiet, "asked once": asked} {
		if _, err := io.WriteString(c, getAny); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); !strings.Contains(line, "200") {
			t.Errorf("%s: %q, %v", name, line, err)
		}
		c.Close()
	}
	eventually(t, "an end of all connections", func() bool { return s.Counters()["http.connections"] == 0 })
}

// TestSteadyClients: who takes its time and goes on is served.
func TestSteadyClients(t *testing.T) {
	answered := make(chan error, 1)
	_, url := startServer(t, Options{Patience: 400 * time.Millisecond}, bigRoutes(answered))
	c, _ := dial(t, url, "")
	_, _ = io.WriteString(c, "PUT /v1/sink HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
	for beat := time.Tick(100 * time.Millisecond); len(answered) == 0; <-beat {
		_, _ = io.WriteString(c, "x")
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	reader, _ := dial(t, url, "")
	_, _ = io.WriteString(reader, "GET /v1/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	total := 0
	beat := time.Tick(50 * time.Millisecond)
	for buf := make([]byte, 8<<20); ; <-beat {
		n, err := io.ReadFull(reader, buf)
		total += n
		if err != nil {
			break
		}
	}
	if total < 64<<20 {
		t.Errorf("took %d bytes of 64 MiB", total)
	}
}

// unencrypted is a client that speaks HTTP/2 without TLS.
func unencrypted(t *testing.T) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestHTTP2WithoutTLS(t *testing.T) {
	answered := make(chan error, 1)
	s, url := startServer(t, Options{Patience: 300 * time.Millisecond}, bigRoutes(answered))
	client := unencrypted(t)
	for range 3 {
		resp, err := client.Get(url + "/v1/any")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.ProtoMajor != 2 || string(body) != "1" {
			t.Errorf("%s %q", resp.Proto, body)
		}
	}
	if n := s.Counters()["http.connections"]; n != 1 {
		t.Errorf("%d connections", n)
	}
	// A stream whose window is never opened, and a body that stops, cost their streams and not the connection.
	stuck, err := client.Get(url + "/v1/big")
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Body.Close()
	eventually(t, "a cut", func() bool { return s.Counters()["http.connections.slow"] == 1 })
	half, more := io.Pipe()
	defer more.Close()
	go func() { _, _ = io.WriteString(more, "half") }()
	req, _ := http.NewRequest("PUT", url+"/v1/sink", half)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := <-answered; err == nil || resp.StatusCode != 400 {
		t.Errorf("a body that stopped: %v, %s", err, resp.Status)
	}
	if c := s.Counters(); c["http.connections"] != 1 || c["http.connections.slow"] != 2 {
		t.Errorf("counted %v", c)
	}
	if resp, err := client.Get(url + "/v1/any"); err != nil || resp.StatusCode != 200 {
		t.Errorf("afterwards: %v", err)
	}
}

// TestNewCertificate: each connection is held to what TLS says when it begins.
func TestNewCertificate(t *testing.T) {
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	defer lender.Close()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lent := lender.TLS.Certificates
	confs := make(chan *tls.Config, 2)
	confs <- &tls.Config{Certificates: lent, MaxVersion: tls.VersionTLS12}
	confs <- &tls.Config{Certificates: lent}
	s, _ := serveOn(t, Options{}, testRoutes(), Port{inner, func() *tls.Config { return <-confs }})
	for _, want := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, err := tls.Dial("tcp", inner.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ConnectionState(); got.Version != want || got.NegotiatedProtocol != "h2" {
			t.Errorf("version %x, protocol %q", got.Version, got.NegotiatedProtocol)
		}
		c.Close()
	}
	eventually(t, "an end of the connections", func() bool { return s.Counters()["http.connections"] == 0 })
}

// TestLegacyGetWrites: §2, what Consul 0.6 took by whatever method is taken by GET if it is asked for, and is a write then.
func TestLegacyGetWrites(t *testing.T) {
	routes := []Route{{Method: "PUT", Path: "/v1/agent/join/", Legacy: true, Serve: func(r *Request) (Reply, error) {
		return Reply{Value: r.HTTP.Method + " " + r.Arg}, nil
	}}, {Method: "PUT", Path: "/v1/event/fire/", Serve: func(*Request) (Reply, error) { return Reply{}, nil }}}
	for _, test := range []struct {
		opts         Options
		method, path string
		status       int
		body, allow  string
	}{
		{Options{}, "GET", "/v1/agent/join/a", 405, "method GET not allowed", "OPTIONS,PUT"},
		{Options{Access: Access{LegacyGetWrites: true}}, "GET", "/v1/agent/join/a", 200, `"PUT a"`, ""},
		{Options{Access: Access{LegacyGetWrites: true}}, "PUT", "/v1/agent/join/a", 200, `"PUT a"`, ""},
		{Options{Access: Access{LegacyGetWrites: true}}, "POST", "/v1/agent/join/a", 405, "method POST not allowed", "OPTIONS,PUT,GET"},
		{Options{Access: Access{LegacyGetWrites: true}}, "GET", "/v1/event/fire/a", 405, "method GET not allowed", "OPTIONS,PUT"},
		{Options{Access: Access{LegacyGetWrites: true, AllowWriteFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}, "GET", "/v1/agent/join/a", 403, "Access is restricted", ""},
	} {
		s, err := New(test.opts, routes)
		if err != nil {
			t.Fatal(err)
		}
		w, r := httptest.NewRecorder(), httptest.NewRequest(test.method, test.path, nil)
		r.RemoteAddr = "198.51.100.1:1"
		s.Handler().ServeHTTP(w, r)
		if w.Code != test.status || w.Body.String() != test.body || w.Header().Get("Allow") != test.allow {
			t.Errorf("%s %s: %d %q Allow %q", test.method, test.path, w.Code, w.Body, w.Header().Get("Allow"))
		}
	}
	if _, err := New(Options{}, []Route{{Method: "GET", Path: "/a", Legacy: true, Serve: routes[0].Serve}}); err == nil {
		t.Error("a GET that stands for a GET was accepted")
	}
}

// taker is a client's end that takes so many bytes of each write before the deadline.
type taker struct {
	net.Conn
	takes []int
	got   int
}

func (c *taker) SetWriteDeadline(time.Time) error { return nil }
func (c *taker) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (c *taker) Write(p []byte) (int, error) {
	n := len(p)
	if len(c.takes) > 0 {
		n, c.takes = min(n, c.takes[0]), c.takes[1:]
	}
	c.got += n
	if n < len(p) {
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}

// TestShares: who takes its share of a piece in time gets the rest, who does not is cut off.
func TestShares(t *testing.T) {
	answer := make([]byte, 3*piece+5)
	for _, c := range []struct {
		takes []int
		want  int
	}{
		{nil, len(answer)},
		{[]int{share, piece, share + 1, share, share}, len(answer)},
		{[]int{piece, share - 1}, piece + share - 1},
		{[]int{share, 0}, share},
	} {
		to := &taker{takes: c.takes}
		quick := &conn{Conn: to, conns: &conns{patience: time.Minute, log: slog.New(slog.DiscardHandler)}}
		quick.stage.Store(talking)
		n, err := quick.Write(answer)
		if n != c.want || to.got != n || (err == nil) != (n == len(answer)) {
			t.Errorf("takes %v: %d bytes of %d sent, %d taken, %v", c.takes, n, len(answer), to.got, err)
		}
	}
}
