package operator

import (
	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// own refuses questions about datacenters that this one has no path to.
func own(h *room.Host, r *httpd.Request) error {
	if dc := r.Params.Datacenter; dc != "" && dc != h.Self.Datacenter {
		return fault.ErrNoPath
	}
	return nil
}
