package operator

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"rostra/engine/room"
	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// start runs the feature on a lone server, and waits until its autopilot has looked.
func start(t *testing.T) *servertest.Agent {
	t.Helper()
	a := servertest.Start(t, []room.Room{catalog.Room, Room}, map[string]any{Room.Name: &Settings{CleanupDeadServers: true,
		LastContactThreshold: 200 * time.Millisecond, MaxTrailingLogs: 250, ServerStabilizationTime: 10 * time.Second}})
	if status, _, body := a.Do("GET", "/v1/operator/autopilot/health", ""); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	return a
}

var (
	numbers = regexp.MustCompile(`("Last(?:Index|Term)"|"(?:Create|Modify)?Index"):\d+`)
	times   = regexp.MustCompile(`"StableSince":"[^"]+"`)
)

// masked hides what differs from run to run.
func masked(body string) string {
	return strings.TrimSuffix(times.ReplaceAllString(numbers.ReplaceAllString(body, "$1:N"), `"StableSince":T`), "\n")
}

func TestHTTP(t *testing.T) {
	a := start(t)
	if _, _, body := a.Do("GET", "/v1/operator/raft/configuration", ""); !strings.Contains(body, `],"Index":1}`) {
		t.Errorf("a new cluster's servers are those of entry 1: %s", body)
	}
	register := `{"Node":"n1","ID":"s1","Address":"127.0.0.1","NodeMeta":{"rack":"b2"},"Service":{"Service":"consul","Port":8300}}`
	if status, _, body := a.Do("PUT", "/v1/catalog/register", strings.Replace(register, `"s1"`, `"6f1a2c30-98aa-4d0e-8d7b-0c2f5d1f9a11"`, 1)); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for _, service := range []string{`{"Service":"web","ID":"web1"}`, `{"Service":"web","ID":"web2"}`, `{"Service":"gate","Kind":"mesh-gateway"}`} {
		if status, _, body := a.Do("PUT", "/v1/catalog/register", `{"Node":"n2","Address":"127.0.0.2","Service":`+service+`}`); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	gone := `{"Node":"n3","Address":"127.0.0.3"}` // counts no more
	for _, what := range []string{"register", "deregister"} {
		if status, _, body := a.Do("PUT", "/v1/catalog/"+what, gone); status != 200 {
			t.Fatalf("%s: %d %s", what, status, body)
		}
	}
	const (
		config = `{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,"ServerStabilizationTime":"10s",` +
			`"RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":N,"ModifyIndex":N}`
		counts = `{"Services":3,"ServiceInstances":4,"ConnectServiceInstances":{"api-gateway":0,"connect-native":0,"connect-proxy":0,` +
			`"ingress-gateway":0,"mesh-gateway":1,"terminating-gateway":0},"BillableServiceInstances":2,"Nodes":2}`
	)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "raft/configuration", "", 200, `{"Servers":[{"ID":"s1","Node":"n1","Address":"127.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true,"LastIndex":N}],"Index":N}`},
		{"GET", "raft/configuration?stale", "", 200, `{"Servers":[{"ID":"s1","Node":"n1","Address":"127.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true,"LastIndex":N}],"Index":N}`},
		{"GET", "raft/configuration?dc=dc9", "", 500, "No path to datacenter"},
		{"POST", "raft/transfer-leader", "", 500, "cannot find peer"},
		{"POST", "raft/transfer-leader?id=zz", "", 500, "Could not find address for server id zz"},
		{"DELETE", "raft/peer", "", 400, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove"},
		{"DELETE", "raft/peer?id=a&address=b", "", 400, "Must specify only one of ?id or ?address"},
		{"DELETE", "raft/peer?address=10.4.0.9:8300", "", 500, `address "10.4.0.9:8300" was not found in the Raft configuration`},
		{"DELETE", "raft/peer?id=zzz", "", 500, `id "zzz" was not found in the Raft configuration`},
		{"DELETE", "raft/peer?id=s1", "", 500, "cannot take out server s1: no other server votes"},
		{"GET", "autopilot/configuration", "", 200, config},
		{"GET", "autopilot/health", "", 200, `{"Healthy":true,"FailureTolerance":0,"Servers":[{"ID":"s1","Name":"n1","Address":"127.0.0.1:8300","SerfStatus":"alive",` +
			`"Version":"1.21.4","Leader":true,"LastContact":"0s","LastTerm":N,"LastIndex":N,"Healthy":true,"Voter":true,"StableSince":T}]}`},
		{"GET", "autopilot/state", "", 200, `{"Healthy":true,"FailureTolerance":0,"OptimisticFailureTolerance":0,"Servers":{"s1":{"ID":"s1","Name":"n1",` +
			`"Address":"127.0.0.1:8300","NodeStatus":"alive","Version":"1.21.4","LastContact":"0s","LastTerm":N,"LastIndex":N,"Healthy":true,"StableSince":T,` +
			`"ReadReplica":false,"Status":"leader","Meta":{},"NodeType":"voter"}},"Leader":"s1","Voters":["s1"]}`},
		{"GET", "usage", "", 200, `{"Usage":{"dc1":` + counts + `},"Index":N,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"leader",` +
			`"NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`},
		{"GET", "usage?global&stale", "", 200, `{"Usage":{"dc1":` + counts + `},"Index":N,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"stale",` +
			`"NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`},
		{"PUT", "autopilot/configuration", `{`, 400, "Error parsing autopilot config: unexpected EOF"},
		{"PUT", "autopilot/configuration", `{"MinQuorom":3}`, 400, `Error parsing autopilot config: json: unknown field "MinQuorom"`},
		{"PUT", "autopilot/configuration", `{"MaxTrailingLogs":-1}`, 400,
			"Error parsing autopilot config: json: cannot unmarshal number -1 into Go struct field Config.MaxTrailingLogs of type uint64"},
		{"PUT", "autopilot/configuration", `{"LastContactThreshold":"-1s"}`, 400, "Error parsing autopilot config: LastContactThreshold is -1s; use a duration of 0s or more"},
		{"PUT", "autopilot/configuration?cas=x", `{}`, 400, `Error parsing cas value: strconv.ParseUint: parsing "x": invalid syntax`},
		{"PUT", "autopilot/configuration?cas=0", `{"MinQuorum":7}`, 200, "false"},
		{"PUT", "autopilot/configuration?cas=99999", `{"MinQuorum":7}`, 200, "false"},
		{"PUT", "autopilot/configuration", `{"MinQuorum":3,"CleanupDeadServers":false,"MaxTrailingLogs":9,"ModifyIndex":4}`, 200, "true"},
		{"PUT", "autopilot/configuration", `{"MinQuorum":3,"ServerStabilizationTime":5000000000,"LastContactThreshold":"1s"}`, 200, "true"},
		{"GET", "autopilot/configuration", "", 200, strings.NewReplacer(`"200ms"`, `"1s"`, `"10s"`, `"5s"`, `"MinQuorum":0`, `"MinQuorum":3`).Replace(config)},
	} {
		status, header, body := a.Do(c.method, "/v1/operator/"+c.path, c.body)
		if status != c.status || masked(body) != c.want {
			t.Errorf("%s %s %s: %d %q\nwant %d %q", c.method, c.path, c.body, status, masked(body), c.status, c.want)
		}
		if sends := header.Get("X-Consul-Index") != ""; sends != strings.HasPrefix(c.path, "usage") {
			t.Errorf("%s %s sends an index: %t", c.method, c.path, sends)
		}
	}
}

