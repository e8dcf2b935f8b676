package health

import (
	"fmt"

	"rostra/feature/catalog"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file wire.go -o wire_gen.go -tests=false -io=false -unexported

// packedEntries is an EntryList on the wire: each node and each check once, however many entries have it.
type packedEntries struct {
	Nodes  catalog.NodeList `msg:"Nodes"`
	Checks CheckList        `msg:"Checks"`
	List   []packedEntry    `msg:"List"`
}

type packedEntry struct {
	Node    uint32           `msg:"Node"` // its place in Nodes
	Service *catalog.Service `msg:"Service"`
	Checks  []uint32         `msg:"Checks"` // their places in Checks
}

// MarshalMsg appends the list.
func (l CheckList) MarshalMsg(b []byte) ([]byte, error) { return wire.AppendList(b, l) }

// UnmarshalMsg reads the list.
func (l *CheckList) UnmarshalMsg(b []byte) (rest []byte, err error) {
	*l, rest, err = wire.ReadList[catalog.Check](b)
	return rest, err
}

// Msgsize bounds the encoded size, in bytes.
func (l CheckList) Msgsize() int { return wire.ListSize(l) }

// MarshalMsg appends the list.
func (l EntryList) MarshalMsg(b []byte) ([]byte, error) {
	var nodes wire.Places[catalog.Node]
	var checks wire.Places[catalog.Check]
	p := packedEntries{List: make([]packedEntry, len(l))}
	for i, e := range l {
		at := make([]uint32, len(e.Checks))
		for k, c := range e.Checks {
			at[k] = checks.Of(c)
		}
		p.List[i] = packedEntry{nodes.Of(e.Node), e.Service, at}
	}
	p.Nodes, p.Checks = nodes.List, checks.List
	return p.MarshalMsg(b)
}

// Msgsize bounds the encoded size, in bytes.
func (l EntryList) Msgsize() int {
	n := 64
	for _, e := range l {
		n += 32 + e.Node.Msgsize() + e.Service.Msgsize()
		for _, c := range e.Checks {
			n += 8 + c.Msgsize()
		}
	}
	return n
}

// UnmarshalMsg reads the list; its entries share nodes and checks as they did where it was made.
func (l *EntryList) UnmarshalMsg(b []byte) ([]byte, error) {
	var p packedEntries
	rest, err := p.UnmarshalMsg(b)
	if err != nil {
		return b, err
	}
	*l = make(EntryList, len(p.List))
	for i, x := range p.List {
		if int(x.Node) >= len(p.Nodes) || x.Service == nil {
			return b, fmt.Errorf("entry %d has no service or no node", i)
		}
		e := &Entry{Node: p.Nodes[x.Node], Service: x.Service, Checks: make([]*catalog.Check, len(x.Checks))}
		for k, at := range x.Checks {
			if int(at) >= len(p.Checks) {
				return b, fmt.Errorf("entry %d has a check that is not there", i)
			}
			e.Checks[k] = p.Checks[at]
		}
		(*l)[i] = e
	}
	return rest, nil
}
