package local

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/httpd"
	"rostra/kit/wire"
)

// consulService is a service of this node that is not this agent's to register: every server has it.
const consulService = "consul"

// foreignAddress begins the names of tagged addresses that others give our node.
const foreignAddress = "consul-"

// spread returns the period and up to so many times that again, so that agents do not all come at once.
func spread(period time.Duration, factor int) time.Duration {
	return period + rand.N(period*time.Duration(factor))
}

// scale is how much more seldom the agents of a large cluster compare: 1 up to 128 nodes, then one more with each
// doubling (spec agent.md §5).
func (k *keeper) scale() int {
	if k.host.LAN == nil {
		return 1
	}
	return scaleOf(len(k.host.LAN.Members()))
}

// leaving reports whether this agent is on its way out: what it told the catalog now would bring back the node that the
// leader has just removed.
func (k *keeper) leaving() bool {
	if k.host.LAN == nil {
		return false
	}
	status := k.host.LAN.Local().Status
	return status == gossip.StatusLeaving || status == gossip.StatusLeft
}

func scaleOf(nodes int) int {
	if nodes <= 128 {
		return 1
	}
	return bits.Len(uint(nodes-1)) - 7 + 1
}

// compare reads what the catalog has of this node and marks what differs, both ways. What changed here, or was written,
// while it read, is left alone: the answer may be older or newer than that.
func (k *keeper) compare(ctx context.Context) error {
	k.mu.Lock()
	before := k.clock
	k.mu.Unlock()
	node := strings.ToLower(k.host.Self.Node)
	stale := room.Options{Consistency: httpd.Stale}
	services, _, err := k.host.Door.Read(ctx, catalog.NodeQuery{Node: node}, stale)
	if err != nil {
		return err
	}
	checks, _, err := k.host.Door.Read(ctx, health.NodeChecksQuery{Node: node}, stale)
	if err != nil {
		return err
	}
	theirs, _ := services.Value.(*catalog.NodeServices)
	if theirs == nil {
		theirs = &catalog.NodeServices{Node: &catalog.Node{}}
	}
	k.mu.Lock()
	k.nodeSent = k.compareNode(theirs.Node)
	k.compareServices(theirs.Services, before)
	k.compareChecks(checks.Value.(health.CheckList), before)
	row := k.nodeCommand()
	k.mu.Unlock()
	if row.SkipNode {
		return nil
	}
	if _, _, err = k.host.Door.Apply(ctx, row, room.Options{}); err == nil {
		k.arrive(&flight{withNode: true}, true, false)
	}
	return err
}

// compareNode compares the catalog's row with this agent's node. mu is held.
func (k *keeper) compareNode(n *catalog.Node) bool {
	self := &k.host.Self
	k.foreign = nil
	for _, p := range n.TaggedAddresses {
		if strings.HasPrefix(p.Key, foreignAddress) {
			k.foreign = append(k.foreign, p)
		}
	}
	return n.Region == self.Region && n.Zone == self.Zone && n.Node == self.Node && n.ID == self.ID && n.Address == self.Address &&
		n.Meta.Equal(wire.PairsOf(k.host.Meta.Get())) && n.TaggedAddresses.Equal(k.tagged())
}

// tagged returns the tagged addresses of our row. mu is held.
func (k *keeper) tagged() wire.Pairs {
	if len(k.foreign) == 0 {
		return wire.PairsOf(k.host.Self.Tagged)
	}
	all := map[string]string{}
	for _, p := range k.foreign {
		all[p.Key] = p.Value
	}
	for key, value := range k.host.Self.Tagged {
		all[key] = value
	}
	return wire.PairsOf(all)
}

func (k *keeper) compareServices(theirs []*catalog.Service, before uint64) {
	seen := map[string]bool{}
	for _, t := range theirs {
		i := item{id: t.ID}
		s := k.services[t.ID]
		seen[t.ID] = true
		switch {
		case s != nil:
			k.adopt(s, t, before)
			k.judge(i, s.progress, before, s.row.Same(t))
		case t.ID != consulService:
			k.dirty[i] = true
		}
	}
	for id, s := range k.services {
		if !seen[id] {
			k.judge(item{id: id}, s.progress, before, false)
		}
	}
}

// adopt takes over tags that were set through the catalog, if the service allows that and they were not set here since.
// mu is held.
func (k *keeper) adopt(s *service, t *catalog.Service, before uint64) {
	i := item{id: s.row.ID}
	if !s.row.EnableTagOverride || s.claimed || k.unsettled(i, s.progress, before) || slices.Equal(s.row.Tags, t.Tags) {
		return
	}
	row := s.row.Copy()
	if row.Tags = t.Tags; row.Tags == nil {
		row.Tags = []string{}
	}
	s.row = row
	s.leave()
	for _, c := range k.bound[i.id] {
		k.nameCheck(c, s)
	}
}

func (k *keeper) compareChecks(theirs health.CheckList, before uint64) {
	seen := map[string]bool{}
	for _, t := range theirs {
		i := item{true, t.CheckID}
		c := k.checks[t.CheckID]
		seen[t.CheckID] = true
		switch {
		case c != nil:
			row := c.row
			if c.defers != nil { // an output that waits to be sent is no difference
				row = row.Copy()
				row.Output = t.Output
			}
			k.judge(i, c.progress, before, row.Same(t))
		case t.CheckID == catalog.SerfHealth:
		case t.ServiceID != "" && t.ServiceID != consulService && k.services[t.ServiceID] == nil:
			// goes with its service
		default:
			k.dirty[i] = true
		}
	}
	for id, c := range k.checks {
		if !seen[id] {
			k.judge(item{true, id}, c.progress, before, false)
		}
	}
}

// unsettled reports whether the item changed here or was written since before. mu is held.
func (k *keeper) unsettled(i item, p progress, before uint64) bool {
	return p.revision > before || p.settled > before || k.flying[i]
}

// judge notes the outcome of a comparison. mu is held.
func (k *keeper) judge(i item, p progress, before uint64, same bool) {
	switch {
	case k.unsettled(i, p, before):
	case same:
		delete(k.dirty, i)
	default:
		k.dirty[i] = true
	}
}
