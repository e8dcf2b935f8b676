package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
	"rostra/feature/coordinate"
	"rostra/feature/health"
	"rostra/kit/fault"
	"rostra/kit/wire"
)

// said is the answer of execute, as a client reads it.
type said struct {
	Service string
	Nodes   []struct {
		Node    struct{ Node string }
		Service struct{ ID string }
	}
	DNS              struct{ TTL string }
	Datacenter       string
	Failovers, Index int
}

// nodes returns the nodes in their order.
func (s said) nodes() string {
	var list []string
	for _, n := range s.Nodes {
		list = append(list, n.Node.Node)
	}
	return strings.Join(list, " ")
}

// sortedNodes returns them by name.
func (s said) sortedNodes() string {
	list := strings.Fields(s.nodes())
	slices.Sort(list)
	return strings.Join(list, " ")
}

func execute(t *testing.T, a *servertest.Agent, path string) said {
	t.Helper()
	status, h, body := a.Do("GET", "/v1/query/"+path, "")
	var s said
	if err := json.Unmarshal([]byte(body), &s); status != 200 || err != nil || h.Get("X-Consul-Index") != "1" || s.Index != 1 {
		t.Fatalf("%s: %d %s %v %v", path, status, body, h, err)
	}
	return s
}

// startCity runs a server that knows instances of db on n1 to n6, of which n3 is the nearest to n1, the agent, n2 farther,
// and of n4 to n6 nobody knows the place.
func startCity(t *testing.T) *servertest.Agent {
	t.Helper()
	a := startInside(t)
	for i, node := range []string{"n1", "n2", "n3", "n4", "n5", "n6"} {
		r := &catalog.Register{Row: &catalog.Node{Node: node, Address: fmt.Sprintf("10.0.0.%d", i+1), Datacenter: "dc1",
			Meta: wire.Pairs{{Key: "rack", Value: fmt.Sprint(i % 2)}}}}
		r.Service = &catalog.Service{ID: "db", Service: "DB", Tags: []string{"Primary", node}, Meta: wire.Pairs{{Key: "v", Value: fmt.Sprint(i / 3)}}, Port: 80 + i}
		r.Checks = []*catalog.Check{{CheckID: "up", Status: "passing", ServiceID: "db"}, {CheckID: "node", Status: "passing"}}
		switch node {
		case "n4":
			r.Checks[0].Status = catalog.Warning
		case "n5":
			r.Checks[0].Status = catalog.Critical
		case "n6":
			r.Checks[1].Status = catalog.Critical
		}
		apply(t, a, r)
	}
	at := func(node string, x float64) coordinate.Entry {
		return coordinate.Entry{Node: node, Coord: gossip.Coordinate{Vec: [8]float64{x}, Height: 0.00001, Error: 1.5}}
	}
	apply(t, a, &coordinate.Update{Entries: []coordinate.Entry{at("n1", 0), at("n2", 0.9), at("n3", 0.1)}})
	return a
}

// TestInstances is which instances a query is about.
func TestInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startCity(t)
		for i, c := range []struct{ service, want string }{
			{``, "n1 n2 n3 n4"},
			{`,"OnlyPassing":true`, "n1 n2 n3"},
			{`,"IgnoreCheckIDs":["up"]`, "n1 n2 n3 n4 n5"},
			{`,"IgnoreCheckIDs":["up","node"],"OnlyPassing":true`, "n1 n2 n3 n4 n5 n6"},
			{`,"Tags":["primary"]`, "n1 n2 n3 n4"},
			{`,"Tags":["primary","N2"]`, "n2"},
			{`,"Tags":["n1","n2"]`, ""},
			{`,"Tags":["!n1","!N2"]`, "n3 n4"},
			{`,"Tags":["primary","!Primary"]`, ""},
			{`,"Tags":[""]`, ""},
			{`,"NodeMeta":{"rack":"1"}`, "n2 n4"},
			{`,"NodeMeta":{"rack":"1","x":""}`, ""},
			{`,"ServiceMeta":{"v":"0"}`, "n1 n2 n3"},
			{`,"ServiceMeta":{"v":"0"},"NodeMeta":{"rack":"1"},"Tags":["!x"]`, "n2"},
		} {
			name := fmt.Sprint("q", i)
			post(t, a, `{"Name":"`+name+`","Service":{"Service":"db"`+c.service+`},"DNS":{"TTL":"7s"}}`)
			got := execute(t, a, name+"/execute")
			if got.sortedNodes() != c.want || got.Service != "db" || got.DNS.TTL != "7s" || got.Datacenter != "dc1" || got.Failovers != 0 {
				t.Errorf("%s: %+v, want %s", c.service, got, c.want)
			}
		}
		post(t, a, `{"Name":"none","Service":{"Service":"none","Failover":{"NearestN":3,"Datacenters":["dc2"]}}}`)
		const none = `{"Service":"none","Nodes":[],"DNS":{"TTL":""},"Datacenter":"dc1","PeerName":"","Failovers":0,"Index":1,"LastContact":0,"KnownLeader":true,` +
			`"ConsistencyLevel":"leader","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`
		if status, _, got := a.Do("GET", "/v1/query/none/execute?index=7&wait=1h", ""); status != 200 || got != none {
			t.Errorf("nothing there: %d %s", status, got)
		}
	})
}

