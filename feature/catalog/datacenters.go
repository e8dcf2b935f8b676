package catalog

import (
	"context"

	"rostra/engine/room"
	"rostra/kit/authz"
)

//go:generate go tool msgp -file datacenters.go -o datacenters_gen.go -tests=false -io=false -unexported

// Datacenters is the Procedure that asks a server for the names of all datacenters, its own first and then the nearest. Any
// server knows. Its result is DatacenterNames.
type Datacenters struct{}

// DatacenterNames is the result of Datacenters: never empty.
type DatacenterNames []string

// Name is the Procedure's name on the wire.
func (Datacenters) Name() string { return "catalog.datacenters" }

// Allowed is always nil.
func (Datacenters) Allowed(authz.Decider) error { return nil }

// Call reads the roster.
func (Datacenters) Call(_ context.Context, h *room.Host) (room.Result, error) {
	if h.Roster == nil { // without gossip there is but one
		return DatacenterNames{h.Self.Datacenter}, nil
	}
	return DatacenterNames(h.Roster.Datacenters()), nil
}
