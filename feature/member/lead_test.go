package member

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
	"rostra/feature/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestReconcile walks a member through its life and looks at what the catalog says (spec agent.md §8).
func TestReconcile(t *testing.T) {
	a := servertest.Start(t, []room.Room{catalog.Room, health.Room}, nil)
	c := reconciler{&room.Host{Door: a.Door, Self: room.Identity{Node: "n1", Datacenter: "dc1"}}}
	apply := func(m gossip.Member) {
		t.Helper()
		if err := c.reconcile(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	get := func(path string) string {
		_, _, body := a.Do("GET", path, "")
		return body
	}
	m := gossip.Member{Name: "n2", Addr: "192.0.2.2", Status: gossip.StatusAlive, Tags: map[string]string{"role": "consul",
		"id": "6f1a2c30-98aa-4d0e-8d7b-0c2f5d1f9a11", "build": "1.21.4:abc", "port": "8300", "raft_vsn": "3"}}

	apply(m)
	if got := get("/v1/health/service/consul"); !strings.Contains(got, `"Output":"Agent alive and reachable"`) ||
		!strings.Contains(got, `"version":"1.21.4"`) || !strings.Contains(got, `"Port":8300`) {
		t.Errorf("an alive server: %s", got)
	}
	before := a.Door.Counters()["index"]
	apply(m)
	if after := a.Door.Counters()["index"]; after != before {
		t.Errorf("saying the same again moved the index from %d to %d", before, after)
	}

	m.Addr = "192.0.2.3"
	apply(m)
	if got := get("/v1/catalog/nodes"); !strings.Contains(got, "192.0.2.3") || strings.Contains(got, "192.0.2.2") {
		t.Errorf("after a move: %s", got)
	}

	m.Status = gossip.StatusFailed
	apply(m)
	if got := get("/v1/health/node/n2"); !strings.Contains(got, `"Status":"critical"`) || !strings.Contains(got, failedOutput) {
		t.Errorf("a failed member: %s", got)
	}

	m.Status = gossip.StatusLeft
	apply(m)
	if got := get("/v1/catalog/nodes"); got != "[]" {
		t.Errorf("after it left: %s", got)
	}

	apply(gossip.Member{Name: "stranger", Status: gossip.StatusFailed})
	if got := get("/v1/catalog/nodes"); got != "[]" {
		t.Errorf("a failed member that the catalog never knew: %s", got)
	}
	apply(gossip.Member{Name: "n1", Status: gossip.StatusLeft})
}
