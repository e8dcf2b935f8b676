// Package session keeps sessions: what a lock belongs to. A session is bound to a node and to checks, perhaps to a time
// to live, and ends with any of them; kv frees its locks then, in the same step (spec http/session.md).
package session

import (
	"context"
	"time"

	"rostra/engine/room"
	"rostra/kit/store"
)

// Room is the session feature.
var Room = room.Room{
	Name:     "session",
	Tables:   []store.AnyTable{Sessions, renewals},
	Triggers: []store.Trigger{checksEndSessions, nodesEndSessions},
	Commands: []room.CommandType{
		{New: func() room.Command { return new(Create) }, Rules: 3, Since: []int{1, 2, 3}, Result: room.String,
			ApplyMetric: "session.apply", RunMetric: "fsm.session"},
		{New: func() room.Command { return new(Destroy) }, Rules: 1, Result: room.Bool,
			ApplyMetric: "session.apply", RunMetric: "fsm.session"},
		{New: func() room.Command { return new(Renew) }, Rules: 1, Result: room.Pointer[Session](),
			ApplyMetric: "session.renew", RunMetric: "fsm.session"},
		{New: func() room.Command { return new(Expire) }, Rules: 1, Leaders: true, Result: room.Int,
			ApplyMetric: "session_ttl.invalidate", RunMetric: "fsm.session"},
	},
	Queries: []room.QueryType{
		room.QueryOf[ListQuery]("session.list", room.Packed[List]()),
		room.QueryOf[NodeQuery]("session.node", room.Packed[List]()),
		room.QueryOf[InfoQuery]("session.info", room.Packed[List]()),
	},
	Settings: func() any { return new(Settings) },
	Open: func(h *room.Host, settings any) (*room.Part, error) {
		w := web{door: h.Door, self: &h.Self, ttlMin: settings.(*Settings).TTLMin}
		active := h.Metrics.Gauge("session_ttl.active")
		return &room.Part{
			Routes: w.routes(),
			Loops:  []room.Loop{{Name: "session expiry", Run: func(ctx context.Context) error { return expire(ctx, h.Door, active) }}},
		}, nil
	},
}

// Settings are what an operator may choose.
type Settings struct {
	TTLMin time.Duration `key:"session_ttl_min" default:"10s" help:"The shortest TTL a session may have."`
}
