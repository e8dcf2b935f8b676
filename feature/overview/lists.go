package overview

import (
	"errors"
	"slices"

	"github.com/tinylib/msgp/msgp"

	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/httpd"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file lists.go -o lists_gen.go -tests=false -io=false -unexported
//msgp:ignore Node NodeView

// Node is a node with what is on it, by ID.
type Node struct {
	Node     *catalog.Node
	Services services
	Checks   health.CheckList
}

// packedNode is a Node on the wire.
type packedNode struct {
	Node     *catalog.Node    `msg:"Node"`
	Services services         `msg:"Services"`
	Checks   health.CheckList `msg:"Checks"`
}

// services are the instances on a node, none of them nil.
//
//msgp:ignore services
type services []*catalog.Service

// NodeList is the answer of ui/nodes.
//
//msgp:ignore NodeList
type NodeList []*Node

// SummaryList is the answer of ui/services.
//
//msgp:ignore SummaryList
type SummaryList []*summary

// NodeView is what a filter sees of a node: the selectors of spec http/conventions.md §11.
type NodeView struct {
	ID, Node, Address     string
	Meta, TaggedAddresses wire.Pairs
	Services              []*catalog.ServiceView
	Checks                []*catalog.CheckView
}

// Len, Item and AppendItem make a NodeList filterable.
func (l NodeList) Len() int                          { return len(l) }
func (l NodeList) Item(i int) any                    { return l[i].view() }
func (l NodeList) AppendItem(b []byte, i int) []byte { return l[i].AppendJSON(b) }

// AppendJSON appends the array.
func (l NodeList) AppendJSON(b []byte) []byte { return httpd.AppendArray(b, l) }

// AppendJSON appends the array.
func (l SummaryList) AppendJSON(b []byte) []byte { return httpd.AppendArray(b, l) }

func (n *Node) view() *NodeView {
	v := &NodeView{ID: n.Node.ID, Node: n.Node.Node, Address: n.Node.Address, Meta: n.Node.Meta, TaggedAddresses: n.Node.TaggedAddresses}
	for _, s := range n.Services {
		v.Services = append(v.Services, s.View())
	}
	for _, c := range n.Checks {
		v.Checks = append(v.Checks, c.View())
	}
	return v
}

// AppendJSON appends the node in the shape of its own that it has here.
func (n *Node) AppendJSON(b []byte) []byte {
	b = httpd.AppendString(append(b, `{"ID":`...), n.Node.ID)
	b = httpd.AppendString(append(b, `,"Node":`...), n.Node.Node)
	b = httpd.AppendString(append(b, `,"Address":`...), n.Node.Address)
	b = httpd.AppendStringMap(append(b, `,"TaggedAddresses":`...), n.Node.TaggedAddresses.Map())
	b = httpd.AppendStringMap(append(b, `,"Meta":`...), n.Node.Meta.Map())
	b = httpd.AppendArray(append(b, `,"Services":`...), n.Services)
	b = n.Checks.AppendJSON(append(b, `,"Checks":`...))
	return append(b, '}')
}

// versioned returns the node with the version that gossip knows of its agent, if its row has none.
func (n *Node) versioned(version string) *Node {
	if version == "" || slices.ContainsFunc(n.Node.Meta, func(p wire.Pair) bool { return p.Key == versionKey }) {
		return n
	}
	row := &catalog.Node{ID: n.Node.ID, Node: n.Node.Node, Address: n.Node.Address, TaggedAddresses: n.Node.TaggedAddresses}
	meta := n.Node.Meta.Map()
	if meta == nil {
		meta = map[string]string{}
	}
	meta[versionKey] = version
	row.Meta = wire.PairsOf(meta)
	return &Node{Node: row, Services: n.Services, Checks: n.Checks}
}

// versionKey is the meta of a node that holds the version of its agent.
const versionKey = "consul-version"

// MarshalMsg appends the node with what is on it.
func (n *Node) MarshalMsg(b []byte) ([]byte, error) { return (*packedNode)(n).MarshalMsg(b) }

// UnmarshalMsg reads the node with what is on it.
func (n *Node) UnmarshalMsg(b []byte) ([]byte, error) {
	rest, err := (*packedNode)(n).UnmarshalMsg(b)
	if err == nil && n.Node == nil {
		err = errors.New("services and checks without their node")
	}
	return rest, err
}

// Msgsize bounds the encoded size, in bytes.
func (n *Node) Msgsize() int { return (*packedNode)(n).Msgsize() }

// MarshalMsg appends the list.
func (l services) MarshalMsg(b []byte) ([]byte, error) { return wire.AppendList(b, l) }

// UnmarshalMsg reads the list.
func (l *services) UnmarshalMsg(b []byte) (rest []byte, err error) {
	*l, rest, err = wire.ReadList[catalog.Service](b)
	return rest, err
}

// Msgsize bounds the encoded size, in bytes.
func (l services) Msgsize() int { return wire.ListSize(l) }

// MarshalMsg appends the list.
func (l NodeList) MarshalMsg(b []byte) ([]byte, error) { return wire.AppendList(b, l) }

// UnmarshalMsg reads the list.
func (l *NodeList) UnmarshalMsg(b []byte) (rest []byte, err error) {
	*l, rest, err = wire.ReadList[Node](b)
	return rest, err
}

// MarshalMsg appends the list.
func (l SummaryList) MarshalMsg(b []byte) ([]byte, error) { return wire.AppendList(b, l) }

// UnmarshalMsg reads the list.
func (l *SummaryList) UnmarshalMsg(b []byte) (rest []byte, err error) {
	*l, rest, err = wire.ReadList[summary](b)
	return rest, err
}

// nothing is a list of things that only a service mesh has.
//
//msgp:ignore nothing
type nothing struct{}

// AppendJSON appends an empty array.
func (nothing) AppendJSON(b []byte) []byte { return append(b, "[]"...) }

// MarshalMsg appends nil.
func (nothing) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendNil(b), nil }

// UnmarshalMsg reads nil.
func (*nothing) UnmarshalMsg(b []byte) ([]byte, error) { return msgp.ReadNilBytes(b) }

// topology is what a service talks to through a service mesh, where there is none.
//
//msgp:ignore topology
type topology struct{ nothing }

// AppendJSON appends the answer of ui/service-topology.
func (topology) AppendJSON(b []byte) []byte {
	return append(b, `{"Protocol":"tcp","TransparentProxy":false,"Upstreams":[],"Downstreams":[],"FilteredByACLs":false}`...)
}
