package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// yard is what the checks of TestAgentJob look at: one real server for each of their types.
type yard struct {
	web, secure         *httptest.Server
	status              atomic.Int32 // what web answers
	tcp, udp, grpc, dir string
}

func openYard(t *testing.T) *yard {
	y := &yard{dir: t.TempDir()}
	y.status.Store(200)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(y.status.Load())) })
	mux.HandleFunc("POST /strict", func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) != "ping" || r.Header.Get("X-Key") != "k" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	mux.Handle("/moved", http.RedirectHandler("/", http.StatusFound))
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	y.web = httptest.NewServer(mux)
	y.secure = httptest.NewUnstartedServer(mux)
	y.secure.EnableHTTP2 = true
	y.secure.StartTLS()
	t.Cleanup(y.web.Close)
	t.Cleanup(y.secure.Close)
	y.openSockets(t)
	y.openEngine(t)
	return y
}

func (y *yard) openSockets(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = udp.Close() })
	go func() {
		for b := make([]byte, 100); ; {
			_, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo([]byte("pong"), from)
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	state := health.NewServer()
	state.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, state)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
	y.tcp, y.udp, y.grpc = y.web.Listener.Addr().String(), udp.LocalAddr().String(), l.Addr().String()
}

// openEngine is the one fake here: no container engine runs on a test machine. It speaks what a check needs of Docker's
// HTTP API, and says that every command succeeds.
func (y *yard) openEngine(t *testing.T) {
	path := filepath.Join(y.dir, "docker.sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /containers/c1/exec", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"Id":"e1"}`)
	})
	mux.HandleFunc("POST /exec/e1/start", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /exec/e1/json", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ID":"e1","Running":false,"ExitCode":0}`)
	})
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+path)
}

// write makes the two files of definitions. Later, after the reload, one service has another tag, one has gone and one come.
func (y *yard) write(t *testing.T, later bool) {
	alive := filepath.Join(y.dir, "alive")
	hcl := fmt.Sprintf(`
services {
  name = "args"
  port = 1001
  check { args = ["test", "-e", %[1]q], interval = "1s" }
}
services {
  name = "shell"
  port = 1002
  check { script = "test -e %[2]s && echo alive", interval = "1s" }
}
services {
  name = "http", port = 1003, tags = ["v1", "Primary"]
  check { http = "%[3]s/strict", method = "POST", header { X-Key = ["k"] }, body = "ping", interval = "1s" }
}
services { name = "moved", port = 1004, check { http = "%[3]s/moved", interval = "1s" } }
services { name = "fixed", port = 1005, check { http = "%[3]s/moved", disable_redirects = true, interval = "1s" } }
services { name = "https", port = 1006, check { http = "%[4]s", tls_skip_verify = true, interval = "1s" } }
services { name = "tcp", port = 1007, check { tcp = %[5]q, interval = "1s" } }
services { name = "tls", port = 1008, check { tcp = %[6]q, tcp_use_tls = true, tls_skip_verify = true, interval = "1s" } }
services { name = "udp", port = 1009, check { udp = %[7]q, interval = "1s" } }
services { name = "grpc", port = 1010, check { grpc = "%[8]s/shop", interval = "1s" } }
`, alive, alive, y.web.URL, y.secure.URL, y.tcp, y.secure.Listener.Addr(), y.udp, y.grpc)
	tag, last := "blue", map[string]any{"name": "docker", "port": 1012, "check": map[string]any{"docker_container_id": "c1", "args": []string{"true"}, "interval": "1s"}}
	if later {
		tag, last = "green", map[string]any{"name": "late", "port": 1021}
	}
	list := []any{
		map[string]any{"name": "h2", "port": 1011, "check": map[string]any{"h2ping": y.secure.Listener.Addr().String(), "tls_skip_verify": true, "interval": "1s"}},
		map[string]any{"name": "ttl", "port": 1013, "check": map[string]any{"ttl": "1h", "status": "passing"}},
		map[string]any{"name": "alias", "port": 1014, "check": map[string]any{"alias_service": "http"}},
		map[string]any{"name": "remote", "port": 1015, "check": map[string]any{"alias_node": "db1", "alias_service": "db"}},
		map[string]any{"name": "several", "port": 1016, "tags": []string{tag}, "checks": []any{
			map[string]any{"http": y.web.URL, "interval": "1s"}, map[string]any{"id": "beat", "name": "beat", "ttl": "1h", "status": "passing"}}},
		last,
	}
	raw, err := json.Marshal(map[string]any{"services": list})
	must(t, err)
	must(t, os.WriteFile(alive, nil, 0o600))
	must(t, os.WriteFile(filepath.Join(y.dir, "a.hcl"), []byte(hcl), 0o600))
	must(t, os.WriteFile(filepath.Join(y.dir, "b.json"), raw, 0o600))
}

