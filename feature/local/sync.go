package local

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/wire"
)

// Anti-entropy makes the catalog agree with what is registered here: at once for what just changed, and about every
// minute by comparing everything (spec agent.md §5). This agent is the authority for its own node.
const (
	fullSyncPeriod = 60 * time.Second
	retryPeriod    = 15 * time.Second
	pushers        = 16 // changes sent at the same time
)

// ids that belong to this node in the catalog but not to this agent's registrations.
const consulService = "consul"

// run keeps the catalog in step until ctx ends.
func (k *keeper) run(ctx context.Context) error {
	full := time.NewTimer(0)
	defer full.Stop()
	states := time.NewTicker(time.Second)
	defer states.Stop()
	reap := time.NewTicker(30 * time.Second)
	defer reap.Stop()
	for {
		select {
		case <-ctx.Done():
			k.saveStates()
			return nil
		case <-states.C:
			k.saveStates()
		case <-reap.C:
			k.reap(ctx)
		case <-full.C:
			if err := k.compare(ctx); err != nil && ctx.Err() == nil {
				k.log.Warn("cannot compare with the catalog", "error", err)
				full.Reset(retryPeriod + rand.N(retryPeriod))
				continue
			}
			full.Reset(fullSyncPeriod + rand.N(fullSyncPeriod))
			k.pushDirty(ctx, full)
		case <-k.wake:
			k.pushDirty(ctx, full)
		}
	}
}

// pushDirty sends all that differs, many at once. What fails is left for the next comparison, which then comes earlier.
func (k *keeper) pushDirty(ctx context.Context, full *time.Timer) {
	k.mu.Lock()
	items := make([]item, 0, len(k.dirty))
	for i := range k.dirty {
		items = append(items, i)
	}
	k.mu.Unlock()
	var wait sync.WaitGroup
	slots := make(chan struct{}, pushers)
	failed := false
	var mu sync.Mutex // guards failed
	for _, i := range items {
		slots <- struct{}{}
		wait.Add(1)
		go func() {
			defer wait.Done()
			defer func() { <-slots }()
			if err := k.push(ctx, i); err != nil {
				mu.Lock()
				failed = true
				mu.Unlock()
			}
		}()
	}
	wait.Wait()
	if failed && ctx.Err() == nil {
		full.Reset(retryPeriod/4 + rand.N(retryPeriod/4))
	}
}

// push sends one item's difference and says in the log if it cannot. Several may run at once, also for the same item.
func (k *keeper) push(ctx context.Context, i item) error {
	command, done := k.difference(i)
	if command == nil {
		return nil
	}
	_, _, err := k.host.Door.Apply(ctx, command, room.Options{Token: k.token(i)})
	var refused *fault.Error
	switch {
	case err == nil:
		done()
		return nil
	case errors.As(err, &refused) && refused.Kind == fault.Denied:
		done() // asking again at once would not help; the next comparison does
		k.log.Warn("registration blocked by access rules", "id", i.id, "error", err)
		return nil
	case errors.As(err, &refused) && refused.Kind == fault.Refused && i.check:
		k.markOwner(i.id)
	}
	if ctx.Err() == nil {
		k.log.Warn("cannot write to the catalog", "id", i.id, "error", err)
	}
	return err
}

func (k *keeper) token(i item) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i.check {
		if c := k.checks[i.id]; c != nil {
			return c.token
		}
	} else if s := k.services[i.id]; s != nil {
		return s.token
	}
	return ""
}

// markOwner sends the service of a check anew: the catalog has lost it.
func (k *keeper) markOwner(check string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.checks[check]; c != nil && k.services[c.row.ServiceID] != nil {
		k.mark(item{id: c.row.ServiceID})
	}
}

// difference returns the Command that brings the catalog in step with the item, nil if it is, and what to call once it
// is done. A service goes with those of its checks that differ too.
func (k *keeper) difference(i item) (room.Command, func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.dirty[i] {
		return nil, nil
	}
	sent := map[item]uint64{}
	c := k.register()
	switch {
	case i.check:
		x := k.checks[i.id]
		if x == nil {
			return &catalog.Deregister{Node: k.host.Self.Node, CheckID: i.id}, k.removed(i)
		}
		if s := k.services[x.row.ServiceID]; s != nil && !s.sync.clean() {
			return k.withService(c, s, sent), k.done(sent, c.SkipNode)
		}
		sent[i] = x.sync.revision
		c.Checks = []*catalog.Check{x.row}
	default:
		s := k.services[i.id]
		if s == nil {
			return &catalog.Deregister{Node: k.host.Self.Node, ServiceID: i.id}, k.removed(i)
		}
		return k.withService(c, s, sent), k.done(sent, c.SkipNode)
	}
	return c, k.done(sent, c.SkipNode)
}

func (k *keeper) withService(c *catalog.Register, s *service, sent map[item]uint64) *catalog.Register {
	id := s.row.ID
	c.Service = s.row
	sent[item{id: id}] = s.sync.revision
	for i := range k.dirty {
		if x := k.checks[i.id]; i.check && x != nil && x.row.ServiceID == id {
			c.Checks = append(c.Checks, x.row)
			sent[i] = x.sync.revision
		}
	}
	slices.SortFunc(c.Checks, func(a, b *catalog.Check) int { return strings.Compare(a.CheckID, b.CheckID) })
	return c
}

