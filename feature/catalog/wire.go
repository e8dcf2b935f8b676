package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tinylib/msgp/msgp"

	"rostra/kit/wire"
)

//go:generate go tool msgp -file wire.go -o wire_gen.go -tests=false -io=false -unexported

// How answers travel to agents. A record that many elements of a list share is sent once, and shared again on arrival.

// packedInstances is an InstanceList on the wire.
type packedInstances struct {
	Nodes NodeList         `msg:"Nodes"`
	List  []packedInstance `msg:"List"`
}

type packedInstance struct {
	Node    uint32   `msg:"Node"` // its place in Nodes
	Service *Service `msg:"Service"`
}

// packedNode is a NodeServices on the wire.
type packedNode struct {
	Node     *Node    `msg:"Node"`
	Services services `msg:"Services"`
}

// services are the instances on a node, none of them nil.
//
//msgp:ignore services
type services []*Service

// MarshalMsg appends the list.
func (l NodeList) MarshalMsg(b []byte) ([]byte, error) { return wire.AppendList(b, l) }

// UnmarshalMsg reads the list.
func (l *NodeList) UnmarshalMsg(b []byte) (rest []byte, err error) {
	*l, rest, err = wire.ReadList[Node](b)
	return rest, err
}

// Msgsize bounds the encoded size, in bytes.
func (l NodeList) Msgsize() int { return wire.ListSize(l) }

// MarshalMsg appends the list.
func (l services) MarshalMsg(b []byte) ([]byte, error) { return wire.AppendList(b, l) }

// UnmarshalMsg reads the list.
func (l *services) UnmarshalMsg(b []byte) (rest []byte, err error) {
	*l, rest, err = wire.ReadList[Service](b)
	return rest, err
}

// Msgsize bounds the encoded size, in bytes.
func (l services) Msgsize() int { return wire.ListSize(l) }

// MarshalMsg appends the list, each node once.
func (l InstanceList) MarshalMsg(b []byte) ([]byte, error) {
	var nodes wire.Places[Node]
	p := packedInstances{List: make([]packedInstance, len(l))}
	for i, x := range l {
		p.List[i] = packedInstance{nodes.Of(x.Node), x.Service}
	}
	p.Nodes = nodes.List
	return p.MarshalMsg(b)
}

// UnmarshalMsg reads the list; its elements share the nodes.
func (l *InstanceList) UnmarshalMsg(b []byte) ([]byte, error) {
	var p packedInstances
	rest, err := p.UnmarshalMsg(b)
	if err != nil {
		return b, err
	}
	*l = make(InstanceList, len(p.List))
	for i, x := range p.List {
		if int(x.Node) >= len(p.Nodes) || x.Service == nil {
			return b, fmt.Errorf("instance %d has no service or no node", i)
		}
		(*l)[i] = instance{p.Nodes[x.Node], x.Service}
	}
	return rest, nil
}

// MarshalMsg appends the node with its instances.
func (ns *NodeServices) MarshalMsg(b []byte) ([]byte, error) {
	return (&packedNode{ns.Node, ns.Services}).MarshalMsg(b)
}

// UnmarshalMsg reads the node with its instances.
func (ns *NodeServices) UnmarshalMsg(b []byte) ([]byte, error) {
	var p packedNode
	rest, err := p.UnmarshalMsg(b)
	if err != nil {
		return b, err
	}
	if p.Node == nil {
		return b, errors.New("services without their node")
	}
	ns.Node, ns.Services = p.Node, p.Services
	return rest, nil
}

// MarshalMsg appends a map in the order of names.
func (t ServiceTags) MarshalMsg(b []byte) ([]byte, error) {
	b = msgp.AppendMapHeader(b, uint32(len(t)))
	for _, name := range slices.Sorted(maps.Keys(t)) {
		b = msgp.AppendArrayHeader(msgp.AppendString(b, name), uint32(len(t[name])))
		for _, tag := range t[name] {
			b = msgp.AppendString(b, tag)
		}
	}
	return b, nil
}

// UnmarshalMsg reads what MarshalMsg wrote.
func (t *ServiceTags) UnmarshalMsg(b []byte) ([]byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return b, err
	}
	*t = make(ServiceTags, min(n, 1024))
	for range n {
		var name string
		var tags uint32
		if name, b, err = msgp.ReadStringBytes(b); err != nil {
			return b, err
		}
		if tags, b, err = msgp.ReadArrayHeaderBytes(b); err != nil {
			return b, err
		}
		list := make([]string, 0, min(tags, 16))
		for range tags {
			var tag string
			if tag, b, err = msgp.ReadStringBytes(b); err != nil {
				return b, err
			}
			list = append(list, tag)
		}
		(*t)[name] = list
	}
	return b, nil
}