// registerMore registers the last four of the twenty over HTTP.
func (y *yard) registerMore(t *testing.T, c *api.Client) {
	for _, s := range []*api.AgentServiceRegistration{
		{Name: "steady", Port: 1017, Check: &api.AgentServiceCheck{TCP: y.tcp, Interval: "1s", SuccessBeforePassing: 2, FailuresBeforeCritical: 2}},
		{Name: "plain", Port: 1018, Address: "10.1.2.3", Weights: &api.AgentWeights{Passing: 5, Warning: 2},
			TaggedAddresses: map[string]api.ServiceAddress{"lan": {Address: "10.1.2.3", Port: 1018}}, Meta: map[string]string{"k": "v"}},
		{Name: "leaving", Port: 1019, Check: &api.AgentServiceCheck{TTL: "1h", Status: "passing", DeregisterCriticalServiceAfter: "2h"}},
		{Name: "busy", Port: 1020, Check: &api.AgentServiceCheck{HTTP: y.web.URL + "/busy", Interval: "1s"}},
	} {
		must(t, c.Agent().ServiceRegister(s))
	}
}

// states are the checks of services in the catalog, by service and check: the status, and the index of its last change.
func states(t *testing.T, c *api.Client) (status map[string]string, index map[string]uint64) {
	list, _, err := c.Health().State("any", nil)
	must(t, err)
	status, index = map[string]string{}, map[string]uint64{}
	for _, x := range list {
		if x.ServiceName != "" && x.Node == "n1" {
			key := x.ServiceName + " " + x.CheckID
			status[key] = x.Status
			index[key] = x.ModifyIndex
		}
	}
	return status, index
}

// jobStates is what the twenty services' checks come to; "plain" has none.
var jobStates = map[string]string{
	"args service:args": "passing", "shell service:shell": "passing", "http service:http": "passing", "moved service:moved": "passing",
	"fixed service:fixed": "critical", "https service:https": "passing", "tcp service:tcp": "passing", "tls service:tls": "passing",
	"udp service:udp": "passing", "grpc service:grpc": "passing", "h2 service:h2": "passing", "docker service:docker": "passing",
	"ttl service:ttl": "passing", "alias service:alias": "passing", "remote service:remote": "warning",
	"several service:several:1": "passing", "several beat": "passing", "steady service:steady": "passing",
	"leaving service:leaving": "passing", "busy service:busy": "warning",
}

// TestAgentJob is the whole surface of one agent at work: twenty services with checks of all types that run here, from HCL
// and JSON files and over HTTP, asked for in every form of DNS, and a reload that costs no check its state.
func TestAgentJob(t *testing.T) {
	needs(t, "dig", "dnsutils")
	y := openYard(t)
	y.write(t, false)
	p := startAgent(t, "-dev", "-config-dir="+y.dir)
	c := p.client(t)
	_, err := c.Catalog().Register(&api.CatalogRegistration{Node: "db1", Address: "10.9.9.9",
		Service: &api.AgentService{Service: "db"}, Check: &api.AgentCheck{CheckID: "d", ServiceID: "db", Status: "warning"}}, nil)
	must(t, err)
	y.registerMore(t, c)
	settled := func(want map[string]string) func() error {
		return func() error {
			got, _ := states(t, c)
			for key := range want {
				if got[key] != want[key] {
					return fmt.Errorf("%s is %q, not %q", key, got[key], want[key])
				}
			}
			if len(got) != len(want) {
				return fmt.Errorf("there are %d checks: %v", len(got), got)
			}
			return nil
		}
	}
	await(t, "all checks to come to what they should", settled(jobStates))
	t.Run("DNS", func(t *testing.T) { askJob(t, p) })

	t.Log("what the checks know before the reload is not what they begin with")
	must(t, c.Agent().UpdateTTL("service:ttl", "note 42", "warning"))
	must(t, c.Agent().EnableServiceMaintenance("plain", "moving house"))
	y.status.Store(500)
	want := mapsWith(jobStates, "ttl service:ttl", "warning", "moved service:moved", "critical", "https service:https", "critical",
		"several service:several:1", "critical", "plain _service_maintenance:plain", "critical")
	await(t, "the failures", settled(want))
	_, before := states(t, c)
	y.write(t, true)
	must(t, p.cmd.Process.Signal(syscall.SIGHUP))
	delete(want, "docker service:docker")
	await(t, "the reload", func() error {
		list, _, err := c.Catalog().Service("several", "green", nil)
		if late, _, _ := c.Catalog().Service("late", "", nil); err == nil && len(list)+len(late) != 2 {
			err = fmt.Errorf("%d with the new tag, %d new", len(list), len(late))
		}
		return err
	})
	await(t, "the same states", settled(want))
	_, after := states(t, c)
	for key := range want {
		if service, _, _ := strings.Cut(key, " "); service != "several" && before[key] != after[key] {
			t.Errorf("the reload changed the check %s: its index was %d and is %d", key, before[key], after[key])
		}
	}
	checks, err := c.Agent().Checks()
	must(t, err)
	if got := checks["service:ttl"].Output; got != "note 42" {
		t.Errorf("the TTL check's output is %q after the reload", got)
	}
	y.status.Store(200)
	must(t, c.Agent().DisableServiceMaintenance("plain"))
	delete(want, "plain _service_maintenance:plain")
	await(t, "all well again", settled(mapsWith(want, "moved service:moved", "passing", "https service:https", "passing", "several service:several:1", "passing")))
}

