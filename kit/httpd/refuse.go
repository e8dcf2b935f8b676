package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// refusal is why a client was not served. Each is counted.
type refusal int

const (
	surplus  refusal = iota // limits.http_max_conns_per_client
	tooSlow                 // Options.Patience
	garbage                 // no HTTP, or headers beyond http_config.max_header_bytes
	unsecure                // a TLS handshake that failed
	tooLarge                // a body over the endpoint's limit
	cases
)

var caseNames = [cases]string{surplus: "http.connections.refused", tooSlow: "http.connections.slow", garbage: "http.refused.garbage",
	unsecure: "http.refused.tls", tooLarge: "http.refused.size"}

// tell counts a refusal and logs it unless that peer's were logged lately. from is its address, with or without a port.
func (c *conns) tell(why refusal, from, cause string) {
	c.counts[why].Add(1)
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	c.told.Tell(c.log, slog.LevelWarn, "", from, "refused a client of the HTTP port; more from there within a minute are only counted",
		"counter", caseNames[why], "cause", cause)
}

// slow notes a client that was not waited for any longer.
func (c *conns) slow(from, what string) {
	c.tell(tooSlow, from, "it "+what+" within "+c.patience.String())
}

// connKey is where a request's context has its conn.
type connKey struct{}

// known is http.Server.ConnContext.
func known(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, below(c))
}

// below returns the conn that net/http has from a gate.
func below(c net.Conn) *conn {
	if t, is := c.(*tls.Conn); is {
		c = t.NetConn()
	}
	return c.(*conn)
}

// follow is http.Server.ConnState. net/http answers by itself what it cannot read, and tells nobody; one can see that it answers
// though no handler has seen a request since it has waited for one.
func follow(c net.Conn, state http.ConnState) {
	if state == http.StateNew || state == http.StateIdle {
		below(c).unseen.Store(true)
	}
}

// seen lets a connection know that what it sent was a request.
func seen(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(connKey{}).(*conn).unseen.Store(false)
		if r.Method == http.MethodOptions && r.RequestURI == "*" { // it is about the server, not about a path
			w.Header()["Content-Length"] = []string{"0"}
			return
		}
		next.ServeHTTP(w, r)
	})
}

// longestAlert is more than TLS sends by itself when a connection ends; an answer of HTTP is longer.
const longestAlert = 64

// unasked notes a client that is answered without a request. Over HTTP/2 that is nothing special.
func (c *conn) unasked(size int) {
	if size > longestAlert && c.unseen.Load() && !c.multiplexed() && c.unseen.Swap(false) {
		c.conns.tell(garbage, c.RemoteAddr().String(), "what it sent is no whole request of HTTP, or has headers over http_config.max_header_bytes")
	}
}

// multiplexed reports whether a connection whose TLS handshake is over speaks HTTP/2.
func (c *conn) multiplexed() bool {
	return c.framed.Load() || c.above != nil && c.above.ConnectionState().NegotiatedProtocol == "h2"
}

// ousted notes a client that is hung up on, if that is because of what it sent.
func (c *conn) ousted() {
	switch {
	case c.gone.Load() || c.conns.stopping.Load():
	case c.stage.Load() == greeting:
		c.conns.tell(unsecure, c.RemoteAddr().String(), "it failed in the TLS handshake")
	case c.multiplexed() && !c.parted():
		c.conns.tell(garbage, c.RemoteAddr().String(), "it broke the protocol (HTTP/2)")
	}
}

// parted reports whether a client has ended TLS, as it should: below TLS that looks like any other record. A connection that is
// being closed can be read to learn it, since nobody else waits for it any longer than a deadline that is over.
func (c *conn) parted() bool {
	if c.above == nil {
		return false
	}
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	_, err := c.above.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}
