package operator

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/engine/room/roomtest"
	"rostra/kit/httpd"
)

// group is the servers of a datacenter as one of them sees them.
type group struct {
	room.Raft
	leader string
	all    []consensus.Peer
}

func (g group) Peers() (string, []consensus.Peer) { return g.leader, g.all }

// counting is a Cluster and an Agent that only count.
type counting struct {
	room.Cluster
	room.Agent
}

func (counting) Counters() map[string]uint64         { return map[string]uint64{"index": 7} }
func (counting) Stats() map[string]map[string]string { return nil }

// TestStatus: an agent without a log of its own answers for its servers, and for those of other datacenters.
func TestStatus(t *testing.T) {
	three := []consensus.Peer{{ID: "a", Address: "10.0.0.1:8300"}, {ID: "b", Address: "10.0.0.2:8300"}, {ID: "c", Address: "10.0.0.3:8300"}}
	own := &room.Host{Raft: group{leader: "b", all: three}}
	hosts := map[string]*room.Host{"": own, "dc1": own, "dc2": {Raft: group{all: three[:2]}}, "dc3": {Raft: group{}}, "dc4": nil,
		"dc5": {Raft: group{leader: "gone", all: three[:1]}}}
	client := &room.Host{Door: between{hosts: hosts}, Self: room.Identity{Datacenter: "dc1"}, Cluster: counting{}, Agent: counting{}}
	part, err := Room.Open(client, new(Settings))
	if err != nil {
		t.Fatal(err)
	}
	web, err := httpd.New(httpd.Options{}, part.Routes)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(web.Handler())
	t.Cleanup(listener.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/v1/status/leader", 200, `"10.0.0.2:8300"`},
		{"/v1/status/leader?dc=dc1&consistent", 200, `"10.0.0.2:8300"`},
		{"/v1/status/peers", 200, `["10.0.0.1:8300","10.0.0.2:8300","10.0.0.3:8300"]`},
		{"/v1/status/leader?dc=dc2", 200, `""`},
		{"/v1/status/peers?dc=dc2", 200, `["10.0.0.1:8300","10.0.0.2:8300"]`},
		{"/v1/status/peers?dc=dc3", 200, `[]`},
		{"/v1/status/leader?dc=dc5", 200, `""`},
		{"/v1/status/leader?dc=dc4", 500, "Remote DC has no server currently reachable"},
		{"/v1/status/leader?dc=nowhere", 500, "No path to datacenter"},
		{"/v1/status/peers?dc=nowhere", 500, "No path to datacenter"},
		{"/v1/rostra/counters", 200, `{"index":7}`},
		{"/v1/rostra/counters?dc=dc2", 500, "No path to datacenter"},
	} {
		if status, body := do(t, "GET", listener.URL+c.path, ""); status != c.status || body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.path, status, body, c.status, c.body)
		}
	}
}

func TestTravel(t *testing.T) {
	conf := defaults()
	roomtest.Travel(t, Room, roomtest.Case{Query: configQuery{}, Answers: []any{(*Config)(nil), &conf}},
		roomtest.Case{Query: usageQuery{}, Answers: []any{usage{}, usage{Services: 1, Nodes: 2}}})
	full := &keyringReport{Datacenters: []string{"dc1", "dc2"}, Pools: []keyringPool{{Datacenter: "dc1", Nodes: 2, Error: "e",
		Messages: []said{{"n", "t"}}, Keys: []counted{{key1, 2}}, Primary: []counted{{key1, 1}}}, {WAN: true}}}
	roomtest.Results(t, Room, map[string][]any{"operator.keyring": {full, &keyringReport{}, (*keyringReport)(nil)},
		"operator.peers":    {peerList{}, peerList{[]peer{{"a", "n", "a:1", true, true, 7}}, 9}},
		"operator.progress": {progress{}, progress{7, 2, -1, []string{"a"}}}, "operator.remove": {true, false}, "operator.transfer": {nil},
		"operator.state": {stateReport{}, stateReport{true, 1, []serverLine{{ID: "a", Node: "n", Gossip: 1, Since: 3, Healthy: true, Contact: -1}}}},
		"autopilot.set":  {true, false}, "operator.status": {servers{}, servers{Leader: "a:1", Peers: []string{"a:1", "b:1"}}}})
}

func FuzzTravel(f *testing.F) { roomtest.Fuzz(f, Room) }
