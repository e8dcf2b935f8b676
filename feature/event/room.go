// Package event carries user events: small messages that anybody fires and gossip takes to all agents of a datacenter, each
// of which keeps the last ones that are meant for it. Watches and remote execution stand on it. It also tells the agents when
// another server leads.
package event

import (
	"rostra/engine/room"
	"rostra/kit/httpd"
)

// Room is the event feature. It keeps nothing in the replicated state.
var Room = room.Room{
	Name:  "event",
	Calls: []room.ProcedureType{{New: func() room.Procedure { return new(Fire) }, Result: room.Nothing}},
	Verbs: verbs(),
	Open:  open,
}

// Local is what this agent runs, as events need to know it. A later feature leaves it on the Host's shelf.
type Local interface {
	// Instances returns the tags of the services on this agent by ID.
	Instances() map[string][]string
	// Resync compares with the catalog soon, not at the same time as all other agents.
	Resync()
}

func open(h *room.Host, _ any) (*room.Part, error) {
	r := newRing()
	a := handlers{h, r}
	return &room.Part{
		Routes: []httpd.Route{
			{Method: "PUT", Path: "/v1/event/fire/", Serve: a.fire},
			{Method: "GET", Path: "/v1/event/list", Serve: a.list},
		},
		Loops: []room.Loop{{Name: "new leader", Run: announcer{h}.run}},
		Run:   (&receiver{host: h, ring: r}).run,
	}, nil
}
