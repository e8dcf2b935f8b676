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

// leader is the address of the server that leads, "" while none does.
func leader(h *room.Host) string {
	id, all := h.Raft.Peers()
	for _, p := range all {
		if p.ID == id {
			return p.Address
		}
	}
	return ""
}

// peers are the addresses of the servers that keep the log.
func peers(h *room.Host) []string {
	_, all := h.Raft.Peers()
	addresses := make([]string, 0, len(all))
	for _, p := range all {
		addresses = append(addresses, p.Address)
	}
	return addresses
}
