package catalog

import (
	"context"

	"rostra/engine/room"
	"rostra/kit/authz"
)

//go:generate go tool msgp -file datacenters.go -o datacenters_gen.go -tests=false -io=false -unexported

// datacenters is the Procedure that asks any server for the names of all datacenters, the nearest first.
type datacenters struct{}

// names is its result.
type names []string

// Name is the Procedure's name on the wire.
func (datacenters) Name() string { return "catalog.datacenters" }

// Allowed is always nil.
func (datacenters) Allowed(authz.Decider) error { return nil }

// Call reads the roster.
func (datacenters) Call(_ context.Context, h *room.Host) (room.Result, error) {
	if h.Roster == nil { // without gossip there is but one
		return names{h.Self.Datacenter}, nil
	}
	return names(h.Roster.Datacenters()), nil
}
