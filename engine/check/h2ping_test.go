package check

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Spec agent.md §6, h2ping: an HTTP/2 connection, a PING frame.
func TestH2Ping(t *testing.T) {
	clear := httptest.NewUnstartedServer(nil)
	clear.Config.Protocols = new(http.Protocols)
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	t.Cleanup(clear.Close)
	two, trust := secured(t, true, false)
	one, trustOne := secured(t, false, false)
	plain, secure, old := clear.Listener.Addr().String(), two.Listener.Addr().String(), one.Listener.Addr().String()
	closed, silent := closedPort(t), listen(t).Addr().String()
	const good = "HTTP2 ping was successful"
	for name, c := range map[string]struct {
		spec   Spec
		env    Env
		status Status
		want   string // exact, or the end if it starts with "..."
	}{
		"plain":       {Spec{Target: plain}, Env{}, Passing, good},
		"tls":         {Spec{Target: secure, UseTLS: true}, Env{TLS: always(trust)}, Passing, good},
		"tls, skip":   {Spec{Target: secure, UseTLS: true, TLSSkipVerify: true}, Env{}, Passing, good},
		"tls, name":   {Spec{Target: secure, UseTLS: true, TLSServerName: "example.com"}, Env{TLS: always(trust)}, Passing, good},
		"tls unknown": {Spec{Target: secure, UseTLS: true}, Env{}, Critical, "...certificate signed by unknown authority"},
		"http/1 only": {Spec{Target: old, UseTLS: true}, Env{TLS: always(trustOne)}, Critical, "...no application protocol"},
		"refused":     {Spec{Target: closed}, Env{}, Critical, "dial tcp " + closed + ": connect: connection refused"},
		"silent":      {Spec{Target: silent, Timeout: 300 * time.Millisecond}, Env{}, Critical, ""},
		"silent, tls": {Spec{Target: silent, UseTLS: true, Timeout: 300 * time.Millisecond}, Env{}, Critical, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Kind = H2Ping
			got := first(t, c.spec, c.env)
			if end, part := strings.CutPrefix(c.want, "..."); got.Status != c.status ||
				c.want != "" && got.Output != c.want && !(part && strings.HasSuffix(got.Output, end)) {
				t.Errorf("got %q, want %s %q", got, c.status, c.want)
			}
		})
	}
}
