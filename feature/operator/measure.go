package operator

import (
	"context"
	"math"
	"time"

	"rostra/engine/room"
	"rostra/kit/httpd"
	"rostra/kit/metric"
)

// countTime is how long counting the catalog may take: who reads the metrics waits for it.
const countTime = 100 * time.Millisecond

// measure tells what this server holds, and, while it leads, how the servers do; what only the leader knows is no number
// elsewhere, as in Consul.
func measure(h *room.Host, p *pilot) {
	dc := metric.Label{Name: "datacenter", Value: h.Self.Datacenter}
	h.Metrics.Collect(func(a *metric.Asked) {
		c := p.counters()
		healthy, tolerance := math.NaN(), math.NaN()
		if n, leads := c["autopilot.healthy"]; leads {
			healthy, tolerance = float64(n), float64(c["autopilot.failure_tolerance"])
		}
		a.Gauge("autopilot.healthy", healthy)
		a.Gauge("autopilot.failure_tolerance", tolerance)
		for _, name := range []string{"added", "promoted", "demoted", "removed", "moved", "failed"} {
			a.Counter(".rostra.autopilot."+name, c["autopilot."+name])
		}
		ctx, end := context.WithTimeout(context.Background(), countTime)
		defer end()
		answer, _, err := h.Door.Read(ctx, usageQuery{}, room.Options{Consistency: httpd.Stale})
		if err != nil {
			return // the state is not whole: what it holds is unknown
		}
		u := answer.Value.(usage)
		a.Gauge("state.nodes", float64(u.Nodes), dc)
		a.Gauge("state.services", float64(u.Services), dc)
		a.Gauge("state.service_instances", float64(u.Instances), dc)
		a.Gauge("state.billable_service_instances", float64(u.Billable), dc)
	})
}
