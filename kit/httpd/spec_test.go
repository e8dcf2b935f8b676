package httpd

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rostra/kit/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// item and items are a filterable list as a feature would have one.
type item struct {
	Name string
	Meta map[string]string
	Port int
}

type items []item

func (l items) Len() int       { return len(l) }
func (l items) Item(i int) any { return &l[i] }
func (l items) AppendItem(b []byte, i int) []byte {
	text, _ := json.Marshal(l[i])
	return append(b, text...)
}

// shared is a Shared over a list.
type shared struct {
	list         items
	plain, gzips []byte
}

func newShared(list items) *shared {
	plain, _ := json.Marshal(list)
	return &shared{list, plain, Compress(plain)}
}

func (s *shared) JSON() []byte { return s.plain }
func (s *shared) Gzip() []byte { return s.gzips }
func (s *shared) Unwrap() any  { return s.list }

type appender struct{ Name string }

func (a appender) AppendJSON(b []byte) []byte {
	return append(AppendString(append(b, `{"Name":`...), a.Name), '}')
}

var three = items{{"a", map[string]string{"k": "v"}, 1}, {"b", nil, 2}, {"c", nil, 3}}

func yes(v bool) *bool { return &v }

func testRoutes() []Route { return append(valueRoutes(), failRoutes()...) }

func valueRoutes() []Route {
	value := func(v any) func(*Request) (Reply, error) {
		return func(*Request) (Reply, error) { return Reply{Value: v, Meta: &Meta{Index: 7, KnownLeader: true}}, nil }
	}
	list := newShared(three)
	big := bytes.Repeat([]byte("x"), 5000)
	return []Route{
		{Method: "GET", Path: "/v1/kv/", Read: true, SingleTenant: true, Serve: func(r *Request) (Reply, error) {
			if r.Arg == "miss" {
				return NotFound(&Meta{}), nil
			}
			if r.Has("raw") {
				return Reply{Raw: []byte(r.Arg), ContentType: "text/plain", Header: http.Header{"X-Content-Type-Options": {"nosniff"}}}, nil
			}
			return Reply{Value: r.Arg}, nil
		}},
		{Method: "PUT", Path: "/v1/kv/", Serve: func(r *Request) (Reply, error) {
			body, err := r.Body(10, func(n int64) string { return fmt.Sprintf("too large: %d", n) })
			return Reply{Value: len(body)}, err
		}},
		{Method: "DELETE", Path: "/v1/kv/", Serve: value(true)},
		{Method: "GET", Path: "/v1/list", Read: true, Effective: true, Filter: item{}, Serve: value(list)},
		{Method: "GET", Path: "/v1/plainlist", Filter: &item{}, Serve: value(three)},
		{Method: "GET", Path: "/v1/any", Serve: value(map[string]any{"b": "<&>\u2028", "a": []int{1}})},
		{Method: "GET", Path: "/v1/appender", Serve: value(appender{"n"})},
		{Method: "GET", Path: "/v1/null", Serve: value([]string(nil))},
		{Method: "GET", Path: "/v1/bad", Serve: value(func() {})},
		{Method: "GET", Path: "/v1/busy", Serve: func(*Request) (Reply, error) {
			return Reply{Value: map[string]bool{"ok": false}, Status: 409}, nil
		}},
		{Method: "GET", Path: "/v1/big", Serve: func(*Request) (Reply, error) {
			return Reply{Raw: big, ContentType: "text/plain"}, nil
		}},
		{Method: "PUT", Path: "/v1/empty", Serve: func(*Request) (Reply, error) { return Reply{}, nil }},
		{Method: "GET", Path: "/v1/params", Read: true, Discovery: true, Serve: func(r *Request) (Reply, error) {
			return Reply{Value: r.Params}, nil
		}},
		{Method: "GET", Path: "/v1/meta", Effective: true, Serve: func(*Request) (Reply, error) {
			return Reply{Value: 1, Meta: &Meta{LastContact: 12 * time.Millisecond, Consistency: Stale, Filtered: true,
				CacheHit: yes(true), Age: 3900 * time.Millisecond}}, nil
		}},
		{Method: "GET", Path: "/v1/metaerror", Serve: func(*Request) (Reply, error) {
			return Reply{Meta: &Meta{}}, fault.ErrNoLeader
		}},
		{Method: "PUT", Path: "/v1/decode", Serve: func(r *Request) (Reply, error) {
			var v struct{ Name string }
			err := r.Decode(&v, true)
			return Reply{Value: v.Name}, err
		}},
		{Path: "/v1/query/", Serve: func(r *Request) (Reply, error) {
			return Reply{Value: struct{}{}, Header: http.Header{"Allow": {"OPTIONS,GET"}}}, nil
		}},
	}
}

