// Package query keeps prepared queries: stored look-ups of a service by health, tags and meta, sorted by distance, that go
// on to other datacenters when nothing is left here. They are run over HTTP and by DNS names, by their own name or by that of
// a template (spec http/prepared-query.md).
package query

import (
	"rostra/engine/room"
	"rostra/kit/store"
)

// Room is the query feature.
var Room = room.Room{
	Name:     "query",
	Tables:   []store.AnyTable{queries},
	Triggers: []store.Trigger{sessionsEndQueries},
	Commands: []room.CommandType{
		{New: func() room.Command { return new(Set) }, Rules: 1, Since: []int{2},
			ApplyMetric: "prepared-query.apply", RunMetric: "fsm.prepared-query"},
		{New: func() room.Command { return new(Delete) }, Rules: 1, Since: []int{2},
			ApplyMetric: "prepared-query.apply", RunMetric: "fsm.prepared-query"},
	},
	Queries: []room.QueryType{
		room.QueryOf[ListQuery]("query.list", room.Packed[List]()),
		room.QueryOf[GetQuery]("query.get", room.Packed[List]()),
		room.QueryOf[FindQuery]("query.find", room.Pointer[Definition]()),
		room.QueryOf[NamesQuery]("query.names", room.Packed[Names]()),
	},
	Calls: []room.ProcedureType{
		{New: func() room.Procedure { return new(Execute) }, Result: room.Pointer[Outcome]()},
		{New: func() room.Procedure { return new(Gather) }, Result: room.Pointer[Outcome]()},
	},
	Open: func(h *room.Host, _ any) (*room.Part, error) {
		return &room.Part{Routes: web{h}.routes()}, nil
	},
}
