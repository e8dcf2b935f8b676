package httpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is a log that is written to by many.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// knock sends something and hears what the server says until it hangs up.
func knock(t *testing.T, addr, send string, secure *tls.Config) string {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := raw.(interface {
		net.Conn
		CloseWrite() error
	})
	if secure != nil {
		c = tls.Client(raw, secure)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, send)
	if !strings.HasPrefix(send, h2) { // who hangs up there has ended it, not the server
		_ = c.CloseWrite()
	}
	b, _ := io.ReadAll(c)
	return string(b)
}

const h2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// TestGarbage: what is no HTTP is refused, counted, and logged once for each peer, and nothing else is.
func TestGarbage(t *testing.T) {
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	defer lender.Close()
	certs := &tls.Config{Certificates: lender.TLS.Certificates}
	http1 := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	http2 := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	const refused, insecure = "http.refused.garbage", "http.refused.tls"
	for _, c := range []struct {
		name, send string
		secure     *tls.Config
		port       bool // a port with TLS
		counted    string
	}{
		{"words", "hello\r\n\r\n", nil, false, refused},
		{"bytes", "\x00\x01\x02\n\n\xff\xff", nil, false, refused},
		{"TLS", "\x16\x03\x01\x00\x05hello\n\n", nil, false, refused},
		{"no host", "GET /v1/any HTTP/1.1\r\nConnection: close\r\n\r\n", nil, false, refused},
		{"headers", "GET /v1/any HTTP/1.1\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n", nil, false, refused},
		{"broken HTTP/2", h2 + strings.Repeat("\xff", 64), nil, false, refused},
		{"after a request", getAny + "hello\r\n\r\n", nil, false, refused},
		{"half a request", "GET /v1/any HT", nil, false, refused},
		{"plain words for TLS", "GET /v1/any HTTP/1.1\r\nConnection: close\r\n\r\n", nil, true, insecure},
		{"words under TLS", "hello\r\n\r\n", http1, true, refused},
		{"broken HTTP/2 under TLS", h2 + strings.Repeat("\xff", 64), http2, true, refused},

		{"closing", "GET /v1/any HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", nil, false, ""},
		{"old", "GET /v1/any HTTP/1.0\r\nConnection: close\r\n\r\n", nil, false, ""},
		{"staying", getAny, nil, false, ""},
		{"nothing", "", nil, false, ""},
		{"nothing under TLS", "", http1, true, ""},
		{"a body", "PUT /v1/sink HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", nil, false, ""},
		{"under TLS", "GET /v1/any HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", http1, true, ""},
		{"staying under TLS", getAny, http1, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			port, log := Port{Listener: l}, &lines{}
			if c.port {
				port.TLS = func() *tls.Config { return certs }
			}
			answered := make(chan error, 2)
			s, stop := serveOn(t, Options{MaxHeaderBytes: 4 << 10, Logger: slog.New(slog.NewTextHandler(log, nil))}, bigRoutes(answered), port)
			said := knock(t, l.Addr().String(), c.send, c.secure)
			knock(t, l.Addr().String(), c.send, c.secure)
			eventually(t, "an end of the connections", func() bool { return s.Counters()["http.connections"] == 0 })
			for _, name := range []string{refused, insecure} {
				want := uint64(0)
				if name == c.counted {
					want = 2
				}
				eventually(t, "a count", func() bool { return s.Counters()[name] >= want })
				if got := s.Counters()[name]; got != want {
					t.Errorf("%s: %d; it said %.60q", name, got, said)
				}
			}
			if n := log.count("level=WARN"); (n == 1) != (c.counted != "") || n == 1 && log.count("peer=127.0.0.1 counter="+c.counted) != 1 {
				t.Errorf("log: %s", log.buf.String())
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGarbageIsNotWhoIsHere: neither an end of the server nor real clients of HTTP/2 that leave count, and bodies that are too
// long do as what they are.
func TestGarbageIsNotWhoIsHere(t *testing.T) {
	answered := make(chan error, 2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, stop := serveOn(t, Options{}, bigRoutes(answered), Port{Listener: l})
	client := unencrypted(t)
	ask := func() {
		t.Helper()
		req, _ := http.NewRequestWithContext(context.Background(), "PUT", "http://"+l.Addr().String()+"/v1/sink", strings.NewReader(strings.Repeat("x", 2<<20)))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 413 {
			t.Error(resp.Status)
		}
	}
	ask()
	client.CloseIdleConnections()
	eventually(t, "an end of the connection", func() bool { return s.Counters()["http.connections"] == 0 })
	<-answered
	ask()
	_, _ = dial(t, l.Addr().String(), getAny)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := s.Counters(); n["http.refused.garbage"] != 0 || n["http.refused.tls"] != 0 || n["http.refused.size"] != 2 {
		t.Errorf("counted %v", n)
	}
}

// TestPartingUnderTLS: clients of HTTP/2 that end TLS and leave, before a request, after one or after a ping, are no garbage.
func TestPartingUnderTLS(t *testing.T) {
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	defer lender.Close()
	certs := &tls.Config{Certificates: lender.TLS.Certificates}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := serveOn(t, Options{}, bigRoutes(nil), Port{Listener: l, TLS: func() *tls.Config { return certs }})
	trust := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	for range 20 {
		transport := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}
		resp, err := (&http.Client{Transport: transport}).Get("https://" + l.Addr().String() + "/v1/any")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Fatal(resp.Proto)
		}
		transport.CloseIdleConnections()
		for _, sent := range []string{"", h2 + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", h2 + "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"} {
			c, err := tls.Dial("tcp", l.Addr().String(), trust)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, sent)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "an end of the connections", func() bool { return s.Counters()["http.connections"] == 0 })
	if n := s.Counters(); n["http.refused.garbage"] != 0 || n["http.refused.tls"] != 0 {
		t.Errorf("counted %v", n)
	}
}