func failRoutes() []Route {
	fails := func(err error) func(*Request) (Reply, error) {
		return func(*Request) (Reply, error) { return Reply{}, err }
	}
	return []Route{
		{Method: "GET", Path: "/v1/denied", Serve: fails(errors.New("rpc error making call: Permission denied: x"))},
		{Method: "GET", Path: "/v1/notfound", Serve: fails(fault.New(fault.NotFound, "unknown %q", "x"))},
		{Method: "GET", Path: "/v1/limit", Serve: fails(errors.New("rpc: RPC rate limit exceeded"))},
		{Method: "GET", Path: "/v1/leaderlimit", Serve: fails(errors.New(
			"rate limit exceeded for operation that can only be performed by the leader, try again later"))},
		{Method: "GET", Path: "/v1/panic", Serve: func(*Request) (Reply, error) { panic("oh") }},
		{Method: "GET", Path: "/v1/stream", Stream: true, Serve: func(*Request) (Reply, error) {
			return Reply{Gzip: true, Stream: func(w io.Writer, flush func()) error {
				for range 3 {
					if _, err := io.WriteString(w, "line\n"); err != nil {
						return err
					}
					flush()
				}
				return nil
			}}, nil
		}},
		{Method: "GET", Path: "/v1/streamfails", Stream: true, Serve: func(*Request) (Reply, error) {
			return Reply{Stream: func(io.Writer, func()) error { return fault.New(fault.Invalid, "early") }}, nil
		}},
		{Method: "GET", Path: "/v1/streamcut", Stream: true, Serve: func(*Request) (Reply, error) {
			return Reply{Stream: func(w io.Writer, flush func()) error {
				_, _ = io.WriteString(w, "half")
				flush()
				return errors.New("late")
			}}, nil
		}},
	}
}

// start serves on a real socket and returns its URL, and a function that stops the server and returns Serve's error.
func start(t testing.TB, opts Options, routes []Route) (url string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, stop = serveOn(t, opts, routes, Port{Listener: l})
	return "http://" + l.Addr().String(), stop
}

func serveOn(t testing.TB, opts Options, routes []Route, p Port) (s *Server, stop func() error) {
	t.Helper()
	s, err := New(opts, routes)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, p) }()
	stopped, result := false, error(nil)
	stop = func() error {
		cancel()
		if !stopped {
			stopped, result = true, <-done
		}
		return result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, stop
}

