package catalog

import (
	"strings"
	"sync/atomic"

	"rostra/kit/httpd"
	"rostra/kit/store"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file node.go -o node_gen.go -tests=false -io=false

// Node is a machine of the catalog: the row, the log's payload and the JSON shape of /v1/catalog/nodes.
type Node struct {
	ID              string     `json:"ID" msg:"ID"` // a UUID; "" for nodes registered from outside
	Node            string     `json:"Node" msg:"Node"`
	Address         string     `json:"Address" msg:"Address"`
	Datacenter      string     `json:"Datacenter" msg:"Datacenter"`
	TaggedAddresses wire.Pairs `json:"TaggedAddresses" msg:"TaggedAddresses"`
	Meta            wire.Pairs `json:"Meta" msg:"Meta"`
	Region          string     `json:"-" msg:"Region,omitempty"` // its locality, for people; since rules 2 of catalog.register
	Zone            string     `json:"-" msg:"Zone,omitempty"`
	CreateIndex     uint64     `json:"CreateIndex" msg:"CreateIndex"`
	ModifyIndex     uint64     `json:"ModifyIndex" msg:"ModifyIndex"`

	json atomic.Pointer[[]byte] // the JSON shape, made at first read
}

// Nodes is the table of nodes by lower-cased name.
var Nodes = store.NewTable[Node]("nodes", store.Schema[Node]{
	Key: func(n *Node) string { return strings.ToLower(n.Node) },
	Indexes: []store.Index[Node]{{Name: "id", Keys: func(n *Node) []string {
		if n.ID == "" {
			return nil
		}
		return []string{n.ID}
	}}},
})

// AppendJSON appends the node as encoding/json would write it.
func (n *Node) AppendJSON(b []byte) []byte {
	return append(b, cached(&n.json, n.encode)...)
}

func (n *Node) encode(b []byte) []byte {
	b = httpd.AppendString(append(b, `{"ID":`...), n.ID)
	b = httpd.AppendString(append(b, `,"Node":`...), n.Node)
	b = httpd.AppendString(append(b, `,"Address":`...), n.Address)
	b = httpd.AppendString(append(b, `,"Datacenter":`...), n.Datacenter)
	b = appendPairs(append(b, `,"TaggedAddresses":`...), n.TaggedAddresses)
	b = appendPairs(append(b, `,"Meta":`...), n.Meta)
	if n.Region != "" || n.Zone != "" {
		b = httpd.AppendString(append(b, `,"Locality":{"Region":`...), n.Region)
		b = append(httpd.AppendString(append(b, `,"Zone":`...), n.Zone), '}')
	}
	return append(appendIndexes(b, n.CreateIndex, n.ModifyIndex), '}')
}

// same reports whether both say the same, indexes and the letters of the name apart.
func (n *Node) same(o *Node) bool {
	return n.ID == o.ID && sameName(n.Node, o.Node) && n.Address == o.Address && n.Datacenter == o.Datacenter &&
		n.TaggedAddresses.Equal(o.TaggedAddresses) && n.Meta.Equal(o.Meta) && n.Region == o.Region && n.Zone == o.Zone
}
