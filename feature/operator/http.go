package operator

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/wire"
)

// raftRoutes serve /v1/operator/raft/, /v1/operator/autopilot/ and /v1/operator/usage.
func raftRoutes(h *room.Host) []httpd.Route {
	w := web{h.Door}
	const raft, autopilot = "/v1/operator/raft/", "/v1/operator/autopilot/"
	return []httpd.Route{
		{Method: "GET", Path: raft + "configuration", Serve: w.servers, Read: true},
		{Method: "DELETE", Path: raft + "peer", Serve: w.remove},
		{Method: "POST", Path: raft + "transfer-leader", Serve: w.transfer},
		{Method: "GET", Path: autopilot + "configuration", Serve: w.config, Read: true},
		{Method: "PUT", Path: autopilot + "configuration", Serve: w.setConfig},
		{Method: "GET", Path: autopilot + "health", Serve: w.health, Read: true},
		{Method: "GET", Path: autopilot + "state", Serve: w.state, Read: true},
		{Method: "GET", Path: "/v1/operator/usage", Serve: w.usage, Read: true, Effective: true},
	}
}

// web serves them through the door.
type web struct{ door room.Door }

// now are the options of a request that does not block.
func now(r *httpd.Request) room.Options {
	o := room.OptionsOf(r)
	o.Index, o.Wait, o.Cached = 0, 0, false
	return o
}

// atLeader are the options of what only the leader can answer or do.
func atLeader(r *httpd.Request) room.Options {
	return room.Options{Token: r.Params.Token, Datacenter: r.Params.Datacenter}
}

// ask calls a procedure and returns its result.
func ask[T any](w web, r *httpd.Request, p room.Procedure, o room.Options) (T, room.Meta, error) {
	result, meta, err := w.door.Call(r.Context(), p, o)
	if err != nil {
		var none T
		return none, meta, err
	}
	return result.(T), meta, nil
}

// serverJSON is a server in raft/configuration.
type serverJSON struct {
	ID, Node, Address string
	Leader            bool
	ProtocolVersion   string
	Voter             bool
	LastIndex         uint64
}

