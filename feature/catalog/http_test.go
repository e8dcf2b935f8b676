package catalog

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	edgeBody = `{"ID":"6F1A2C30-98aa-4d0e-8d7b-0c2f5d1f9a11","node":"edge-7","Address":"10.4.0.7","TaggedAddresses":{"wan":"198.51.100.7","lan":"10.4.0.7"},
"NodeMeta":{"rack":"b2"},"Service":{"ID":"web-1","Service":"web","Tags":["v2"],"Address":"10.4.0.7","TaggedAddresses":{"lan_ipv4":{"Address":"10.4.0.7","Port":80}},
"Meta":{"team":"<x>"},"Port":80},"Check":{"Name":"alive"},"Checks":[{"CheckID":"web:1","Name":"web","Status":"passing","ServiceID":"web-1",
"Definition":{"TTL":"10s","HTTP":"http://x","Interval":"5s","Timeout":1000000000,"Unknown":1}}]}`
	edgeNode  = `{"ID":"6f1a2c30-98aa-4d0e-8d7b-0c2f5d1f9a11","Node":"edge-7","Address":"10.4.0.7","Datacenter":"dc","TaggedAddresses":{"lan":"10.4.0.7","wan":"198.51.100.7"},"Meta":{"rack":"b2"},"CreateIndex":3,"ModifyIndex":3}`
	bareNode  = `{"ID":"","Node":"bare","Address":"10.4.0.8","Datacenter":"dc","TaggedAddresses":null,"Meta":null,"CreateIndex":4,"ModifyIndex":4}`
	edgeWeb   = `{"ID":"web-1","Service":"web","Tags":["v2"],"Address":"10.4.0.7","TaggedAddresses":{"lan_ipv4":{"Address":"10.4.0.7","Port":80}},"Meta":{"team":"\u003cx\u003e"},"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":3,"ModifyIndex":3}`
	bareWeb   = `{"Kind":"odd","ID":"WEB","Service":"WEB","Tags":[],"Address":"","Meta":null,"SocketPath":"/s","Weights":{"Passing":3,"Warning":0},"EnableTagOverride":true,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":4,"ModifyIndex":4}`
	bareFlat  = `{"ID":"","Node":"bare","Address":"10.4.0.8","Datacenter":"dc","TaggedAddresses":null,"NodeMeta":null,"ServiceKind":"odd","ServiceID":"WEB","ServiceName":"WEB","ServiceTags":[],"ServiceAddress":"","ServiceWeights":{"Passing":3,"Warning":0},"ServiceMeta":{},"ServicePort":0,"ServiceSocketPath":"/s","ServiceEnableTagOverride":true,"ServiceProxy":{"Mode":"","MeshGateway":{},"Expose":{}},"ServiceConnect":{},"ServiceLocality":null,"CreateIndex":4,"ModifyIndex":4}`
	edgeFlat  = `{"ID":"6f1a2c30-98aa-4d0e-8d7b-0c2f5d1f9a11","Node":"edge-7","Address":"10.4.0.7","Datacenter":"dc","TaggedAddresses":{"lan":"10.4.0.7","wan":"198.51.100.7"},"NodeMeta":{"rack":"b2"},"ServiceKind":"","ServiceID":"web-1","ServiceName":"web","ServiceTags":["v2"],"ServiceAddress":"10.4.0.7","ServiceTaggedAddresses":{"lan_ipv4":{"Address":"10.4.0.7","Port":80}},"ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{"team":"\u003cx\u003e"},"ServicePort":80,"ServiceSocketPath":"","ServiceEnableTagOverride":false,"ServiceProxy":{"Mode":"","MeshGateway":{},"Expose":{}},"ServiceConnect":{},"ServiceLocality":null,"CreateIndex":3,"ModifyIndex":3}`
	emptyNode = `{"Node":null,"Services":null}`
)

func edges(t testing.TB) *agent {
	a := newAgent(t, Room)
	a.put("/v1/catalog/register", edgeBody)
	a.put("/v1/catalog/register", `{"Node":"bare","Address":"10.4.0.8","Service":{"Service":"WEB","Kind":"odd","SocketPath":"/s","Weights":{"Passing":3},"EnableTagOverride":true,"Proxy":{"x":1},"Ports":[]},"Checks":[null]}`)
	return a
}

