package main

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/sdk/testutil"

	"rostra/agent"
)

// recorder notes which paths a client asked.
type recorder struct {
	mu    sync.Mutex // guards calls
	calls []string
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.calls = append(r.calls, req.Method+" "+req.URL.Path)
	r.mu.Unlock()
	return http.DefaultTransport.RoundTrip(req)
}

// called reports whether a route was asked: its path, or something below it for a prefix.
func (r *recorder) called(route string) bool {
	route, whatever := strings.CutPrefix(route, "ANY ")
	for _, c := range r.calls {
		if whatever {
			_, c, _ = strings.Cut(c, " ")
		}
		if c == route || strings.HasSuffix(route, "/") && strings.HasPrefix(c, route) && c != route {
			return true
		}
	}
	return false
}

// clientLooks asks an agent how it does.
func clientLooks(t *testing.T, c *client) {
	a := c.Agent()
	host, err := a.Host()
	must(t, err)
	if host["Host"] == nil || host["Memory"] == nil {
		t.Errorf("host: %v", host)
	}
	metrics, err := a.Metrics()
	must(t, err)
	if len(metrics.Gauges) == 0 || len(metrics.Counters) == 0 || len(metrics.Samples) == 0 {
		t.Errorf("metrics: %+v", metrics)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stream, err := a.MetricsStream(ctx)
	must(t, err)
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	lines, err := a.Monitor("debug", ctx.Done(), nil)
	must(t, err)
	_, err = a.Self() // is logged
	must(t, err)
	if line := <-lines; !strings.Contains(line, "[DEBUG]") {
		t.Errorf("monitor: %q", line)
	}
}

// client is the official client together with what it asked.
type client struct {
	*api.Client
	address  string
	recorder *recorder
}

// ours are the routes that Consul's client has no call for; they are asked over its connection all the same.
var ours = []string{"GET /v1/rostra/counters", "GET /v1/agent/version", "GET /v1/agent/connect/ca/roots",
	"GET /v1/catalog/node-services/n1", "GET /v1/internal/ui/nodes", "GET /v1/internal/ui/node/n1", "GET /v1/internal/ui/services",
	"GET /v1/internal/ui/catalog-overview", "GET /v1/internal/ui/exported-services?peer=x", "GET /v1/internal/ui/gateway-services-nodes/g",
	"GET /v1/internal/ui/gateway-intentions/g", "GET /v1/internal/ui/service-topology/s?kind=", "GET /v1/internal/ui/metrics-proxy/x"}

// TestOfficialClient drives the whole API with the client library that users have. A route that no client calls here
// fails the test.
func TestOfficialClient(t *testing.T) {
	p := startAgent(t, "-dev", "-enable-script-checks")
	rec := &recorder{}
	official, err := api.NewClient(&api.Config{Address: p.HTTP, HttpClient: &http.Client{Transport: rec}})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{official, p.HTTP, rec}
	for name, part := range map[string]func(*testing.T, *client){"catalog": clientCatalog, "kv": clientKV, "txn": clientTxn,
		"session": clientSession, "agent": clientAgent, "looks": clientLooks, "snapshot": clientSnapshot, "acl": clientACL, "cluster": clientCluster, "query": clientQuery} {
		t.Run(name, func(t *testing.T) { part(t, c) })
	}
	for _, route := range ours {
		method, path, _ := strings.Cut(route, " ")
		ask(t, c, method, path)
	}
	if err := c.Agent().Leave(); err != nil {
		t.Error(err)
	}
	routes, err := agent.Routes(features)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if !rec.called(r) {
			t.Errorf("no client has called %s", r)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ask sends a request that the client library has no method for, and returns its status.
func ask(t *testing.T, c *client, method, path string) int {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+c.address+path, nil)
	must(t, err)
	resp, err := c.recorder.RoundTrip(req)
	must(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

func clientCatalog(t *testing.T, c *client) {
	_, err := c.Catalog().Register(&api.CatalogRegistration{Node: "ext", Address: "192.0.2.1",
		Service: &api.AgentService{ID: "db-1", Service: "db", Port: 5432, Tags: []string{"primary"}},
		Check:   &api.AgentCheck{CheckID: "up", Name: "up", Status: "passing", ServiceID: "db-1"}}, nil)
	must(t, err)
	if _, err = c.Catalog().Datacenters(); err != nil {
		t.Error(err)
	}
	nodes, _, err := c.Catalog().Nodes(&api.QueryOptions{Filter: `Node == "ext"`})
	if err != nil || len(nodes) != 1 || nodes[0].Address != "192.0.2.1" {
		t.Errorf("nodes: %v %v", nodes, err)
	}
	services, _, err := c.Catalog().Services(nil)
	if err != nil || len(services["db"]) != 1 {
		t.Errorf("services: %v %v", services, err)
	}
	one, meta, err := c.Catalog().Service("db", "primary", nil)
	if err != nil || len(one) != 1 || one[0].ServicePort != 5432 {
		t.Errorf("service: %v %v", one, err)
	}
	if n, _, err := c.Catalog().Node("ext", nil); err != nil || n.Services["db-1"] == nil {
		t.Errorf("node: %v %v", n, err)
	}
	if checks, _, err := c.Health().Node("ext", nil); err != nil || len(checks) != 1 {
		t.Errorf("health of the node: %v %v", checks, err)
	}
	if checks, _, err := c.Health().Checks("db", nil); err != nil || len(checks) != 1 {
		t.Errorf("checks of the service: %v %v", checks, err)
	}
	if checks, _, err := c.Health().State("passing", nil); err != nil || len(checks) < 2 {
		t.Errorf("checks in state: %v %v", checks, err)
	}
	if list, _, err := c.Health().Service("db", "", true, nil); err != nil || len(list) != 1 {
		t.Errorf("health of the service: %v %v", list, err)
	}
	done := make(chan error, 1)
	go func() {
		list, m, err := c.Catalog().Service("db", "", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 20 * time.Second})
		if err == nil && (len(list) != 0 || m.LastIndex <= meta.LastIndex) {
			t.Errorf("the blocked query gave %v at %d", list, m.LastIndex)
		}
		done <- err
	}()
	_, err = c.Catalog().Deregister(&api.CatalogDeregistration{Node: "ext"}, nil)
	must(t, err)
	must(t, <-done)
}

func clientKV(t *testing.T, c *client) {
	_, err := c.KV().Put(&api.KVPair{Key: "a/b", Value: []byte("x"), Flags: 7}, nil)
	must(t, err)
	pair, _, err := c.KV().Get("a/b", &api.QueryOptions{RequireConsistent: true})
	if err != nil || pair == nil || string(pair.Value) != "x" || pair.Flags != 7 {
		t.Fatalf("get: %v %v", pair, err)
	}
	if ok, _, err := c.KV().CAS(&api.KVPair{Key: "a/b", Value: []byte("y"), ModifyIndex: pair.ModifyIndex + 1}, nil); err != nil || ok {
		t.Errorf("a stale CAS went through: %v %v", ok, err)
	}
	if keys, _, err := c.KV().Keys("a/", "/", &api.QueryOptions{AllowStale: true}); err != nil || len(keys) != 1 {
		t.Errorf("keys: %v %v", keys, err)
	}
	ok, answer, _, err := c.Txn().Txn(api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVSet, Key: "t", Value: []byte("1")}},
		{KV: &api.KVTxnOp{Verb: api.KVGet, Key: "t"}}}, nil)
	if err != nil || !ok || len(answer.Results) != 2 {
		t.Errorf("transaction: %v %v %v", ok, answer, err)
	}
	if ok, answer, _, err = c.Txn().Txn(api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVCheckNotExists, Key: "t"}}}, nil); err != nil || ok || len(answer.Errors) != 1 {
		t.Errorf("a transaction that must fail: %v %v %v", ok, answer, err)
	}
	_, err = c.KV().DeleteTree("a/", nil)
	must(t, err)
	if pair, _, err = c.KV().Get("a/b", nil); err != nil || pair != nil {
		t.Errorf("a deleted key: %v %v", pair, err)
	}
}

