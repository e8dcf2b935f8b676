package main

import (
	"rostra/engine/room"
	"rostra/feature/acl"
	"rostra/feature/catalog"
	"rostra/feature/connect"
	"rostra/feature/coordinate"
	"rostra/feature/event"
	"rostra/feature/health"
	"rostra/feature/kv"
	"rostra/feature/local"
	"rostra/feature/member"
	"rostra/feature/operator"
	"rostra/feature/overview"
	"rostra/feature/query"
	"rostra/feature/session"
	"rostra/feature/snapshot"
	"rostra/feature/telemetry"
	"rostra/feature/tls"
	"rostra/feature/txn"
)

// features is what this program can do, in the order in which features may know each other.
var features = []room.Room{acl.Room, catalog.Room, health.Room, overview.Room, coordinate.Room, member.Room, session.Room,
	kv.Room, txn.Room, query.Room, event.Room, local.Room, operator.Room, snapshot.Room, telemetry.Room, connect.Room, tls.Room}
