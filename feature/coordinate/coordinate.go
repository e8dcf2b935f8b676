package coordinate

import (
	"encoding/json"
	"strings"

	"rostra/engine/gossip"
	"rostra/kit/store"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file coordinate.go -o coordinate_gen.go -tests=false -io=false

// Entry is where a node is: a row of the table, and what agents report.
type Entry struct {
	Node  string            `msg:"Node"`
	Coord gossip.Coordinate `msg:"Coord"`
}

// List is the Value of the Queries, by lower-cased name of the node; none is nil.
//
//msgp:ignore List
type List []*Entry

// Server is where a server is in the space between datacenters.
type Server struct {
	Node  string            `msg:"Node"` // without the datacenter
	Coord gossip.Coordinate `msg:"Coord"`
}

// Datacenter is a datacenter with the servers whose place is known.
type Datacenter struct {
	Name    string   `msg:"Name"`
	Servers []Server `msg:"Servers"`
}

// Map is the result of Datacenters, in the roster's order.
type Map []Datacenter

// Update is the Command that writes places. Those of nodes that the catalog does not know are dropped.
type Update struct {
	Entries []Entry `msg:"Entries"` // at most batchSize
}

// NodesQuery asks for all places. Its Value is a List, as that of NodeQuery.
type NodesQuery struct{}

// NodeQuery asks for the place of one node.
type NodeQuery struct {
	Node string `msg:"Node"` // lower-case
}

// Report is the Procedure by which an agent tells the leader where a node is. It is seen after the leader's next batch.
type Report struct {
	Entry Entry `msg:"Entry"`
}

// Datacenters is the Procedure that asks any server for the space between datacenters.
type Datacenters struct{}

var places = store.NewTable[Entry]("coordinates", store.Schema[Entry]{
	Key: func(e *Entry) string { return strings.ToLower(e.Node) },
})

// MarshalMsg appends the list.
func (l List) MarshalMsg(b []byte) ([]byte, error) { return wire.AppendList(b, l) }

// UnmarshalMsg reads the list.
func (l *List) UnmarshalMsg(b []byte) (rest []byte, err error) {
	*l, rest, err = wire.ReadList[Entry](b)
	return rest, err
}

// Msgsize bounds the encoded size, in bytes.
func (l List) Msgsize() int { return wire.ListSize(l) }

// shape is the JSON of an Entry or Server.
type shape struct {
	Node    string
	Segment string // there is one only
	Coord   *gossip.Coordinate
}

// shapeOf makes null of a coordinate that JSON has no numbers for: a server may say what it likes.
func shapeOf(node string, at *gossip.Coordinate) shape {
	if !at.Finite() {
		at = nil
	}
	return shape{Node: node, Coord: at}
}

// AppendJSON appends the array of spec http/coordinate.md.
func (l List) AppendJSON(b []byte) []byte {
	shapes := make([]shape, len(l))
	for i, e := range l {
		shapes[i] = shapeOf(e.Node, &e.Coord)
	}
	return appendJSON(b, shapes)
}

// AppendJSON appends the array of coordinate/datacenters.
func (m Map) AppendJSON(b []byte) []byte {
	type datacenter struct {
		Datacenter, AreaID string
		Coordinates        []shape
	}
	list := make([]datacenter, len(m))
	for i, dc := range m {
		shapes := make([]shape, len(dc.Servers))
		for k := range dc.Servers {
			shapes[k] = shapeOf(dc.Servers[k].Node, &dc.Servers[k].Coord)
		}
		list[i] = datacenter{dc.Name, "wan", shapes}
	}
	return appendJSON(b, list)
}

func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("cannot encode coordinates: " + err.Error()) // they are texts and finite numbers
	}
	return append(b, text...)
}
