package agent

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"rostra/kit/httpd"
	"rostra/kit/simnet"
)

// TestQueryFailover: what is not to be had in a datacenter a prepared query finds in the nearest one that has it, whatever agent
// is asked; a datacenter that is cut off is passed over.
func TestQueryFailover(t *testing.T) {
	inWorld(t, 21, func(one *world) {
		w := simulateThree(one)
		w.queries()
		w.finds("db", "", "dc1", 0, "dc1-1", "dc1-2")
		w.finds("db", "?limit=1", "dc1", 0, "*")
		w.want(w.home[0], "PUT", "/v1/catalog/deregister", `{"Node":"dc1-1"}`, 200, "true")
		w.want(w.home[0], "PUT", "/v1/catalog/deregister", `{"Node":"dc1-2"}`, 200, "true")
		w.finds("db", "", "dc3", 1, "dc3-1", "dc3-2")
		w.finds("db", "?limit=1", "dc3", 1, "*")
		w.finds("db", "?stale", "dc3", 1, "dc3-1", "dc3-2")
		w.finds("named", "", "dc2", 1, "dc2-1", "dc2-2")
		w.finds("targets", "", "dc2", 1, "dc2-1", "dc2-2")
		w.finds("tpl-dc2", "", "dc2", 1, "dc2-1", "dc2-2")
		w.finds("alone", "", "dc1", 0)
		w.finds("none", "", "dc2", 2)
		for _, n := range w.home {
			w.want(n, "GET", "/v1/query/db/execute?dc=dc2", "", 404, "Query not found")
		}
		w.net.Partition([]string{"10.2.0.1", "10.2.0.2"})
		w.finds("db", "", "dc2", byNearness, "dc2-1", "dc2-2")
		w.finds("named", "", "dc2", 1, "dc2-1", "dc2-2")
		w.until("a datacenter that gossip knows to be dead", time.Minute, func() bool { return w.home[0].alive() == 2 })
		if took := w.finds("db", "", "dc2", byNearness, "dc2-1", "dc2-2"); took > time.Second {
			t.Errorf("of what gossip knows to be dead %v is lost", took)
		}
	})
}

// three are a server and an agent in each of dc1, dc2 and dc3, which are 10 ms from dc1 to dc3 and 80 ms to dc2.
type three struct {
	wan
	home []*simNode
}

func simulateThree(one *world) *three {
	w := &three{wan: wan{world: one, doors: map[*Agent]*httpd.Server{}}}
	for site, delay := range map[int]time.Duration{1: 80 * time.Millisecond, 2: 10 * time.Millisecond} {
		for i := range 2 {
			for k := range 2 {
				here, there := fmt.Sprintf("10.0.0.%d", i+1), fmt.Sprintf("10.%d.0.%d", site, k+1)
				one.net.Link(here, there, simnet.Link{Delay: delay})
				one.net.Link(there, here, simnet.Link{Delay: delay})
			}
		}
	}
	w.home = one.add("dc1", 0, 1, 1)
	servers := []*simNode{w.home[0]}
	for site, dc := range []string{"dc2", "dc3"} {
		servers = append(servers, one.add(dc, site+1, 1, 1, "-retry-join-wan=10.0.0.1")[0])
	}
	w.until("all servers in one pool", 3*time.Minute, func() bool {
		return !slices.ContainsFunc(servers, func(n *simNode) bool { return n.alive() != 3 })
	})
	for _, n := range servers {
		for i := range 2 {
			dc := n.host.Self.Datacenter
			w.until("a server that writes", time.Minute, func() bool {
				return w.ask(n, "PUT", "/v1/catalog/register", fmt.Sprintf(`{"Node":"%s-%d","Address":"192.0.2.%d","Service":{"Service":"db"}}`, dc, i+1, i+1)).status == 200
			})
		}
	}
	w.until("the order of nearness", 10*time.Minute, func() bool {
		return w.ask(servers[0], "GET", "/v1/catalog/datacenters", "").body == `["dc1","dc3","dc2"]`
	})
	w.until("an agent that serves", time.Minute, func() bool { return w.ask(w.home[1], "GET", "/v1/kv/none", "").status == 404 })
	return w
}

func (w *three) queries() {
	w.t.Helper()
	for _, body := range []string{
		`{"Name":"db","Service":{"Service":"db","Near":"_agent","Failover":{"NearestN":2}}}`,
		`{"Name":"named","Service":{"Service":"db","Failover":{"Datacenters":["dc9","dc2","dc3"]}}}`,
		`{"Name":"targets","Service":{"Service":"db","Failover":{"Targets":[{"Datacenter":"dc2"},{"Datacenter":"dc3"}]}}}`,
		`{"Name":"tpl-","Template":{"Type":"name_prefix_match"},"Service":{"Service":"db","Failover":{"Datacenters":["${name.suffix}"]}}}`,
		`{"Name":"alone","Service":{"Service":"db"}}`,
		`{"Name":"none","Service":{"Service":"none","Failover":{"NearestN":1,"Datacenters":["dc2"]}}}`,
	} {
		w.want(w.home[1], "POST", "/v1/query", body, 200, `"ID"`)
	}
}

// byNearness is as many failovers as the datacenter has place in the order of nearness: places are estimates, and move when a
// datacenter is no longer heard.
const byNearness = -1

// place is where a datacenter stands in that order now.
func (w *three) place(dc string) int {
	var order []string
	if err := json.Unmarshal([]byte(w.ask(w.home[0], "GET", "/v1/catalog/datacenters", "").body), &order); err != nil {
		w.t.Fatal(err)
	}
	return slices.Index(order, dc)
}

// finds executes a query through each agent of dc1, compares, and returns the longest time it took. "*" is any one node.
func (w *three) finds(name, params, dc string, failovers int, nodes ...string) (longest time.Duration) {
	w.t.Helper()
	asked := failovers
	for _, n := range w.home {
		before := w.place(dc)
		a := w.want(n, "GET", "/v1/query/"+name+"/execute"+params, "", 200, "")
		var got struct {
			Datacenter string
			Failovers  int
			Nodes      []struct {
				Node struct{ Node, Datacenter string }
			}
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			w.t.Fatalf("%s: %v: %s", name, err, a.body)
		}
		var found []string
		for _, e := range got.Nodes {
			if found = append(found, e.Node.Node); e.Node.Datacenter != dc {
				w.t.Errorf("%s: %s is of %s", name, e.Node.Node, e.Node.Datacenter)
			}
		}
		slices.Sort(found)
		if slices.Equal(nodes, []string{"*"}) && len(found) == 1 {
			found = nodes
		}
		if asked == byNearness {
			if failovers = before; got.Failovers != before {
				failovers = w.place(dc)
			}
		}
		if got.Datacenter != dc || got.Failovers != failovers || !slices.Equal(found, nodes) {
			w.t.Errorf("%s%s through %s: %v in %s after %d failovers, want %v in %s after %d", name, params, n.name, found, got.Datacenter, got.Failovers, nodes, dc, failovers)
		}
		longest = max(longest, a.took)
	}
	return longest
}
