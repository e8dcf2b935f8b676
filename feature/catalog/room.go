// Package catalog is what the servers know of nodes, the service instances on them and their checks: registered by the
// agents' anti-entropy or from outside, read by everyone who looks for a service. Health, DNS and sessions stand on it.
package catalog

import (
	"rostra/engine/room"
	"rostra/kit/store"
)

// Room is the catalog feature.
var Room = room.Room{
	Name:   "catalog",
	Tables: []store.AnyTable{Nodes, Services, Checks},
	Commands: []room.CommandType{
		{New: func() room.Command { return new(Register) }, Rules: 2, Since: []int{1, 2}, Result: room.Bool,
			ApplyMetric: "catalog.register", RunMetric: "fsm.register"},
		{New: func() room.Command { return new(Deregister) }, Rules: 1, Result: room.Bool,
			ApplyMetric: "catalog.deregister", RunMetric: "fsm.deregister"},
	},
	Queries: []room.QueryType{
		room.QueryOf[NodesQuery]("catalog.nodes", room.Packed[NodeList]()),
		room.QueryOf[ServicesQuery]("catalog.services", room.Packed[ServiceTags]()),
		room.QueryOf[EveryInstanceQuery]("catalog.instances", room.Packed[InstanceList]()),
		room.QueryOf[InstancesQuery]("catalog.service", room.Packed[InstanceList]()),
		room.QueryOf[NodeQuery]("catalog.node", room.Pointer[NodeServices]()),
		room.QueryOf[findQuery]("catalog.find", room.Pointer[Node]()),
	},
	Calls: []room.ProcedureType{{New: func() room.Procedure { return new(Datacenters) }, Result: room.Packed[DatacenterNames]()}},
	Verbs: verbs(),
	Open: func(h *room.Host, _ any) (*room.Part, error) {
		return &room.Part{Routes: handlers{h}.routes()}, nil
	},
}
