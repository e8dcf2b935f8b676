package check

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Odd servers: what is said before an answer, no answer, a head without end, a hang-up in the middle.
func TestOddHTTPServers(t *testing.T) {
	for name, c := range map[string]struct {
		says string
		want string // what the output holds
		good bool
	}{
		"early hints":   {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 OK Output: ok", true},
		"until the end": {"HTTP/1.0 200 OK\r\n\r\nall of it", "200 OK Output: all of it", true},
		"chunks":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "200 OK Output: abc", true},
		"hang-up":       {"", "EOF", false},
		"half a head":   {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "unexpected EOF", false},
		"endless head":  {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", headMax), "EOF", false},
		"no HTTP":       {"hello\r\n\r\n", `malformed HTTP response "hello"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			asked := make(chan *http.Request, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					close(asked)
					return
				}
				_, _ = io.WriteString(conn, c.says)
				asked <- req
			}()
			url := "http://" + l.Addr().String() + "/x?y=z"
			got := first(t, Spec{Kind: HTTP, Target: url, Timeout: time.Minute}, Env{})
			if (got.Status == Passing) != c.good || !strings.Contains(got.Output, c.want) {
				t.Errorf("got %.200q, want %q", got, c.want)
			}
			if req := <-asked; req == nil || !req.Close || req.RequestURI != "/x?y=z" || req.Host != l.Addr().String() {
				t.Errorf("asked %+v", req)
			}
		})
	}
}

// What is not simple is left to net/http's transport.
func TestSimple(t *testing.T) {
	for _, c := range []struct {
		method, url, body, header, value string
		want                             bool
	}{
		{"GET", "http://a/", "", "X", "y", true},
		{"HEAD", "http://[::1]:80", "", "X", "y", true},
		{"GET", "https://a/", "", "X", "y", false},
		{"POST", "http://a/", "body", "X", "y", false},
		{"GET", "http://me:secret@a/", "", "X", "y", false},
		{"GET", "http://b\u00fccher/", "", "X", "y", false},
		{"GET", "http://a/", "", "a:b", "y", false},
		{"GET", "http://a/", "", "X", "y\r\nZ: 1", false},
	} {
		req, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header[c.header] = []string{c.value}
		if got := simple(req); got != c.want {
			t.Errorf("%s: %v", fmt.Sprint(c), got)
		}
	}
}

// The connection is closed at once.
func TestHTTPCloses(t *testing.T) {
	l := listen(t)
	closed := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		_, _ = http.ReadRequest(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err = r.ReadByte()
		closed <- err
	}()
	if got := first(t, Spec{Kind: HTTP, Target: "http://" + l.Addr().String()}, Env{}); got.Status != Passing {
		t.Fatal(got)
	}
	if err := <-closed; err != io.EOF {
		t.Error(err)
	}
}