func TestBodies(t *testing.T) {
	a := edges(t)
	for path, body := range map[string]string{
		"nodes":                                      `[` + bareNode + `,` + edgeNode + `]`,
		"nodes?node-meta=rack:b2":                    `[` + edgeNode + `]`,
		"nodes?node-meta=rack:zz":                    `[]`,
		"nodes?filter=Node==bare":                    `[` + bareNode + `]`,
		"nodes?near=_agent&stale":                    `[` + bareNode + `,` + edgeNode + `]`,
		"services":                                   `{"WEB":["v2"]}`,
		"services?node-meta=rack:zz":                 `{}`,
		"services?filter=NodeMeta.rack==b2":          `{"web":["v2"]}`,
		"services?filter=ServiceName==none":          `{}`,
		"service/web":                                `[` + bareFlat + `,` + edgeFlat + `]`,
		"service/WeB?tag=V2":                         `[` + edgeFlat + `]`,
		"service/web?filter=ServicePort==80":         `[` + edgeFlat + `]`,
		"service/web?tag=v2&tag=v1":                  `[]`,
		"service/web?tag=":                           `[]`,
		"service/none":                               `[]`,
		"nodes?peer=other":                           `[]`,
		"services?peer=other":                        `{}`,
		"services?peer=other&filter=ServicePort==80": `{}`,
		"service/web?peer=other&near=_agent":         `[]`,
		"node/bare?peer=other":                       `null`,
		"node/EDGE-7":                                `{"Node":` + edgeNode + `,"Services":{"web-1":` + edgeWeb + `}}`,
		"node/6f1a":                                  `{"Node":` + edgeNode + `,"Services":{"web-1":` + edgeWeb + `}}`,
		"node/bare":                                  `{"Node":` + bareNode + `,"Services":{"WEB":` + bareWeb + `}}`,
		"node/bare?filter=Port==80":                  `{"Node":` + bareNode + `,"Services":{}}`,
		"node/none":                                  `null`,
		"node-services/bare":                         `{"Node":` + bareNode + `,"Services":[` + bareWeb + `]}`,
		"node-services/bare?filter=Port==80":         `{"Node":` + bareNode + `,"Services":[]}`,
		"node-services/none":                         emptyNode,
		"datacenters":                                `["dc"]`,
	} {
		a.want("/v1/catalog/"+path, body)
	}
}

