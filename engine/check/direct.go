package check

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// headMax bounds the head of an answer.
const headMax = 1 << 20

// direct asks plain HTTP addresses on one connection for one request. An agent has hundreds of such checks: net/http's
// transport starts three goroutines for each, in the hope that the connection is used again. Whatever is not simple is
// left to next.
type direct struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper. The answer's connection ends when its body is closed.
func (d *direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if !simple(req) {
		return d.next.RoundTrip(req)
	}
	ctx, address := req.Context(), req.URL.Host
	if req.URL.Port() == "" {
		address = net.JoinHostPort(req.URL.Hostname(), "80")
	}
	conn, err := d.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	unhook := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	resp, err := exchange(conn, req)
	if err != nil {
		unhook()
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	resp.Body = &once{resp.Body, conn, unhook}
	return resp, nil
}

// simple reports whether the request is one that direct can make: in the clear, without proxy and body, and nothing in it
// that the transport would refuse.
func simple(req *http.Request) bool {
	if req.URL.Scheme != "http" || req.URL.User != nil || req.ContentLength != 0 || req.URL.Hostname() == "" {
		return false
	}
	for name, values := range req.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return false
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return false
			}
		}
	}
	ascii := func(s string) bool {
		return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	}
	if !ascii(req.URL.Host) || !ascii(req.Host) {
		return false
	}
	proxy, err := http.ProxyFromEnvironment(req)
	return err == nil && proxy == nil
}

// exchange sends the request and reads the head of the answer.
func exchange(conn net.Conn, req *http.Request) (*http.Response, error) {
	sent := req.Clone(req.Context())
	sent.Close = true
	w := bufio.NewWriterSize(conn, 1024)
	if err := sent.Write(w); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	limit := &io.LimitedReader{R: conn, N: headMax}
	r := bufio.NewReaderSize(limit, 2048)
	if _, err := r.Peek(1); err != nil {
		return nil, err // EOF, as the transport says of a server that hangs up
	}
	for {
		resp, err := http.ReadResponse(r, req)
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols:
			limit.N = bodyMax + headMax
			return resp, nil
		}
	}
}

// once is the body of an answer that is alone on its connection; it is not read to its end when it is closed.
type once struct {
	io.Reader
	conn   net.Conn
	unhook func() bool
}

// Close ends the connection.
func (o *once) Close() error {
	o.unhook()
	return o.conn.Close()
}
