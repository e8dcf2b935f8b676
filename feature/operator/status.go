package operator

import (
	"maps"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// counters are all that the agent and its server counted.
func counters(h *room.Host) map[string]uint64 {
	all := h.Cluster.Counters()
	maps.Copy(all, h.Agent.Counters())
	return all
}

// own refuses questions about datacenters that this one has no path to.
func own(h *room.Host, r *httpd.Request) error {
	if dc := r.Params.Datacenter; dc != "" && dc != h.Self.Datacenter {
		return fault.ErrNoPath
	}
	return nil
}