func TestErrors(t *testing.T) {
	a := newAgent(t, Room)
	meta := `"Meta":{"a b":"c"}`
	cases := []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"PUT", "register", `{}`, 500, "Must provide node"},
		{"PUT", "register", ``, 400, "Request decode failed: EOF"},
		{"PUT", "register", `{"Foo":1}`, 400, `Request decode failed: json: unknown field "Foo"`},
		{"PUT", "register", `{"Node":"n"}`, 500, "Must provide address if SkipNodeUpdate is not set"},
		{"PUT", "register", `{"Node":"n","Address":"a","ID":"x"}`, 500, "Bad node ID: uuid string is wrong length"},
		{"PUT", "register", `{"Node":"n","Address":"a","PeerName":"x"}`, 500, "cannot register requests with PeerName in them"},
		{"PUT", "register", `{"Node":"n","Address":"a","Datacenter":"zz"}`, 500, "No path to datacenter"},
		{"PUT", "register", `{"Node":"n","Address":"a","Service":{}}`, 500, "Must provide service name (Service.Service)"},
		{"PUT", "register", `{"Node":"n","Address":"a","Service":{"ID":"x"}}`, 500, "Must provide service name (Service.Service) when service ID is provided"},
		{"PUT", "register", `{"Node":"n","Address":"a","Service":{"Service":"x","Address":"[::]"}}`, 500, "Invalid service address"},
		{"PUT", "register", `{"Node":"n","Address":"a","Service":{"Service":"x",` + meta + `}}`, 500, "Invalid Service Meta for node n and serviceID x: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters"},
		{"PUT", "register", `{"Node":"n","Address":"a","Check":{"Node":"y","CheckID":"c"}}`, 500, "Node 'y' for check 'c' doesn't match register request node 'n'"},
		{"PUT", "register", `{"Node":"n","Address":"a","Check":{"ServiceID":"svc","CheckID":"c"}}`, 500, "Unknown service ID 'svc' for check ID 'c'"},
		{"PUT", "deregister", `{}`, 500, "Must provide node"},
		{"GET", "service/", ``, 400, "Missing service name"},
		{"GET", "node/", ``, 400, "Missing node name"},
		{"GET", "node-services/", ``, 400, "Missing node name"},
		{"GET", "nodes?dc=zz", ``, 500, "No path to datacenter"},
		{"GET", "nodes?filter=Foo==1", ``, 500, `Failed to create boolean expression evaluator: Selector "Foo" is not valid`},
		{"GET", "nodes?ns=x", ``, 400, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`},
		{"GET", "nodes?index=x", ``, 400, "Invalid index"},
		{"POST", "register", ``, 405, "method POST not allowed"},
	}
	for _, c := range cases {
		if status, text, _ := a.call(c.method, "/v1/catalog/"+c.path, c.body); status != c.status || text != c.text {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, status, text)
		}
	}
	a.want("/v1/catalog/nodes", "[]")
}

func TestHeaders(t *testing.T) {
	a := edges(t)
	_, _, h := a.call("GET", "/v1/catalog/service/web?cached&stale", "")
	for name, want := range map[string]string{"X-Consul-Index": "4", "X-Consul-Knownleader": "true", "X-Consul-Lastcontact": "0",
		"X-Consul-Effective-Consistency": "stale", "X-Consul-Query-Backend": "blocking-query", "X-Cache": "HIT", "Age": "0"} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, not %q", name, h.Get(name), want)
		}
	}
	for _, path := range []string{"nodes?cached", "node/bare?cached"} {
		if _, _, h := a.call("GET", "/v1/catalog/"+path, ""); h.Get("X-Cache") != "" {
			t.Errorf("%s has X-Cache", path)
		}
	}
}

// TestNotKept: what is lost of a registration is told; what a client writes back as it read it is nothing lost.
func TestNotKept(t *testing.T) {
	a := newAgent(t, Room)
	for service, want := range map[string]string{
		`{"Service":"a","Proxy":{"Mode":"","MeshGateway":{},"Expose":{"Paths":[]}},"Connect":{"Native":false},"Ports":null,"Locality":{}}`: "",
		`{"Service":"a","Proxy":{"DestinationServiceName":"web"}}`:                                                                         notKept,
		`{"Service":"a","Proxy":{"Upstreams":[{"LocalBindPort":1}]}}`:                                                                      notKept,
		`{"Service":"a","Connect":{"Native":true}}`:                                                                                        notKept,
		`{"Service":"a","Locality":{"Region":"r"}}`:                                                                                        notKept,
	} {
		status, text, h := a.call("PUT", "/v1/catalog/register", `{"Node":"n","Address":"10.0.0.1","Service":`+service+`}`)
		if got := h.Get("X-Rostra-Warning"); status != 200 || text != "true" || got != want {
			t.Errorf("%s: %d %s, warned %q", service, status, text, got)
		}
	}
	if status, _, h := a.call("PUT", "/v1/catalog/register", `{"Node":"","Service":{"Service":"a","Connect":{"Native":true}}}`); status != 500 || h.Get("X-Rostra-Warning") != "" {
		t.Errorf("a refused one: %d %v", status, h)
	}
}

func TestOfficialClient(t *testing.T) {
	a := newAgent(t, Room)
	catalog := a.api.Catalog()
	_, err := catalog.Register(&api.CatalogRegistration{Node: "n1", Address: "127.0.0.1", Datacenter: "dc", NodeMeta: map[string]string{"k": "v"},
		Service: &api.AgentService{ID: "w1", Service: "web", Port: 80, Tags: []string{"a"}, Proxy: &api.AgentServiceConnectProxyConfig{}, Connect: &api.AgentServiceConnect{}},
		Check:   &api.AgentCheck{Node: "n1", CheckID: "c0", Name: "node", Status: "passing"},
		Checks: api.HealthChecks{{Node: "n1", CheckID: "c1", Name: "c", Status: "passing", ServiceID: "w1",
			Definition: api.HealthCheckDefinition{HTTP: "http://x", IntervalDuration: 5 * time.Second}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	list, meta, err := catalog.Service("web", "a", nil)
	if err != nil || len(list) != 1 || list[0].ServicePort != 80 || list[0].NodeMeta["k"] != "v" {
		t.Fatalf("%+v, %v", list, err)
	}
	if meta.LastIndex != 3 || !meta.KnownLeader {
		t.Errorf("%+v", meta)
	}
	woken := make(chan uint64, 1)
	go func() {
		_, m, err := catalog.Service("web", "", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
		if err != nil {
			t.Error(err)
			m = &api.QueryMeta{}
		}
		woken <- m.LastIndex
	}()
	if _, err := catalog.Deregister(&api.CatalogDeregistration{Node: "n1", ServiceID: "w1"}, nil); err != nil {
		t.Fatal(err)
	}
	if index := <-woken; index != 4 {
		t.Errorf("woken with %d", index)
	}
	services, _, err := catalog.Services(nil)
	if err != nil || len(services) != 0 {
		t.Errorf("%v, %v", services, err)
	}
	node, _, err := catalog.Node("n1", nil)
	if err != nil || node.Node.Meta["k"] != "v" || len(node.Services) != 0 {
		t.Errorf("%+v, %v", node, err)
	}
	if none, _, err := catalog.Node("none", nil); err != nil || none != nil {
		t.Errorf("%+v, %v", none, err)
	}
}

// A definition shows what is set, durations first, the TTL in nanoseconds at its place.
func TestDefinition(t *testing.T) {
	var in registration
	body := `{"Node":"n","Address":"a","Check":{"CheckID":"c","Definition":{"Shell":"sh","OutputMaxSize":9,"TTL":"10s","GRPC":"g","Header":{"b":["2"],"a":["1"]},"Timeout":1e9,"Interval":"5s","HTTP":"h"}}}`
	if err := decodeBody(body, &in); err != nil {
		t.Fatal(err)
	}
	c, err := in.command("dc")
	if err != nil {
		t.Fatal(err)
	}
	want := `"Type":"http","Interval":"","Timeout":"","ExposedPort":0,"Definition":{"Interval":"5s","Timeout":"1s","HTTP":"h","Header":{"a":["1"],"b":["2"]},"GRPC":"g","TTL":10000000000,"OutputMaxSize":9,"Shell":"sh"}`
	if got := string(c.Checks[0].AppendJSON(nil)); !strings.Contains(got, want) {
		t.Errorf("%s", got)
	}
}

// TestLocality: where a node is is shown if it is known, and left out of Commands that older servers must understand.
func TestLocality(t *testing.T) {
	a := newAgent(t, Room)
	a.put("/v1/catalog/register", `{"Node":"n1","Address":"192.0.2.1","Locality":{"Region":"r1","Zone":"z1"}}`)
	a.put("/v1/catalog/register", `{"Node":"n2","Address":"192.0.2.2","Locality":{}}`)
	_, body, _ := a.call("GET", "/v1/catalog/nodes", "")
	if strings.Count(body, "Locality") != 1 || !strings.Contains(body, `"Meta":null,"Locality":{"Region":"r1","Zone":"z1"},"CreateIndex"`) {
		t.Error(body)
	}
	row := &Node{Node: "n1", Address: "192.0.2.1", Region: "r1", Zone: "z1"}
	for rules, want := range map[int]string{1: "", 2: "r1z1"} {
		c := &Register{Row: row}
		if err := c.Under(rules); err != nil || c.Row.Region+c.Row.Zone != want || c.Row.Address != row.Address || row.Region != "r1" {
			t.Errorf("under rules %d: %v %+v", rules, err, c.Row)
		}
	}
}