// TestExecuteParameters: limit, connect, cached and what else execute reads.
func TestExecuteParameters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startCity(t)
		first := post(t, a, `{"Name":"q","Service":{"Service":"db"}}`)
		template := post(t, a, `{"Name":"t-","Template":{"Type":"name_prefix_match"},"Service":{"Service":"${name.suffix}"}}`)
		for _, c := range []struct {
			path   string
			status int
			want   string
		}{
			{"q/execute?limit=x", 500, `Bad limit: strconv.Atoi: parsing "x": invalid syntax`},
			{"q/execute?connect=x", 500, `Error parsing 'connect' value: strconv.ParseBool: parsing "x": invalid syntax`},
			{"q/execute?connect=true", 400, "?connect=true: there is no service mesh, leave it out"},
			{"q/execute?dc=dc9", 500, "No path to datacenter"},
			{"x/execute", 404, "Query not found"},
			{template + "/execute", 500, "prepared query templates can only be resolved up by name, not by ID"},
			{strings.ToUpper(template) + "/explain", 500, "prepared query templates can only be resolved up by name, not by ID"},
		} {
			if status, _, got := a.Do("GET", "/v1/query/"+c.path, ""); status != c.status || got != c.want {
				t.Errorf("%s: %d %s, want %d %s", c.path, status, got, c.status, c.want)
			}
		}
		for path, want := range map[string]int{"q/execute?limit=2": 2, "q/execute?limit=0": 4, "q/execute?limit=9": 4, "q/execute?connect=false": 4, "Q/execute": 4, first + "/execute": 4,
			"T-DB/execute": 4, "t-db/execute": 4, "t-x/execute": 0, "q/execute?stale": 4, "q/execute?consistent": 4, "q/execute?cached": 4} {
			if got := execute(t, a, path); len(got.Nodes) != want {
				t.Errorf("%s: %s, want %d", path, got.nodes(), want)
			}
		}
		_, h, _ := a.Do("GET", "/v1/query/q/execute?cached", "")
		if h.Get("X-Cache") != "MISS" || h.Get("X-Consul-Effective-Consistency") != "stale" {
			t.Errorf("cached: %v", h)
		}
		if _, h, _ = a.Do("GET", "/v1/query/q/execute?consistent", ""); h.Get("X-Cache") != "" || h.Get("X-Consul-Effective-Consistency") != "consistent" {
			t.Errorf("consistent: %v", h)
		}
		seen := map[string]bool{}
		for range 200 {
			seen[execute(t, a, "q/execute?limit=1").nodes()] = true
		}
		if len(seen) != 4 {
			t.Errorf("not shuffled before it is cut: %v", slices.Sorted(maps.Keys(seen)))
		}
	})
}

