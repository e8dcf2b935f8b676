// Package kv is the key/value store: keys with values, written one by one, compared and swapped, locked by sessions,
// read one by one or by prefix (spec http/kv.md). Transactions perform its operations too.
package kv

import (
	"context"

	"rostra/engine/room"
	"rostra/kit/store"
)

// Room is the kv feature.
var Room = room.Room{
	Name:     "kv",
	Tables:   []store.AnyTable{Entries, tombstones, trees, delays},
	Triggers: []store.Trigger{sessionsFreeKeys},
	Commands: []room.CommandType{
		{New: func() room.Command { return new(Put) }, Rules: 1, Result: room.Bool, ApplyMetric: "kvs.apply", RunMetric: "fsm.kvs"},
		{New: func() room.Command { return new(Delete) }, Rules: 1, Result: room.Bool, ApplyMetric: "kvs.apply", RunMetric: "fsm.kvs"},
		{New: func() room.Command { return new(Reap) }, Rules: 1, Leaders: true, Result: room.Bool,
			ApplyMetric: "leader.reapTombstones", RunMetric: "fsm.tombstone"},
	},
	Queries: []room.QueryType{
		room.QueryOf[KeyQuery]("kv.key", room.Packed[Found]()),
		room.QueryOf[ListQuery]("kv.list", room.Packed[List]()),
		room.QueryOf[NamesQuery]("kv.names", room.Packed[Names]()),
	},
	Verbs:    Verbs(),
	Settings: func() any { return new(Settings) },
	Open: func(h *room.Host, settings any) (*room.Part, error) {
		measure(h)
		return &room.Part{
			Routes: web{door: h.Door, maxValue: int64(settings.(*Settings).MaxValue)}.routes(),
			Loops:  []room.Loop{{Name: "kv collection", Run: func(ctx context.Context) error { return collect(ctx, h.Door) }}},
		}, nil
	},
}

// Settings are what an operator may choose.
type Settings struct {
	MaxValue int `key:"limits.kv_max_value_size" default:"524288" help:"The longest value of a key, in bytes."`
}
