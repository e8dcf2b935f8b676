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
		want                  Origin
	}{
		{"n2", "10.0.0.1:1", "", Origin{Node: "n2"}},
		{"_agent", "10.0.0.1:1", "", Origin{Node: "self"}},
		{"_ip", "10.0.0.1:1", "", Origin{Address: "10.0.0.1"}},
		{"_ip", "[2001:db8::1]:1", "", Origin{Address: "2001:db8::1"}},
		{"_ip", "10.0.0.1:1", " 10.0.0.2 , 10.0.0.3", Origin{Address: "10.0.0.2"}},
		{"_ip", "@", "", Origin{}},
	} {
		r := &httpd.Request{HTTP: &http.Request{RemoteAddr: c.peer, Header: http.Header{}}, Params: httpd.Params{Near: c.near}}
		if c.forwarded != "" {
			r.HTTP.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := originOf(r, &Host{Self: Identity{Node: "self"}}); got != c.want {
			t.Errorf("%s from %s for %q: %+v, want %+v", c.near, c.peer, c.forwarded, got, c.want)
		}
	}
}
