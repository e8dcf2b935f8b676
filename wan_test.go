package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// datacenters are two clusters of real processes that know each other: dc1 is a server and a client agent, dc2 a server.
type datacenters struct {
	here, there            *cluster
	server, client, abroad *machine
}

// startDatacenters joins them by hand, as an operator would.
func startDatacenters(t *testing.T) *datacenters {
	t.Helper()
	d := &datacenters{here: startCluster(t, 1, 1, "-hcl=translate_wan_addrs = true"), there: startCluster(t, 1, 0, "-datacenter=dc2")}
	d.server, d.client, d.abroad = d.here.members[0], d.here.members[1], d.there.members[0]
	if code, body := d.verb(t, d.client, "join", "-wan", d.abroad.ip); code == 0 || !strings.Contains(body, "WAN") {
		t.Errorf("a client agent that joins the WAN: %d %s", code, body)
	}
	if code, out := d.verb(t, d.server, "join", "-wan", d.abroad.ip); code != 0 || !strings.Contains(out, "1 nodes") {
		t.Fatalf("join -wan: %d %s", code, out)
	}
	await(t, "a way to dc2 and back", func() error {
		for m, dc := range map[*machine]string{d.client: "dc2", d.abroad: "dc1"} {
			if _, _, err := m.client(t).KV().Get("none", &api.QueryOptions{Datacenter: dc}); err != nil {
				return fmt.Errorf("from %s to %s: %w", m.ip, dc, err)
			}
		}
		return nil
	})
	return d
}

// verb runs a verb of the program against an agent.
func (d *datacenters) verb(t *testing.T, m *machine, args ...string) (code int, out string) {
	t.Helper()
	c := exec.Command("rostra", args...)
	c.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+m.HTTP)
	b, _ := c.CombinedOutput() // the code tells
	return c.ProcessState.ExitCode(), string(b)
}

// TestDatacentersByHand: what an operator does with two datacenters, with the verbs, curl's way and dig.
func TestDatacentersByHand(t *testing.T) {
	needs(t, "dig", "dnsutils")
	d := startDatacenters(t)
	for _, m := range []*machine{d.server, d.client} {
		await(t, "both in members -wan", func() error {
			code, out := d.verb(t, d.server, "members", "-wan")
			if code != 0 || !strings.Contains(out, "s1.dc1") || !strings.Contains(out, "s1.dc2") || strings.Count(out, "alive") != 2 {
				return fmt.Errorf("%d %s", code, out)
			}
			return nil
		})
		key := "from/" + m.node
		for _, c := range []struct {
			args []string
			code int
			want string
		}{
			{[]string{"kv", "put", "-datacenter", "dc2", key, "x"}, 0, "Success"},
			{[]string{"kv", "get", "-datacenter", "dc2", key}, 0, "x\n"},
			{[]string{"kv", "get", key}, 1, "No key exists"},
			{[]string{"kv", "get", "-datacenter", "dc9", key}, 1, "No path to datacenter"},
			{[]string{"catalog", "datacenters"}, 0, "dc1\ndc2\n"},
			{[]string{"catalog", "nodes", "-datacenter", "dc2"}, 0, "dc2"},
			{[]string{"catalog", "services", "-datacenter", "dc2"}, 0, "consul"},
			{[]string{"snapshot", "save", "-datacenter", "dc2", filepath.Join(t.TempDir(), "dc2.snap")}, 0, "Saved and verified snapshot"},
		} {
			if code, out := d.verb(t, m, c.args...); code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("%s: %v: %d %s", m.node, c.args, code, out)
			}
		}
		d.acrossHTTP(t, m)
		d.acrossDNS(t, m)
	}
	d.translated(t)
	d.wakes(t)
	d.logs(t)
}

