// Package health joins the catalog the way people ask for it: the instances of a service with their node and all checks
// that count for them, and the checks by node, service and state. Clients choose where to connect by it.
package health

import "rostra/engine/room"

// Room is the health feature. It keeps nothing of its own.
var Room = room.Room{
	Name: "health",
	Queries: []room.QueryType{
		room.QueryOf[ServiceQuery]("health.service", room.Packed[EntryList]()),
		room.QueryOf[EveryQuery]("health.every", room.Packed[EntryList]()),
		room.QueryOf[NodeChecksQuery]("health.node", room.Packed[CheckList]()),
		room.QueryOf[ServiceChecksQuery]("health.checks", room.Packed[CheckList]()),
		room.QueryOf[StateQuery]("health.state", room.Packed[CheckList]()),
	},
	Open: func(h *room.Host, _ any) (*room.Part, error) {
		return &room.Part{Routes: handlers{h}.routes()}, nil
	},
}
