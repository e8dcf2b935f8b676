// Package overview gathers what a web page about the cluster shows: every node with what is on it, a line for each service,
// and totals. Consul's own web UI and a few dashboards read it (spec http/ui-internal.md); it keeps nothing.
package overview

import "rostra/engine/room"

// Room is the overview feature.
var Room = room.Room{
	Name: "overview",
	Queries: []room.QueryType{
		room.QueryOf[nodesQuery]("overview.nodes", room.Packed[NodeList]()),
		room.QueryOf[nodeQuery]("overview.node", room.Pointer[Node]()),
		room.QueryOf[servicesQuery]("overview.services", room.Packed[SummaryList]()),
		room.QueryOf[totalsQuery]("overview.totals", room.Packed[totals]()),
		room.QueryOf[gatewayQuery]("overview.gateway", room.Packed[nothing]()),
		room.QueryOf[topologyQuery]("overview.topology", room.Packed[topology]()),
	},
	Open: func(h *room.Host, _ any) (*room.Part, error) {
		return &room.Part{Routes: handlers{h}.routes()}, nil
	},
}