func (w web) servers(r *httpd.Request) (httpd.Reply, error) {
	list, _, err := ask[peerList](w, r, &peersAsk{}, now(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	out := struct {
		Servers []serverJSON
		Index   uint64
	}{Servers: []serverJSON{}, Index: list.Index}
	for _, p := range list.Peers {
		s := serverJSON{p.ID, p.Node, p.Address, p.Leader, "3", p.Voter, p.Last}
		if p.Node == "" {
			s.Node, s.ProtocolVersion = "(unknown)", "unknown"
		}
		out.Servers = append(out.Servers, s)
	}
	return httpd.Reply{Value: out}, nil
}

// removeTime is how long a leader that is to be removed may take: it hands its leadership on, and the next removes it.
const removeTime = 10 * time.Second

func (w web) remove(r *httpd.Request) (httpd.Reply, error) {
	p := &removeAsk{ID: r.Query("id"), Address: r.Query("address")}
	switch {
	case p.ID == "" && p.Address == "":
		return httpd.Reply{}, fault.New(fault.Invalid, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove")
	case p.ID != "" && p.Address != "":
		return httpd.Reply{}, fault.New(fault.Invalid, "Must specify only one of ?id or ?address")
	}
	ctx, end := context.WithTimeout(r.Context(), removeTime)
	defer end()
	for {
		moved, _, err := w.door.Call(ctx, p, atLeader(r))
		if err != nil || moved != true {
			return httpd.Reply{}, err
		}
	}
}

func (w web) transfer(r *httpd.Request) (httpd.Reply, error) {
	if _, _, err := w.door.Call(r.Context(), &transferAsk{r.Query("id")}, room.Options{Token: r.Params.Token}); err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: struct{ Success bool }{true}}, nil
}

func (w web) config(r *httpd.Request) (httpd.Reply, error) {
	answer, _, err := w.door.Read(r.Context(), configQuery{}, now(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	c := answer.Value.(*Config)
	if c == nil {
		return httpd.Reply{}, fault.New(fault.NoLeader, "cannot answer: no leader has written the first autopilot configuration yet")
	}
	return httpd.Reply{Value: c}, nil
}

func (w web) setConfig(r *httpd.Request) (httpd.Reply, error) {
	c := &setConfig{Config: defaults()}
	if err := r.Decode(&c.Config, true); err != nil {
		const lead = "Request decode failed: "
		if text, is := strings.CutPrefix(err.Error(), lead); is {
			err = fault.New(fault.Invalid, "Error parsing autopilot config: %s", text)
		}
		return httpd.Reply{}, err
	}
	c.Config.CreateIndex, c.Config.ModifyIndex = 0, 0
	if text := c.Config.problem(); text != "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Error parsing autopilot config: %s", text)
	}
	if text := r.Query("cas"); text != "" {
		var err error
		if c.Index, err = strconv.ParseUint(text, 10, 64); err != nil {
			return httpd.Reply{}, fault.New(fault.Invalid, "Error parsing cas value: %v", err)
		}
		c.Compare = true
	}
	done, _, err := w.door.Apply(r.Context(), c, atLeader(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: done.(bool)}, nil
}

// healthJSON is a server in autopilot/health.
type healthJSON struct {
	ID, Name, Address, SerfStatus, Version string
	Leader                                 bool
	LastContact                            wire.Duration
	LastTerm, LastIndex                    uint64
	Healthy, Voter                         bool
	StableSince                            time.Time
}

func (w web) health(r *httpd.Request) (httpd.Reply, error) {
	report, _, err := ask[stateReport](w, r, &stateAsk{}, atLeader(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	out := struct {
		Healthy          bool
		FailureTolerance int
		Servers          []healthJSON
	}{report.Healthy, report.Tolerance, []healthJSON{}}
	for _, s := range report.Servers {
		out.Servers = append(out.Servers, healthJSON{s.ID, s.Node, s.Address, gossip.Status(s.Gossip).String(), s.Build, s.Leader,
			wire.Duration(s.Contact), s.LastTerm, s.Last, s.Healthy, s.Voter, time.Unix(0, s.Since).UTC().Truncate(time.Second)})
	}
	reply := httpd.Reply{Value: out}
	if !report.Healthy {
		reply.Status = 429
	}
	return reply, nil
}

// stateJSON is the answer of autopilot/state, stateServerJSON a server in it.
type stateJSON struct {
	Healthy                                      bool
	FailureTolerance, OptimisticFailureTolerance int
	Servers                                      map[string]stateServerJSON
	Leader                                       string
	Voters                                       []string
	ReadReplicas                                 []string `json:",omitempty"`
}

type stateServerJSON struct {
	ID, Name, Address, NodeStatus, Version string
	LastContact                            wire.Duration
	LastTerm, LastIndex                    uint64
	Healthy                                bool
	StableSince                            time.Time
	ReadReplica                            bool
	Status                                 string
	Meta                                   map[string]string
	NodeType                               string
}

func (w web) state(r *httpd.Request) (httpd.Reply, error) {
	report, _, err := ask[stateReport](w, r, &stateAsk{}, atLeader(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: newStateJSON(report)}, nil
}

func newStateJSON(report stateReport) stateJSON {
	out := stateJSON{Healthy: report.Healthy, FailureTolerance: report.Tolerance, OptimisticFailureTolerance: report.Tolerance,
		Servers: map[string]stateServerJSON{}, Voters: []string{}}
	servers := slices.SortedFunc(slices.Values(report.Servers), func(a, b serverLine) int {
		switch {
		case a.Leader:
			return -1
		case b.Leader:
			return 1
		}
		return cmp.Compare(a.ID, b.ID)
	})
	for _, s := range servers {
		one := stateServerJSON{s.ID, s.Node, s.Address, gossip.Status(s.Gossip).String(), s.Build, wire.Duration(s.Contact), s.LastTerm,
			s.Last, s.Healthy, time.Unix(0, s.Since).UTC(), s.Replica, "non-voter", s.Meta.Map(), "voter"}
		if s.Replica {
			one.NodeType = "read-replica"
			out.ReadReplicas = append(out.ReadReplicas, s.ID)
		}
		if s.Voter {
			one.Status = "voter"
			out.Voters = append(out.Voters, s.ID)
		}
		if s.Leader {
			one.Status, out.Leader = "leader", s.ID
		}
		if one.Meta == nil {
			one.Meta = map[string]string{}
		}
		out.Servers[s.ID] = one
	}
	return out
}

// usageJSON is the answer of operator/usage.
type usageJSON struct {
	Usage                 map[string]usageCount
	Index                 uint64
	LastContact           time.Duration
	KnownLeader           bool
	ConsistencyLevel      string
	NotModified           bool
	Backend               int
	ResultsFilteredByACLs bool
}

// usageCount is how much one datacenter holds.
type usageCount struct {
	Services, ServiceInstances int
	ConnectServiceInstances    map[string]int
	BillableServiceInstances   int
	Nodes                      int
}

func (u usage) json() usageCount {
	return usageCount{u.Services, u.Instances, map[string]int{"api-gateway": u.APIGateways, "connect-native": 0, "connect-proxy": u.Proxies,
		"ingress-gateway": u.IngressGateways, "mesh-gateway": u.MeshGateways, "terminating-gateway": u.TerminatingGateways}, u.Billable, u.Nodes}
}

// usage counts in the datacenter asked, with global also in all others that answer.
func (w web) usage(r *httpd.Request) (httpd.Reply, error) {
	o := now(r)
	named := o
	named.Consistency = httpd.Stale // any server knows
	known, _, err := ask[catalog.DatacenterNames](w, r, &catalog.Datacenters{}, named)
	if err != nil {
		return httpd.Reply{}, err
	}
	answer, meta, err := w.door.Read(r.Context(), usageQuery{}, o)
	if err != nil {
		return httpd.Reply{}, err
	}
	out := usageJSON{Usage: map[string]usageCount{known[0]: answer.Value.(usage).json()}, Index: meta.Index,
		LastContact: meta.LastContact, KnownLeader: meta.KnownLeader, ConsistencyLevel: meta.Consistency.String()}
	if r.Has("global") {
		others := known[1:]
		counts := make([]*usageCount, len(others))
		var group errgroup.Group
		for i, dc := range others {
			group.Go(func() error {
				o := o
				o.Datacenter = dc
				if answer, _, err := w.door.Read(r.Context(), usageQuery{}, o); err == nil {
					c := answer.Value.(usage).json()
					counts[i] = &c
				}
				return nil
			})
		}
		_ = group.Wait() // who does not answer is left out
		for i, c := range counts {
			if c != nil {
				out.Usage[others[i]] = *c
			}
		}
	}
	return httpd.Reply{Value: out, Meta: &meta}, nil
}