// mapsWith returns a copy of the map with the pairs set.
func mapsWith(m map[string]string, pairs ...string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	for pair := range slices.Chunk(pairs, 2) {
		out[pair[0]] = pair[1]
	}
	return out
}

// askJob asks in every form of name (spec dns.md §2 to §5), by dig and by Go's resolver.
func askJob(t *testing.T, p *process) {
	host, port, _ := net.SplitHostPort(p.DNS)
	for _, c := range []struct{ ask, want string }{
		{"http.service.consul", "127.0.0.1"},
		{"http.service.dc1.consul", "127.0.0.1"},
		{"HTTP.Service.Consul", "127.0.0.1"},
		{"primary.http.service.consul", "127.0.0.1"},
		{"v2.http.service.consul", ""},
		{"http.service.consul SRV", "1 1 1003 n1.node.dc1.consul."},
		{"_http._v1.service.consul SRV", "1 1 1003 n1.node.dc1.consul."},
		{"_http._tcp.consul SRV", "1 1 1003 n1.node.dc1.consul."},
		{"plain.service.consul SRV", "1 5 1018 0a010203.addr.dc1.consul."},
		{"busy.service.consul", "127.0.0.1"},
		{"fixed.service.consul", ""},
		{"http.service.consul AAAA", ""},
		{"http.service.consul ANY", "127.0.0.1"},
		{"http.service.consul +tcp", "127.0.0.1"},
		{"n1.node.consul", "127.0.0.1"},
		{"n1.node.dc1.consul", "127.0.0.1"},
		{"db1.node.consul", "10.9.9.9"},
		{"0a010203.addr.consul", "10.1.2.3"},
		{"-x 10.1.2.3", "plain.service.dc1.consul."},
		{"consul NS", "n1.node.dc1.consul."},
		{"consul.service.consul SRV", "1 1 " + p.serverPort(t) + " n1.node.dc1.consul."},
	} {
		out, err := exec.Command("dig", append([]string{"@" + host, "-p", port, "+short"}, strings.Fields(c.ask)...)...).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("dig %s: %q, %v; want %q", c.ask, got, err, c.want)
		}
	}
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, p.DNS)
	}}
	for name, port := range map[string]uint16{"grpc": 1010, "late": 0, "docker": 1012, "udp": 1009} {
		_, list, err := r.LookupSRV(t.Context(), name, "tcp", "service.consul")
		if port == 0 {
			if err == nil {
				t.Errorf("%s is not yet there, but found: %v", name, list)
			}
		} else if err != nil || len(list) != 1 || list[0].Port != port {
			t.Errorf("resolving %s: %v, %v", name, list, err)
		}
	}
}

func (p *process) serverPort(t *testing.T) string {
	self, err := p.client(t).Agent().Self()
	must(t, err)
	return fmt.Sprint(self["DebugConfig"]["ServerPort"])
}
