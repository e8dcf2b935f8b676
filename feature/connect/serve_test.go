package connect

import (
	"testing"

	"go.uber.org/goleak"

	"rostra/engine/room"
	"rostra/engine/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startAgent starts a server with this feature and those it stands on.
func startAgent(t testing.TB, with *Settings) *servertest.Agent {
	t.Helper()
	return servertest.Start(t, []room.Room{Room},
		map[string]any{"connect": with})
}
