package coordinate

import (
	"cmp"
	"strings"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// handlers serve /v1/coordinate/.
type handlers struct{ host *room.Host }

func (a handlers) routes() []httpd.Route {
	routes := []httpd.Route{
		{Method: "GET", Path: "/v1/coordinate/datacenters", Serve: a.datacenters, SingleTenant: true},
		{Method: "GET", Path: "/v1/coordinate/nodes", Serve: a.nodes, Read: true, SingleTenant: true},
		{Method: "GET", Path: "/v1/coordinate/node/", Serve: a.node, Read: true, SingleTenant: true},
		{Method: "PUT", Path: "/v1/coordinate/update", Serve: a.update, SingleTenant: true},
	}
	if disabled(a.host) {
		for i := range routes {
			routes[i].Serve = func(*httpd.Request) (httpd.Reply, error) { return httpd.Reply{}, errDisabled }
		}
	}
	return routes
}

// datacenters needs no leader: a server reads its own pool, an agent asks any server.
func (a handlers) datacenters(r *httpd.Request) (httpd.Reply, error) {
	var result room.Result
	var err error
	if a.host.Self.Server {
		result, err = Datacenters{}.Call(r.Context(), a.host)
	} else {
		result, _, err = a.host.Door.Call(r.Context(), &Datacenters{}, room.Options{Token: r.Params.Token, Consistency: httpd.Stale})
	}
	if err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: result}, nil
}

func (a handlers) nodes(r *httpd.Request) (httpd.Reply, error) {
	answer, meta, err := a.host.Door.Read(r.Context(), NodesQuery{}, room.OptionsOf(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	if r.Query("segment") != "" {
		return httpd.Reply{Value: List{}, Meta: &meta}, nil
	}
	return answer.Reply(meta), nil
}

func (a handlers) node(r *httpd.Request) (httpd.Reply, error) {
	answer, meta, err := a.host.Door.Read(r.Context(), NodeQuery{Node: strings.ToLower(r.Arg)}, room.OptionsOf(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	if answer.Missing || r.Query("segment") != "" {
		return httpd.NotFound(&meta), nil
	}
	return answer.Reply(meta), nil
}

// input is the body of coordinate/update.
type input struct {
	Node       string
	Segment    string
	Datacenter string
	Coord      *struct {
		Vec                       []float64
		Error, Adjustment, Height float64
	}
}

func (a handlers) update(r *httpd.Request) (httpd.Reply, error) {
	var in input
	if err := r.Decode(&in, true); err != nil {
		return httpd.Reply{}, err
	}
	at := gossip.Coordinate{}
	switch {
	case in.Node == "":
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing node name")
	case in.Coord == nil:
		return httpd.Reply{}, fault.New(fault.Invalid, `Missing coordinate: the member "Coord" says where the node is`)
	case in.Segment != "":
		return httpd.Reply{}, fault.New(fault.Refused, "Network segments are not supported in this version of Consul")
	case len(in.Coord.Vec) != len(at.Vec):
		return httpd.Reply{}, fault.New(fault.Refused, "incompatible coordinate")
	}
	at.Error, at.Adjustment, at.Height = in.Coord.Error, in.Coord.Adjustment, in.Coord.Height
	copy(at.Vec[:], in.Coord.Vec)
	o := room.Options{Token: r.Params.Token, Datacenter: cmp.Or(r.Params.Datacenter, in.Datacenter)}
	_, _, err := a.host.Door.Call(r.Context(), &Report{Entry{Node: in.Node, Coord: at}}, o)
	return httpd.Reply{}, err
}
