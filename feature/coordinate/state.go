package coordinate

import (
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/store"
)

// changed is the subject of every answer about coordinates: the table (spec http/conventions.md §8).
var changed = store.Subject{Kind: "coordinates"}

var nodesEndPlaces = store.OnChange("nodes → coordinates", catalog.Nodes, func(tx *store.Tx, before, after *catalog.Node) {
	if after != nil {
		return
	}
	if key := strings.ToLower(before.Node); places.Get(tx, key) != nil {
		places.Delete(tx, key)
		tx.Touch(changed)
	}
})

// Allowed is always nil: what the caller may not see is filtered from the answer.
func (NodesQuery) Allowed(authz.Decider) error { return nil }

// Subjects is the table.
func (NodesQuery) Subjects() []store.Subject { return []store.Subject{changed} }

// Run lists the places by node.
func (NodesQuery) Run(r store.Reader) room.Answer {
	list := List{}
	for e := range places.All(r) {
		list = append(list, e)
	}
	return room.Answer{Value: list, Index: r.Touched(changed)}
}

// Allowed asks node:read on the node.
func (q NodeQuery) Allowed(d authz.Decider) error {
	return authz.Require(d, authz.Node, authz.Read, q.Node)
}

// Subjects is the table.
func (NodeQuery) Subjects() []store.Subject { return []store.Subject{changed} }

// Run finds the place of the node.
func (q NodeQuery) Run(r store.Reader) room.Answer {
	a := room.Answer{Value: List{}, Index: r.Touched(changed)}
	if e := places.Get(r, q.Node); e != nil {
		a.Value = List{e}
	} else {
		a.Missing = true
	}
	return a
}
