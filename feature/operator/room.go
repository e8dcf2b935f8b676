// Package operator shows the group of servers to the people and load balancers that watch it: who leads, who the peers
// are, how they do, and what this server has counted. On the leader it keeps the servers in Raft in step with those that
// gossip knows (autopilot), and it is how people change them and the keys of gossip by hand.
package operator

import (
	"slices"

	"rostra/engine/room"
	"rostra/engine/shelf"
	"rostra/kit/httpd"
	"rostra/kit/store"
)

// Room is the operator feature. It keeps autopilot's configuration.
var Room = room.Room{
	Name:   "operator",
	Tables: []store.AnyTable{configs},
	Commands: []room.CommandType{{New: func() room.Command { return new(setConfig) }, Rules: 1, Result: room.Bool,
		RunMetric: "fsm.autopilot"}},
	Queries:  queries,
	Calls:    append(calls, statusCall, keyringCall),
	Verbs:    slices.Concat(raftVerbs(), autopilotVerbs(), usageVerbs(), keyringVerbs()),
	Settings: func() any { return new(Settings) },
	Open:     open,
}

func open(h *room.Host, settings any) (*room.Part, error) {
	initial, err := settings.(*Settings).config()
	if err != nil {
		return nil, err
	}
	auto := newPilot(h, initial)
	if h.Raft != nil {
		shelf.Put(h.Shelf, auto)
		measure(h, auto)
	}
	get := func(path string, value func(*room.Host, *httpd.Request) (any, error)) httpd.Route {
		return httpd.Route{Method: "GET", Path: path, Serve: func(r *httpd.Request) (httpd.Reply, error) {
			v, err := value(h, r)
			if err != nil {
				return httpd.Reply{}, err
			}
			return httpd.Reply{Value: v}, nil
		}}
	}
	return &room.Part{
		Routes: append([]httpd.Route{
			get("/v1/status/leader", leader),
			get("/v1/status/peers", peers),
			get("/v1/rostra/counters", counters),
		}, append(raftRoutes(h), keyringRoutes(h)...)...),
		Loops: []room.Loop{{Name: "autopilot", Run: auto.run}},
		Stats: h.Cluster.Stats,
	}, nil
}
