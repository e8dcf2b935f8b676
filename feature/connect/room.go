// Package connect keeps the root certificate of the service mesh. There is no mesh yet: the root is what clients look
// for to see that Connect is on (spec http/config-entries-and-connect.md).
package connect

import (
	"context"
	"fmt"
	"strings"

	"rostra/engine/room"
	"rostra/kit/store"
)

// Room is the connect feature.
var Room = room.Room{
	Name:   "connect",
	Tables: []store.AnyTable{roots},
	Commands: []room.CommandType{{New: func() room.Command { return new(SetRoot) }, Rules: 1, Leaders: true, Result: room.Bool,
		RunMetric: "fsm.ca"}},
	Queries:  []room.QueryType{room.QueryOf[rootsQuery]("connect.roots", room.Packed[answer]())},
	Settings: func() any { return new(Settings) },
	Open: func(h *room.Host, settings any) (*room.Part, error) {
		s := settings.(*Settings)
		if strings.ContainsFunc(s.ClusterID, notInID) {
			return nil, fmt.Errorf("cannot use connect.ca_config.cluster_id %q: a UUID is wanted", s.ClusterID)
		}
		part := &room.Part{Routes: (&web{door: h.Door, enabled: s.Enabled}).routes()}
		if s.Enabled {
			part.Loops = []room.Loop{{Name: "connect root", Run: func(ctx context.Context) error {
				return keepRoot(ctx, h.Door, s.ClusterID)
			}}}
		}
		return part, nil
	},
}

// Settings are what an operator may choose.
type Settings struct {
	Enabled   bool   `key:"connect.enabled" default:"true" help:"Keep a root certificate for the service mesh."`
	ClusterID string `key:"connect.ca_config.cluster_id" help:"The UUID that names the mesh's trust domain; by default a random one."`
}

// notInID reports whether a character cannot be in the name of a trust domain.
func notInID(c rune) bool {
	return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-'
}