// TestNear: who is near what comes first, by the parameter or else by the query.
func TestNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startCity(t)
		post(t, a, `{"Name":"plain","Service":{"Service":"db"}}`)
		post(t, a, `{"Name":"agent","Service":{"Service":"db","Near":"_agent"}}`)
		post(t, a, `{"Name":"n2","Service":{"Service":"db","Near":"N2"}}`)
		post(t, a, `{"Name":"ip","Service":{"Service":"db","Near":"_ip"}}`)
		post(t, a, `{"Name":"t-","Template":{"Type":"name_prefix_match"},"Service":{"Service":"db","Near":"${name.suffix}"}}`)
		for _, c := range []struct{ path, forwarded, want string }{
			{"agent/execute", "", "n1 n3 n2 n4"},
			{"n2/execute", "", "n2 n3 n1 n4"},
			{"n2/execute?near=_agent", "", "n1 n3 n2 n4"},
			{"n2/execute?near=_agent&limit=2", "", "n1 n3"},
			{"plain/execute?near=n2", "", "n2 n3 n1 n4"},
			{"plain/execute?near=n2&dc=dc1", "", "n2 n3 n1 n4"},
			{"plain/execute?near=n4", "", "n4 "}, // its place is not known, but it is there
			{"plain/execute?near=nobody", "", " "},
			{"t-n2/execute", "", "n2 n3 n1 n4"},
			{"ip/execute", "10.0.0.2", "n2 n3 n1 n4"},
			{"ip/execute", "10.0.0.2, 10.0.0.1", "n2 n3 n1 n4"},
			{"ip/execute", "::ffff:10.0.0.1", "n1 n3 n2 n4"},
			{"ip/execute", "10.9.9.9", " "},
			{"ip/execute", "", " "},
			{"plain/execute?near=_ip", "10.0.0.2", "n2 n3 n1 n4"},
		} {
			seen := map[string]bool{}
			for range 20 {
				r := httptest.NewRequest("GET", "/v1/query/"+c.path, nil)
				if c.forwarded != "" {
					r.Header.Set("X-Forwarded-For", c.forwarded)
				}
				var got said
				if err := json.Unmarshal(serve(a, r), &got); err != nil {
					t.Fatal(err)
				}
				if seen[got.nodes()] = true; !strings.HasPrefix(got.nodes(), strings.TrimLeft(c.want, " ")) {
					t.Errorf("%s for %q: %s, want %s", c.path, c.forwarded, got.nodes(), c.want)
				}
			}
			if sorted := !strings.HasSuffix(c.want, " "); sorted != (len(seen) == 1) {
				t.Errorf("%s for %q: %v", c.path, c.forwarded, slices.Sorted(maps.Keys(seen)))
			}
		}
		c := &Execute{Query: "agent", Agent: "n1", AgentDC: "dc2"}
		seen := map[string]bool{}
		for range 20 {
			result, _, err := a.Door.Call(t.Context(), c, room.Options{})
			if err != nil {
				t.Fatal(err)
			}
			seen[result.(*Outcome).Nodes[0].Node.Node] = true
		}
		if len(seen) == 1 {
			t.Error("sorted by the place of an agent in another datacenter")
		}
	})
}

// serve asks the agent's handler itself.
func serve(a *servertest.Agent, r *http.Request) []byte {
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, r)
	return w.Body.Bytes()
}

// abroad is a door whose other datacenters answer with so many instances, fail or are silent.
type abroad struct {
	room.Door
	has   map[string]int
	asked []string
}

func (d *abroad) Call(ctx context.Context, p room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	g := p.(*Gather)
	d.asked = append(d.asked, fmt.Sprint(o.Datacenter, " ", g.Service.Service, " ", g.Limit, " ", g.Reading.Token, o.Token))
	n, there := d.has[o.Datacenter]
	switch {
	case !there:
		return nil, room.Meta{}, errors.New("unreachable")
	case n < 0:
		<-ctx.Done()
		return nil, room.Meta{}, fault.New(fault.Unknown, "%v", ctx.Err())
	}
	found := &Outcome{Service: g.Service.Service, Datacenter: o.Datacenter}
	for i := range n {
		found.Nodes = append(found.Nodes, &health.Entry{Node: &catalog.Node{Node: fmt.Sprint(o.Datacenter, i)}, Service: &catalog.Service{}})
	}
	return found, room.Meta{}, nil
}

