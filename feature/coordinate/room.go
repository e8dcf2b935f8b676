// Package coordinate is where the nodes are in network space: each agent reports the place that gossip's probes found for
// it, the leader writes those in batches, and readers sort nodes by the round-trip time between them (?near=, rtt).
package coordinate

import (
	"errors"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/shelf"
	"rostra/kit/store"
)

// Room is the coordinate feature.
var Room = room.Room{
	Name:     "coordinate",
	Tables:   []store.AnyTable{places},
	Triggers: []store.Trigger{nodesEndPlaces},
	Commands: []room.CommandType{{New: func() room.Command { return new(Update) }, Rules: 1, RunMetric: "fsm.coordinate.batch-update"}},
	Queries: []room.QueryType{
		room.QueryOf[NodesQuery]("coordinate.nodes", room.Packed[List]()),
		room.QueryOf[NodeQuery]("coordinate.node", room.Packed[List]()),
	},
	Calls: []room.ProcedureType{
		{New: func() room.Procedure { return new(Report) }, Result: room.Nothing},
		{New: func() room.Procedure { return new(Datacenters) }, Result: room.Packed[Map]()},
	},
	Verbs: verbs(),
	Open:  open,
}

func open(h *room.Host, _ any) (*room.Part, error) {
	if disabled(h) {
		return &room.Part{Routes: handlers{h}.routes()}, nil
	}
	p := new(pending)
	shelf.Put(h.Shelf, p)
	shelf.Put[room.Sorter](h.Shelf, sorter{h.Door})
	return &room.Part{
		Routes: handlers{h}.routes(),
		Loops:  []room.Loop{{Name: "coordinates", Run: writer{h, p}.run}},
		Run:    reporter{h}.run,
	}, nil
}

// disabled reports whether disable_coordinates is set: gossip, which makes the coordinates, is what obeys it.
func disabled(h *room.Host) bool {
	if h.LAN == nil {
		return false
	}
	_, err := h.LAN.Coordinate()
	return errors.Is(err, gossip.ErrNoCoordinate)
}
