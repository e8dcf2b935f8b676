package catalog

import (
	"strings"
	"testing"

	"rostra/kit/cli/clitest"
)

const cliNodes = `[
 {"ID":"6f1a2c30-98aa-4d0e-8d7b-0c2f5d1f9a11","Node":"edge-7","Address":"10.4.0.7","Datacenter":"ber1",
  "TaggedAddresses":{"wan":"198.51.100.7","lan":"10.4.0.7"},"Meta":{"rack":"b2","consul-version":"1.21.4"}},
 {"ID":"","Node":"db","Address":"10.4.0.10","Datacenter":"ber1","TaggedAddresses":null,"Meta":null}]`

const cliNodesTable = `Node    ID        Address    DC
edge-7  6f1a2c30  10.4.0.7   ber1
db                10.4.0.10  ber1
`

const cliNodesDetailed = `Node    ID                                    Address    DC    TaggedAddresses                 Meta
edge-7  6f1a2c30-98aa-4d0e-8d7b-0c2f5d1f9a11  10.4.0.7   ber1  lan=10.4.0.7, wan=198.51.100.7  consul-version=1.21.4, rack=b2
db                                            10.4.0.10  ber1                                  ` + `
`

const cliInstances = `[{"ID":"6f1a2c30-98aa","Node":"edge-7","Address":"10.4.0.7","Datacenter":"ber1","ServiceID":"web-1"},
 {"ID":"6f1a2c30-98aa","Node":"edge-7","Address":"10.4.0.7","Datacenter":"ber1","ServiceID":"web-2"}]`

const cliNode = `{"Node":{"Node":"edge-7"},"Services":{
 "web-1":{"ID":"web-1","Service":"web","Tags":["v2"]},"web-2":{"ID":"web-2","Service":"web","Tags":["v1","v2"]},
 "db":{"ID":"db","Service":"db","Tags":[]}}}`

func TestCLI(t *testing.T) {
	nodes := map[string]string{"GET /v1/catalog/nodes": cliNodes}
	services := map[string]string{
		"GET /v1/catalog/services":    `{"web":["v2","v1"],"consul":[]}`,
		"GET /v1/catalog/node/edge-7": cliNode, "GET /v1/catalog/node/no": "null",
	}
	for _, test := range []struct {
		args      string
		replies   map[string]string
		code      int
		out, errs string
		asked     string
	}{
		{"catalog datacenters", map[string]string{"GET /v1/catalog/datacenters": `["ber1","ams1"]`}, 0, "ber1\nams1\n", "",
			"GET /v1/catalog/datacenters"},
		{"catalog datacenters", nil, 1, "", "Error listing datacenters: Unexpected response code: 404 ()\n",
			"GET /v1/catalog/datacenters"},
		{"catalog datacenters x", nil, 1, "", "Too many arguments (expected 0, got 1)\n", ""},

		{"catalog nodes", nodes, 0, cliNodesTable, "", "GET /v1/catalog/nodes"},
		{"catalog nodes –detailed", nodes, 0, cliNodesDetailed, "", "GET /v1/catalog/nodes"},
		{"catalog nodes -stale -near=_agent -node-meta=a=b -node-meta c=d -filter Node==db -datacenter=x", nodes, 0,
			cliNodesTable, "", ""},
		{"catalog nodes -filter - -near _agent", nodes, 0, cliNodesTable, "",
			"GET /v1/catalog/nodes?filter=Node+%3D%3D+db&near=_agent"},
		{"catalog nodes -node-meta=a=b:c", nodes, 0, cliNodesTable, "", "GET /v1/catalog/nodes?node-meta=a%3Ab%3Ac"},
		{"catalog nodes -service=web", map[string]string{"GET /v1/catalog/service/web": cliInstances}, 0,
			"Node    ID        Address   DC\nedge-7  6f1a2c30  10.4.0.7  ber1\n", "", "GET /v1/catalog/service/web"},
		{"catalog nodes", map[string]string{"GET /v1/catalog/nodes": "[]"}, 0, "",
			"No nodes match the given query - try expanding your search.\n", "GET /v1/catalog/nodes"},
		{"catalog nodes -service=no", map[string]string{"GET /v1/catalog/service/no": "[]"}, 0, "",
			"No nodes match the given query - try expanding your search.\n", "GET /v1/catalog/service/no"},
		{"catalog nodes", map[string]string{"GET /v1/catalog/nodes": "500 No cluster leader"}, 1, "",
			"Error listing nodes: Unexpected response code: 500 (No cluster leader)\n", "GET /v1/catalog/nodes"},
		{"catalog nodes -filter=@/none", nil, 1, "",
			"Error reading filter: cannot read data: open /none: no such file or directory\n", ""},
		{"catalog nodes x", nil, 1, "", "Too many arguments (expected 0, got 1)\n", ""},

		{"catalog services", services, 0, "consul\nweb\n", "", "GET /v1/catalog/services"},
		{"catalog services -tags", services, 0, "consul      \nweb         v1,v2\n", "", "GET /v1/catalog/services"},
		{"catalog services -tags -node=edge-7", services, 0, "db       \nweb      v1,v2\n", "", "GET /v1/catalog/node/edge-7"},
		{"catalog services -node=no", services, 0, "",
			"No services match the given query - try expanding your search.\n", "GET /v1/catalog/node/no"},
		{"catalog services", map[string]string{"GET /v1/catalog/services": "{}"}, 0, "",
			"No services match the given query - try expanding your search.\n", "GET /v1/catalog/services"},
		{"catalog services", nil, 1, "", "Error listing services: Unexpected response code: 404 ()\n", "GET /v1/catalog/services"},
		{"catalog services x", nil, 1, "", "Too many arguments (expected 0, got 1)\n", ""},
	} {
		t.Run(test.args, func(t *testing.T) {
			agent := &clitest.Agent{Replies: test.replies}
			got := clitest.Run(t, verbs(), agent, "Node == db", strings.Fields(test.args)...)
			if want := (clitest.Result{Out: test.out, Err: test.errs, Code: test.code}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			asked := strings.Join(agent.Requests(), " | ")
			if strings.Contains(test.args, "c=d") { // two values of one parameter come in any order
				for _, part := range []string{"node-meta=a%3Ab", "node-meta=c%3Dd", "stale=", "dc=x", "near=_agent", "filter=Node%3D%3Ddb"} {
					if !strings.Contains(asked, strings.ReplaceAll(part, "c%3Dd", "c%3Ad")) {
						t.Errorf("asked %q without %s", asked, part)
					}
				}
			} else if asked != test.asked {
				t.Errorf("asked %q, want %q", asked, test.asked)
			}
		})
	}
}

func TestCLIHelp(t *testing.T) {
	for _, v := range verbs() {
		got := clitest.Run(t, verbs(), nil, "", append(strings.Fields(v.Path), "-h")...)
		if got.Code != 0 || !strings.HasPrefix(got.Out, "Usage: consul "+v.Path+" ") || strings.Contains(got.Out, "{name}") {
			t.Errorf("%s -h: %+v", v.Path, got)
		}
		if v.Flags == nil {
			continue
		}
		got = clitest.Run(t, verbs(), nil, "", append(strings.Fields(v.Path), "-no")...)
		if got.Code != 1 || !strings.HasPrefix(got.Err, "flag provided but not defined: -no\n") {
			t.Errorf("%s -no: %+v", v.Path, got)
		}
		got = clitest.Run(t, verbs(), nil, "", strings.Fields(v.Path)...)
		if got.Code != 1 || !strings.Contains(got.Err, "connection refused") {
			t.Errorf("%s without agent: %+v", v.Path, got)
		}
	}
}
