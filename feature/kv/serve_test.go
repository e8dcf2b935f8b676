package kv

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"rostra/engine/room"
	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
	"rostra/feature/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startAgent starts a server with this feature and those it stands on.
func startAgent(t testing.TB) *servertest.Agent {
	t.Helper()
	return servertest.Start(t, []room.Room{catalog.Room, session.Room, Room},
		map[string]any{"kv": &Settings{MaxValue: 1000}, "session": &session.Settings{TTLMin: 10 * time.Second}})
}
