package member

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/kit/httpd"
)

// serve runs the feature's routes for an agent with these pools.
func serve(t *testing.T, lan, wan *gossip.Pool) func(method, path string) (int, string) {
	t.Helper()
	part, err := Room.Open(&room.Host{LAN: lan, WAN: wan, Log: (&lines{}).logger(), Self: room.Identity{Datacenter: "dc1"}}, new(Settings))
	if err != nil {
		t.Fatal(err)
	}
	web, err := httpd.New(httpd.Options{}, part.Routes)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(web.Handler())
	t.Cleanup(listener.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return func(method, path string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, listener.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
}

func TestJoinAndForceLeave(t *testing.T) {
	lan, wan := pool(t, "a", 0), pool(t, "a.dc1", 0)
	b, bWAN := pool(t, "b", 0), pool(t, "b.dc1", 0)
	do := serve(t, lan, wan)
	expect := func(method, path string, status int, text string) {
		t.Helper()
		if got, body := do(method, path); got != status || !strings.HasPrefix(body, text) || text == "" && body != "" {
			t.Errorf("%s %s: %d %q, want %d %q", method, path, got, body, status, text)
		}
	}
	expect("PUT", "/v1/agent/join/"+addr(b), 200, "")
	expect("PUT", "/v1/agent/join/"+addr(bWAN)+"?wan=1", 200, "")
	expect("PUT", "/v1/agent/join/127.9.9.9:1", 500, "1 error occurred:\n\t* Failed to join 127.9.9.9:1: dial tcp 127.9.9.9:1: connect: connection refused\n\n")
	expect("PUT", "/v1/agent/join/", 400, "Missing address to join")
	statuses := func(p *gossip.Pool) string {
		var s []string
		for _, m := range p.Members() {
			s = append(s, m.Name+"="+m.Status.String())
		}
		return strings.Join(s, " ")
	}
	eventually(t, "all know each other", func() bool { return statuses(lan) == "a=alive b=alive" && statuses(wan) == "a.dc1=alive b.dc1=alive" })
	expect("GET", "/v1/agent/members?filter=Name+%3D%3D+b", 200, `[{"Name":"b",`)
	expect("GET", "/v1/agent/members?wan=1&filter=Name+matches+%22%5Eb%22", 200, `[{"Name":"b.dc1",`)
	expect("GET", "/v1/agent/members?filter=Status+%3D%3D+4", 200, `[]`)
	for _, path := range []string{"GET /v1/agent/members", "PUT /v1/agent/join/x", "PUT /v1/agent/force-leave/x"} {
		method, path, _ := strings.Cut(path, " ")
		expect(method, path+"?partition=x", 400, `Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature`)
	}
	expect("GET", "/v1/agent/members?segment=x", 500, "Network segments are not supported")
	expect("GET", "/v1/agent/members?segment=_all&wan=1", 400, "Cannot provide a segment with wan=true")

	expect("PUT", "/v1/agent/force-leave/x", 500, "agent: No node found with name 'x'")
	expect("PUT", "/v1/agent/force-leave/x.dc1?wan", 500, "agent: No node found with name 'x.dc1'")
	for _, p := range []*gossip.Pool{b, bWAN} { // as a crash would
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "b failed", func() bool { return statuses(lan) == "a=alive b=failed" && statuses(wan) == "a.dc1=alive b.dc1=failed" })
	expect("PUT", "/v1/agent/force-leave/b", 200, "") // on the WAN, too
	if statuses(lan) != "a=alive b=left" || statuses(wan) != "a.dc1=alive b.dc1=left" {
		t.Errorf("%s, %s", statuses(lan), statuses(wan))
	}
	expect("PUT", "/v1/agent/force-leave/b.dc1?wan&prune", 200, "")
	expect("PUT", "/v1/agent/force-leave/b?prune", 200, "")
	eventually(t, "b is gone", func() bool { return statuses(lan) == "a=alive" && statuses(wan) == "a.dc1=alive" })
}

// TestForceLeaveBeforeTheWANKnows: a member that the LAN pool has found dead leaves the pool between datacenters, too, as
// soon as that one finds out, which takes longer. One that lives is not asked there at all.
func TestForceLeaveBeforeTheWANKnows(t *testing.T) {
	slow := gossip.Timing{ProbeInterval: 300 * time.Millisecond, SuspicionMult: 4, SuspicionMaxMult: 1}
	lan, b := pool(t, "a", 0), pool(t, "b", 0)
	wan, bWAN, c := poolAt(t, "a.dc1", 0, slow), poolAt(t, "b.dc1", 0, slow), poolAt(t, "c.dc2", 0, slow)
	do := serve(t, lan, wan)
	for _, path := range []string{addr(b), addr(bWAN) + "?wan=1", addr(c) + "?wan=1"} {
		if status, body := do("PUT", "/v1/agent/join/"+path); status != 200 {
			t.Fatal(path, body)
		}
	}
	is := func(p *gossip.Pool, name string, want gossip.Status) func() bool {
		return func() bool {
			return slices.ContainsFunc(p.Members(), func(m gossip.Member) bool { return m.Name == name && m.Status == want })
		}
	}
	eventually(t, "all know each other", func() bool { return len(lan.Members()) == 2 && len(wan.Members()) == 3 && len(c.Members()) == 3 })
	if status, body := do("PUT", "/v1/agent/force-leave/b"); status != 200 || !is(wan, "b.dc1", gossip.StatusAlive)() {
		t.Errorf("a living one: %d %s; WAN %v", status, body, wan.Members())
	}
	eventually(t, "b lives on", is(lan, "b", gossip.StatusAlive))
	for _, p := range []*gossip.Pool{b, bWAN} {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the LAN finds out", is(lan, "b", gossip.StatusFailed))
	if status, body := do("PUT", "/v1/agent/force-leave/b"); status != 200 {
		t.Fatal(status, body)
	}
	eventually(t, "b left the LAN", is(lan, "b", gossip.StatusLeft))
	eventually(t, "b left the WAN", is(wan, "b.dc1", gossip.StatusLeft))
	eventually(t, "the other datacenter knows", is(c, "b.dc1", gossip.StatusLeft))
}

func TestNoServer(t *testing.T) {
	do := serve(t, pool(t, "a", 0), nil)
	for path, text := range map[string]string{
		"PUT /v1/agent/join/10.0.0.1?wan=1":   "Must be a server to join WAN cluster",
		"PUT /v1/agent/force-leave/a.dc1?wan": "Must be a server to force-leave a node from the WAN cluster",
	} {
		method, path, _ := strings.Cut(path, " ")
		if status, body := do(method, path); status != 500 || body != text {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if status, body := do("GET", "/v1/agent/members?wan=1"); status != 200 || body != "[]" {
		t.Errorf("members: %d %q", status, body)
	}
}
