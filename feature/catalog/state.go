package catalog

import (
	"slices"
	"sort"
	"strings"

	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/store"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file state.go -o state_gen.go -tests=false -io=false -unexported
//msgp:ignore open

// The subjects of the catalog. A service's is touched by any change to an instance of that name, to its checks, to the
// node's own checks and to the node's row (spec http/conventions.md §8).
var (
	nodesChanged    = store.Subject{Kind: "nodes"}
	servicesChanged = store.Subject{Kind: "services"}
	checksChanged   = store.Subject{Kind: "checks"}
	serviceGone     = store.Subject{Kind: "service.gone"}
	nodeGone        = store.Subject{Kind: "node.gone"}
)

// ServiceSubject is the subject of everything that is known of a service.
func ServiceSubject(name string) store.Subject {
	return store.Subject{Kind: "service", Name: strings.ToLower(name)}
}

func nodeSubject(name string) store.Subject {
	return store.Subject{Kind: "node", Name: strings.ToLower(name)}
}

// ServiceIndex is the index of an answer about the service: its own, or, while it has no instance, that of the last
// extinction, or of the tables if none ever was.
func ServiceIndex(r store.Reader, name string, checks bool) uint64 {
	for range Services.By(r, "name", strings.ToLower(name)) {
		return r.Touched(ServiceSubject(name))
	}
	if i := r.Touched(serviceGone); i > 0 {
		return i
	}
	i := max(r.Touched(nodesChanged), r.Touched(servicesChanged))
	if checks {
		i = max(i, r.Touched(checksChanged))
	}
	return i
}

// Words is a list of words in one comparable value, as Queries must be.
type Words string

// WordsOf makes Words of a list, whose order does not matter, or of the node-meta a request asks for.
func WordsOf[T []string | map[string]string](of T) Words {
	var list []string
	switch of := any(of).(type) {
	case []string:
		list = slices.Clone(of)
	case map[string]string:
		for k, v := range of {
			list = append(list, k+"\x01"+v)
		}
	}
	if len(list) == 1 && list[0] == "" {
		list = append(list, "") // one empty word is not none
	}
	sort.Strings(list)
	return Words(strings.Join(list, "\x00"))
}

// List returns the words.
func (w Words) List() []string {
	if w == "" {
		return nil
	}
	return strings.Split(string(w), "\x00")
}

// Meta reads the Words of node-meta back.
func (w Words) Meta() wire.Pairs {
	var p wire.Pairs
	for _, word := range w.List() {
		k, v, _ := strings.Cut(word, "\x01")
		p = append(p, wire.Pair{Key: k, Value: v})
	}
	return p
}

// open is embedded by Queries that anybody may ask; what the caller may not see is filtered from the answer.
type open struct{}

// Allowed is always nil.
func (open) Allowed(authz.Decider) error { return nil }

// NodesQuery asks for all nodes with the given meta. Its Value is a NodeList.
type NodesQuery struct {
	open `msg:"-"`
	Meta Words `msg:"Meta"`
}

// Subjects is the table of nodes.
func (q NodesQuery) Subjects() []store.Subject { return []store.Subject{nodesChanged} }

// Run lists the nodes by name.
func (q NodesQuery) Run(r store.Reader) room.Answer {
	list, want := NodeList{}, q.Meta.Meta()
	for n := range Nodes.All(r) {
		if n.Meta.Contains(want) {
			list = append(list, n)
		}
	}
	return room.Answer{Value: list, Index: r.Touched(nodesChanged)}
}

// ServicesQuery asks for the names of all services with the union of their tags. Its Value is a ServiceTags.
type ServicesQuery struct {
	open `msg:"-"`
	Meta Words `msg:"Meta"`
}

// Subjects is the table of services, and that of nodes if their meta matters.
func (q ServicesQuery) Subjects() []store.Subject {
	if q.Meta != "" {
		return []store.Subject{servicesChanged, nodesChanged}
	}
	return []store.Subject{servicesChanged}
}

// Run gathers the tags of each name; the first spelling of a name counts.
func (q ServicesQuery) Run(r store.Reader) room.Answer {
	return room.Answer{Value: tagsOf(allInstances(r, q.Meta.Meta())), Index: q.index(r)}
}

// EveryInstanceQuery asks for all instances of all services, for lists that a filter thins. Its Value is an InstanceList.
type EveryInstanceQuery struct {
	open `msg:"-"`
	Meta Words `msg:"Meta"`
}

// Subjects are the tables of services and of nodes, whose rows are a part of the answer.
func (q EveryInstanceQuery) Subjects() []store.Subject {
	return []store.Subject{servicesChanged, nodesChanged}
}

// Run lists them by node and ID.
func (q EveryInstanceQuery) Run(r store.Reader) room.Answer {
	index := max(r.Touched(servicesChanged), r.Touched(nodesChanged))
	return room.Answer{Value: allInstances(r, q.Meta.Meta()), Index: index}
}

func (q ServicesQuery) index(r store.Reader) uint64 {
	index := r.Touched(servicesChanged)
	if q.Meta != "" {
		index = max(index, r.Touched(nodesChanged))
	}
	return index
}

func allInstances(r store.Reader, meta wire.Pairs) InstanceList {
	list := InstanceList{}
	var node *Node
	for s := range Services.All(r) {
		if node == nil || !sameName(node.Node, s.Node) {
			node = Nodes.Get(r, strings.ToLower(s.Node))
		}
		if node.Meta.Contains(meta) {
			list = append(list, instance{node, s})
		}
	}
	return list
}

// InstancesQuery asks for the instances of a service that have all the tags. Its Value is an InstanceList.
type InstancesQuery struct {
	open    `msg:"-"`
	Service string `msg:"Service"` // lower-case
	Tags    Words  `msg:"Tags"`
	Meta    Words  `msg:"Meta"`
}

// Subjects is the service's.
func (q InstancesQuery) Subjects() []store.Subject { return []store.Subject{ServiceSubject(q.Service)} }

// Run lists the instances by node and ID.
func (q InstancesQuery) Run(r store.Reader) room.Answer {
	list := InstancesOf(r, q.Service, q.Tags, q.Meta)
	return room.Answer{Value: list, Index: ServiceIndex(r, q.Service, false)}
}

// InstancesOf returns the instances of a service, by node and ID, that have the tags and are on nodes with the meta.
func InstancesOf(r store.Reader, service string, tags, meta Words) InstanceList {
	list, wanted, pairs := InstanceList{}, tags.List(), meta.Meta()
	for s := range Services.By(r, "name", strings.ToLower(service)) {
		n := Nodes.Get(r, strings.ToLower(s.Node))
		if s.HasTags(wanted) && n.Meta.Contains(pairs) {
			list = append(list, instance{n, s})
		}
	}
	return list
}

// NodeQuery asks for one node by name, with its services. Its Value is a *NodeServices, nil if there is none.
type NodeQuery struct {
	open `msg:"-"`
	Node string `msg:"Node"` // lower-case
}

// Subjects is the node's.
func (q NodeQuery) Subjects() []store.Subject { return []store.Subject{nodeSubject(q.Node)} }

// Run finds the node. Its index is the node's own, or that of the last node's end.
func (q NodeQuery) Run(r store.Reader) room.Answer {
	n := Nodes.Get(r, q.Node)
	if n == nil {
		return room.Answer{Value: (*NodeServices)(nil), Index: max(1, r.Touched(nodeGone)), Missing: true}
	}
	ns := &NodeServices{Node: n}
	for s := range Services.Prefix(r, Key(n.Node, "")) {
		ns.Services = append(ns.Services, s)
	}
	return room.Answer{Value: ns, Index: r.Touched(nodeSubject(n.Node))}
}

// findQuery asks which node is meant by a name or (a unique prefix of) an ID. Its Value is a *Node, nil if none is.
type findQuery struct {
	open     `msg:"-"`
	NameOrID string `msg:"NameOrID"`
}

// Subjects is the table of nodes.
func (q findQuery) Subjects() []store.Subject { return []store.Subject{nodesChanged} }

// Point: a name is one row.
func (q findQuery) Point() {}

// Run finds the node.
func (q findQuery) Run(r store.Reader) room.Answer {
	return room.Answer{Value: findNode(r, q.NameOrID), Index: r.Touched(nodesChanged)}
}

// findNode finds a node by name, or by an ID or a unique prefix of one, of at least two characters.
func findNode(r store.Reader, nameOrID string) *Node {
	if n := Nodes.Get(r, strings.ToLower(nameOrID)); n != nil {
		return n
	}
	if len(nameOrID) < 2 {
		return nil
	}
	var found *Node
	for n := range Nodes.All(r) {
		if strings.HasPrefix(n.ID, strings.ToLower(nameOrID)) {
			if found != nil {
				return nil
			}
			found = n
		}
	}
	return found
}
