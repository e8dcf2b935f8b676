package operator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

//msgp:ignore keyringJSON
//go:generate go tool msgp -file keyring.go -o keyring_gen.go -tests=false -io=false -unexported

// keyringAsk does something with the keyrings of a datacenter's members: a server of it asks them all.
type keyringAsk struct {
	Op    int    `msg:"Op"` // a gossip.KeyOp
	Key   []byte `msg:"Key"`
	Relay int    `msg:"Relay"`
	WAN   bool   `msg:"WAN"` // the servers of all datacenters, too
}

// keyringReport is what they said, and which datacenters the server asked knows, its own first.
type keyringReport struct {
	Pools       []keyringPool `msg:"Pools"`
	Datacenters []string      `msg:"Datacenters"`
}

// keyringPool is what the members of one pool said.
type keyringPool struct {
	WAN        bool      `msg:"WAN"`
	Datacenter string    `msg:"Datacenter"`
	Messages   []said    `msg:"Messages"`
	Keys       []counted `msg:"Keys"`
	Primary    []counted `msg:"Primary"`
	Nodes      int       `msg:"Nodes"`
	Error      string    `msg:"Error"`
}

// said is a node and its message; counted a key and how many nodes have it. Both are sorted.
type said struct {
	Node string `msg:"Node"`
	Text string `msg:"Text"`
}

type counted struct {
	Key   string `msg:"Key"`
	Nodes int    `msg:"Nodes"`
}

// keyringCall lets keyringAsk travel.
var keyringCall = room.ProcedureType{New: func() room.Procedure { return new(keyringAsk) }, Result: room.Pointer[keyringReport]()}

// Name implements room.Procedure.
func (*keyringAsk) Name() string { return "operator.keyring" }

// Allowed implements room.Procedure.
func (k *keyringAsk) Allowed(d authz.Decider) error {
	if gossip.KeyOp(k.Op) == gossip.ListKeys {
		return authz.Require(d, authz.Keyring, authz.Read, "")
	}
	return authz.Require(d, authz.Keyring, authz.Write, "")
}

// Changes tells the door that this may change something. All operations on keyrings may be repeated.
func (k *keyringAsk) Changes() bool { return gossip.KeyOp(k.Op) != gossip.ListKeys }

// Call implements room.Procedure.
func (k *keyringAsk) Call(ctx context.Context, h *room.Host) (room.Result, error) {
	r := &keyringReport{Datacenters: h.Roster.Datacenters()}
	if !k.WAN || h.WAN == nil {
		r.Pools = []keyringPool{k.ask(ctx, h.LAN, false, h.Self.Datacenter)}
		return r, nil
	}
	r.Pools = make([]keyringPool, 2)
	var both sync.WaitGroup
	both.Go(func() { r.Pools[0] = k.ask(ctx, h.WAN, true, h.Self.Datacenter) })
	r.Pools[1] = k.ask(ctx, h.LAN, false, h.Self.Datacenter)
	both.Wait()
	return r, nil
}

func (k *keyringAsk) ask(ctx context.Context, pool *gossip.Pool, wan bool, dc string) keyringPool {
	report, err := pool.Keys(ctx, gossip.KeyOp(k.Op), k.Key, k.Relay)
	p := keyringPool{WAN: wan, Datacenter: dc, Nodes: report.Nodes, Keys: countsOf(report.Keys), Primary: countsOf(report.Primary)}
	for node, text := range report.Messages {
		p.Messages = append(p.Messages, said{node, text})
	}
	slices.SortFunc(p.Messages, func(a, b said) int { return cmp.Compare(a.Node, b.Node) })
	if err != nil {
		p.Error = err.Error()
	}
	return p
}