// TestCompareAndSwap: who has read a configuration that was changed since does not change it, and the same again is no
// change.
func TestCompareAndSwap(t *testing.T) {
	a := start(t)
	client, err := api.NewClient(&api.Config{Address: a.URL, Transport: a.HTTP})
	if err != nil {
		t.Fatal(err)
	}
	operator := client.Operator()
	before, err := operator.AutopilotGetConfiguration(nil)
	if err != nil {
		t.Fatal(err)
	}
	mine, other := *before, *before
	mine.MinQuorum, other.MinQuorum = 3, 5
	if done, err := operator.AutopilotCASConfiguration(&mine, nil); err != nil || !done {
		t.Fatalf("%t %v", done, err)
	}
	if done, err := operator.AutopilotCASConfiguration(&other, nil); err != nil || done {
		t.Fatalf("an old one was swapped: %t %v", done, err)
	}
	now, err := operator.AutopilotGetConfiguration(nil)
	if err != nil || now.MinQuorum != 3 || now.CreateIndex != before.CreateIndex || now.ModifyIndex <= before.ModifyIndex {
		t.Fatalf("%+v %v", now, err)
	}
	if err := operator.AutopilotSetConfiguration(now, nil); err != nil {
		t.Fatal(err)
	}
	if again, err := operator.AutopilotGetConfiguration(nil); err != nil || again.ModifyIndex != now.ModifyIndex {
		t.Errorf("%+v %v", again, err)
	}
}