// clientTxn walks a node, an instance and a check through all verbs of a transaction, as catalog synchronizers do.
func clientTxn(t *testing.T, c *client) {
	node := api.Node{Node: "txn", Address: "192.0.2.7", Meta: map[string]string{"external-node": "true"}}
	service := api.AgentService{ID: "s-1", Service: "s", Port: 1, Tags: []string{"a"}}
	check := api.HealthCheck{Node: "txn", CheckID: "c", Name: "c", Status: "passing", ServiceID: "s-1", Definition: api.HealthCheckDefinition{
		TCP: "192.0.2.7:1", IntervalDuration: 5 * time.Second, TimeoutDuration: time.Second}}
	do := func(wants bool, node api.NodeOp, service api.ServiceOp, check api.CheckOp, n api.Node, s api.AgentService, k api.HealthCheck) *api.TxnResponse {
		t.Helper()
		ok, answer, _, err := c.Txn().Txn(api.TxnOps{{Node: &api.NodeTxnOp{Verb: node, Node: n}}, {Service: &api.ServiceTxnOp{Verb: service, Node: "txn", Service: s}},
			{Check: &api.CheckTxnOp{Verb: check, Check: k}}}, nil)
		if err != nil || ok != wants {
			t.Fatalf("%s: %v %+v %v", node, ok, answer, err)
		}
		return answer
	}
	if failed := do(false, api.NodeGet, api.ServiceGet, api.CheckGet, node, service, check); len(failed.Errors) != 3 || failed.Errors[2].What != `check "c" on node "txn" doesn't exist` {
		t.Errorf("nothing is there: %+v", failed.Errors)
	}
	do(true, api.NodeCAS, api.ServiceCAS, api.CheckCAS, node, service, check)
	service.Tags, check.Status = nil, "warning"
	do(true, api.NodeSet, api.ServiceSet, api.CheckSet, node, service, check)
	got := do(true, api.NodeGet, api.ServiceGet, api.CheckGet, node, service, check).Results
	if len(got) != 3 || got[0].Node.Address != "192.0.2.7" || got[0].Node.Datacenter != "dc1" || got[1].Service.Port != 1 || got[2].Check.Status != "warning" ||
		got[2].Check.Definition.IntervalDuration != 5*time.Second || got[2].Check.ServiceName != "s" {
		t.Fatalf("what was set: %+v", got)
	}
	if failed := do(false, api.NodeDeleteCAS, api.ServiceDeleteCAS, api.CheckDeleteCAS, node, service, check); len(failed.Errors) != 3 || failed.Errors[0].What != `failed to delete node "txn", index is stale` {
		t.Errorf("stale: %+v", failed.Errors)
	}
	list, _, err := c.Health().Service("s", "", false, nil)
	if err != nil || len(list) != 1 || list[0].Checks.AggregatedStatus() != "warning" {
		t.Errorf("the catalog has %+v %v", list, err)
	}
	ok, answer, _, err := c.Txn().Txn(api.TxnOps{{Check: &api.CheckTxnOp{Verb: api.CheckDelete, Check: check}}, {Service: &api.ServiceTxnOp{Verb: api.ServiceDelete, Node: "txn", Service: service}},
		{Node: &api.NodeTxnOp{Verb: api.NodeDelete, Node: node}}}, nil)
	if err != nil || !ok || len(answer.Results) != 0 {
		t.Errorf("deletions: %v %+v %v", ok, answer, err)
	}
}

