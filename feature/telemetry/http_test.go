package telemetry

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"rostra/engine/room"
	"rostra/kit/httpd"
	"rostra/kit/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// self is an Agent and a Cluster that only count, and have a log.
type self struct {
	room.Cluster
	room.Agent
	lines chan []byte
	ended chan struct{}
}

func (self) Counters() map[string]uint64 {
	return map[string]uint64{"rpc.accepted": 4, "blocking_queries": 2, "dns.junk": 1}
}

func (self) Stats() map[string]map[string]string { return nil }

func (s self) Monitor(level string, asJSON bool) (<-chan []byte, func(), error) {
	if level != "INFO" && level != "debug" {
		return nil, nil, errors.New("no such level")
	}
	return s.lines, func() { close(s.ended) }, nil
}

// serve opens the feature and serves its routes.
func serve(t *testing.T, s *Settings) (string, *room.Host, self) {
	t.Helper()
	me := self{lines: make(chan []byte, 1), ended: make(chan struct{})}
	h := &room.Host{Metrics: metric.New(), Cluster: me, Agent: me, Self: room.Identity{Node: "n1", Datacenter: "dc1"}}
	part, err := Room.Open(h, s)
	if err != nil {
		t.Fatal(err)
	}
	web, err := httpd.New(httpd.Options{OnRequest: Requests(h)}, part.Routes)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(web.Handler())
	t.Cleanup(listener.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return listener.URL, h, me
}

func get(t *testing.T, url, accept string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// TestMetrics: spec http/agent.md, GET /v1/agent/metrics: JSON, or Prometheus' text for who asks for it in one of its ways.
func TestMetrics(t *testing.T) {
	url, h, _ := serve(t, &Settings{Prefix: "consul", FilterDefault: true, PrefixFilter: []string{"-consul.runtime"}})
	h.Metrics.Sample("kvs.apply").Observe(2)
	for _, c := range []struct {
		query, accept string
		text          bool
	}{
		{"", "", false}, {"", "*/*", false}, {"?format=json", "text/plain", false}, {"?format=prometheus", "", true},
		{"", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", true},
		{"", "text/plain;version=0.4.0", true}, {"", "text/html, ;;;", false},
	} {
		resp, body := get(t, url+"/v1/agent/metrics"+c.query, c.accept)
		want := "application/json"
		if c.text {
			want = "text/plain; version=0.0.4; charset=utf-8"
		}
		if got := resp.Header.Get("Content-Type"); got != want {
			t.Errorf("%q %q: %s", c.query, c.accept, got)
		}
		if !c.text {
			var i metric.Interval
			if err := json.Unmarshal(body, &i); err != nil || len(i.Samples) == 0 {
				t.Errorf("%v: %s", err, body)
			}
			continue
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		all, err := parser.TextToMetricFamilies(bytes.NewReader(body))
		if err != nil {
			t.Fatalf("%v in\n%s", err, body)
		}
		for _, name := range []string{"consul_kvs_apply", "consul_rpc_accept_conn", "consul_rpc_queries_blocking", "rostra_dns_junk",
			"consul_api_http", "consul_version", "process_resident_memory_bytes"} {
			if all[name] == nil {
				t.Errorf("%s is missing in\n%s", name, body)
			}
		}
		if all["consul_runtime_alloc_bytes"] != nil {
			t.Error("the filter does nothing")
		}
	}
}

// TestMonitorRoute: spec http/agent.md, agent/monitor.
func TestMonitorRoute(t *testing.T) {
	url, _, me := serve(t, &Settings{FilterDefault: true})
	if resp, body := get(t, url+"/v1/agent/monitor?loglevel=foo", ""); resp.StatusCode != 400 || string(body) != "Unknown log level: foo" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	resp, err := http.Get(url + "/v1/agent/monitor?loglevel=debug")
	if err != nil {
		t.Fatal(err)
	}
	if got, has := resp.Header["Content-Type"]; has {
		t.Errorf("Content-Type %q", got)
	}
	me.lines <- []byte("a line\n")
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); line != "a line\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	_ = resp.Body.Close()
	<-me.ended
}

// TestHost: spec http/agent.md, GET /v1/agent/host, on the machine that runs the test.
func TestHost(t *testing.T) {
	url, _, _ := serve(t, &Settings{FilterDefault: true})
	_, body := get(t, url+"/v1/agent/host", "")
	var m struct {
		Memory map[string]float64
		CPU    []map[string]any
		Host   map[string]any
		Disk   map[string]any
		Errors []string
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	if m.Memory["total"] <= m.Memory["used"] || m.Memory["used"] <= 0 || len(m.CPU) == 0 || m.Host["hostname"] == "" || m.Host["bootTime"] == 0.0 ||
		m.Disk["total"] == 0.0 || m.Errors != nil {
		t.Errorf("%s", body)
	}
}

// TestCatalogCalls: Consul counts requests about the catalog on the agent that is asked.
func TestCatalogCalls(t *testing.T) {
	h := &room.Host{Metrics: metric.New(), Self: room.Identity{Node: "n1"}}
	note := Requests(h)
	note("GET", "/v1/catalog/nodes", 200, 1)
	note("GET", "/v1/catalog/nodes", 500, 1)
	note("FOO", "/v1/kv/", 405, 1)
	note("BAR", "/v1/kv/", 405, 1)
	note("GET", "", 404, 1)
	text := string(h.Metrics.Prometheus(nil, 0))
	for _, want := range []string{`client_api_catalog_nodes{node="n1"} 2`, `client_api_success_catalog_nodes{node="n1"} 1`,
		`client_rpc_error_catalog_nodes{node="n1"} 1`, `api_http_count{method="GET",path="v1_catalog_nodes"} 2`,
		`api_http_count{method="OTHER",path="v1_kv_"} 2`} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

// TestCheck: what no agent can do is refused with the setting's name.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		s    Settings
		want string
	}{
		{Settings{}, ""},
		{Settings{Statsd: "127.0.0.1:8125", DogStatsd: "unix:///run/dog"}, ""},
		{Settings{Statsd: "localhost"}, `telemetry.statsd_address: "localhost" is no address; write host:port`},
		{Settings{Statsite: "unix:///run/x"}, `telemetry.statsite_address: "unix:///run/x" is no address; write host:port`},
		{Settings{PrefixFilter: []string{"consul.raft"}}, `telemetry.prefix_filter: "consul.raft" is no rule`},
	} {
		if err := c.s.Check(); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %s", c.s, err, c.want)
		}
	}
}

// TestReload: a changed prefix_filter counts at once.
func TestReload(t *testing.T) {
	me := self{}
	h := &room.Host{Metrics: metric.New(), Cluster: me, Agent: me}
	part, err := Room.Open(h, &Settings{Prefix: "consul", FilterDefault: true})
	if err != nil {
		t.Fatal(err)
	}
	told := func() bool {
		return strings.Contains(string(h.Metrics.Prometheus(nil, 0)), "\nconsul_runtime_alloc_bytes ")
	}
	if !told() {
		t.Error("nothing is told")
	}
	if err := part.Reload(&Settings{Prefix: "consul", PrefixFilter: []string{"-consul.runtime"}, FilterDefault: true}); err != nil || told() {
		t.Errorf("%v, or the filter does nothing", err)
	}
	if err := part.Reload(&Settings{PrefixFilter: []string{"x"}}); err == nil {
		t.Error("a rule that is none")
	}
}