// translated: agents with translate_wan_addrs tell of another datacenter what is reached from here; filters see what is
// there (spec http/conventions.md §7, dns.md §3.5).
func (d *datacenters) translated(t *testing.T) {
	t.Helper()
	if status, _, body := d.abroad.request(t, "PUT", "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.7",
		"TaggedAddresses":{"wan":"198.51.100.7","lan_ipv4":"10.0.0.7","wan_ipv4":"198.51.100.7"},
		"Service":{"Service":"far","Address":"10.0.0.8","Port":80,"TaggedAddresses":{"wan":{"Address":"198.51.100.8","Port":8080}}}}`); status != 200 {
		t.Fatal(status, body)
	}
	for path, body := range map[string]string{
		"/v1/catalog/register": `{"Node":"near","Address":"10.0.0.9","Service":{"Service":"near","Address":"10.0.0.9","TaggedAddresses":{"wan":{"Address":"198.51.100.9"}}}}`,
		"/v1/query#near":       `{"Name":"near-q","Service":{"Service":"near"}}`,
		"/v1/query#far":        `{"Name":"far-q","Service":{"Service":"far","Failover":{"NearestN":1}}}`,
	} {
		method := "POST"
		if strings.HasSuffix(path, "register") {
			method = "PUT"
		}
		if status, _, text := d.server.request(t, method, path, body); status != 200 {
			t.Fatal(status, text)
		}
	}
	for path, want := range map[string]string{"/v1/query/near-q/execute": `"Service":"near","Tags":[],"Address":"10.0.0.9"`,
		"/v1/query/far-q/execute": `"Service":"far","Tags":[],"Address":"198.51.100.8"`} {
		if status, _, body := d.client.request(t, "GET", path, ""); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
	nodeHere, nodeThere := `"Node":"far","Address":"198.51.100.7"`, `"Node":"far","Address":"10.0.0.7"`
	flat, nested := `"ServiceAddress":"198.51.100.8"`, `"Service":"far","Tags":[],"Address":"198.51.100.8"`
	for path, want := range map[string][]string{
		"/v1/catalog/nodes?dc=dc2": {nodeHere}, "/v1/catalog/nodes?dc=dc2&filter=Address==10.0.0.7": {nodeHere},
		"/v1/catalog/service/far?dc=dc2": {nodeHere, flat, `"ServicePort":8080`}, "/v1/catalog/service/far?dc=dc2&filter=ServicePort==80": {flat},
		"/v1/catalog/node/far?dc=dc2": {nodeHere, nested, `"Port":8080`}, "/v1/catalog/node-services/far?dc=dc2": {nodeHere, nested},
		"/v1/health/service/far?dc=dc2": {nodeHere, nested, `"Port":8080`}, "/v1/health/service/far?dc=dc2&filter=Service.Port==80": {nested},
	} {
		for _, m := range []*machine{d.server, d.client} {
			status, header, body := m.request(t, "GET", strings.ReplaceAll(path, "==10.0.0.7", `=="10.0.0.7"`), "")
			for _, w := range want {
				if status != 200 || !strings.Contains(body, w) || header.Get("X-Consul-Translate-Addresses") != "true" {
					t.Errorf("%s of %s: %d %s, want %s", path, m.node, status, body, w)
				}
			}
		}
		status, header, body := d.abroad.request(t, "GET", strings.ReplaceAll(path, "==10.0.0.7", `=="10.0.0.7"`), "")
		if status != 200 || !strings.Contains(body, nodeThere) || header["X-Consul-Translate-Addresses"] != nil {
			t.Errorf("%s there: %d %s", path, status, body)
		}
	}
	for _, c := range []struct{ name, kind, want string }{{"far.service.dc2.consul", "A", "198.51.100.8"}, {"far.node.dc2.consul", "A", "198.51.100.7"},
		{"far-q.query.consul", "A", "198.51.100.8"}, {"near-q.query.consul", "A", "10.0.0.9"}, {"far.service.dc2.consul", "SRV", "1 1 8080 c6336408.addr.dc2.consul."}} {
		await(t, "a translated answer", func() error { // what another datacenter said is used again for a moment
			out, err := exec.Command("dig", "@"+d.client.ip, "-p", "8600", "+short", "+time=5", c.name, c.kind).CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != c.want {
				return fmt.Errorf("dig %s %s: %v %s, want %s", c.name, c.kind, err, out, c.want)
			}
			return nil
		})
	}
}

// acrossHTTP asks an agent of dc1 for everything in dc2.
func (d *datacenters) acrossHTTP(t *testing.T, m *machine) {
	t.Helper()
	status, text := 500, "cross datacenter lock must be created at server agent"
	if m == d.server {
		status, text = 200, `"ID"`
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"PUT", "/v1/catalog/register", `{"Datacenter":"dc2","Node":"web-` + m.node + `","Address":"192.0.2.7","Service":{"Service":"web","Port":80}}`, 200, "true"},
		{"GET", "/v1/catalog/service/web?dc=dc2", "", 200, "web-" + m.node},
		{"GET", "/v1/catalog/nodes?datacenter=dc2&dc=dc9", "", 200, "web-" + m.node},
		{"GET", "/v1/health/service/web?dc=dc2&passing", "", 200, "192.0.2.7"},
		{"GET", "/v1/health/service/web?dc=dc2&stale", "", 200, "192.0.2.7"},
		{"GET", "/v1/health/service/web?dc=dc2&cached", "", 200, "192.0.2.7"},
		{"GET", "/v1/catalog/service/web", "", 200, "[]"},
		{"PUT", "/v1/txn?dc=dc2", `[{"KV":{"Verb":"set","Key":"t","Value":"eA=="}}]`, 200, `"t"`},
		{"GET", "/v1/status/leader?dc=dc2", "", 200, d.abroad.ip + ":8300"},
		{"POST", "/v1/query", `{"Name":"far-` + m.node + `","Service":{"Service":"web","Failover":{"NearestN":1}},"DNS":{"TTL":"8s"}}`, 200, `"ID"`},
		{"GET", "/v1/query/far-" + m.node + "/execute", "", 200, `"Datacenter":"dc2","PeerName":"","Failovers":1`},
		{"POST", "/v1/query?dc=dc2", `{"Name":"there-` + m.node + `","Service":{"Service":"web"}}`, 200, `"ID"`},
		{"GET", "/v1/query/there-" + m.node + "/execute?dc=dc2", "", 200, "192.0.2.7"},
		{"GET", "/v1/query/there-" + m.node + "/explain?datacenter=dc2", "", 200, `"Service":"web"`},
		{"GET", "/v1/query/there-" + m.node + "/execute", "", 404, "Query not found"},
		{"GET", "/v1/query?dc=dc9", "", 500, "No path to datacenter"},
		{"PUT", "/v1/session/create?dc=dc2", `{"Node":"web-` + m.node + `","Checks":[]}`, status, text},
		{"PUT", "/v1/kv/a?dc=dc9", "x", 500, "No path to datacenter"},
		{"GET", "/v1/kv/a?dc=dc9&index=1", "", 500, "No path to datacenter"},
		{"GET", "/v1/health/service/web?dc=dc9&stale", "", 500, "No path to datacenter"},
		{"GET", "/v1/snapshot?dc=dc9", "", 500, "No path to datacenter"},
		{"PUT", "/v1/catalog/register", `{"Datacenter":"dc9","Node":"x","Address":"192.0.2.7"}`, 500, "No path to datacenter"},
		{"PUT", "/v1/catalog/deregister", `{"Datacenter":"dc9","Node":"x"}`, 500, "No path to datacenter"},
	} {
		if status, _, body := m.request(t, c.method, c.path, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %s %s: %d %q, want %d with %q", m.node, c.method, c.path, status, body, c.status, c.want)
		}
	}
}

// acrossDNS asks for names of the other datacenter.
func (d *datacenters) acrossDNS(t *testing.T, m *machine) {
	t.Helper()
	for _, c := range []struct{ name, status, want string }{
		{"web.service.dc2.consul", "NOERROR", "192.0.2.7"},
		{"web-" + m.node + ".node.dc2.consul", "NOERROR", "192.0.2.7"},
		{"far-" + m.node + ".query.consul", "NOERROR", "8	IN	A	192.0.2.7"},
		{"there-" + m.node + ".query.dc2.consul", "NOERROR", "192.0.2.7"},
		{"there-" + m.node + ".query.consul", "NXDOMAIN", ""},
		{"there-" + m.node + ".query.dc9.consul", "NXDOMAIN", ""},
		{"web.service.consul", "NXDOMAIN", ""},
		{"web.service.dc9.consul", "NXDOMAIN", ""},
	} {
		out, err := exec.Command("dig", "@"+m.ip, "-p", "8600", "+time=5", c.name, "A").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "status: "+c.status) || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: dig %s: %v\n%s", m.node, c.name, err, out)
		}
	}
}

// wakes: a blocking query on a client agent waits in the other datacenter, not here.
func (d *datacenters) wakes(t *testing.T) {
	t.Helper()
	put := func(value string) {
		if _, err := d.abroad.client(t).KV().Put(&api.KVPair{Key: "wake", Value: []byte(value)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	put("1")
	path := "/v1/kv/wake?raw&dc=dc2&index=" + fmt.Sprint(d.client.index(t, "/v1/kv/wake?dc=dc2"))
	if status, _, body := d.client.request(t, "GET", path+"&wait=300ms", ""); status != 200 || body != "1" {
		t.Errorf("nothing happened: %d %q", status, body)
	}
	woken := make(chan string, 1)
	go func() { // received below
		resp, err := http.Get("http://" + d.client.HTTP + path)
		if err != nil {
			woken <- err.Error()
			return
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		woken <- b.String()
	}()
	await(t, "a query that waits in dc2", func() error {
		if n := d.abroad.waiting(t); n == 0 {
			return fmt.Errorf("%d wait", n)
		}
		return nil
	})
	put("2")
	select {
	case body := <-woken:
		if body != "2" {
			t.Errorf("woken with %q", body)
		}
	case <-time.After(20 * time.Second):
		t.Error("never woken")
	}
}

// logs: a datacenter that is dead does not fill the log, and one that comes back is found again.
func (d *datacenters) logs(t *testing.T) {
	t.Helper()
	d.there.kill(d.abroad)
	for range 100 {
		status, _, body := d.client.request(t, "GET", "/v1/kv/wake?dc=dc2", "")
		if status != 500 || body != "Remote DC has no server currently reachable" {
			t.Fatalf("%d %q", status, body)
		}
	}
	d.there.start(d.abroad)
	await(t, "an answer of dc2 after its return", func() error {
		_, _, err := d.client.client(t).KV().Get("wake", &api.QueryOptions{Datacenter: "dc2"})
		return err
	})
	d.here.kill(d.client)
	lines := strings.Split(d.client.log.String(), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, "no server currently reachable") })
	if len(lines) == 0 || len(lines) > 3 {
		t.Errorf("%d lines about 100 requests:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}