func clientSession(t *testing.T, c *client) {
	id, _, err := c.Session().Create(&api.SessionEntry{Name: "s", TTL: "10s", Behavior: "delete", LockDelay: time.Millisecond}, nil)
	must(t, err)
	if s, _, err := c.Session().Info(id, nil); err != nil || s == nil || s.Name != "s" || s.Node != "n1" {
		t.Errorf("info: %v %v", s, err)
	}
	if list, _, err := c.Session().List(nil); err != nil || len(list) != 1 {
		t.Errorf("list: %v %v", list, err)
	}
	if list, _, err := c.Session().Node("n1", nil); err != nil || len(list) != 1 {
		t.Errorf("of the node: %v %v", list, err)
	}
	if s, _, err := c.Session().Renew(id, nil); err != nil || s == nil {
		t.Errorf("renew: %v %v", s, err)
	}
	if ok, _, err := c.KV().Acquire(&api.KVPair{Key: "lock", Session: id}, nil); err != nil || !ok {
		t.Errorf("acquire: %v %v", ok, err)
	}
	if ok, _, err := c.KV().Release(&api.KVPair{Key: "lock", Session: id}, nil); err != nil || !ok {
		t.Errorf("release: %v %v", ok, err)
	}
	_, err = c.Session().Destroy(id, nil)
	must(t, err)
	lock, err := c.LockOpts(&api.LockOptions{Key: "helper", SessionTTL: "10s"})
	must(t, err)
	held, err := lock.Lock(nil)
	if err != nil || held == nil {
		t.Fatalf("lock helper: %v", err)
	}
	must(t, lock.Unlock())
	must(t, lock.Destroy())
	if _, err := c.Status().Leader(); err != nil {
		t.Error(err)
	}
	if peers, err := c.Status().Peers(); err != nil || len(peers) != 1 {
		t.Errorf("peers: %v %v", peers, err)
	}
}