// TestShapes: unhealthy servers, replicas and non-voters as clients read them.
func TestShapes(t *testing.T) {
	since := time.Date(2026, 11, 26, 12, 0, 0, 5, time.UTC)
	report := stateReport{Tolerance: 1, Servers: []serverLine{
		{ID: "s3", Node: "c", Gossip: 4, Voter: true, Contact: -1, Since: since.UnixNano()},
		{ID: "s2", Node: "b", Gossip: 1, Voter: true, Healthy: true, Since: since.UnixNano()},
		{ID: "s5", Node: "e", Gossip: 1, Replica: true, Healthy: true, Since: since.UnixNano()},
		{ID: "s4", Gossip: 0, Since: since.UnixNano()},
		{ID: "s6", Node: "a", Gossip: 1, Voter: true, Leader: true, Healthy: true, Since: since.UnixNano()},
	}}
	b, err := json.Marshal(newStateJSON(report))
	if err != nil {
		t.Fatal(err)
	}
	var state api.AutopilotState
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(state.Voters, " ") + "," + strings.Join(state.ReadReplicas, " ") + "," + state.Leader; got != "s6 s2 s3,s5,s6" {
		t.Errorf("%s", got)
	}
	for id, want := range map[string]string{"s2": "alive voter voter", "s3": "failed voter voter", "s4": "none non-voter voter",
		"s5": "alive non-voter read-replica", "s6": "alive leader voter"} {
		s := state.Servers[id]
		if got := s.NodeStatus + " " + string(s.Status) + " " + string(s.NodeType); got != want || !s.StableSince.Equal(since) {
			t.Errorf("%s: %q %s", id, got, s.StableSince)
		}
	}
}

// rights is a Decider that allows one access to the operator's things.
type rights authz.Access

func (x rights) Allowed(r authz.Resource, a authz.Access, _ string, _ bool) bool {
	return r == authz.Operator && a == authz.Access(x)
}

func TestRights(t *testing.T) {
	for _, c := range []struct {
		name  string
		asks  func(authz.Decider) error
		needs authz.Access
	}{
		{"config", configQuery{}.Allowed, authz.Read}, {"usage", usageQuery{}.Allowed, authz.Read}, {"state", new(stateAsk).Allowed, authz.Read},
		{"peers", new(peersAsk).Allowed, authz.Read},
		{"remove", new(removeAsk).Allowed, authz.Write}, {"transfer", new(transferAsk).Allowed, authz.Write},
		{"set", func(d authz.Decider) error { return new(setConfig).Allowed(nil, d) }, authz.Write},
	} {
		for _, has := range []authz.Access{authz.Read, authz.Write} {
			if err := c.asks(rights(has)); (err == nil) != (has == c.needs) || err != nil && !fault.Is(err, fault.Denied) {
				t.Errorf("%s with %s: %v", c.name, has, err)
			}
		}
	}
}

// TestClientAgents: what needs a server says so where there is none.
func TestClientAgents(t *testing.T) {
	for _, p := range []room.Procedure{&peersAsk{}, &stateAsk{}} {
		if _, err := p.Call(t.Context(), &room.Host{}); !fault.Is(err, fault.Refused) {
			t.Errorf("%s: %v", p.Name(), err)
		}
	}
}

func FuzzMessages(f *testing.F) {
	for _, m := range []interface{ MarshalMsg([]byte) ([]byte, error) }{
		&setConfig{Config: defaults(), Compare: true, Index: 7}, &removeAsk{ID: "a", Address: "b"}, &transferAsk{"a"},
		&stateReport{Servers: []serverLine{{ID: "a"}}}, &peerList{Peers: []peer{{ID: "a"}}}, &progress{Peers: []string{"a"}}, &usage{Nodes: 1}} {
		b, err := m.MarshalMsg(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, q := range queries {
			_, _, _ = q.Query.Read(b)
			_, _, _ = q.Answer.Read(b)
		}
		for _, c := range calls {
			_, _ = c.New().UnmarshalMsg(b)
			_, _, _ = c.Result.Read(b)
		}
		_, _ = new(setConfig).UnmarshalMsg(b)
	})
}

// handing is a Door whose leader hands its leadership over when it is to be removed.
type handing struct {
	room.Door
	answers []any // of Call, in turn: a bool or an error
}

func (h *handing) Call(context.Context, room.Procedure, room.Options) (room.Result, room.Meta, error) {
	next := h.answers[0]
	h.answers = h.answers[1:]
	if err, is := next.(error); is {
		return nil, room.Meta{}, err
	}
	return next, room.Meta{}, nil
}

// TestRemoveTheLeader: the request goes on until the next leader has done it.
func TestRemoveTheLeader(t *testing.T) {
	refused := fault.New(fault.Refused, "no")
	for _, c := range []struct {
		answers []any
		want    error
		left    int // answers that nobody asked for
	}{
		{[]any{false, false}, nil, 1},
		{[]any{true, true, false, false}, nil, 1},
		{[]any{true, refused, false}, refused, 1},
		{[]any{fault.ErrNoLeader, false}, fault.ErrNoLeader, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			door := &handing{answers: c.answers}
			server, err := httpd.New(httpd.Options{}, raftRoutes(&room.Host{Door: door}))
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			server.Handler().ServeHTTP(w, httptest.NewRequest("DELETE", "/v1/operator/raft/peer?id=a", nil))
			text := ""
			if c.want != nil {
				text = c.want.Error()
			}
			if (w.Code == 200) != (c.want == nil) || w.Body.String() != text || len(door.answers) != c.left {
				t.Errorf("%v: %d %q, %d left", c.answers, w.Code, w.Body, len(door.answers))
			}
		})
	}
}
