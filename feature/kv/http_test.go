package kv

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/session"
	"rostra/kit/httpd"
)

const (
	tooLong = "too large, max size: 1000 bytes. See https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size. Value exceeds 1000 byte limit"
)

var indexes = regexp.MustCompile(`"(Create|Modify)Index":\d+`)

// TestHTTP walks through spec http/kv.md; each line builds on those before it.
func TestHTTP(t *testing.T) {
	a := startAgent(t)
	const s = "9f0f3c12-5a0b-77de-1c3f-0a4be9d2c511"
	for _, c := range []room.Command{&catalog.Register{Row: &catalog.Node{Node: "n1"}}, &session.Create{Session: session.Session{ID: s, Node: "n1", Behavior: session.Release}}} {
		if _, _, err := a.Door.Apply(t.Context(), c, room.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	entry := func(key, value, lock string, flags, locks int) string {
		if lock != "" {
			lock = `,"Session":"` + lock + `"`
		}
		return fmt.Sprintf(`{"LockIndex":%d,"Key":%q,"Flags":%d,"Value":%s%s,"CreateIndex":<n>,"ModifyIndex":<n>}`, locks, key, flags, value, lock)
	}
	tests := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/kv/a", "", 404, ""},
		{"GET", "/v1/kv/a?raw", "", 404, ""},
		{"GET", "/v1/kv/", "", 400, "Missing key name"},
		{"PUT", "/v1/kv/", "x", 400, "Missing key name"},
		{"DELETE", "/v1/kv/", "", 400, "Missing key name"},
		{"GET", "/v1/kv/?recurse", "", 404, ""},
		{"GET", "/v1/kv/?keys", "", 200, "[]"},
		{"GET", "/v1/kv/x?keys", "", 404, ""},
		{"PUT", "/v1/kv/cfg/db/host?flags=42", "db1.local", 200, "true"},
		{"GET", "/v1/kv/cfg/db/host", "", 200, "[" + entry("cfg/db/host", `"ZGIxLmxvY2Fs"`, "", 42, 0) + "]"},
		{"GET", "/v1/kv/cfg/db/host?raw", "", 200, "db1.local"},
		{"PUT", "/v1/kv/cfg/top", "", 200, "true"},
		{"GET", "/v1/kv/cfg/top", "", 200, "[" + entry("cfg/top", "null", "", 0, 0) + "]"},
		{"GET", "/v1/kv/cfg/top?raw", "", 200, ""},
		{"GET", "/v1/kv/cfg?recurse", "", 200, "[" + entry("cfg/db/host", `"ZGIxLmxvY2Fs"`, "", 42, 0) + "," + entry("cfg/top", "null", "", 0, 0) + "]"},
		{"GET", "/v1/kv/cfg?recurse&raw", "", 200, "[" + entry("cfg/db/host", `"ZGIxLmxvY2Fs"`, "", 42, 0) + "," + entry("cfg/top", "null", "", 0, 0) + "]"},
		{"GET", "/v1/kv/cfg/?keys&separator=/", "", 200, `["cfg/db/","cfg/top"]`},
		{"GET", "/v1/kv/cfg/?keys&seperator=/", "", 200, `["cfg/db/","cfg/top"]`},
		{"GET", "/v1/kv/cfg/?keys&seperator=/&separator=", "", 200, `["cfg/db/host","cfg/top"]`},
		{"GET", "/v1/kv/cfg/?keys&recurse&raw", "", 200, `["cfg/db/host","cfg/top"]`},
		{"GET", "/v1/kv/?keys&separator=/", "", 200, `["cfg/"]`},
		{"PUT", "/v1/kv/k?cas=0", "1", 200, "true"},
		{"PUT", "/v1/kv/k?cas=0", "2", 200, "false"},
		{"PUT", "/v1/kv/k?cas=999999", "2", 200, "false"},
		{"PUT", "/v1/kv/k?flags=abc", "2", 500, `strconv.ParseUint: parsing "abc": invalid syntax`},
		{"PUT", "/v1/kv/k?cas=abc", "2", 500, `strconv.ParseUint: parsing "abc": invalid syntax`},
		{"PUT", "/v1/kv/k?cas=0&acquire=x", "2", 400, "Conflicting flags: acquire=x&cas=0\n"},
		{"PUT", "/v1/kv/k?release=y&acquire=x", "2", 400, "Conflicting flags: acquire=x&release=y\n"},
		{"PUT", "/v1/kv/k?acquire=" + s, "2", 200, "true"},
		{"GET", "/v1/kv/k", "", 200, "[" + entry("k", `"Mg=="`, s, 0, 1) + "]"},
		{"PUT", "/v1/kv/k?acquire=gone", "2", 500, `raft apply failed: invalid session "gone"`},
		{"PUT", "/v1/kv/k?acquire=", "2", 500, `raft apply failed: missing session`},
		{"PUT", "/v1/kv/k?release=", "2", 500, `raft apply failed: missing session`},
		{"PUT", "/v1/kv/k?release=other", "2", 200, "false"},
		{"PUT", "/v1/kv/none?release=" + s, "2", 200, "false"},
		{"PUT", "/v1/kv/k?flags=16210313421097356768", "3", 200, "true"},
		{"GET", "/v1/kv/k", "", 200, `[{"LockIndex":1,"Key":"k","Flags":16210313421097356768,"Value":"Mw==","Session":"` + s + `","CreateIndex":<n>,"ModifyIndex":<n>}]`},
		{"PUT", "/v1/kv/k?release=" + s, "4", 200, "true"},
		{"GET", "/v1/kv/k", "", 200, "[" + entry("k", `"NA=="`, "", 0, 1) + "]"},
		{"PUT", "/v1/kv/big", strings.Repeat("x", 1000), 200, "true"},
		{"PUT", "/v1/kv/big", strings.Repeat("x", 1001), 413, "Request body(1001 bytes) " + tooLong},
		{"PUT", "/v1/kv/k?index=x", "4", 400, "Invalid index"},
		{"DELETE", "/v1/kv/k?wait=60", "", 400, "Invalid wait time"},
		{"DELETE", "/v1/kv/k?cas=1&recurse", "", 400, "Conflicting flags: cas=1&recurse=\n"},
		{"DELETE", "/v1/kv/k?cas=0", "", 200, "false"},
		{"DELETE", "/v1/kv/k?cas=x", "", 500, `strconv.ParseUint: parsing "x": invalid syntax`},
		{"DELETE", "/v1/kv/none?cas=7", "", 200, "true"},
		{"DELETE", "/v1/kv/none", "", 200, "true"},
		{"DELETE", "/v1/kv/k", "", 200, "true"},
		{"GET", "/v1/kv/k", "", 404, ""},
		{"PUT", "/v1/kv/%2Fslash%2F%2Fes%20and%2B+", "x", 200, "true"},
		{"GET", "/v1/kv/%2Fslash?keys", "", 200, `["/slash//es and++"]`},
		{"GET", "/v1/kv/cfg/top?ns=x", "", 400, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`},
		{"GET", "/v1/kv/cfg/top?dc=elsewhere", "", 500, "No path to datacenter"},
		{"PUT", "/v1/kv/cfg/top?dc=elsewhere", "", 500, "No path to datacenter"},
		{"DELETE", "/v1/kv/cfg/?recurse", "", 200, "true"},
		{"GET", "/v1/kv/cfg/?recurse", "", 404, ""},
		{"DELETE", "/v1/kv/?recurse", "", 200, "true"},
		{"GET", "/v1/kv/?keys", "", 200, "[]"},
		{"POST", "/v1/kv/k", "", 405, "method POST not allowed"},
	}
	for _, tt := range tests {
		status, h, body := a.Do(tt.method, tt.path, tt.body)
		body = indexes.ReplaceAllString(body, `"${1}Index":<n>`)
		if status != tt.status || body != tt.want {
			t.Errorf("%s %s: %d %s\nwant %d %s", tt.method, tt.path, status, body, tt.status, tt.want)
		}
		if isRead := tt.method == "GET" && (status == 200 || status == 404); isRead != (h.Get("X-Consul-Index") != "") {
			t.Errorf("%s %s: X-Consul-Index is %q", tt.method, tt.path, h.Get("X-Consul-Index"))
		}
	}
}

func TestHTTPHeaders(t *testing.T) {
	a := startAgent(t)
	a.Do("PUT", "/v1/kv/k", "<b>")
	_, h, _ := a.Do("GET", "/v1/kv/k?raw", "")
	for name, want := range map[string]string{"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "sandbox", "Content-Length": "3", "X-Consul-Knownleader": "true", "X-Consul-Lastcontact": "0",
		"X-Consul-Effective-Consistency": ""} {
		if got := h.Get(name); got != want {
			t.Errorf("raw: %s is %q, want %q", name, got, want)
		}
	}
	// chunked bodies have the same limit
	status, _, body := a.Send("PUT", "/v1/kv/big", io.MultiReader(strings.NewReader(strings.Repeat("x", 1001))))
	if want := "Request body " + tooLong; status != 413 || body != want {
		t.Errorf("a chunked body that is too long: %d %s\nwant 413 %s", status, body, want)
	}
	if status, _, body = a.Send("PUT", "/v1/kv/big", io.MultiReader(strings.NewReader("small"))); status != 200 || body != "true" {
		t.Errorf("a chunked body: %d %s", status, body)
	}
}

// TestBlocking: a reader that waits gets the next change, and nothing but it.
func TestBlocking(t *testing.T) {
	a := startAgent(t)
	a.Do("PUT", "/v1/kv/a/1", "1")
	a.Do("PUT", "/v1/kv/other", "1")
	tests := []struct {
		path   string // to wait on
		method string
		write  string
		status int
		want   string
	}{
		{"/v1/kv/a/1", "PUT", "/v1/kv/a/1", 200, `"Key":"a/1"`},
		{"/v1/kv/a/?recurse", "PUT", "/v1/kv/a/2", 200, `"Key":"a/2"`},
		{"/v1/kv/a/?keys", "PUT", "/v1/kv/a/3", 200, `"a/3"`},
		{"/v1/kv/none", "PUT", "/v1/kv/none", 200, `"Key":"none"`},
		{"/v1/kv/a/?recurse", "DELETE", "/v1/kv/a/2", 200, `"Key":"a/3"`},
		{"/v1/kv/a/3", "DELETE", "/v1/kv/a?recurse", 404, ``},
		{"/v1/kv/?keys", "DELETE", "/v1/kv/none", 200, `["other"]`},
		{"/v1/kv/?recurse", "DELETE", "/v1/kv/?recurse", 404, ``},
	}
	for i, tt := range tests {
		_, h, _ := a.Do("GET", tt.path, "")
		join := "?"
		if strings.Contains(tt.path, "?") {
			join = "&"
		}
		type reply struct {
			status int
			index  string
			body   string
		}
		got := make(chan reply)
		go func() {
			status, h, body := a.Do("GET", tt.path+join+"wait=30s&index="+h.Get("X-Consul-Index"), "")
			got <- reply{status, h.Get("X-Consul-Index"), body}
		}()
		for a.Door.Counters()["blocking_queries"] == 0 {
			select {
			case r := <-got:
				t.Fatalf("%s: answered %+v without waiting for more than %s", tt.path, r, h.Get("X-Consul-Index"))
			case <-time.After(time.Millisecond):
			}
		}
		if tt.path != "/v1/kv/?keys" && tt.path != "/v1/kv/?recurse" {
			a.Do("PUT", "/v1/kv/other", fmt.Sprint(i)) // concerns nobody who waits
		}
		a.Do(tt.method, tt.write, "changed")
		r := <-got
		if r.status != tt.status || !strings.Contains(r.body, tt.want) || r.index <= h.Get("X-Consul-Index") && len(r.index) <= len(h.Get("X-Consul-Index")) {
			t.Errorf("%s, then %s %s: %+v; want %d with %s and an index above %s", tt.path, tt.method, tt.write, r, tt.status, tt.want, h.Get("X-Consul-Index"))
		}
	}
}

// BenchmarkGet is the handler of one key without the network.
func BenchmarkGet(b *testing.B) {
	a := startAgent(b)
	if status, _, body := a.Do("PUT", "/v1/kv/cfg/db/host", "db1.example.net:5432"); status != 200 {
		b.Fatal(body)
	}
	web, err := httpd.New(httpd.Options{}, web{door: a.Door, maxValue: 1000}.routes())
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/v1/kv/cfg/db/host", nil)
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		web.Handler().ServeHTTP(w, r)
	}
	if w.n == 0 {
		b.Fatal("nothing was written")
	}
}

type sink struct {
	header http.Header
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }
