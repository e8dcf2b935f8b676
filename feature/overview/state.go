package overview

import (
	"maps"
	"slices"
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/authz"
	"rostra/kit/store"
)

//go:generate go tool msgp -file state.go -o state_gen.go -tests=false -io=false -unexported
//msgp:ignore everything

// everything is embedded by Queries about the whole catalog that anybody may ask; what the caller may not see is filtered
// from the answer.
type everything struct{}

// Allowed is always nil.
func (everything) Allowed(authz.Decider) error { return nil }

// Subjects are the tables of nodes, services and checks.
func (everything) Subjects() []store.Subject { return health.EveryQuery{}.Subjects() }

// index is that of an answer about the whole catalog.
func index(r store.Reader) uint64 {
	newest := uint64(0)
	for _, s := range (everything{}).Subjects() {
		newest = max(newest, r.Touched(s))
	}
	return newest
}

// nodesQuery asks for all nodes with what is on them. Its Value is a NodeList.
type nodesQuery struct {
	everything `msg:"-"`
}

// Run lists them by name.
func (q nodesQuery) Run(r store.Reader) room.Answer {
	list := NodeList{}
	for n := range catalog.Nodes.All(r) {
		list = append(list, nodeOf(r, n))
	}
	return room.Answer{Value: list, Index: index(r)}
}

// nodeOf gathers what is on a node.
func nodeOf(r store.Reader, n *catalog.Node) *Node {
	return &Node{Node: n, Services: slices.Collect(catalog.Services.Prefix(r, catalog.Key(n.Node, ""))),
		Checks: slices.Collect(catalog.Checks.Prefix(r, catalog.Key(n.Node, "")))}
}

// nodeQuery asks for one node with what is on it. Its Value is a *Node, nil if there is none.
type nodeQuery struct {
	everything `msg:"-"`
	Node       string `msg:"Node"` // lower-case
}

// Run finds it.
func (q nodeQuery) Run(r store.Reader) room.Answer {
	n := catalog.Nodes.Get(r, q.Node)
	if n == nil {
		return room.Answer{Value: (*Node)(nil), Index: index(r), Missing: true}
	}
	return room.Answer{Value: nodeOf(r, n), Index: index(r)}
}

// servicesQuery asks for a line about each service. Its Value is a SummaryList.
type servicesQuery struct {
	everything `msg:"-"`
}

// Run sums all instances up.
func (q servicesQuery) Run(r store.Reader) room.Answer {
	return room.Answer{Value: summarize(health.EveryQuery{}.Run(r).Value.(health.EntryList)), Index: index(r)}
}

// totalsQuery asks how many nodes, services and checks there are, and how they do. Its Value is a totals.
type totalsQuery struct {
	everything `msg:"-"`
}

// Allowed asks operator:read.
func (totalsQuery) Allowed(d authz.Decider) error {
	return authz.Require(d, authz.Operator, authz.Read, "")
}

// Run counts. A node is as its own checks are, an instance as its own are, a check as it is.
func (q totalsQuery) Run(r store.Reader) room.Answer {
	var t totals
	var nodes count
	services, checks := counts{}, counts{}
	for n := range catalog.Nodes.All(r) {
		nodes.add(worst(r, n.Node, ""))
	}
	for s := range catalog.Services.All(r) {
		services.of(s.Service).add(worst(r, s.Node, s.ID))
	}
	for c := range catalog.Checks.All(r) {
		checks.of(c.Name).add(c.Status)
	}
	if nodes.Total > 0 {
		t.Nodes = []count{nodes}
	}
	t.Services, t.Checks = services.list(), checks.list()
	return room.Answer{Value: t, Index: index(r)}
}

// worst returns the worst status of an instance's own checks, or of a node's for the instance "".
func worst(r store.Reader, node, instance string) string {
	e := health.Entry{Checks: slices.Collect(catalog.Checks.By(r, "instance", catalog.Key(node, instance)))}
	return e.Status()
}

// counts are counts by name.
type counts map[string]*count

func (m counts) of(name string) *count {
	if m[name] == nil {
		m[name] = &count{Name: name}
	}
	return m[name]
}

func (m counts) list() (all []count) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, *m[name])
	}
	return all
}

// gatewayQuery asks for what a gateway of the service mesh serves, which has none. Its Value is a nothing.
type gatewayQuery struct {
	Gateway string `msg:"Gateway"` // lower-case
}

// Allowed asks service:read.
func (q gatewayQuery) Allowed(d authz.Decider) error {
	return authz.Require(d, authz.Service, authz.Read, q.Gateway)
}

// Subjects is the gateway's, which is a service.
func (q gatewayQuery) Subjects() []store.Subject {
	return []store.Subject{catalog.ServiceSubject(q.Gateway)}
}

// Run finds nothing.
func (q gatewayQuery) Run(r store.Reader) room.Answer {
	return room.Answer{Value: nothing{}, Index: catalog.ServiceIndex(r, q.Gateway, false)}
}

// topologyQuery asks what a service talks to through the service mesh. Its Value is a topology.
type topologyQuery struct {
	Service string `msg:"Service"` // lower-case
}

// Allowed asks service:read.
func (q topologyQuery) Allowed(d authz.Decider) error {
	return authz.Require(d, authz.Service, authz.Read, q.Service)
}

// Subjects is the service's.
func (q topologyQuery) Subjects() []store.Subject {
	return []store.Subject{catalog.ServiceSubject(q.Service)}
}

// Run finds nothing: no proxy is known of any service.
func (q topologyQuery) Run(r store.Reader) room.Answer {
	return room.Answer{Value: topology{}, Index: catalog.ServiceIndex(r, q.Service, true)}
}

// summarize sums the instances of each service up, by name; of names that differ in case the first counts. The list is
// by node.
func summarize(list health.EntryList) SummaryList {
	sums := map[string]*summary{}
	for _, e := range list {
		key := strings.ToLower(e.Service.Service)
		if sums[key] == nil {
			sums[key] = &summary{Name: e.Service.Service}
		}
		sums[key].add(e)
	}
	all := slices.Collect(maps.Values(sums))
	slices.SortFunc(all, func(a, b *summary) int { return strings.Compare(a.Name, b.Name) })
	return all
}
