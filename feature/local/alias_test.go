package local

import (
	"strings"
	"testing"

	"rostra/feature/catalog"
	"rostra/kit/fault"
)

// shows waits until a check of the agent has the status and an output that begins so.
func (a *agent) shows(id, status, output string) {
	a.t.Helper()
	var last *catalog.Check
	waitFor(a.t, func() bool {
		last = a.checks()[id]
		return last != nil && last.Status == status && strings.HasPrefix(last.Output, output)
	})
}

// Spec agent.md §6, alias: a service of this node is followed without servers and without an interval.
func TestAliasOfThisNode(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.put("service/register", `{"Name":"side","Check":{"Name":"copy","AliasService":"db"}}`)
	a.shows("service:side", "critical", "Service db could not be found on node n1")
	a.put("service/register", `{"Name":"db"}`)
	a.shows("service:side", "passing", "No checks found.")
	a.put("service/register", `{"Name":"db","Checks":[{"CheckID":"one","Name":"One","TTL":"1h","Status":"passing"},{"CheckID":"two","Name":"Two","TTL":"1h"}]}`)
	a.shows("service:side", "critical", `Aliased check "Two" failing: `)
	a.put("check/pass/two", "")
	a.shows("service:side", "passing", "All checks passing.")
	a.put("check/warn/one?note=slow", "")
	a.shows("service:side", "warning", `Aliased check "One" failing: slow`)
	a.put("maintenance?enable=true&reason=disk", "")
	a.shows("service:side", "critical", `Aliased check "Node Maintenance Mode" failing: `)
	a.put("maintenance?enable=false", "")
	a.put("check/pass/one", "")
	a.shows("service:side", "passing", "All checks passing.")
	a.put("service/deregister/db", "")
	a.shows("service:side", "critical", "Service db could not be found on node n1")
	if row := a.checks()["service:side"]; row.Type != "alias" || row.Interval != "" {
		t.Errorf("type %q, interval %q", row.Type, row.Interval)
	}
	a.settle()
	l.agree(a)
}

// The node's own name means this node; no service means the node's own checks.
func TestAliasOfTheNodeItself(t *testing.T) {
	a := newLab(t).must(nil, "", defaults())
	a.put("service/register", `{"Name":"db","Check":{"TTL":"1h"}}`)
	a.put("service/register", `{"Name":"side","Check":{"AliasNode":"N1"}}`)
	a.shows("service:side", "passing", "No checks found.")
	a.put("check/register", `{"Name":"disk","TTL":"1h","Status":"warning"}`)
	a.shows("service:side", "warning", `Aliased check "disk" failing: `)
}

// Checks of the node that copy each other are as healthy as what they copy: they do not keep each other critical.
func TestAliasesInACircle(t *testing.T) {
	a := newLab(t).must(nil, "", defaults())
	for _, name := range []string{"db", "web"} {
		a.put("service/register", `{"Name":"`+name+`","Check":{"Name":"`+name+`","TTL":"1h","Status":"passing"}}`)
		a.put("check/register", `{"Name":"copy of `+name+`","AliasService":"`+name+`"}`)
	}
	a.shows("copy of db", "passing", "All checks passing.")
	a.shows("copy of web", "passing", "All checks passing.")
	a.put("check/fail/service:db?note=full", "")
	a.shows("copy of db", "critical", `Aliased check "db" failing: full`)
	a.shows("copy of web", "critical", `Aliased check "copy of db" failing: Aliased check "db" failing: full`)
	a.put("check/pass/service:db", "")
	a.shows("copy of db", "passing", "All checks passing.")
	a.shows("copy of web", "passing", "All checks passing.")
}

// A service of another node is watched in the catalog, with that node's own checks.
func TestAliasOfAnotherNode(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	row := func(check, service, status string) *catalog.Check {
		return &catalog.Check{Node: "Far", CheckID: check, Name: check, Status: status, ServiceID: service, Output: "says " + check}
	}
	put := func(c *catalog.Register) {
		t.Helper()
		c.Row = &catalog.Node{Node: "Far", Address: "10.0.0.9"}
		l.apply(c)
	}
	a.put("service/register", `{"Name":"side","Checks":[{"CheckID":"svc","AliasNode":"far","AliasService":"db-1"},{"CheckID":"node","AliasNode":"far"}]}`)
	a.shows("svc", "critical", "Service db-1 could not be found on node far")
	a.shows("node", "critical", "Node far could not be found")
	put(&catalog.Register{})
	a.shows("node", "passing", "No checks found.")
	put(&catalog.Register{Service: &catalog.Service{Node: "Far", ID: "db-1", Service: "db"}, Checks: []*catalog.Check{row("c1", "db-1", "passing")}})
	a.shows("svc", "passing", "All checks passing.")
	put(&catalog.Register{Service: &catalog.Service{Node: "Far", ID: "db-2", Service: "db"}, Checks: []*catalog.Check{row("c2", "db-2", "critical")}})
	put(&catalog.Register{Checks: []*catalog.Check{row("serfHealth", "", "warning")}})
	a.shows("svc", "warning", `Aliased check "serfHealth" failing: says serfHealth`)
	a.shows("node", "warning", `Aliased check "serfHealth" failing: says serfHealth`)
	put(&catalog.Register{Checks: []*catalog.Check{row("c1", "db-1", "critical")}})
	a.shows("svc", "critical", `Aliased check "c1" failing: says c1`)
	l.apply(&catalog.Deregister{Node: "Far"})
	a.shows("svc", "critical", "Service db-1 could not be found on node far")
	a.shows("node", "critical", "Node far could not be found")
}

// While no server answers, the status stays.
func TestAliasWithoutServers(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	l.door.shut(fault.ErrNoLeader)
	a.put("service/register", `{"Name":"side","Check":{"AliasNode":"far","AliasService":"db","Status":"passing"}}`)
	waitFor(t, func() bool { return strings.Contains(a.logged(), "cannot follow what an alias check copies") })
	a.shows("service:side", "passing", "")
}
