// Package tls is what operators need for certificates: the verbs tls ca create and tls cert create, and a check of the
// agent's own node that warns before its certificate ends. What connections do with certificates is engine/rpc's matter.
package tls

import "rostra/engine/room"

// Room is the tls feature.
var Room = room.Room{Name: "tls", Verbs: Verbs(), Open: open}
