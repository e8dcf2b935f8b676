package catalog

import (
	"context"
	"net/http"
	"strings"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// handlers serve /v1/catalog/.
type handlers struct{ host *room.Host }

func (a handlers) routes() []httpd.Route {
	read := func(path string, filter any, serve func(*httpd.Request) (httpd.Reply, error)) httpd.Route {
		return httpd.Route{Method: "GET", Path: path, Serve: serve, Read: true, Effective: true, SingleTenant: true,
			Discovery: true, Filter: filter}
	}
	return []httpd.Route{
		{Method: "PUT", Path: "/v1/catalog/register", Serve: a.register, SingleTenant: true, Legacy: true},
		{Method: "PUT", Path: "/v1/catalog/deregister", Serve: a.deregister, SingleTenant: true, Legacy: true},
		{Method: "GET", Path: "/v1/catalog/datacenters", Serve: a.datacenters},
		read("/v1/catalog/nodes", NodeView{}, a.nodes),
		read("/v1/catalog/services", instanceView{}, a.services),
		read("/v1/catalog/service/", instanceView{}, a.service),
		read("/v1/catalog/node/", ServiceView{}, a.node),
		read("/v1/catalog/node-services/", ServiceView{}, a.nodeServices),
	}
}

func (a handlers) register(r *httpd.Request) (httpd.Reply, error) {
	var in registration
	if err := r.Decode(&in, true); err != nil {
		return httpd.Reply{}, err
	}
	c, err := in.command(a.host.Self.Datacenter)
	if err != nil {
		return httpd.Reply{}, err
	}
	reply, err := a.apply(r, c, in.Datacenter)
	if err == nil && in.loses() {
		reply.Header = http.Header{"X-Rostra-Warning": {notKept}}
	}
	return reply, err
}

func (a handlers) deregister(r *httpd.Request) (httpd.Reply, error) {
	var in deregistration
	if err := r.Decode(&in, true); err != nil {
		return httpd.Reply{}, err
	}
	if in.Node == "" {
		return httpd.Reply{}, refuse("Must provide node")
	}
	return a.apply(r, &Deregister{Node: in.Node, ServiceID: in.ServiceID, CheckID: in.CheckID}, in.Datacenter)
}

func (a handlers) apply(r *httpd.Request, c room.Command, datacenter string) (httpd.Reply, error) {
	o := room.Options{Token: r.Params.Token, Datacenter: datacenter}
	if _, _, err := a.host.Door.Apply(r.Context(), c, o); err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: true}, nil
}

// datacenters needs no leader: a server reads its own pool, an agent asks any server.
func (a handlers) datacenters(r *httpd.Request) (httpd.Reply, error) {
	result, _, err := a.host.Door.Call(r.Context(), &Datacenters{}, room.Options{Token: r.Params.Token, Consistency: httpd.Stale})
	if err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: []string(result.(DatacenterNames))}, nil
}

func (a handlers) nodes(r *httpd.Request) (httpd.Reply, error) {
	return Read(r, a.host, NodesQuery{Meta: WordsOf(r.Params.NodeMeta)}, false)
}

// Read asks the door what the request wants to know and makes a reply of the answer. cacheable marks the endpoints that
// know ?cached (conventions §10): the door keeps the answers that are asked for current, so all of them count as cached. Lists
// are in the order of ?near.
func Read(r *httpd.Request, h *room.Host, q room.Query, cacheable bool) (httpd.Reply, error) {
	answer, meta, err := h.Door.Read(r.Context(), q, room.OptionsOf(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	if cacheable {
		markCached(r, &meta)
	}
	if r.Query("peer") != "" {
		return httpd.Reply{Value: ofPeer(answer.Value), Meta: &meta}, nil
	}
	return answer.ReplyNear(r, h, meta), nil
}

// ofPeer is what another cluster has brought in of what a list is of: nothing, for none is a peer of this one.
func ofPeer(list any) any {
	if _, tags := list.(ServiceTags); tags {
		return ServiceTags{}
	}
	return NodeList{}
}

func markCached(r *httpd.Request, m *room.Meta) {
	if hit := r.Params.Cached; hit {
		m.CacheHit = &hit
	}
}

func (a handlers) services(r *httpd.Request) (httpd.Reply, error) {
	meta := WordsOf(r.Params.NodeMeta)
	if r.Filter == nil || r.Query("peer") != "" {
		return Read(r, a.host, ServicesQuery{Meta: meta}, true)
	}
	answer, m, err := a.host.Door.Read(r.Context(), EveryInstanceQuery{Meta: meta}, room.OptionsOf(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	var kept InstanceList
	for i, x := range answer.Value.(InstanceList) {
		if ok, err := r.Filter.Match(answer.Value.(InstanceList).Item(i)); err != nil {
			return httpd.Reply{}, err
		} else if ok {
			kept = append(kept, x)
		}
	}
	markCached(r, &m)
	return httpd.Reply{Value: tagsOf(kept), Meta: &m}, nil
}

func (a handlers) service(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing service name")
	}
	return Read(r, a.host, InstancesQuery{Service: strings.ToLower(r.Arg), Tags: WordsOf(r.QueryAll("tag")),
		Meta: WordsOf(r.Params.NodeMeta)}, true)
}

func (a handlers) node(r *httpd.Request) (httpd.Reply, error) {
	ns, meta, err := a.oneNode(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: ns, Meta: &meta}, nil
}

func (a handlers) nodeServices(r *httpd.Request) (httpd.Reply, error) {
	ns, meta, err := a.oneNode(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: serviceList{ns}, Meta: &meta}, nil
}

// oneNode finds the node of the argument, a name or an ID, and its services that pass the filter.
func (a handlers) oneNode(r *httpd.Request) (*NodeServices, room.Meta, error) {
	if r.Arg == "" {
		return nil, room.Meta{}, fault.New(fault.Invalid, "Missing node name")
	}
	name, err := a.nameOf(r.Context(), r)
	if err != nil {
		return nil, room.Meta{}, err
	}
	answer, meta, err := a.host.Door.Read(r.Context(), NodeQuery{Node: name}, room.OptionsOf(r))
	if err != nil {
		return nil, meta, err
	}
	ns := answer.Value.(*NodeServices)
	if r.Query("peer") != "" {
		ns = nil // see ofPeer
	}
	if ns != nil && r.Filter != nil {
		kept := &NodeServices{Node: ns.Node}
		for _, s := range ns.Services {
			if ok, err := r.Filter.Match(s.View()); err != nil {
				return nil, meta, err
			} else if ok {
				kept.Services = append(kept.Services, s)
			}
		}
		ns = kept
	}
	if ns != nil && a.host.Translates(r.Params.Datacenter) {
		ns = ns.abroad()
	}
	return ns, meta, nil
}

func (a handlers) nameOf(ctx context.Context, r *httpd.Request) (string, error) {
	o := room.OptionsOf(r)
	o.Index = 0
	found, _, err := a.host.Door.Read(ctx, findQuery{NameOrID: r.Arg}, o)
	if err != nil {
		return "", err
	}
	if n := found.Value.(*Node); n != nil {
		return strings.ToLower(n.Node), nil
	}
	return strings.ToLower(r.Arg), nil
}
