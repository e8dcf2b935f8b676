package coordinate

import (
	"context"
	"math/rand/v2"
	"time"

	"rostra/engine/room"
	"rostra/engine/shelf"
	"rostra/kit/authz"
	"rostra/kit/fault"
)

// Agents report so often that all of them together make at most reportRate reports a second (spec agent.md §19).
const (
	reportPeriod = 15 * time.Second
	reportRate   = 64
)

// reporter tells the leader where this agent is.
type reporter struct{ host *room.Host }

func (r reporter) run(ctx context.Context) error {
	if r.host.LAN == nil || r.host.Roster == nil {
		return nil
	}
	timer := time.NewTimer(reportPause(r.host.Roster.Members()))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		if err := r.report(ctx); err != nil && ctx.Err() == nil {
			r.host.Log.Debug("cannot report the coordinate", "error", err) // it is told again before long
		}
		timer.Reset(reportPause(r.host.Roster.Members()))
	}
}

func (r reporter) report(ctx context.Context) error {
	at, err := r.host.LAN.Coordinate()
	if err != nil {
		return err
	}
	_, _, err = r.host.Door.Call(ctx, &Report{Entry{Node: r.host.Self.Node, Coord: *at}}, room.Options{})
	return err
}

// reportPause returns the time until the next report of one of so many agents.
func reportPause(members int) time.Duration {
	period := max(reportPeriod, time.Duration(members)*time.Second/reportRate)
	return period + rand.N(period)
}

// Name is the Procedure's name on the wire.
func (p *Report) Name() string { return "coordinate.report" }

// Allowed asks node:write on the node.
func (p *Report) Allowed(d authz.Decider) error {
	return authz.Require(d, authz.Node, authz.Write, p.Entry.Node)
}

// Call puts the report into this server's next batch.
func (p *Report) Call(_ context.Context, h *room.Host) (room.Result, error) {
	if !p.Entry.Coord.Finite() {
		return nil, errInvalid
	}
	batch, ok := shelf.Find[*pending](h.Shelf)
	if !ok {
		return nil, errDisabled
	}
	batch.add(p.Entry)
	return nil, nil
}

var errDisabled = fault.New(fault.Disabled, "Coordinate support disabled")

// Name is the Procedure's name on the wire.
func (Datacenters) Name() string { return "coordinate.datacenters" }

// Allowed is always nil: the answer is about servers only.
func (Datacenters) Allowed(authz.Decider) error { return nil }

// Call reads the pool between datacenters. A server whose place is not known yet is left out.
func (Datacenters) Call(_ context.Context, h *room.Host) (room.Result, error) {
	m := Map{}
	if h.Roster == nil {
		return m, nil
	}
	for _, name := range h.Roster.Datacenters() {
		dc := Datacenter{Name: name}
		for _, s := range h.Roster.Servers(name) {
			if h.WAN == nil {
				break
			}
			if at := h.WAN.CoordinateOf(s.WAN()); at != nil {
				dc.Servers = append(dc.Servers, Server{Node: s.Node, Coord: *at})
			}
		}
		m = append(m, dc)
	}
	return m, nil
}
