package member

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/wire"
)

// reconcilePeriod is how often the leader compares all members with the catalog, whatever events told it.
const reconcilePeriod = 60 * time.Second

// The texts of the check that gossip keeps on every agent's node.
const (
	serfHealthName = "Serf Health Status"
	aliveOutput    = "Agent alive and reachable"
	failedOutput   = "Agent not live or unreachable"
)

// reconciler keeps the catalog's nodes in step with the members: a duty of the leader.
type reconciler struct{ host *room.Host }

func (c reconciler) run(ctx context.Context) error {
	tick := time.NewTicker(reconcilePeriod)
	defer tick.Stop()
	ctx, stop := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	var events sync.WaitGroup
	events.Go(func() {
		_ = c.host.LAN.Run(ctx, func(gossip.Event) { // ends with ctx; the tick catches what it may have missed
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	})
	defer events.Wait()
	defer stop()
	for {
		for _, m := range c.host.LAN.Members() {
			if err := c.reconcile(ctx, m); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reconcile writes what one member's status means for the catalog. The Commands move nothing that is so already.
func (c reconciler) reconcile(ctx context.Context, m gossip.Member) error {
	switch m.Status {
	case gossip.StatusAlive:
		return c.alive(ctx, m)
	case gossip.StatusFailed:
		return c.failed(ctx, m)
	case gossip.StatusLeft:
		if m.Name == c.host.Self.Node {
			return nil
		}
		return c.apply(ctx, &catalog.Deregister{Node: m.Name})
	}
	return nil
}

func (c reconciler) apply(ctx context.Context, command room.Command) error {
	_, _, err := c.host.Door.Apply(ctx, command, room.Options{})
	return err
}

// alive registers the node, its health and, for a server, the service of that name. The rest of the node's row is the
// agent's own to write.
func (c reconciler) alive(ctx context.Context, m gossip.Member) error {
	row := &catalog.Node{ID: m.Tags["id"], Node: m.Name, Address: m.Addr, Datacenter: c.host.Self.Datacenter,
		Meta: wire.PairsOf(map[string]string{"consul-version": version(m)})}
	known, err := c.node(ctx, m.Name)
	if err != nil {
		return err
	}
	moved := known != nil && (known.ID != row.ID || known.Address != row.Address)
	if moved {
		row.TaggedAddresses, row.Meta = known.TaggedAddresses, known.Meta
	}
	r := &catalog.Register{Row: row, SkipNode: !moved, Checks: []*catalog.Check{
		{Node: m.Name, CheckID: catalog.SerfHealth, Name: serfHealthName, Status: catalog.Passing, Output: aliveOutput}}}
	if m.Tags["role"] == "consul" {
		r.Service = consulService(m)
	}
	return c.apply(ctx, r)
}

func (c reconciler) node(ctx context.Context, name string) (*catalog.Node, error) {
	a, _, err := c.host.Door.Read(ctx, catalog.FindQuery{NameOrID: strings.ToLower(name)}, room.Options{})
	if err != nil {
		return nil, err
	}
	return a.Value.(*catalog.Node), nil
}

// failed marks the node's health critical, if the catalog knows the node.
func (c reconciler) failed(ctx context.Context, m gossip.Member) error {
	known, err := c.node(ctx, m.Name)
	if err != nil || known == nil {
		return err
	}
	return c.apply(ctx, &catalog.Register{Row: &catalog.Node{ID: known.ID, Node: known.Node}, SkipNode: true,
		Checks: []*catalog.Check{{Node: known.Node, CheckID: catalog.SerfHealth, Name: serfHealthName,
			Status: catalog.Critical, Output: failedOutput}}})
}

func version(m gossip.Member) string {
	v, _, _ := strings.Cut(m.Tags["build"], ":")
	return v
}

// consulService is the instance of the service "consul" that every server is.
func consulService(m gossip.Member) *catalog.Service {
	port, _ := strconv.Atoi(m.Tags["port"])
	return &catalog.Service{Node: m.Name, ID: "consul", Service: "consul", Tags: []string{}, Port: port,
		Weights: catalog.Weights{Passing: 1, Warning: 1}, Meta: wire.PairsOf(map[string]string{
			"version": version(m), "raft_version": m.Tags["raft_vsn"], "serf_protocol_current": strconv.Itoa(int(m.ProtocolCur)),
			"serf_protocol_min": strconv.Itoa(int(m.ProtocolMin)), "serf_protocol_max": strconv.Itoa(int(m.ProtocolMax)),
			"non_voter": "false", "read_replica": "false"})}
}
