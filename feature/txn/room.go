// Package txn performs several operations in one step: all of them, or none if one fails (spec http/txn.md). The
// operations themselves belong to the features whose rows they change.
package txn

import (
	"rostra/engine/room"
)

// Room is the txn feature.
var Room = room.Room{
	Name: "txn",
	Commands: []room.CommandType{{New: func() room.Command { return new(Txn) }, Rules: 2, Since: []int{1, 2}, Result: room.Packed[Results](),
		ApplyMetric: "txn.apply", RunMetric: "fsm.txn"}},
	Queries:  []room.QueryType{room.QueryOf[readQuery]("txn.read", room.Packed[outcome]())},
	Settings: func() any { return new(Settings) },
	Open: func(h *room.Host, settings any) (*room.Part, error) {
		s := settings.(*Settings)
		w := web{door: h.Door, self: &h.Self, maxBody: int64(max(s.MaxBody, s.MaxValue)), maxValue: int64(s.MaxValue),
			reads: h.Metrics.Sample("txn.read")}
		return &room.Part{Routes: w.routes()}, nil
	},
}

// Settings are what an operator may choose.
type Settings struct {
	MaxBody  int `key:"limits.txn_max_req_len" default:"524288" help:"The longest body of a transaction, in bytes."`
	MaxValue int `key:"limits.kv_max_value_size" default:"524288" help:"The longest value of a key, in bytes."`
}
