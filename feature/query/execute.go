package query

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"rostra/engine/room"
	"rostra/engine/shelf"
	"rostra/feature/catalog"
	"rostra/feature/coordinate"
	"rostra/feature/health"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

//go:generate go tool msgp -file execute.go -o execute_gen.go -tests=false -io=false -unexported

// Execute is the Procedure that runs a query. Its Result is an *Outcome. The server that answers sorts by distance; only if
// it finds nothing does it ask other datacenters.
type Execute struct {
	Query   string  `msg:"Query"`   // an ID, or a name in any case
	Limit   int     `msg:"Limit"`   // of instances; 0: none
	Near    string  `msg:"Near"`    // instead of the query's own; "" leaves that
	Agent   string  `msg:"Agent"`   // "_agent": the node of the agent that was asked,
	AgentDC string  `msg:"AgentDC"` // of this datacenter
	Address string  `msg:"Address"` // "_ip": the address of who asked it; "" if it has none
	Reading reading `msg:"Reading"` // set by Run
}

// Gather is the Procedure by which the server that runs a query asks another datacenter for the instances. Its Result is
// an *Outcome.
type Gather struct {
	Service Service `msg:"Service"` // rendered
	Limit   int     `msg:"Limit"`
	Reading reading `msg:"Reading"`
}

// reading is how to read the state: room.Options as far as they count.
type reading struct {
	Token    string        `msg:"Token"`
	Mode     uint8         `msg:"Mode"`
	MaxStale time.Duration `msg:"MaxStale"`
}

// Outcome is what a query has found.
type Outcome struct {
	Service    string           `msg:"Service"`
	Nodes      health.EntryList `msg:"Nodes"`
	TTL        string           `msg:"TTL"`
	Datacenter string           `msg:"DC"`        // where they are, or where they were looked for last
	Failovers  int              `msg:"Failovers"` // how many other datacenters were tried
}

// Run has the query run by a server of the options' datacenter. Any one will do: the state it reads is as fresh as the options
// want it.
func (c *Execute) Run(ctx context.Context, door room.Door, o room.Options) (*Outcome, room.Meta, error) {
	c.Reading = readingOf(o)
	return call(ctx, door, c, o)
}

// call asks any server, and another one if it does not answer: nothing is changed.
func call(ctx context.Context, door room.Door, p room.Procedure, o room.Options) (*Outcome, room.Meta, error) {
	result, meta, err := door.Call(ctx, p, room.Options{Token: o.Token, Datacenter: o.Datacenter, Consistency: httpd.Stale})
	if err != nil {
		return nil, meta, err
	}
	meta.Index, meta.Consistency = 1, o.Consistency
	return result.(*Outcome), meta, nil
}

func readingOf(o room.Options) reading { return reading{o.Token, uint8(o.Consistency), o.MaxStale} }

func (r reading) options() room.Options {
	return room.Options{Token: r.Token, Consistency: httpd.Consistency(r.Mode), MaxStale: r.MaxStale}
}

// ErrUnknown is the answer about a query that nobody knows.
var ErrUnknown = fault.New(fault.NotFound, "Query not found")

var errTemplate = fault.New(fault.Refused, "prepared query templates can only be resolved up by name, not by ID")

// resolve finds the query of an ID or name and renders it.
func resolve(ctx context.Context, door room.Door, name string, o room.Options) (*Definition, room.Meta, error) {
	answer, meta, err := door.Read(ctx, FindQuery{Name: strings.ToLower(name)}, o)
	if err != nil {
		return nil, meta, err
	}
	d := answer.Value.(*Definition)
	switch {
	case d == nil:
		return nil, meta, ErrUnknown
	case d.template() && strings.EqualFold(d.ID, name):
		return nil, meta, errTemplate
	}
	c, err := d.compile()
	if err != nil {
		return nil, meta, err
	}
	d, err = c.render(name)
	return d, meta, err
}

// Name is the Procedure's name on the wire.
func (c *Execute) Name() string { return "query.execute" }

// Allowed is always nil: the instances are those that the caller, or the query's own token, may see.
func (c *Execute) Allowed(authz.Decider) error { return nil }

