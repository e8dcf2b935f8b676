package room

import (
	"net/http"
	"testing"

	"rostra/kit/httpd"
)

// TestOrigin: the words of ?near. What proxies forwarded a request for comes before the peer's address (spec
// http/prepared-query.md).
func TestOrigin(t *testing.T) {
	for _, c := range []struct {
		near, peer, forwarded string
		node, address         string
	}{
		{"n2", "10.0.0.1:1", "", "n2", ""},
		{"_agent", "10.0.0.1:1", "", "self", ""},
		{"_ip", "10.0.0.1:1", "", "", "10.0.0.1"},
		{"_ip", "[2001:db8::1]:1", "", "", "2001:db8::1"},
		{"_ip", "10.0.0.1:1", " 10.0.0.2 , 10.0.0.3", "", "10.0.0.2"},
		{"_ip", "10.0.0.1:1", "unknown, 10.0.0.3", "", "10.0.0.1"},
		{"_ip", "@", "", "", ""},
	} {
		r := &httpd.Request{HTTP: &http.Request{RemoteAddr: c.peer, Header: http.Header{}}, Params: httpd.Params{Near: c.near}}
		if c.forwarded != "" {
			r.HTTP.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if node, address := originOf(r, &Host{Self: Identity{Node: "self"}}); node != c.node || address != c.address {
			t.Errorf("%s from %s for %q: node %q, address %q, want %q, %q", c.near, c.peer, c.forwarded, node, address, c.node, c.address)
		}
	}
}
