package member

import (
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/store"
)

// nodeRow is what the catalog says of a node, as far as gossip has a say in it.
type nodeRow struct {
	node   *catalog.Node
	health *catalog.Check   // serfHealth; nil if gossip never spoke of the node
	server *catalog.Service // the instance "consul"; nil if there is none
}

// serverService is the name and the ID of the instance that every server is.
const serverService = "consul"

// nodesQuery asks for all nodes, by lower-case name. Only the leader's own loop asks it, and it does not travel. Its Value is
// a map[string]nodeRow.
type nodesQuery struct{}

// Allowed is always nil: it does not travel.
func (nodesQuery) Allowed(authz.Decider) error { return nil }

// Subjects are the tables of nodes, services and checks.
func (nodesQuery) Subjects() []store.Subject {
	return append(catalog.EveryInstanceQuery{}.Subjects(), store.Subject{Kind: "checks"})
}

// Run reads every node with its two rows.
func (q nodesQuery) Run(r store.Reader) room.Answer {
	rows := map[string]nodeRow{}
	for n := range catalog.Nodes.All(r) {
		rows[strings.ToLower(n.Node)] = nodeRow{n, catalog.Checks.Get(r, catalog.Key(n.Node, catalog.SerfHealth)),
			catalog.Services.Get(r, catalog.Key(n.Node, serverService))}
	}
	index := uint64(0)
	for _, s := range q.Subjects() {
		index = max(index, r.Touched(s))
	}
	return room.Answer{Value: rows, Index: index}
}