// Call runs the query on this server.
func (c *Execute) Call(ctx context.Context, h *room.Host) (room.Result, error) {
	defer h.Metrics.Sample("prepared-query.execute").Since(time.Now())
	o := c.Reading.options()
	d, _, err := resolve(ctx, h.Door, c.Query, o)
	if err != nil {
		return nil, err
	}
	o.Token = cmp.Or(d.Token, o.Token)
	found := &Outcome{Service: d.Service.Service, TTL: d.DNS.TTL, Datacenter: h.Self.Datacenter}
	if found.Nodes, err = d.Service.instances(ctx, h.Door, o); err != nil {
		return nil, err
	}
	if node, address := c.origin(d.Service.Near, h.Self.Datacenter); node != "" || address != "" {
		found.Nodes = sorted(ctx, h, o, node, address, found.Nodes)
	}
	found.Nodes = limited(found.Nodes, c.Limit)
	if len(found.Nodes) == 0 {
		(&search{h, &d.Service, c.Limit, o}).elsewhere(ctx, found)
	}
	return found, nil
}

// instances returns those that the query is about, in random order.
func (s *Service) instances(ctx context.Context, door room.Door, o room.Options) (health.EntryList, error) {
	answer, _, err := door.Read(ctx, health.ServiceQuery{Service: strings.ToLower(s.Service)}, o)
	if err != nil {
		return nil, err
	}
	var list health.EntryList
	for _, e := range answer.Value.(health.EntryList) {
		if s.takes(e) {
			list = append(list, e)
		}
	}
	rand.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	return list, nil
}

// takes reports whether the query is about the instance.
func (s *Service) takes(e *health.Entry) bool {
	for _, c := range e.Checks {
		if (c.Status == catalog.Critical || s.OnlyPassing && c.Status != catalog.Passing) && !slices.Contains(s.IgnoreCheckIDs, c.CheckID) {
			return false
		}
	}
	if !e.Node.Meta.Contains(s.NodeMeta) || !e.Service.Meta.Contains(s.ServiceMeta) {
		return false
	}
	for _, tag := range s.Tags {
		tag, forbidden := strings.CutPrefix(tag, "!")
		if e.Service.HasTags([]string{tag}) == forbidden {
			return false
		}
	}
	return true
}

// limited cuts a list; 0 is no limit.
func limited(list health.EntryList, limit int) health.EntryList {
	if limit > 0 && len(list) > limit {
		return list[:limit]
	}
	return list
}

// origin returns the node, or its address, from which the instances are to be sorted; both "" if they are not. Places of
// different datacenters cannot be compared.
func (c *Execute) origin(own, here string) (node, address string) {
	switch near := cmp.Or(c.Near, own); near {
	case "_agent":
		if c.AgentDC != here {
			return "", ""
		}
		return c.Agent, ""
	case "_ip":
		return "", c.Address
	default:
		return near, ""
	}
}

// frontRow is among how many of the nearest the node itself is put before the others: places are estimates.
const frontRow = 10

// sorted returns the list by distance from a node or, without a name, from the node of the address.
func sorted(ctx context.Context, h *room.Host, o room.Options, node, address string, list health.EntryList) health.EntryList {
	if sorter, ok := shelf.Find[room.Sorter](h.Shelf); ok && len(list) > 1 {
		if order := sorter.Near(ctx, o, node, address, list); order != nil {
			next := make(health.EntryList, len(list))
			for i, from := range order {
				next[i] = list[from]
			}
			list = next
		}
	}
	for i, e := range list[:min(frontRow, len(list))] {
		if node != "" && strings.EqualFold(e.Node.Node, node) || node == "" && coordinate.SameAddress(e.Node.Address, address) {
			list[0], list[i] = list[i], list[0]
			break
		}
	}
	return list
}

// Name is the Procedure's name on the wire.
func (c *Gather) Name() string { return "query.gather" }

// Allowed is always nil, as that of Execute.
func (c *Gather) Allowed(authz.Decider) error { return nil }

// Call looks for the instances in this datacenter alone.
func (c *Gather) Call(ctx context.Context, h *room.Host) (room.Result, error) {
	defer h.Metrics.Sample("prepared-query.execute_remote").Since(time.Now())
	list, err := c.Service.instances(ctx, h.Door, c.Reading.options())
	if err != nil {
		return nil, err
	}
	return &Outcome{Service: c.Service.Service, Nodes: limited(list, c.Limit), Datacenter: h.Self.Datacenter}, nil
}
