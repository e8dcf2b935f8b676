package coordinate

import (
	"strings"
	"testing"

	"rostra/kit/cli/clitest"
)

const cliNodes = `[{"Node":"n1","Segment":"","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":0.1,"Adjustment":0,"Height":0.0001}},
 {"Node":"n2","Segment":"","Coord":{"Vec":[0.0003,0.0004,0,0,0,0,0,0],"Error":0.1,"Adjustment":0.00001,"Height":0}},
 {"Node":"odd","Segment":"","Coord":{"Vec":[0.0003],"Error":0.1,"Adjustment":0,"Height":0}}]`

const cliSpace = `[{"Datacenter":"ber1","AreaID":"wan","Coordinates":[{"Node":"s1","Segment":"","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":0,"Adjustment":0,"Height":0}}]},
 {"Datacenter":"lon1","AreaID":"wan","Coordinates":[{"Node":"s.2","Segment":"","Coord":{"Vec":[0.02,0,0,0,0,0,0,0],"Error":0,"Adjustment":0,"Height":0}}]}]`

func TestCLI(t *testing.T) {
	lan := map[string]string{"GET /v1/coordinate/nodes": cliNodes, "GET /v1/agent/self": `{"Config":{"NodeName":"n2","Datacenter":"lon1"}}`}
	wan := map[string]string{"GET /v1/coordinate/datacenters": cliSpace, "GET /v1/agent/self": `{"Config":{"NodeName":"s.2","Datacenter":"lon1"}}`}
	for _, test := range []struct {
		args      string
		replies   map[string]string
		code      int
		out, errs string
	}{
		{"rtt n1 n2", lan, 0, "Estimated n1 <-> n2 rtt: 0.610 ms (using LAN coordinates)\n", ""},
		{"rtt n1", lan, 0, "Estimated n1 <-> n2 rtt: 0.610 ms (using LAN coordinates)\n", ""},
		{"rtt n1 x", lan, 1, "", "Could not find a coordinate for node \"x\"\n"},
		{"rtt odd n1", lan, 1, "", "Could not find a coordinate for node \"odd\"\n"},
		{"rtt -wan s1.ber1 s.2.lon1", wan, 0, "Estimated s1.ber1 <-> s.2.lon1 rtt: 20.000 ms (using WAN coordinates)\n", ""},
		{"rtt -wan s1.ber1", wan, 0, "Estimated s1.ber1 <-> s.2.lon1 rtt: 20.000 ms (using WAN coordinates)\n", ""},
		{"rtt -wan s1.ber1 s1.lon1", wan, 1, "", "Could not find a coordinate for node \"s1.lon1\"\n"},
		{"rtt -wan s1", wan, 1, "", "Node names must be specified as <node name>.<datacenter> with -wan\n"},
		{"rtt", lan, 1, "", "One or two node names must be specified\n"},
		{"rtt a b c", lan, 1, "", "One or two node names must be specified\n"},
		{"rtt n1 n2", map[string]string{"GET /v1/coordinate/nodes": "401 Coordinate support disabled"}, 1, "",
			"Error getting coordinates: Unexpected response code: 401 (Coordinate support disabled)\n"},
		{"rtt n1", nil, 1, "", "Unable to look up agent info: Unexpected response code: 404 ()\n"},
	} {
		t.Run(test.args, func(t *testing.T) {
			got := clitest.Run(t, verbs(), &clitest.Agent{Replies: test.replies}, "", strings.Fields(test.args)...)
			if want := (clitest.Result{Out: test.out, Err: test.errs, Code: test.code}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}
