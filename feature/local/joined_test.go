package local

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/kit/fault"
)

// lone is the door of an agent that may not have joined yet.
type lone struct {
	room.Door
	joined atomic.Bool
}

func (d *lone) Read(ctx context.Context, q room.Query, o room.Options) (room.Answer, room.Meta, error) {
	if !d.joined.Load() {
		return room.Answer{}, room.Meta{}, fault.New(fault.NoLeader, "No known Consul servers")
	}
	return d.Door.Read(ctx, q, o)
}

func (d *lone) Apply(ctx context.Context, c room.Command, o room.Options) (room.Result, room.Meta, error) {
	if !d.joined.Load() {
		return nil, room.Meta{}, fault.New(fault.NoLeader, "No known Consul servers")
	}
	return d.Door.Apply(ctx, c, o)
}

// TestWhoJoinsComparesAtOnce: an agent has nothing to compare with before it has joined. What was registered meanwhile, and
// the results of its checks, do not wait for the next try.
func TestWhoJoinsComparesAtOnce(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	servers, door := roster.Of("dc1"), &lone{Door: l.door}
	a.k.host.Roster, a.k.host.Door = servers, door
	a.run()
	a.put("service/register", `{"Name":"w","Check":{"TTL":"1h"}}`)
	a.put("check/pass/service:w", "")
	waitFor(t, func() bool { return strings.Contains(a.logged(), "cannot compare with the catalog") })
	servers.Set(roster.Server{ID: "s0", Node: "s0", Datacenter: "dc1", Address: "127.0.0.1:8300", Status: gossip.StatusFailed})
	door.joined.Store(true)
	began := time.Now()
	servers.Set(roster.Server{ID: "s1", Node: "s1", Datacenter: "dc1", Address: "127.0.0.1:8300", Status: gossip.StatusAlive})
	waitFor(t, func() bool { return l.differences(a) == "" })
	if took := time.Since(began); took >= retryPeriod {
		t.Errorf("in step after %v: it waited for the next try", took)
	}
	if _, checks := l.remote(); checks["service:w"] == nil || checks["service:w"].Status != "passing" {
		t.Error("the catalog does not know that the check passes")
	}
}
