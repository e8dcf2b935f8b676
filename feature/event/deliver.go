package event

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/shelf"
)

// The names of events in gossip.
const (
	prefix    = "consul:event:"
	newLeader = "consul:new-leader"
)

// execName is the event of remote execution. Nobody but the agent is to see it.
const execName = "_rexec"

// receiver takes events from gossip into the ring.
type receiver struct {
	host   *room.Host
	ring   *ring
	warned time.Time // when the log last told of an event that cannot be read
}

func (r *receiver) run(ctx context.Context) error {
	if r.host.LAN == nil {
		return nil
	}
	return r.host.LAN.Run(ctx, r.receive)
}

// receive handles one event at a time.
func (r *receiver) receive(g gossip.Event) {
	if g.Kind != gossip.User {
		return
	}
	local, here := shelf.Find[Local](r.host.Shelf)
	if g.Name == newLeader && here {
		r.host.Log.Info("a server leads from now on", "node", string(g.Payload))
		local.Resync()
	}
	name, is := strings.CutPrefix(g.Name, prefix)
	if !is || name == execName {
		return
	}
	e, err := decode(g.Payload)
	if err != nil {
		if now := time.Now(); now.Sub(r.warned) >= time.Minute { // any member can cause it
			r.warned = now
			r.host.Log.Warn("an event was thrown away", "name", name, "error", err)
		}
		return
	}
	e.LTime = g.LTime
	var instances map[string][]string
	if here {
		instances = local.Instances()
	}
	if e.Name != execName && e.meant(r.host.Self.Node, instances) && r.ring.add(e) {
		r.host.Log.Debug("user event", "name", e.Name, "id", e.ID, "ltime", e.LTime)
	}
}

// meant reports whether the filters let the event through on a node that has these instances. The tag must be one of an
// instance whose ID matches too.
func (e *event) meant(node string, instances map[string][]string) bool {
	var filters [3]*regexp.Regexp
	for i, text := range []string{e.NodeFilter, e.ServiceFilter, e.TagFilter} {
		var err error
		if filters[i], err = regexp.Compile(text); err != nil {
			return false // who fires is told; only another program could have sent it
		}
	}
	if !filters[0].MatchString(node) {
		return false
	}
	if e.ServiceFilter == "" {
		return true
	}
	for id, tags := range instances {
		if filters[1].MatchString(id) && (e.TagFilter == "" || slices.ContainsFunc(tags, filters[2].MatchString)) {
			return true
		}
	}
	return false
}

// announcer tells all agents that this server leads: a duty of the leader, done at its beginning.
type announcer struct{ host *room.Host }

func (a announcer) run(ctx context.Context) error {
	if a.host.LAN != nil {
		if err := a.host.LAN.Send(newLeader, []byte(a.host.Self.Node)); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}
