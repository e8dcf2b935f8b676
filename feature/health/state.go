package health

import (
	"slices"
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/store"
)

//go:generate go tool msgp -file state.go -o state_gen.go -tests=false -io=false
//msgp:ignore Entry

var (
	checksChanged = store.Subject{Kind: "checks"}
	nodesChanged  = store.Subject{Kind: "nodes"}
)

// tables are the subjects of a list of checks: their table, and that of the nodes if the nodes' meta matters.
func tables(meta catalog.Words) []store.Subject {
	if meta != "" {
		return []store.Subject{checksChanged, nodesChanged}
	}
	return []store.Subject{checksChanged}
}

func index(r store.Reader, meta catalog.Words) uint64 {
	i := uint64(0)
	for _, s := range tables(meta) {
		i = max(i, r.Touched(s))
	}
	return i
}

// open is embedded by Queries that anybody may ask; what the caller may not see is filtered from the answer.
type open struct{}

// Allowed is always nil.
func (open) Allowed(authz.Decider) error { return nil }

// Entry is an instance with its node and all checks that count for it: the node's own, then the instance's.
type Entry struct {
	Node    *catalog.Node
	Service *catalog.Service
	Checks  []*catalog.Check
}

// Status is the aggregate over the entry's checks: the worst of them, passing if there are none.
func (e *Entry) Status() string {
	worst := catalog.Passing
	for _, c := range e.Checks {
		switch {
		case c.Status == catalog.Critical:
			return catalog.Critical
		case c.Status != catalog.Passing:
			worst = catalog.Warning
		}
	}
	return worst
}

// passing reports whether every check is passing.
func (e *Entry) passing() bool {
	return !slices.ContainsFunc(e.Checks, func(c *catalog.Check) bool { return c.Status != catalog.Passing })
}

// ServiceQuery asks for the instances of a service with their checks, by node and ID. Its Value is an EntryList.
type ServiceQuery struct {
	open    `msg:"-"`
	Service string        `msg:"Service"` // lower-case
	Tags    catalog.Words `msg:"Tags"`
	Meta    catalog.Words `msg:"Meta"`
	Passing bool          `msg:"Passing"` // only those whose every check is passing
}

// Subjects is the service's.
func (q ServiceQuery) Subjects() []store.Subject {
	return []store.Subject{catalog.ServiceSubject(q.Service)}
}

// Run joins instances, nodes and checks.
func (q ServiceQuery) Run(r store.Reader) room.Answer {
	list := join(r, catalog.InstancesOf(r, q.Service, q.Tags, q.Meta), q.Passing)
	return room.Answer{Value: list, Index: catalog.ServiceIndex(r, q.Service, true)}
}

// join makes entries of instances. A node's own checks are gathered once for all its instances that stand together.
func join(r store.Reader, instances catalog.InstanceList, passing bool) EntryList {
	list := EntryList{}
	var node *catalog.Node
	var own []*catalog.Check
	for _, x := range instances {
		if x.Node != node {
			node, own = x.Node, slices.Collect(catalog.Checks.By(r, "instance", catalog.Key(x.Node.Node, "")))
		}
		e := &Entry{Node: x.Node, Service: x.Service, Checks: slices.Clip(own)}
		for c := range catalog.Checks.By(r, "instance", catalog.Key(x.Node.Node, x.Service.ID)) {
			e.Checks = append(e.Checks, c)
		}
		if !passing || e.passing() {
			list = append(list, e)
		}
	}
	return list
}

// EveryQuery asks for the instances of all services with their checks, by node and ID. Its Value is an EntryList.
type EveryQuery struct {
	open `msg:"-"`
}

// Subjects are the three tables.
func (q EveryQuery) Subjects() []store.Subject {
	return append(catalog.EveryInstanceQuery{}.Subjects(), checksChanged)
}

// Run joins all there is.
func (q EveryQuery) Run(r store.Reader) room.Answer {
	all := catalog.EveryInstanceQuery{}.Run(r)
	return room.Answer{Value: join(r, all.Value.(catalog.InstanceList), false), Index: max(all.Index, r.Touched(checksChanged))}
}

// NodeChecksQuery asks for all checks of a node. Its Value is a CheckList, as that of the two below.
type NodeChecksQuery struct {
	open `msg:"-"`
	Node string `msg:"Node"` // lower-case
}

// Subjects is the table of checks.
func (q NodeChecksQuery) Subjects() []store.Subject { return []store.Subject{checksChanged} }

// Run lists them by ID.
func (q NodeChecksQuery) Run(r store.Reader) room.Answer {
	list := CheckList{}
	for c := range catalog.Checks.Prefix(r, catalog.Key(q.Node, "")) {
		list = append(list, c)
	}
	return room.Answer{Value: list, Index: r.Touched(checksChanged)}
}

// ServiceChecksQuery asks for the checks bound to the instances of a service, on nodes with the meta.
type ServiceChecksQuery struct {
	open    `msg:"-"`
	Service string        `msg:"Service"` // lower-case
	Meta    catalog.Words `msg:"Meta"`
}

// Subjects is the table of checks, and that of nodes if their meta matters.
func (q ServiceChecksQuery) Subjects() []store.Subject { return tables(q.Meta) }

// Run lists them by node and ID.
func (q ServiceChecksQuery) Run(r store.Reader) room.Answer {
	list := CheckList{}
	for c := range catalog.Checks.By(r, "service", q.Service) {
		if onNodeWith(r, c, q.Meta) {
			list = append(list, c)
		}
	}
	return room.Answer{Value: list, Index: index(r, q.Meta)}
}

// StateQuery asks for the checks in a state, "any" for all, on nodes with the meta.
type StateQuery struct {
	open  `msg:"-"`
	State string        `msg:"State"`
	Meta  catalog.Words `msg:"Meta"`
}

// Subjects is the table of checks, and that of nodes if their meta matters.
func (q StateQuery) Subjects() []store.Subject { return tables(q.Meta) }

// Run lists them by node and ID.
func (q StateQuery) Run(r store.Reader) room.Answer {
	list := CheckList{}
	rows := catalog.Checks.By(r, "status", q.State)
	if q.State == "any" {
		rows = catalog.Checks.All(r)
	}
	for c := range rows {
		if onNodeWith(r, c, q.Meta) {
			list = append(list, c)
		}
	}
	return room.Answer{Value: list, Index: index(r, q.Meta)}
}

func onNodeWith(r store.Reader, c *catalog.Check, meta catalog.Words) bool {
	if meta == "" {
		return true
	}
	n := catalog.Nodes.Get(r, strings.ToLower(c.Node))
	return n != nil && n.Meta.Contains(meta.Meta())
}
