package overview

import (
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"rostra/engine/room"
	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startAgent runs a server whose catalog has two instances of web and a node without anything.
func startAgent(t *testing.T) *servertest.Agent {
	t.Helper()
	a := servertest.Start(t, []room.Room{catalog.Room, health.Room, Room}, nil)
	weights := catalog.Weights{Passing: 1, Warning: 1}
	for _, c := range []room.Command{
		&catalog.Register{Row: &catalog.Node{ID: "6f1a2c30-98aa-4d0e-8d7b-0c2f5d1f9a11", Node: "edge-7", Address: "10.4.0.7", Datacenter: "dc1", TaggedAddresses: wire.Pairs{{Key: "lan", Value: "10.4.0.7"}},
			Meta: wire.Pairs{{Key: "rack", Value: "b2"}}},
			Service: &catalog.Service{ID: "web-1", Service: "web", Tags: []string{"v2", "v1"}, Port: 80, Weights: weights, Meta: wire.Pairs{{Key: "external-source", Value: "nomad"}}},
			Checks:  []*catalog.Check{{CheckID: "serfHealth", Name: "Serf Health Status", Status: "passing"}, {CheckID: "c", Name: "c", Status: "critical", ServiceID: "web-1"}}},
		&catalog.Register{Row: &catalog.Node{Node: "edge-7"}, SkipNode: true,
			Service: &catalog.Service{ID: "web-2", Service: "web", Tags: []string{"v2"}, Weights: weights}},
		&catalog.Register{Row: &catalog.Node{Node: "bare", Address: "10.4.0.8", Datacenter: "dc1"}, Checks: []*catalog.Check{{CheckID: "n", Name: "n", Status: "warning"}}},
		&catalog.Register{Row: &catalog.Node{Node: "proxies", Address: "10.4.0.9", Datacenter: "dc1"}, Service: &catalog.Service{ID: "p", Kind: "connect-proxy", Service: "p", Weights: weights}},
	} {
		if _, _, err := a.Door.Apply(t.Context(), c, room.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

const mesh = `"GatewayConfig":{},"TransparentProxy":false,"ConnectNative":false,"ConnectedWithProxy":false,"ConnectedWithGateway":false}`

var indexes = regexp.MustCompile(`"(Create|Modify)Index":\d+`)

// TestHTTP goes through spec http/ui-internal.md.
func TestHTTP(t *testing.T) {
	a := startAgent(t)
	service := func(id, tags, meta, port string) string {
		return `{"ID":"` + id + `","Service":"web","Tags":` + tags + `,"Address":"","Meta":` + meta + port +
			`,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":0,"ModifyIndex":0}`
	}
	check := func(node, id, name, status, service, tags string) string {
		return `{"Node":"` + node + `","CheckID":"` + id + `","Name":"` + name + `","Status":"` + status + `","Notes":"","Output":"",` + service + `,"ServiceTags":` + tags +
			`,"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0}`
	}
	edge := `{"ID":"6f1a2c30-98aa-4d0e-8d7b-0c2f5d1f9a11","Node":"edge-7","Address":"10.4.0.7","TaggedAddresses":{"lan":"10.4.0.7"},"Meta":{"rack":"b2"},"Services":[` +
		service("web-1", `["v2","v1"]`, `{"external-source":"nomad"}`, `,"Port":80`) + "," + service("web-2", `["v2"]`, "null", "") + `],"Checks":[` +
		check("edge-7", "c", "c", "critical", `"ServiceID":"web-1","ServiceName":"web"`, `["v2","v1"]`) + "," + check("edge-7", "serfHealth", "Serf Health Status", "passing", `"ServiceID":"","ServiceName":""`, "[]") + `]}`
	bare := `{"ID":"","Node":"bare","Address":"10.4.0.8","TaggedAddresses":null,"Meta":null,"Services":[],"Checks":[` + check("bare", "n", "n", "warning", `"ServiceID":"","ServiceName":""`, "[]") + `]}`
	web := `{"Name":"web","Datacenter":"dc1","Tags":["v2","v1"],"Nodes":["edge-7","edge-7"],"ExternalSources":["nomad"],"InstanceCount":2,"ChecksPassing":1,"ChecksWarning":0,"ChecksCritical":1,` + mesh
	proxy := `{"Kind":"connect-proxy","Name":"p","Datacenter":"dc1","Tags":null,"Nodes":["proxies"],"ExternalSources":null,"InstanceCount":1,"ChecksPassing":0,"ChecksWarning":0,"ChecksCritical":0,` + mesh
	one := `{"Name":"web","Datacenter":"dc1","Tags":["v2"],"Nodes":["edge-7"],"ExternalSources":null,"InstanceCount":1,"ChecksPassing":1,"ChecksWarning":0,"ChecksCritical":0,` + mesh
	for _, tt := range []struct {
		path   string
		status int
		want   string
		index  bool // it is an answer that can be waited for
	}{
		{`nodes?filter=Node!=proxies`, 200, "[" + bare + "," + edge + "]", true},
		{`nodes?filter=Services.Service==web+and+Checks.Status==critical+and+Meta.rack==b2`, 200, "[" + edge + "]", true},
		{`nodes?filter=Datacenter==dc1`, 500, `Failed to create boolean expression evaluator: Selector "Datacenter" is not valid`, false},
		{`nodes?ns=x`, 400, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`, false},
		{`nodes?dc=dc9`, 500, `No path to datacenter`, false},
		{`node/EDGE-7`, 200, edge, true},
		{`node/none`, 404, ``, false},
		{`node/`, 400, `Missing node name`, false},
		{`services`, 200, "[" + proxy + "," + web + "]", true},
		{`services?filter=Service.ID=="web-2"`, 200, "[" + one + "]", true},
		{`services?filter=Service.ID==x`, 200, "[]", true},
		{`catalog-overview`, 200, `{"Nodes":[{"Total":3,"Passing":2,"Warning":1,"Critical":0}],"Services":[{"Name":"p","Total":1,"Passing":1,"Warning":0,"Critical":0},{"Name":"web","Total":2,"Passing":1,"Warning":0,"Critical":1}],` +
			`"Checks":[{"Name":"Serf Health Status","Total":1,"Passing":1,"Warning":0,"Critical":0},{"Name":"c","Total":1,"Passing":0,"Warning":0,"Critical":1},{"Name":"n","Total":1,"Passing":0,"Warning":1,"Critical":0}]}`, false},
		{`exported-services?peer=x`, 200, `[]`, true},
		{`exported-services`, 500, `must provide PeerName`, false},
		{`gateway-services-nodes/gw`, 200, `[]`, true},
		{`gateway-services-nodes/`, 400, `Missing gateway name`, false},
		{`gateway-intentions/gw`, 200, `[]`, true},
		{`service-topology/web?kind`, 200, `{"Protocol":"tcp","TransparentProxy":false,"Upstreams":[],"Downstreams":[],"FilteredByACLs":false}`, true},
		{`service-topology/web?kind=zz`, 400, `Unsupported service kind "zz"`, false},
		{`service-topology/web`, 400, `Missing service kind`, false},
		{`service-topology/?kind=`, 400, `Missing service name`, false},
		{`metrics-proxy/api/v1/query`, 404, `UI is not enabled`, false},
	} {
		status, h, body := a.Do("GET", "/v1/internal/ui/"+tt.path, "")
		if body = indexes.ReplaceAllString(body, `"${1}Index":0`); status != tt.status || body != tt.want {
			t.Errorf("%s: %d %s\nwant %d %s", tt.path, status, body, tt.status, tt.want)
		}
		if (h.Get("X-Consul-Index") != "") != tt.index || h.Get("X-Consul-Effective-Consistency") != "" {
			t.Errorf("%s: headers %v", tt.path, h)
		}
	}
}

// TestEmpty: a catalog without anything.
func TestEmpty(t *testing.T) {
	a := servertest.Start(t, []room.Room{catalog.Room, health.Room, Room}, nil)
	for path, want := range map[string]string{"nodes": "[]", "services": "[]", "catalog-overview": `{"Nodes":null,"Services":null,"Checks":null}`} {
		if status, _, body := a.Do("GET", "/v1/internal/ui/"+path, ""); status != 200 || body != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestVersion: a node whose row does not say its agent's version shows the one that gossip knows.
func TestVersion(t *testing.T) {
	row := &catalog.Node{Node: "n", Meta: wire.Pairs{{Key: "rack", Value: "b"}}}
	n := &Node{Node: row}
	if got := string(n.versioned("1.21.4").AppendJSON(nil)); !strings.Contains(got, `"Meta":{"consul-version":"1.21.4","rack":"b"}`) {
		t.Error(got)
	}
	if len(row.Meta) != 1 {
		t.Error("the stored row was changed")
	}
	if n.versioned("") != n {
		t.Error("no version made another node")
	}
	row.Meta = append(row.Meta, wire.Pair{Key: "consul-version", Value: "1.20.0"})
	if n.versioned("1.21.4") != n {
		t.Error("the row's own version does not count")
	}
}