// raw is a client that changes nothing: no compression of its own, no redirects.
func rawClient(t testing.TB) *http.Client {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

type exchange struct {
	section, method, path string
	headers               map[string]string
	body                  string
	status                int
	want                  string            // body; "*" is any
	wantHeaders           map[string]string // "-" is absent
}

const (
	jsonCT = "application/json"
	textCT = "text/plain; charset=utf-8"
)

func run(t *testing.T, url string, client *http.Client, x exchange) {
	t.Helper()
	var body io.Reader
	if x.body != "" {
		body = strings.NewReader(x.body)
	}
	if x.headers["chunked"] != "" {
		body = io.MultiReader(body)
	}
	req, err := http.NewRequest(x.method, url+x.path, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range x.headers {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != x.status {
		t.Errorf("status %d, want %d (%s)", resp.StatusCode, x.status, got)
	}
	if string(got) != x.want && x.want != "*" {
		t.Errorf("body %q, want %q", got, x.want)
	}
	for k, v := range x.wantHeaders {
		values, present := resp.Header[http.CanonicalHeaderKey(k)]
		switch {
		case v == "-" && present:
			t.Errorf("header %s is %q, want none", k, values)
		case v != "-" && (len(values) != 1 || values[0] != v):
			t.Errorf("header %s is %q, want %q", k, values, v)
		}
	}
}

func runAll(t *testing.T, opts Options, exchanges []exchange) {
	t.Helper()
	url, _ := start(t, opts, testRoutes())
	client := rawClient(t)
	for _, x := range exchanges {
		t.Run(x.section+" "+x.method+" "+x.path, func(t *testing.T) { run(t, url, client, x) })
	}
}

type hdr = map[string]string

func TestRoutingAndMethods(t *testing.T) {
	allow := hdr{"Allow": "OPTIONS,GET,PUT,DELETE", "X-Consul-Default-Acl-Policy": "allow", "Vary": "Accept-Encoding"}
	runAll(t, Options{}, []exchange{
		{"§1 clean-up", "GET", "//v1/kv//a/./b/../c%2F%2Fd?x=%20y", nil, "", 307, "", hdr{"Location": "/v1/kv/a/c%2F%2Fd?x=%20y", "Vary": "-"}},
		{"§1 clean-up", "GET", "/v1/kv/a/..", nil, "", 307, "", hdr{"Location": "/v1/kv/"}},
		{"§1 dots in names", "GET", "/v1/kv/a/.b/..c/...", nil, "", 200, `"a/.b/..c/..."`, nil},
		{"§1 bare prefix", "GET", "/v1/kv?recurse=1", nil, "", 307, "*", hdr{"Location": "/v1/kv/?recurse=1"}},
		{"§1 argument", "GET", "/v1/kv/%2Fa%2F%2Fb%20c%2Bd+e%C3%A9", nil, "", 200, `"/a//b c+d+eé"`, nil},
		{"§1 unprintable", "GET", "/v1/kv/a%0Ab", nil, "", 400, "", hdr{"X-Consul-Default-Acl-Policy": "-", "Vary": "-", "Content-Type": "-"}},
		{"§1 unprintable", "GET", "/v1/kv/%E2%80%A8", nil, "", 400, "", nil},
		{"§1 unknown", "GET", "/v1/nope", nil, "", 404, "Invalid URL path: not a recognized HTTP API endpoint\n", hdr{"Content-Type": textCT}},
		{"§1 unknown", "GET", "/nope", nil, "", 404, "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n", nil},
		{"§1 exact", "GET", "/v1/list/", nil, "", 404, "Invalid URL path: not a recognized HTTP API endpoint\n", nil},
		{"§1 case", "GET", "/V1/list", nil, "", 404, "*", nil},
		{"§1 bad query", "GET", "/v1/list?%zz", nil, "", 500, "", hdr{"Content-Type": "-"}},
		{"§2 405", "POST", "/v1/kv/a", nil, "", 405, "method POST not allowed", allow},
		{"§2 OPTIONS", "OPTIONS", "/v1/kv/a", nil, "", 200, "", allow},
		{"§2 HEAD", "HEAD", "/v1/kv/a", nil, "", 405, "", allow},
		{"§2 own methods", "OPTIONS", "/v1/query/x", nil, "", 200, "{}", hdr{"Allow": "OPTIONS,GET"}},
		{"§2 own methods", "HEAD", "/v1/query/x", nil, "", 405, "", hdr{"Allow": "-"}},
	})
}

func TestFraming(t *testing.T) {
	runAll(t, Options{DefaultPolicy: "deny", TranslateAddresses: true, ResponseHeaders: hdr{"x-own": "1"}}, []exchange{
		{"§3 value", "GET", "/v1/any", nil, "", 200, `{"a":[1],"b":"\u003c\u0026\u003e\u2028"}`, hdr{"Content-Type": jsonCT,
			"X-Consul-Default-Acl-Policy": "deny", "X-Consul-Translate-Addresses": "true", "X-Own": "1", "X-Consul-Index": "7",
			"X-Consul-Knownleader": "true", "X-Consul-Lastcontact": "0", "X-Consul-Query-Backend": "blocking-query",
			"X-Consul-Effective-Consistency": "-", "X-Consul-Results-Filtered-By-Acls": "-"}},
		{"§3 pretty", "GET", "/v1/any?pretty", nil, "", 200, "{\n    \"a\": [\n        1\n    ],\n    \"b\": \"\\u003c\\u0026\\u003e\\u2028\"\n}\n", nil},
		{"§3 shared pretty", "GET", "/v1/list?pretty=&filter=Name==b", nil, "", 200, "[\n    {\n        \"Name\": \"b\",\n        \"Meta\": null,\n        \"Port\": 2\n    }\n]\n", nil},
		{"§3 null", "GET", "/v1/null", nil, "", 200, `null`, nil},
		{"§3 appender", "GET", "/v1/appender", nil, "", 200, `{"Name":"n"}`, nil},
		{"§3 nothing", "PUT", "/v1/empty", nil, "", 200, "", hdr{"Content-Type": jsonCT, "Content-Length": "0"}},
		{"§3 404", "GET", "/v1/kv/miss", nil, "", 404, "", hdr{"Content-Type": "-", "X-Consul-Index": "1", "X-Consul-Knownleader": "false"}},
		{"§3 raw", "GET", "/v1/kv/some?raw", nil, "", 200, "some", hdr{"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff"}},
		{"§3 status with value", "GET", "/v1/busy", nil, "", 409, `{"ok":false}`, hdr{"Content-Type": jsonCT}},
		{"§3 not encodable", "GET", "/v1/bad", nil, "", 500, "json: unsupported type: func()", hdr{"Content-Type": textCT}},
		{"§3 effective", "GET", "/v1/list", nil, "", 200, `[{"Name":"a","Meta":{"k":"v"},"Port":1},{"Name":"b","Meta":null,"Port":2},{"Name":"c","Meta":null,"Port":3}]`, hdr{"X-Consul-Effective-Consistency": "leader"}},
		{"§8 meta", "GET", "/v1/meta", nil, "", 200, "1", hdr{"X-Consul-Index": "1", "X-Consul-Lastcontact": "12", "X-Consul-Effective-Consistency": "stale", "X-Cache": "HIT", "Age": "3", "X-Consul-Results-Filtered-By-Acls": "-"}},
		{"§6 filtered", "GET", "/v1/meta", hdr{"X-Consul-Token": "t"}, "", 200, "1", hdr{"X-Consul-Results-Filtered-By-Acls": "true"}},
		{"§3 long", "GET", "/v1/big", nil, "", 200, strings.Repeat("x", 5000), hdr{"Content-Length": "5000", "Content-Encoding": "-"}},
		{"§11 filter", "GET", "/v1/list?filter=Port+!=+2+and+%22k%22+not+in+Meta", nil, "", 200, `[{"Name":"c","Meta":null,"Port":3}]`, nil},
		{"§11 filter", "GET", "/v1/plainlist?filter=Meta.k+==+x", nil, "", 200, `[]`, nil},
		{"§11 filter", "GET", "/v1/list?filter=Foo==1", nil, "", 500, `Failed to create boolean expression evaluator: Selector "Foo" is not valid`, hdr{"Content-Type": textCT}},
		{"§11 no filter here", "GET", "/v1/any?filter=Foo==1", nil, "", 200, "*", nil},
		{"§4 meta and error", "GET", "/v1/metaerror", nil, "", 500, "No cluster leader", hdr{"X-Consul-Index": "1", "X-Consul-Knownleader": "false", "Content-Type": textCT}},
		{"§4", "GET", "/v1/denied", nil, "", 403, "rpc error making call: Permission denied: x", nil},
		{"§4", "GET", "/v1/notfound", nil, "", 404, `unknown "x"`, hdr{"Content-Type": textCT}},
		{"§4", "GET", "/v1/limit", nil, "", 429, "*", nil},
		{"§4", "GET", "/v1/leaderlimit", nil, "", 503, "*", nil},
		{"§4 panic", "GET", "/v1/panic", nil, "", 500, "internal error, see the agent's log", nil},
		{"stream", "GET", "/v1/stream", nil, "", 200, "line\nline\nline\n", hdr{"Content-Type": "-"}},
		{"stream", "GET", "/v1/streamfails", nil, "", 400, "early", hdr{"Content-Type": textCT}},
	})
	runAll(t, Options{AlwaysPretty: true}, []exchange{
		{"§3 -dev", "GET", "/v1/appender", nil, "", 200, "{\n    \"Name\": \"n\"\n}", nil},
		{"§3 -dev", "GET", "/v1/appender?pretty", nil, "", 200, "{\n    \"Name\": \"n\"\n}\n", nil},
	})
}

func TestBodies(t *testing.T) {
	runAll(t, Options{}, []exchange{
		{"§5 limit", "PUT", "/v1/kv/a", nil, "0123456789", 200, "10", nil},
		{"§5 limit", "PUT", "/v1/kv/a", nil, "0123456789a", 413, "too large: 11", hdr{"Content-Type": textCT}},
		{"§5 limit", "PUT", "/v1/kv/a", hdr{"chunked": "1"}, "0123456789", 200, "10", nil},
		{"§5 limit", "PUT", "/v1/kv/a", hdr{"chunked": "1"}, "0123456789a", 413, "too large: -1", nil},
		{"§5 empty", "PUT", "/v1/kv/a", nil, "", 200, "0", nil},
		{"§5 case", "PUT", "/v1/decode", nil, `{"nAmE":"x"} trailing`, 200, `"x"`, nil},
		{"§5 unknown", "PUT", "/v1/decode", nil, `{"Foo":1}`, 400, `Request decode failed: json: unknown field "Foo"`, hdr{"Content-Type": textCT}},
		{"§5 empty", "PUT", "/v1/decode", nil, ``, 400, `Request decode failed: EOF`, nil},
		{"§5 enterprise", "GET", "/v1/kv/a?ns=x", nil, "", 400, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`, nil},
		{"§5 enterprise", "GET", "/v1/kv/a?partition=x", nil, "", 400, `Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature`, nil},
		{"§5 enterprise", "GET", "/v1/kv/a", hdr{"X-Consul-Namespace": "x"}, "", 400, `Invalid header: "X-Consul-Namespace" - Namespaces are a Consul Enterprise feature`, nil},
		{"§5 enterprise", "GET", "/v1/kv/a?ns=&partition=", nil, "", 200, `"a"`, nil},
		{"§5 enterprise", "GET", "/v1/any?ns=x", nil, "", 200, "*", nil},
	})
	run(t, mustStart(t), rawClient(t), exchange{"§5 Decode's own limit", "PUT", "/v1/decode", hdr{"chunked": "1"},
		`{"Name":"` + strings.Repeat("x", maxJSON) + `"}`, 413, "Request body too large, max size: 8388608 bytes.", nil})
}

func mustStart(t *testing.T) string {
	url, _ := start(t, Options{}, testRoutes())
	return url
}

func TestBadParams(t *testing.T) {
	bad := func(query, text string) exchange {
		return exchange{"§7", "GET", "/v1/params?" + query, nil, "", 400, text, hdr{"Content-Type": textCT}}
	}
	runAll(t, Options{}, []exchange{
		bad("index=x", "Invalid index"), bad("index=-1", "Invalid index"), bad("wait=60", "Invalid wait time"),
		bad("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
		bad("max_stale=1s&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
		bad("cached&consistent", "Cannot specify ?cached with ?consistent, conflicting semantics."),
		bad("max_stale=x", `Invalid max_stale value "x"`),
		{"§10", "GET", "/v1/params?cached", hdr{"Cache-Control": "max-age=x"}, "", 400, "Invalid Cache-Control header.", nil},
		{"§10", "GET", "/v1/params", hdr{"Cache-Control": "max-age=x"}, "", 200, "*", nil},
	})
}

// params sends one request and returns what the feature saw.
func params(t *testing.T, url, query string, headers hdr) Params {
	t.Helper()
	req, _ := http.NewRequest("GET", url+"/v1/params?"+query, nil)
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := rawClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p Params
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: status %d, %v", query, resp.StatusCode, err)
	}
	return p
}

func TestParams(t *testing.T) {
	url, _ := start(t, Options{DefaultToken: func() string { return "agent" }}, testRoutes())
	discovery, _ := start(t, Options{DiscoveryMaxStale: time.Hour, NoCache: true}, testRoutes())
	basic := hdr{"Authorization": "Basic dTpw"}
	for _, c := range []struct {
		url, query string
		headers    hdr
		want       Params
	}{
		{url, "", basic, Params{Token: "agent"}},
		{url, "token=q", hdr{"X-Consul-Token": "h"}, Params{Token: "q"}},
		{url, "token=", hdr{"X-Consul-Token": "h", "Authorization": "Bearer b"}, Params{Token: "h"}},
		{url, "", hdr{"X-Consul-Token": "", "Authorization": "bEARER b c"}, Params{Token: "b"}},
		{url, "dc=a&datacenter=b&near=_agent&filter=x&pretty", nil, Params{Token: "agent", Datacenter: "b", Near: "_agent", Filter: "x", Pretty: true}},
		{url, "dc=a&node-meta=k:v:w&node-meta=n", nil, Params{Token: "agent", Datacenter: "a", NodeMeta: hdr{"k": "v:w", "n": ""}}},
		{url, "index=18446744073709551615&stale=false", nil, Params{Token: "agent", Index: 1<<64 - 1, Consistency: Stale}},
		{url, "max_stale=3s", nil, Params{Token: "agent", Consistency: Stale, MaxStale: 3 * time.Second}},
		{url, "consistent", nil, Params{Token: "agent", Consistency: Consistent}},
		{url, "cached", hdr{"Cache-Control": "Max-Age=0, stale-if-error=5, no-cache"}, Params{Token: "agent", Cached: true,
			CacheControl: CacheControl{StaleIfError: 5 * time.Second, MustRevalidate: true}}},
		{url, "cached", hdr{"Cache-Control": "max-age=30"}, Params{Token: "agent", Cached: true, CacheControl: CacheControl{MaxAge: 30 * time.Second}}},
		{discovery, "cached&consistent", nil, Params{Consistency: Consistent}},
		{discovery, "", nil, Params{Consistency: Stale, MaxStale: time.Hour}},
		{discovery, "leader", nil, Params{}},
	} {
		got := params(t, c.url, c.query, c.headers)
		got.Wait = 0
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("?%s %v:\n got %+v\nwant %+v", c.query, c.headers, got, c.want)
		}
	}
	for query, want := range map[string]time.Duration{ // §8: default, cap, jitter of a sixteenth
		"": 300 * time.Second, "wait=10s": 10 * time.Second, "wait=2h": 600 * time.Second, "wait=-1s": 300 * time.Second,
	} {
		if got := params(t, url, query, nil).Wait; got < want || got > want+want/16 {
			t.Errorf("?%s: wait %v, want %v and up to a sixteenth more", query, got, want)
		}
	}
}

func TestGuards(t *testing.T) {
	none := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	extra := map[string]http.Handler{
		"/": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "index") }),
		"/debug/pprof/": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("p", len(r.URL.Path)*100))
		}),
	}
	runAll(t, Options{AllowWriteFrom: none, BlockEndpoints: []string{"/v1/li", "/ui"}, Extra: extra, ResponseHeaders: hdr{"X-Own": "1"}}, []exchange{
		{"§1 write guard", "PUT", "/v1/kv/a", nil, "x", 403, "Access is restricted", hdr{"Content-Type": textCT}},
		{"§1 write guard", "GET", "/v1/kv/a", nil, "", 200, `"a"`, nil},
		{"§1 write guard", "OPTIONS", "/v1/kv/a", nil, "", 200, "", nil},
		{"§1 blocked", "GET", "/v1/list", nil, "", 403, "Endpoint is blocked by agent configuration", nil},
		{"§1 index", "GET", "/", nil, "", 200, "index", hdr{"X-Own": "1", "X-Consul-Default-Acl-Policy": "-"}},
		{"§1 unknown stays", "GET", "/x", nil, "", 404, "*", nil},
		{"§3 pprof", "GET", "/debug/pprof/", nil, "", 200, strings.Repeat("p", 1300), hdr{"Vary": "Accept-Encoding"}},
		{"§3 pprof", "GET", "/debug/pprof/", hdr{"Accept-Encoding": "gzip"}, "", 200, strings.Repeat("p", 1300), hdr{"Content-Encoding": "-"}},
		{"§3 pprof", "GET", "/debug/pprof/heap", hdr{"Accept-Encoding": "gzip"}, "", 200, "*", hdr{"Content-Encoding": "gzip", "Content-Type": textCT}},
	})
	runAll(t, Options{DisableUnprintableFilter: true, AllowWriteFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, []exchange{
		{"§1 filter off", "GET", "/v1/kv/a%0Ab", nil, "", 200, `"a\nb"`, nil},
		{"§1 write guard", "PUT", "/v1/kv/a", nil, "x", 200, "1", nil},
	})
}

func TestGzip(t *testing.T) {
	long := make(items, 40)
	for i := range long {
		long[i].Name = fmt.Sprint("name", i)
	}
	value := newShared(long)
	routes := append(testRoutes(),
		Route{Method: "GET", Path: "/v1/shared", Serve: func(*Request) (Reply, error) { return Reply{Value: value}, nil }},
		Route{Method: "GET", Path: "/v1/fresh", Serve: func(*Request) (Reply, error) { return Reply{Value: long}, nil }})
	url, _ := start(t, Options{}, routes)
	plain, _ := json.Marshal(long)
	for _, c := range []struct {
		path, accept string
		packed       bool
		want         string
	}{
		{"/v1/shared", "gzip", true, string(plain)},
		{"/v1/shared", "deflate, GZIP;q=0.5", true, string(plain)},
		{"/v1/shared", "gzip;q=0", false, string(plain)},
		{"/v1/shared", "", false, string(plain)},
		{"/v1/fresh", "gzip", true, string(plain)},
		{"/v1/list", "gzip", false, string(newShared(three).plain)},
		{"/v1/stream", "gzip", true, "line\nline\nline\n"},
	} {
		req, _ := http.NewRequest("GET", url+c.path, nil)
		if c.accept != "" {
			req.Header.Set("Accept-Encoding", c.accept)
		}
		resp, err := rawClient(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body := io.Reader(resp.Body)
		if packed := resp.Header.Get("Content-Encoding") == "gzip"; packed != c.packed {
			t.Errorf("%s with %q: compressed %v, want %v", c.path, c.accept, packed, c.packed)
		} else if packed {
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		got, err := io.ReadAll(body)
		if err != nil || string(got) != c.want {
			t.Errorf("%s with %q: %v, body %.80q", c.path, c.accept, err, got)
		}
		resp.Body.Close()
	}
}

func TestStreamCut(t *testing.T) {
	url, _ := start(t, Options{}, testRoutes())
	resp, err := rawClient(t).Get(url + "/v1/streamcut")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("a stream that failed looks whole: %q", got)
	}
}
