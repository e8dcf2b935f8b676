package overview

import (
	"strings"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/feature/health"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// handlers serve /v1/internal/ui/.
type handlers struct{ host *room.Host }

func (a handlers) routes() []httpd.Route {
	read := func(path string, filter any, serve func(*httpd.Request) (httpd.Reply, error)) httpd.Route {
		return httpd.Route{Method: "GET", Path: "/v1/internal/ui/" + path, Serve: serve, Read: true, SingleTenant: true, Filter: filter}
	}
	return []httpd.Route{
		read("nodes", NodeView{}, a.nodes),
		read("node/", nil, a.node),
		read("services", health.EntryView{}, a.services),
		read("catalog-overview", nil, a.totals),
		read("exported-services", nil, a.exported),
		read("gateway-services-nodes/", nil, a.gateway),
		read("gateway-intentions/", nil, a.gateway),
		read("service-topology/", nil, a.topology),
		read("metrics-proxy/", nil, a.metrics),
	}
}

// ask reads like every handler, but a page shall show what is known while there is no leader.
func (a handlers) ask(r *httpd.Request, q room.Query) (room.Answer, room.Meta, error) {
	o := room.OptionsOf(r)
	answer, meta, err := a.host.Door.Read(r.Context(), q, o)
	if fault.Is(err, fault.NoLeader) && o.Consistency != httpd.Stale {
		o.Consistency = httpd.Stale
		answer, meta, err = a.host.Door.Read(r.Context(), q, o)
	}
	return answer, meta, err
}

func (a handlers) nodes(r *httpd.Request) (httpd.Reply, error) {
	answer, meta, err := a.ask(r, nodesQuery{})
	if err != nil {
		return httpd.Reply{}, err
	}
	versions := a.versions(r)
	list := answer.Value.(NodeList)
	var filled NodeList // nil while all nodes are as they are stored: then all readers share the bytes
	for i, n := range list {
		v := n.versioned(versions[strings.ToLower(n.Node.Node)])
		if v != n && filled == nil {
			filled = append(NodeList{}, list[:i]...)
		}
		if filled != nil {
			filled = append(filled, v)
		}
	}
	if filled != nil {
		return httpd.Reply{Value: filled, Meta: &meta}, nil
	}
	return answer.Reply(meta), nil
}

// versions returns what gossip knows of this datacenter's agents: their versions by lower-cased name.
func (a handlers) versions(r *httpd.Request) map[string]string {
	dc := r.Params.Datacenter
	if a.host.LAN == nil || dc != "" && dc != a.host.Self.Datacenter {
		return nil
	}
	known := map[string]string{}
	for _, m := range a.host.LAN.Members() {
		known[strings.ToLower(m.Name)] = versionOf(m)
	}
	return known
}

// versionOf reads the tag build: a version and a revision.
func versionOf(m gossip.Member) string {
	version, _, _ := strings.Cut(m.Tags["build"], ":")
	return version
}

func (a handlers) node(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing node name")
	}
	answer, meta, err := a.ask(r, nodeQuery{Node: strings.ToLower(r.Arg)})
	if err != nil {
		return httpd.Reply{}, err
	}
	n := answer.Value.(*Node)
	if n == nil {
		return httpd.NotFound(nil), nil
	}
	if v := n.versioned(a.versions(r)[strings.ToLower(n.Node.Node)]); v != n {
		return httpd.Reply{Value: v, Meta: &meta}, nil
	}
	return answer.Reply(meta), nil
}

func (a handlers) services(r *httpd.Request) (httpd.Reply, error) {
	if r.Filter == nil {
		answer, meta, err := a.ask(r, servicesQuery{})
		if err != nil {
			return httpd.Reply{}, err
		}
		return answer.Reply(meta), nil
	}
	answer, meta, err := a.ask(r, health.EveryQuery{})
	if err != nil {
		return httpd.Reply{}, err
	}
	var kept health.EntryList
	list := answer.Value.(health.EntryList)
	for i, e := range list {
		if ok, err := r.Filter.Match(list.Item(i)); err != nil {
			return httpd.Reply{}, err
		} else if ok {
			kept = append(kept, e)
		}
	}
	return httpd.Reply{Value: summarize(kept), Meta: &meta}, nil
}

// totals has no index: Consul computes this answer now and then.
func (a handlers) totals(r *httpd.Request) (httpd.Reply, error) {
	r.Params.Index = 0
	answer, _, err := a.ask(r, totalsQuery{})
	if err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: answer.Value}, nil
}

// exported answers which services another cluster is given. None is a peer of this one.
func (a handlers) exported(r *httpd.Request) (httpd.Reply, error) {
	if r.Query("peer") == "" {
		return httpd.Reply{}, fault.New(fault.Internal, "must provide PeerName")
	}
	_, meta, err := a.ask(r, servicesQuery{})
	if err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: nothing{}, Meta: &meta}, nil
}

func (a handlers) gateway(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing gateway name")
	}
	return a.mesh(r, gatewayQuery{Gateway: strings.ToLower(r.Arg)})
}

func (a handlers) topology(r *httpd.Request) (httpd.Reply, error) {
	kind := r.Query("kind")
	switch {
	case r.Arg == "":
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing service name")
	case !r.Has("kind"):
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing service kind")
	case kind != "" && kind != "ingress-gateway":
		return httpd.Reply{}, fault.New(fault.Invalid, "Unsupported service kind %q", kind)
	}
	return a.mesh(r, topologyQuery{Service: strings.ToLower(r.Arg)})
}

func (a handlers) mesh(r *httpd.Request, q room.Query) (httpd.Reply, error) {
	answer, meta, err := a.ask(r, q)
	if err != nil {
		return httpd.Reply{}, err
	}
	return answer.Reply(meta), nil
}

// metrics would pass requests on to the Prometheus that the web UI is configured with.
func (a handlers) metrics(*httpd.Request) (httpd.Reply, error) {
	return httpd.Reply{}, fault.New(fault.NotFound, "UI is not enabled")
}
