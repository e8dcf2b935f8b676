package session

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"rostra/engine/room"
	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startAgent starts a server with this feature and those it stands on.
func startAgent(t testing.TB) *servertest.Agent {
	t.Helper()
	return servertest.Start(t, []room.Room{catalog.Room, Room},
		map[string]any{"session": &Settings{TTLMin: 10 * time.Second}})
}
