// Package member is this agent's place among the agents: who they are as gossip sees them, what this one says of itself,
// and, on the leader, the catalog's nodes kept in step with the members.
package member

import (
	"context"

	"golang.org/x/sync/errgroup"

	"rostra/engine/build"
	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// Room is the member feature. It keeps nothing of its own.
var Room = room.Room{Name: "member", Verbs: Verbs(), Settings: func() any { return new(Settings) }, Open: open}

func open(h *room.Host, settings any) (*room.Part, error) {
	a, join := handlers{h}, newJoiners(h, settings.(*Settings))
	flood := &flooder{h.LAN, h.WAN, h.Log}
	get := func(path string, serve func(*httpd.Request) (httpd.Reply, error)) httpd.Route {
		return httpd.Route{Method: "GET", Path: path, Serve: serve}
	}
	members := get("/v1/agent/members", a.members)
	members.Filter, members.SingleTenant = memberView{}, true
	return &room.Part{
		Routes: []httpd.Route{
			get("/v1/agent/self", a.self), get("/v1/agent/version", a.version), members,
			{Method: "PUT", Path: "/v1/agent/reload", Serve: a.reload},
			{Method: "PUT", Path: "/v1/agent/leave", Serve: a.leave},
			{Method: "PUT", Path: "/v1/agent/join/", Serve: a.join, Legacy: true, SingleTenant: true},
			{Method: "PUT", Path: "/v1/agent/force-leave/", Serve: a.forceLeave, Legacy: true, SingleTenant: true},
		},
		Loops: []room.Loop{{Name: "members to catalog", Run: func(ctx context.Context) error { return newReconciler(h).run(ctx) }}},
		Run: func(ctx context.Context) error {
			group, ctx := errgroup.WithContext(ctx)
			group.Go(func() error { return join.run(ctx) })
			group.Go(func() error { return flood.run(ctx) })
			return group.Wait()
		},
		Stats: a.stats,
	}, nil
}

// handlers serve the part of /v1/agent/ that is about the agent and its peers.
type handlers struct{ host *room.Host }

// memberJSON is the shape of agent/members.
type memberJSON struct {
	Name                                                                         string
	Addr                                                                         string
	Port                                                                         uint16
	Tags                                                                         map[string]string
	Status                                                                       int
	ProtocolMin, ProtocolMax, ProtocolCur, DelegateMin, DelegateMax, DelegateCur uint8
}

// memberView is what a filter sees of a member.
type memberView struct {
	Name                                                                         string
	Tags                                                                         map[string]string
	Port, Status                                                                 int
	ProtocolMin, ProtocolMax, ProtocolCur, DelegateMin, DelegateMax, DelegateCur int
}

func newMember(m gossip.Member) memberJSON {
	return memberJSON{m.Name, m.Addr, m.Port, m.Tags, int(m.Status), m.ProtocolMin, m.ProtocolMax, m.ProtocolCur,
		m.DelegateMin, m.DelegateMax, m.DelegateCur}
}

func (m memberJSON) view() *memberView {
	return &memberView{m.Name, m.Tags, int(m.Port), m.Status, int(m.ProtocolMin), int(m.ProtocolMax),
		int(m.ProtocolCur), int(m.DelegateMin), int(m.DelegateMax), int(m.DelegateCur)}
}

func (a handlers) members(r *httpd.Request) (httpd.Reply, error) {
	pool := a.host.LAN
	wan := r.Query("wan") != ""
	switch segment := r.Query("segment"); {
	case segment != "" && wan:
		return httpd.Reply{}, fault.New(fault.Invalid, "Cannot provide a segment with wan=true")
	case segment != "" && segment != "_all":
		return httpd.Reply{}, fault.New(fault.Refused, "Network segments are not supported in this version of Consul")
	}
	if wan {
		pool = a.host.WAN
	}
	list := []memberJSON{}
	if pool == nil {
		return httpd.Reply{Value: list}, nil
	}
	for _, m := range pool.Members() {
		j := newMember(m)
		if r.Filter != nil {
			if ok, err := r.Filter.Match(j.view()); err != nil {
				return httpd.Reply{}, err
			} else if !ok {
				continue
			}
		}
		list = append(list, j)
	}
	return httpd.Reply{Value: list}, nil
}

// selfConfig is the member Config of agent/self.
type selfConfig struct {
	Datacenter, PrimaryDatacenter, NodeName, NodeID, Revision string
	Server                                                    bool
	Version, BuildDate                                        string
}

func (a handlers) self(*httpd.Request) (httpd.Reply, error) {
	self, stamp := &a.host.Self, build.Info()
	coordinate, err := a.host.LAN.Coordinate()
	if err != nil {
		coordinate = nil
	}
	return httpd.Reply{Value: struct {
		Config      selfConfig
		DebugConfig map[string]any
		Coord       any
		Member      memberJSON
		Stats       map[string]map[string]string
		Meta        map[string]string
	}{
		Config: selfConfig{self.Datacenter, self.Primary, self.Node, self.ID, stamp.Revision, self.Server,
			build.Consul, stamp.Date},
		DebugConfig: a.host.Agent.Debug(),
		Coord:       coordinate,
		Member:      newMember(a.host.LAN.Local()),
		Stats:       a.host.Agent.Stats(),
		Meta:        a.host.Meta.Get(),
	}}, nil
}

func (a handlers) version(*httpd.Request) (httpd.Reply, error) {
	stamp := build.Info()
	return httpd.Reply{Value: struct{ SHA, BuildDate, HumanVersion, FIPS, Rostra string }{
		stamp.Revision, stamp.Date, build.Consul, "", build.Rostra}}, nil
}

func (a handlers) reload(r *httpd.Request) (httpd.Reply, error) {
	return httpd.Reply{}, a.host.Agent.Reload(r.Context())
}

func (a handlers) leave(r *httpd.Request) (httpd.Reply, error) {
	return httpd.Reply{}, a.host.Agent.Leave(context.WithoutCancel(r.Context()))
}

func (a handlers) join(r *httpd.Request) (httpd.Reply, error) {
	pool := a.host.LAN
	if r.Query("wan") != "" {
		if pool = a.host.WAN; pool == nil {
			return httpd.Reply{}, fault.New(fault.Refused, "Must be a server to join WAN cluster")
		}
	}
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing address to join")
	}
	n, err := pool.Join(r.Context(), []string{r.Arg})
	if err == nil {
		a.host.Log.Info("joined", "address", r.Arg, "agents", n)
	}
	return httpd.Reply{}, err
}

// forceLeave makes a failed member one that left; a server also has it leave the pool between datacenters.
func (a handlers) forceLeave(r *httpd.Request) (httpd.Reply, error) {
	prune := r.Has("prune")
	if r.Has("wan") {
		if a.host.WAN == nil {
			return httpd.Reply{}, fault.New(fault.Refused, "Must be a server to force-leave a node from the WAN cluster")
		}
		return httpd.Reply{}, a.host.WAN.ForceLeave(r.Arg, prune)
	}
	return httpd.Reply{}, a.host.ForceLeave(r.Arg, prune)
}

// stats are the sections of info that speak of gossip.
func (a handlers) stats() map[string]map[string]string {
	out := map[string]map[string]string{"serf_lan": a.host.LAN.Stats()}
	if a.host.WAN != nil {
		out["serf_wan"] = a.host.WAN.Stats()
	}
	return out
}