// TestFailover: which datacenters are asked, in what order, and what counts. Without places those of roster.Of are by name.
func TestFailover(t *testing.T) {
	has := map[string]int{"dc2": 0, "dc3": 2, "dc4": 1, "dc6": -1}
	for _, c := range []struct {
		failover Failover
		asked    string
		dc       string
		found    int
	}{
		{Failover{}, "", "dc1", 0},
		{Failover{NearestN: 1}, "dc2", "dc2", 0},
		{Failover{NearestN: 2}, "dc2 dc3", "dc3", 2},
		{Failover{NearestN: 99}, "dc2 dc3", "dc3", 2},
		{Failover{Datacenters: []string{"dc4", "dc3"}}, "dc4", "dc4", 1},
		{Failover{NearestN: 1, Datacenters: []string{"dc2", "dc5", "dc5", "dc4"}}, "dc2 dc5 dc4", "dc4", 1},
		{Failover{Datacenters: []string{"dc9", "dc1", "", "dc5"}}, "dc5", "dc5", 0},
		{Failover{Targets: []Target{{Datacenter: "dc5"}, {Datacenter: "dc4"}, {Datacenter: "dc3"}}}, "dc5 dc4", "dc4", 1},
		{Failover{Datacenters: []string{"dc6", "dc4"}}, "dc6 dc4", "dc4", 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &abroad{has: has}
			var servers []roster.Server
			for _, dc := range []string{"dc1", "dc2", "dc3", "dc4", "dc5", "dc6"} {
				servers = append(servers, roster.Server{ID: dc, Datacenter: dc})
			}
			h := &room.Host{Door: d, Log: slog.New(slog.DiscardHandler), Roster: roster.Of("dc1", servers...)}
			found := &Outcome{Datacenter: "dc1"}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			began := time.Now()
			(&search{h, &Service{Service: "db", Failover: c.failover}, 7, room.Options{Token: "x"}}).elsewhere(ctx, found)
			var asked []string
			for _, dc := range strings.Fields(c.asked) {
				asked = append(asked, dc+" db 7 xx")
			}
			if !slices.Equal(d.asked, asked) || found.Failovers != len(asked) || found.Datacenter != c.dc || len(found.Nodes) != c.found || time.Since(began) >= 3*time.Second {
				t.Errorf("%+v: asked %q after %v, found %+v; want %q", c.failover, d.asked, time.Since(began), found, asked)
			}
		})
	}
}

// noting is a door that notes by whose token services are looked for.
type noting struct {
	room.Door
	by []string
}

func (d *noting) Read(ctx context.Context, q room.Query, o room.Options) (room.Answer, room.Meta, error) {
	if _, is := q.(health.ServiceQuery); is {
		d.by = append(d.by, "here "+o.Token)
	}
	return d.Door.Read(ctx, q, o)
}

func (d *noting) Call(_ context.Context, p room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	d.by = append(d.by, o.Datacenter+" "+o.Token+" "+p.(*Gather).Reading.Token)
	return &Outcome{}, room.Meta{}, nil
}

// TestToken: the query's own token counts instead of the caller's, here and elsewhere.
func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startCity(t)
		post(t, a, `{"Name":"own","Token":"secret","Service":{"Service":"none","Failover":{"NearestN":1}}}`)
		post(t, a, `{"Name":"open","Service":{"Service":"none","Failover":{"NearestN":1}}}`)
		for name, token := range map[string]string{"own": "secret", "open": "caller"} {
			d := &noting{Door: a.Door}
			h := &room.Host{Door: d, Log: a.Host.Log, Self: a.Host.Self, Shelf: a.Host.Shelf,
				Roster: roster.Of("dc1", roster.Server{Datacenter: "dc1"}, roster.Server{Datacenter: "dc2"})}
			if _, err := (&Execute{Query: name, Reading: reading{Token: "caller"}}).Call(t.Context(), h); err != nil {
				t.Fatal(err)
			}
			if want := []string{"here " + token, "dc2 " + token + " " + token}; !slices.Equal(d.by, want) {
				t.Errorf("%s: %q, want %q", name, d.by, want)
			}
		}
	})
}

// TestGather: what another datacenter is asked for.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startCity(t)
		c := &Gather{Service: Service{Service: "DB", Tags: []string{"!n1"}, Near: "n2", Failover: Failover{NearestN: 1}}, Limit: 2}
		result, _, err := a.Door.Call(t.Context(), c, room.Options{})
		if err != nil {
			t.Fatal(err)
		}
		found := result.(*Outcome)
		if len(found.Nodes) != 2 || found.Datacenter != "dc1" || found.Failovers != 0 || slices.ContainsFunc(found.Nodes, func(e *health.Entry) bool { return e.Node.Node == "n1" }) {
			t.Errorf("%+v", found)
		}
	})
}
