package session

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"rostra/engine/room"
	"rostra/feature/catalog"

	"rostra/engine/server/servertest"
)

var (
	uuid    = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	indexes = regexp.MustCompile(`"(Create|Modify)Index":\d+`)
)

// start registers what sessions are bound to.
func start(t *testing.T) *servertest.Agent {
	a := startAgent(t)
	for _, node := range []string{"n1", "n2"} {
		c := &catalog.Register{Row: &catalog.Node{Node: node}, Checks: []*catalog.Check{{CheckID: "serfHealth", Status: "passing"},
			{CheckID: "c", Status: "passing"}, {CheckID: "bad", Status: "critical"}}}
		if _, _, err := a.Door.Apply(t.Context(), c, room.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// TestCreateHTTP holds the rules of spec http/session.md on what a body comes to.
func TestCreateHTTP(t *testing.T) {
	shape := func(name, node string, delay int, behavior, ttl, checks string) string {
		return fmt.Sprintf(`[{"ID":"<id>","Name":%q,"Node":%q,"LockDelay":%d,"Behavior":%q,"TTL":%q,%s,"CreateIndex":<n>,"ModifyIndex":<n>}]`,
			name, node, delay, behavior, ttl, checks)
	}
	const serf = `"NodeChecks":["serfHealth"],"ServiceChecks":null`
	const none = `"NodeChecks":[],"ServiceChecks":null`
	const sec = 1_000_000_000
	plain := shape("", "n1", 15*sec, "release", "", serf)
	tests := []struct {
		body   string
		status int
		want   string // the session's info, or an error's text
	}{
		{``, 200, plain},
		{`{}`, 200, plain},
		{`{"Unknown":1}`, 200, plain},
		{`{"name":"web-leader","ttl":"15s","lockdelay":"0s","node":"N2","behavior":"delete"}`, 200, shape("web-leader", "N2", 0, "delete", "15s", serf)},
		{`{"LockDelay":5}`, 200, shape("", "n1", 5*sec, "release", "", serf)},
		{`{"LockDelay":5000}`, 200, shape("", "n1", 5000, "release", "", serf)},
		{`{"LockDelay":"20s"}`, 200, shape("", "n1", 20*sec, "release", "", serf)},
		{`{"TTL":"0s"}`, 200, shape("", "n1", 15*sec, "release", "0s", serf)},
		{`{"TTL":"24h"}`, 200, shape("", "n1", 15*sec, "release", "24h", serf)},
		{`{"Behavior":""}`, 200, plain},
		{`{"Checks":[]}`, 200, shape("", "n1", 15*sec, "release", "", none)},
		{`{"Checks":null}`, 200, shape("", "n1", 15*sec, "release", "", none)},
		{`{"Checks":["serfHealth"]}`, 200, plain},
		{`{"Checks":["c"]}`, 200, shape("", "n1", 15*sec, "release", "", serf+`,"Checks":["c"]`)},
		{`{"Checks":["c"],"NodeChecks":[]}`, 200, shape("", "n1", 15*sec, "release", "", none)},
		{`{"NodeChecks":[]}`, 200, shape("", "n1", 15*sec, "release", "", none)},
		{`{"NodeChecks":["c"]}`, 200, shape("", "n1", 15*sec, "release", "", `"NodeChecks":["c"],"ServiceChecks":null`)},
		{`{"NodeChecks":["serfHealth","c"],"ServiceChecks":[{"ID":"c"}]}`, 200,
			shape("", "n1", 15*sec, "release", "", `"NodeChecks":["serfHealth","c"],"ServiceChecks":[{"ID":"c","Namespace":""}]`)},
		{`{"LockDelay":"abc"}`, 400, `Request decode failed: time: invalid duration "abc"`},
		{`{`, 400, `Request decode failed: unexpected EOF`},
		{`{"TTL":"5s"}`, 500, `Invalid Session TTL '5000000000', must be between [10s=24h0m0s]`},
		{`{"TTL":"25h"}`, 500, `Invalid Session TTL '90000000000000', must be between [10s=24h0m0s]`},
		{`{"TTL":"abc"}`, 500, `Session TTL 'abc' invalid: time: invalid duration "abc"`},
		{`{"Behavior":"foo"}`, 500, `Invalid Behavior setting 'foo'`},
		{`{"Node":"n9"}`, 500, `apply failed: Missing node registration`},
		{`{"NodeChecks":["x"]}`, 500, `apply failed: Missing check 'x' registration`},
		{`{"ServiceChecks":[{"ID":"bad"}]}`, 500, `apply failed: Check 'bad' is in critical state`},
	}
	a := start(t)
	for _, tt := range tests {
		status, _, body := a.Do("PUT", "/v1/session/create", tt.body)
		if status == 200 {
			id := uuid.FindString(body)
			if want := `{"ID":"` + id + `"}`; body != want || id == "" {
				t.Errorf("%s: answered %s", tt.body, body)
			}
			_, _, body = a.Do("GET", "/v1/session/info/"+strings.ToUpper(id), "")
			body = strings.Replace(indexes.ReplaceAllString(body, `"${1}Index":<n>`), id, "<id>", 1)
		}
		if status != tt.status || body != tt.want {
			t.Errorf("%s: %d %s\nwant %d %s", tt.body, status, body, tt.status, tt.want)
		}
	}
}

func TestHTTP(t *testing.T) {
	a := start(t)
	_, _, first := a.Do("PUT", "/v1/session/create", `{"TTL":"10s"}`)
	_, _, second := a.Do("PUT", "/v1/session/create", `{"Node":"n2"}`)
	first, second = uuid.FindString(first), uuid.FindString(second)
	names := map[string]string{first: "<1>", second: "<2>"}
	tests := []struct {
		method, path string
		status       int
		want         string // the IDs in the answer, or the answer
		meta         bool
	}{
		{"GET", "/v1/session/info/" + first, 200, "<1>", true},
		{"GET", "/v1/session/info/none", 200, "[]", true},
		{"GET", "/v1/session/info/", 400, "Missing session", false},
		{"GET", "/v1/session/node/N2", 200, "<2>", true},
		{"GET", "/v1/session/node/none", 200, "[]", true},
		{"GET", "/v1/session/node/", 400, "Missing node name", false},
		{"GET", "/v1/session/list?stale", 200, "<1><2>", true},
		{"GET", "/v1/session/list?index=x", 400, "Invalid index", false},
		{"PUT", "/v1/session/renew/" + first, 200, "<1>", false},
		{"PUT", "/v1/session/renew/" + second, 200, "<2>", false},
		{"PUT", "/v1/session/renew/none", 404, "Session id 'none' not found", false},
		{"PUT", "/v1/session/renew/", 400, "Missing session", false},
		{"PUT", "/v1/session/destroy/", 400, "Missing session", false},
		{"PUT", "/v1/session/destroy/none", 200, "true", false},
		{"PUT", "/v1/session/destroy/" + first, 200, "true", false},
		{"PUT", "/v1/session/destroy/" + first, 200, "true", false},
		{"GET", "/v1/session/list", 200, "<2>", true},
		{"GET", "/v1/session/list/", 404, "Invalid URL path: not a recognized HTTP API endpoint\n", false},
		{"GET", "/v1/session/create", 405, "method GET not allowed", false},
	}
	for _, tt := range tests {
		status, h, body := a.Do(tt.method, tt.path, "")
		if found := uuid.FindAllString(body, -1); len(found) > 0 && !strings.Contains(tt.path, "none") {
			body = ""
			if len(found) == 2 && found[0] > found[1] {
				t.Errorf("%s: not by ID: %v", tt.path, found)
			}
			for _, id := range []string{first, second} {
				for _, f := range found {
					if f == id {
						body += names[id]
					}
				}
			}
		}
		if status != tt.status || body != tt.want || (h.Get("X-Consul-Index") != "") != tt.meta {
			t.Errorf("%s %s: %d %s, index %q\nwant %d %s", tt.method, tt.path, status, body, h.Get("X-Consul-Index"), tt.status, tt.want)
		}
	}
}

// TestBlocking: who waits for sessions hears of a destroy, and not of a renewal.
func TestBlocking(t *testing.T) {
	a := start(t)
	_, _, id := a.Do("PUT", "/v1/session/create", `{"TTL":"10s"}`)
	id = uuid.FindString(id)
	for _, path := range []string{"/v1/session/list", "/v1/session/info/", "/v1/session/node/n1"} {
		if strings.HasSuffix(path, "info/") {
			path += id
		}
		_, h, _ := a.Do("GET", path, "")
		got := make(chan string)
		go func() {
			_, _, body := a.Do("GET", path+"?wait=30s&index="+h.Get("X-Consul-Index"), "")
			got <- body
		}()
		for a.Door.Counters()["blocking_queries"] == 0 {
			<-time.After(time.Millisecond)
		}
		if status, _, body := a.Do("PUT", "/v1/session/renew/"+id, ""); status != 200 {
			t.Fatal(body)
		}
		select {
		case body := <-got:
			t.Errorf("%s: a renewal woke it: %s", path, body)
		case <-time.After(20 * time.Millisecond):
		}
		a.Do("PUT", "/v1/session/destroy/"+id, "")
		if body := <-got; body != "[]" {
			t.Errorf("%s: after the destroy: %s", path, body)
		}
		_, _, id = a.Do("PUT", "/v1/session/create", `{"TTL":"10s"}`)
		id = uuid.FindString(id)
	}
}