func clientAgent(t *testing.T, c *client) {
	a := c.Agent()
	if self, err := a.Self(); err != nil || self["Config"]["Version"] != "1.21.4" || self["Member"]["Addr"] != "127.0.0.1" {
		t.Errorf("self: %v %v", self, err)
	}
	if list, err := a.Members(false); err != nil || len(list) != 1 {
		t.Errorf("members: %v %v", list, err)
	}
	must(t, a.ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80,
		Check: &api.AgentServiceCheck{TTL: "30s", Status: "passing"}}))
	must(t, a.CheckRegister(&api.AgentCheckRegistration{Name: "script", AgentServiceCheck: api.AgentServiceCheck{
		Args: []string{"true"}, Interval: "10s"}}))
	must(t, a.WarnTTL("service:web", "slow"))
	must(t, a.UpdateTTL("service:web", "down", "fail"))
	must(t, a.PassTTL("service:web", "fine"))
	must(t, a.FailTTL("service:web", "dead"))
	ask(t, c, "PUT", "/v1/agent/check/pass/service:web")
	ask(t, c, "PUT", "/v1/agent/check/warn/service:web")
	ask(t, c, "PUT", "/v1/agent/check/fail/service:web")
	if checks, err := a.Checks(); err != nil || checks["service:web"].Status != "critical" {
		t.Errorf("checks: %v %v", checks, err)
	}
	if services, err := a.Services(); err != nil || services["web"].Port != 80 {
		t.Errorf("services: %v %v", services, err)
	}
	if s, _, err := a.Service("web", nil); err != nil || s.Service != "web" {
		t.Errorf("service: %v %v", s, err)
	}
	if status, info, err := a.AgentHealthServiceByID("web"); err != nil || status != "critical" || info.Service.Port != 80 || len(info.Checks) != 2 {
		t.Errorf("health by ID: %s %+v %v", status, info, err)
	}
	if status, infos, err := a.AgentHealthServiceByName("none"); err != nil || status != "critical" || len(infos) != 0 {
		t.Errorf("health of nothing: %s %+v %v", status, infos, err)
	}
	must(t, a.EnableServiceMaintenance("web", "because"))
	if status, infos, err := a.AgentHealthServiceByName("web"); err != nil || status != "maintenance" && status != "critical" || len(infos) != 1 {
		t.Errorf("health by name: %s %+v %v", status, infos, err)
	}
	must(t, a.DisableServiceMaintenance("web"))
	must(t, a.EnableNodeMaintenance("because"))
	must(t, a.DisableNodeMaintenance())
	must(t, a.CheckDeregister("script"))
	must(t, a.ServiceDeregister("web"))
	must(t, a.Reload())
	if roots, _, err := c.Connect().CARoots(nil); err != nil || len(roots.Roots) != 1 {
		t.Errorf("CA roots: %v %v", roots, err)
	}
}

func clientSnapshot(t *testing.T, c *client) {
	archive, _, err := c.Snapshot().Save(nil)
	must(t, err)
	defer archive.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(archive)
	must(t, err)
	must(t, c.Snapshot().Restore(nil, &b))
}

// clientACL: every endpoint of the access rules says that they are off.
func clientACL(t *testing.T, c *client) {
	routes, err := agent.Routes(features)
	must(t, err)
	for _, r := range routes {
		method, path, _ := strings.Cut(r, " ")
		if !strings.Contains(path, "/acl/") && path != "/v1/agent/token/" {
			continue
		}
		if strings.HasSuffix(path, "/") {
			path += "x"
		}
		if status := ask(t, c, method, path); status != http.StatusUnauthorized {
			t.Errorf("%s %s: status %d", method, path, status)
		}
	}
	if _, _, err := c.ACL().TokenReadSelf(nil); err == nil || !strings.Contains(err.Error(), "ACL support disabled") {
		t.Errorf("reading the own token: %v", err)
	}
}

// TestOfficialTestServer starts the program under the name consul as the official client's test kit does, with its whole
// configuration file, and works with it.
func TestOfficialTestServer(t *testing.T) {
	s, err := testutil.NewTestServerConfigT(t, nil)
	must(t, err)
	s.WaitForLeader(t)
	s.SetKVString(t, "k", "v")
	if got := s.GetKVString(t, "k"); got != "v" {
		t.Errorf("got %q", got)
	}
	s.AddService(t, "redis", "passing", []string{"primary"})
	s.WaitForSerfCheck(t)
	if err := s.Stop(); err == nil || err.Error() != "exit status 1" { // it is told not to leave: Consul's ends so, too
		t.Errorf("stop: %v", err)
	}
}
