// Package operator shows the group of servers to the people and load balancers that watch it: who leads, who the peers
// are, and what this server has counted.
package operator

import (
	"rostra/engine/room"
	"rostra/kit/httpd"
)

// Room is the operator feature. It keeps nothing.
var Room = room.Room{Name: "operator", Open: open, Verbs: keyringVerbs(), Calls: []room.ProcedureType{statusCall, keyringCall}}

func open(h *room.Host, _ any) (*room.Part, error) {
	get := func(path string, value func(*room.Host, *httpd.Request) (any, error)) httpd.Route {
		return httpd.Route{Method: "GET", Path: path, Serve: func(r *httpd.Request) (httpd.Reply, error) {
			v, err := value(h, r)
			if err != nil {
				return httpd.Reply{}, err
			}
			return httpd.Reply{Value: v}, nil
		}}
	}
	return &room.Part{
		Routes: append([]httpd.Route{
			get("/v1/status/leader", leader),
			get("/v1/status/peers", peers),
			get("/v1/rostra/counters", counters),
		}, keyringRoutes(h)...),
		Stats: h.Cluster.Stats,
	}, nil
}