// register starts a Command with this agent's node, which is written only while the catalog has not got it.
func (k *keeper) register() *catalog.Register {
	self := &k.host.Self
	c := &catalog.Register{SkipNode: k.nodeSent,
		Row: &catalog.Node{ID: self.ID, Node: self.Node, Address: self.Address, Datacenter: self.Datacenter}}
	if !k.nodeSent {
		c.Row.TaggedAddresses, c.Row.Meta = wire.PairsOf(self.Tagged), wire.PairsOf(self.Meta)
	}
	return c
}

func (k *keeper) removed(i item) func() {
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if (i.check && k.checks[i.id] == nil) || (!i.check && k.services[i.id] == nil) {
			delete(k.dirty, i)
		}
	}
}

func (k *keeper) done(sent map[item]uint64, skippedNode bool) func() {
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.nodeSent = k.nodeSent || !skippedNode
		for i, revision := range sent {
			p := k.progressOf(i)
			if p == nil {
				continue
			}
			p.sent = max(p.sent, revision)
			if p.clean() {
				delete(k.dirty, i)
			}
		}
	}
}

func (k *keeper) progressOf(i item) *progress {
	if i.check {
		if c := k.checks[i.id]; c != nil {
			return &c.sync
		}
	} else if s := k.services[i.id]; s != nil {
		return &s.sync
	}
	return nil
}

// compare reads what the catalog has of this node and marks what differs, both ways.
func (k *keeper) compare(ctx context.Context) error {
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
	theirs := services.Value.(*catalog.NodeServices)
	k.mu.Lock()
	k.nodeSent = theirs != nil && k.nodeEquals(theirs.Node)
	if theirs != nil {
		k.compareServices(theirs.Services)
	} else {
		k.compareServices(nil)
	}
	k.compareChecks(checks.Value.(health.CheckList))
	var row *catalog.Register
	if !k.nodeSent {
		row = k.register()
	}
	k.mu.Unlock()
	if row == nil {
		return nil
	}
	if _, _, err = k.host.Door.Apply(ctx, row, room.Options{}); err == nil {
		k.done(nil, false)()
	}
	return err
}

// nodeEquals compares the catalog's row with this agent's node. Tagged addresses in the name of "consul-" belong to
// others and are kept.
func (k *keeper) nodeEquals(n *catalog.Node) bool {
	self := &k.host.Self
	return n.ID == self.ID && n.Address == self.Address && n.Meta.Equal(wire.PairsOf(self.Meta)) &&
		n.TaggedAddresses.Equal(wire.PairsOf(self.Tagged))
}

func (k *keeper) compareServices(theirs []*catalog.Service) {
	seen := map[string]bool{}
	for _, t := range theirs {
		s := k.services[t.ID]
		seen[t.ID] = true
		switch {
		case s == nil && t.ID != consulService:
			k.dirty[item{id: t.ID}] = true
		case s == nil:
		default:
			if s.row.EnableTagOverride && !slices.Equal(s.row.Tags, t.Tags) {
				row := s.row.Copy()
				row.Tags = t.Tags
				s.row = row
			}
			k.settle(item{id: t.ID}, &s.sync, s.row.Same(t))
		}
	}
	for id, s := range k.services {
		if !seen[id] {
			k.settle(item{id: id}, &s.sync, false)
		}
	}
}

func (k *keeper) compareChecks(theirs health.CheckList) {
	seen := map[string]bool{}
	for _, t := range theirs {
		c := k.checks[t.CheckID]
		seen[t.CheckID] = true
		switch {
		case c == nil && t.CheckID != catalog.SerfHealth:
			k.dirty[item{true, t.CheckID}] = true
		case c == nil:
		default:
			row := c.row
			if c.defers != nil { // an output that waits to be sent is no difference
				row = row.Copy()
				row.Output = t.Output
			}
			k.settle(item{true, t.CheckID}, &c.sync, row.Same(t))
		}
	}
	for id, c := range k.checks {
		if !seen[id] {
			k.settle(item{true, id}, &c.sync, false)
		}
	}
}

// settle notes the outcome of a comparison. What changed here since the catalog was read is left to the next push.
func (k *keeper) settle(i item, p *progress, same bool) {
	if same {
		p.sent = p.revision
		delete(k.dirty, i)
		return
	}
	p.revision++
	k.dirty[i] = true
}

// reap deregisters services of which a check has been critical for longer than it may.
func (k *keeper) reap(ctx context.Context) {
	k.mu.Lock()
	var late []string
	for _, c := range k.checks {
		if c.input == nil || c.row.ServiceID == "" || c.since.IsZero() || c.input.DeregisterCriticalServiceAfter == 0 {
			continue
		}
		if time.Since(c.since) > max(dur(c.input.DeregisterCriticalServiceAfter), time.Minute) {
			late = append(late, c.row.ServiceID)
		}
	}
	k.mu.Unlock()
	for _, id := range late {
		k.log.Info("deregistering a service that has been critical for too long", "service", id)
		if err := k.deregister(ctx, id); err != nil {
			k.log.Warn("cannot deregister a critical service", "service", id, "error", err)
		}
	}
}