func countsOf(m map[string]int) []counted {
	list := make([]counted, 0, len(m))
	for key, n := range m {
		list = append(list, counted{key, n})
	}
	slices.SortFunc(list, func(a, b counted) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// everywhere asks in one datacenter and then, unless only is set, in all others that it knows.
func (k keyringAsk) everywhere(ctx context.Context, d room.Door, o room.Options, only bool) ([]keyringPool, error) {
	o.Consistency = httpd.Stale // any server can ask, also while none leads
	k.WAN = !only
	result, _, err := d.Call(ctx, &k, o)
	if err != nil {
		return nil, err
	}
	first := result.(*keyringReport)
	if only {
		return first.Pools, nil
	}
	others := first.Datacenters[1:]
	pools := make([][]keyringPool, len(others))
	var group errgroup.Group
	k.WAN = false
	for i, dc := range others {
		group.Go(func() error {
			o, k := o, k
			o.Datacenter = dc
			result, _, err := d.Call(ctx, &k, o)
			if err != nil {
				pools[i] = []keyringPool{{Datacenter: dc, Error: err.Error()}}
				return nil
			}
			pools[i] = result.(*keyringReport).Pools
			return nil
		})
	}
	_ = group.Wait() // each error is its datacenter's
	return append(first.Pools, slices.Concat(pools...)...), nil
}

// keyringFault is the error of the whole request if that of any pool failed (spec http/operator.md).
func keyringFault(pools []keyringPool) error {
	var all []string
	for _, p := range pools {
		if p.Error == "" {
			continue
		}
		name := p.Datacenter + " (LAN)"
		if p.WAN {
			name = "WAN"
		}
		all = append(all, fmt.Sprintf("%s error: %s", name, p.Error))
		for _, m := range p.Messages {
			all = append(all, m.Node+": "+m.Text)
		}
	}
	if len(all) == 0 {
		return nil
	}
	plural := "s"
	if len(all) == 1 {
		plural = ""
	}
	return &fault.Error{Kind: fault.Internal, Text: fmt.Sprintf("%d error%s occurred:\n\t* %s\n\n", len(all), plural, strings.Join(all, "\n\t* "))}
}

// keyringJSON is an entry of the answer.
type keyringJSON struct {
	WAN         bool
	Datacenter  string
	Segment     string
	Messages    map[string]string `json:",omitempty"`
	Keys        map[string]int
	PrimaryKeys map[string]int
	NumNodes    int
}

func (p keyringPool) json() keyringJSON {
	j := keyringJSON{WAN: p.WAN, Datacenter: p.Datacenter, Messages: map[string]string{}, Keys: map[string]int{},
		PrimaryKeys: map[string]int{}, NumNodes: p.Nodes}
	for _, m := range p.Messages {
		j.Messages[m.Node] = m.Text
	}
	for _, c := range p.Keys {
		j.Keys[c.Key] = c.Nodes
	}
	for _, c := range p.Primary {
		j.PrimaryKeys[c.Key] = c.Nodes
	}
	return j
}

// keyringRoutes serve /v1/operator/keyring.
func keyringRoutes(h *room.Host) []httpd.Route {
	var routes []httpd.Route
	ops := map[string]gossip.KeyOp{"GET": gossip.ListKeys, "POST": gossip.InstallKey, "PUT": gossip.UseKey, "DELETE": gossip.RemoveKey}
	for _, method := range slices.Sorted(maps.Keys(ops)) {
		routes = append(routes, httpd.Route{Method: method, Path: "/v1/operator/keyring", Serve: func(r *httpd.Request) (httpd.Reply, error) {
			return serveKeyring(h, r, ops[method])
		}})
	}
	return routes
}

func serveKeyring(h *room.Host, r *httpd.Request, op gossip.KeyOp) (httpd.Reply, error) {
	ask, only, err := readKeyring(r, op)
	if err != nil {
		return httpd.Reply{}, err
	}
	pools, err := ask.everywhere(r.Context(), h.Door, room.Options{Token: r.Params.Token, Datacenter: r.Params.Datacenter}, only)
	if err == nil {
		err = keyringFault(pools)
	}
	if err != nil || op != gossip.ListKeys {
		return httpd.Reply{}, err
	}
	list := make([]keyringJSON, len(pools))
	for i, p := range pools {
		list[i] = p.json()
	}
	return httpd.Reply{Value: list}, nil
}
