package local

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/wire"
)

// Anti-entropy makes the catalog agree with what is registered here: at once for what just changed, and about every
// minute by comparing everything (spec agent.md §5). This agent is the authority for its own node.
const (
	fullSyncPeriod = 60 * time.Second
	leaderPeriod   = 3 * time.Second        // after another server began to lead, and up to twice that and more in large clusters
	restoredPeriod = time.Second            // after an archive replaced the state, and up to twice that
	joinedPeriod   = 100 * time.Millisecond // after an agent that has just started found its first server, likewise
	retryPeriod    = 4 * time.Second
	statePeriod    = time.Second
	reapPeriod     = 30 * time.Second
	pushers        = 16 // changes sent at the same time
)

// run keeps the catalog in step until ctx ends.
func (k *keeper) run(ctx context.Context) error {
	var wait sync.WaitGroup
	wait.Go(func() { every(ctx, statePeriod, k.saveStates) })
	wait.Go(func() { every(ctx, reapPeriod, k.reap) })
	reports, _ := k.host.Reports.All()
	k.takeReports(reports) // before the catalog's checks are compared
	wait.Go(func() { k.follow(ctx) })
	k.converge(ctx)
	wait.Wait()
	k.saveStates()
	return nil
}

func every(ctx context.Context, period time.Duration, do func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do()
		case <-ctx.Done():
			return
		}
	}
}

// converge compares with the catalog now and then, and sends what changes in between. It sends nothing before the first
// comparison: after a restart most is in the catalog already, and tags may have been changed there.
func (k *keeper) converge(ctx context.Context) {
	full := time.NewTimer(0)
	defer full.Stop()
	var due time.Time
	within := func(d time.Duration) {
		due = time.Now().Add(d)
		full.Reset(d)
	}
	var wake chan struct{}
	// A locality is left out while the servers use older rules, and those of a new cluster do for a moment: so look once more.
	again := k.host.Self.Region != ""
	var served <-chan struct{} // not nil while this agent has never compared, for want of servers
	restored := k.restored()
	relabelled := k.host.Meta.Changed()
	for {
		select {
		case <-ctx.Done():
			return
		case <-restored: // the catalog may have lost what was in step with it
			restored = k.restored()
			within(spread(restoredPeriod, k.scale()))
		case <-relabelled:
			relabelled = k.host.Meta.Changed()
			within(0)
		case <-served:
			if served = k.unserved(); served == nil {
				within(spread(joinedPeriod, k.scale()))
			}
		case <-k.leader:
			if d := spread(leaderPeriod, k.scale()); time.Until(due) > d {
				within(d)
			}
		case <-k.retry:
			if d := spread(retryPeriod, 1); time.Until(due) > d {
				within(d)
			}
		case <-wake:
			if !k.leaving() {
				k.pushAll(ctx, k.takeQueue())
			}
		case <-full.C:
			if k.leaving() {
				within(spread(retryPeriod, 1))
				continue
			}
			unserved := k.unserved() // before it asks: one may come while it does
			if err := k.compare(ctx); err != nil {
				if wake == nil {
					served = unserved
				}
				if ctx.Err() == nil {
					k.log.Warn("cannot compare with the catalog", "error", err)
				}
				within(spread(retryPeriod, 1))
				continue
			}
			wake, served = k.wake, nil
			if next := spread(fullSyncPeriod, k.scale()); again {
				again = false
				within(min(next, spread(retryPeriod, 1)))
			} else {
				within(next)
			}
			k.pushAll(ctx, k.takeDirty())
		}
	}
}

// restored returns what closes when an archive next replaces the catalog; nil for an agent without servers at hand.
func (k *keeper) restored() <-chan struct{} {
	if k.host.Cluster == nil {
		return nil
	}
	return k.host.Cluster.Restored()
}

// unserved returns what closes when the list of servers next changes, if it has none that lives; else nil.
func (k *keeper) unserved() <-chan struct{} {
	if k.host.Roster == nil {
		return nil
	}
	changed := k.host.Roster.Changed()
	for _, s := range k.host.Roster.Servers("") {
		if s.Status == gossip.StatusAlive {
			return nil
		}
	}
	return changed
}

// takeQueue empties the queue.
func (k *keeper) takeQueue() []item {
	k.mu.Lock()
	defer k.mu.Unlock()
	items := sorted(k.queue)
	clear(k.queue)
	return items
}

// takeDirty empties the queue and returns all that differs.
func (k *keeper) takeDirty() []item {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.queue)
	return sorted(k.dirty)
}

// sorted lists items, services first, because they take their checks along.
func sorted(set map[item]bool) []item {
	items := make([]item, 0, len(set))
	for i := range set {
		items = append(items, i)
	}
	slices.SortFunc(items, func(a, b item) int {
		switch {
		case a.check == b.check:
			return strings.Compare(a.id, b.id)
		case a.check:
			return 1
		}
		return -1
	})
	return items
}

// pushAll sends items, many at once. What fails is left for the next comparison, which then comes earlier; while there
// is no leader nothing else is tried.
func (k *keeper) pushAll(ctx context.Context, items []item) {
	ctx, give := context.WithCancel(ctx)
	defer give()
	work := make(chan item)
	var wait sync.WaitGroup
	for range min(pushers, len(items)) {
		wait.Go(func() {
			for i := range work {
				if err := k.push(ctx, i); fault.Is(err, fault.NoLeader) {
					give()
				}
			}
		})
	}
send:
	for _, i := range items {
		select {
		case work <- i:
		case <-ctx.Done():
			break send
		}
	}
	close(work)
	wait.Wait()
}

// sendNow writes a change to the catalog before its client is answered. If that fails the log says so and anti-entropy
// repeats it: the change itself has happened.
func (k *keeper) sendNow(ctx context.Context, i item) { _ = k.push(ctx, i) }

// push brings the catalog in step with an item and says in the log if it cannot. Several may run at once; of those that
// write one item, one after the other, so that the catalog is never left with the older.
func (k *keeper) push(ctx context.Context, i item) error {
	if err := k.pushOwner(ctx, i); err != nil {
		return err
	}
	f, release := k.board(i)
	if f == nil {
		return nil
	}
	defer release()
	_, _, err := k.host.Door.Apply(ctx, f.command, room.Options{Token: f.token})
	denied := fault.Is(err, fault.Denied) // asking again at once would not help; the next comparison does
	k.arrive(f, err == nil, denied)
	switch {
	case err == nil:
		return nil
	case denied:
		k.log.Warn("registration blocked by access rules", "id", i.id, "error", err)
		return nil
	case i.check && fault.Is(err, fault.Refused):
		k.markOwner(i.id)
	}
	if !errors.Is(err, context.Canceled) && ctx.Err() == nil {
		k.log.Warn("cannot write to the catalog", "id", i.id, "error", err)
	}
	nudge(k.retry)
	return err
}

// pushOwner sends the service of a check first, if it differs and cannot go in one Command with the check because their
// tokens are not the same.
func (k *keeper) pushOwner(ctx context.Context, i item) error {
	k.mu.Lock()
	owner, apart := item{}, false
	if c := k.checks[i.id]; i.check && c != nil {
		owner = item{id: c.row.ServiceID}
		s := k.services[owner.id]
		apart = s != nil && k.dirty[owner] && s.token != c.token
	}
	k.mu.Unlock()
	if !apart {
		return nil
	}
	return k.push(ctx, owner)
}

// board waits until nobody else writes the item or what goes with it, and makes the Command; nil if there is nothing to
// do any more.
func (k *keeper) board(i item) (f *flight, release func()) {
	for {
		k.mu.Lock()
		want := k.group(i)
		k.mu.Unlock()
		if len(want) == 0 {
			return nil, nil
		}
		release = k.flights.take(want)
		k.mu.Lock()
		now := k.group(i)
		if len(now) > 0 && covers(want, now) {
			f = k.depart(i, now)
		}
		k.mu.Unlock()
		if f != nil {
			return f, release
		}
		release()
	}
}

// markOwner sends the service of a check anew: the catalog has lost it.
func (k *keeper) markOwner(check string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.checks[check]; c != nil && k.services[c.row.ServiceID] != nil {
		k.touch(item{id: c.row.ServiceID})
		k.hurry(item{id: c.row.ServiceID})
	}
}

// group names what is written to the catalog together with an item: nothing if that is in step; a service with those of
// its checks that differ and have its token, or that went with it; a check with its service, if that differs. mu is held.
func (k *keeper) group(i item) map[item]bool {
	if !k.dirty[i] {
		return nil
	}
	all := map[item]bool{i: true}
	if service, ok := k.along.service[i.id]; i.check && ok && k.services[service] == nil && k.dirty[item{id: service}] {
		i = item{id: service}
		all[i] = true
	} else if c := k.checks[i.id]; i.check && c != nil {
		s := k.services[c.row.ServiceID]
		if s == nil || !k.dirty[item{id: s.row.ID}] || s.token != c.token {
			return all
		}
		i = item{id: s.row.ID}
		all[i] = true
	}
	if s := k.services[i.id]; !i.check && s != nil {
		for id, c := range k.bound[i.id] {
			if b := (item{true, id}); k.dirty[b] && c.token == s.token {
				all[b] = true
			}
		}
	} else if !i.check {
		for id := range k.along.checks[i.id] {
			all[item{true, id}] = true
		}
	}
	return all
}

// flight is a Command on its way to the catalog.
type flight struct {
	command   room.Command
	token     string
	revisions map[item]uint64 // of what it carries; 0 for what it removes
	withNode  bool            // it carries the node's row
}

// depart makes the Command for a group. Deregistrations go with the agent's own token. mu is held.
func (k *keeper) depart(i item, group map[item]bool) *flight {
	f := &flight{revisions: map[item]uint64{}}
	for g := range group {
		if !g.check {
			i = g
		}
		k.flying[g] = true
		f.revisions[g] = 0
		if p := k.progressOf(g); p != nil {
			f.revisions[g] = p.revision
		}
	}
	if k.progressOf(i) == nil {
		f.command = removal(k.host.Self.Node, i)
		return f
	}
	reg := k.nodeCommand()
	for g := range group {
		if g.check {
			c := k.checks[g.id]
			c.settle()
			reg.Checks = append(reg.Checks, c.row)
			f.token = c.token
		} else {
			reg.Service = k.services[g.id].row
			f.token = k.services[g.id].token
		}
	}
	slices.SortFunc(reg.Checks, func(a, b *catalog.Check) int { return strings.Compare(a.CheckID, b.CheckID) })
	f.command, f.withNode = reg, !reg.SkipNode
	return f
}

func removal(node string, i item) room.Command {
	if i.check {
		return &catalog.Deregister{Node: node, CheckID: i.id}
	}
	return &catalog.Deregister{Node: node, ServiceID: i.id}
}

// arrive notes the end of a write. What has changed meanwhile still differs; what was denied counts as written.
func (k *keeper) arrive(f *flight, done, denied bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clock++
	for i, revision := range f.revisions {
		delete(k.flying, i)
		p := k.progressOf(i)
		if p != nil {
			p.settled = k.clock
		}
		if !done && !denied || p == nil && revision != 0 || p != nil && p.revision != revision {
			continue
		}
		delete(k.dirty, i)
		if i.check {
			k.along.drop(i.id)
		}
		if s := k.services[i.id]; !i.check && s != nil && done {
			s.claimed = false
		}
	}
	if done && f.withNode {
		k.nodeSent = true
	}
}

// nodeCommand starts a Command with this agent's node, which is written only while the catalog has not got it. mu is
// held.
func (k *keeper) nodeCommand() *catalog.Register {
	self := &k.host.Self
	c := &catalog.Register{SkipNode: k.nodeSent,
		Row: &catalog.Node{ID: self.ID, Node: self.Node, Address: self.Address, Datacenter: self.Datacenter}}
	if !k.nodeSent {
		c.Row.TaggedAddresses, c.Row.Meta = k.tagged(), wire.PairsOf(k.host.Meta.Get())
		c.Row.Region, c.Row.Zone = self.Region, self.Zone
	}
	return c
}

// reap deregisters services of which a check has been critical for longer than it may.
func (k *keeper) reap() {
	k.mu.Lock()
	late := map[string]bool{}
	for _, c := range k.checks {
		if c.row.ServiceID != "" && c.late() {
			late[c.row.ServiceID] = true
		}
	}
	k.mu.Unlock()
	for id := range late {
		err := k.deregister(id, func(*service) bool {
			for _, c := range k.bound[id] {
				if c.late() {
					return true
				}
			}
			return false
		})
		if isGone(err) {
			continue
		}
		if err != nil {
			k.log.Warn("cannot deregister a service that has been critical for too long", "service", id, "error", err)
			continue
		}
		k.log.Info("deregistered a service that had been critical for too long", "service", id)
		k.mu.Lock()
		k.hurry(item{id: id})
		k.mu.Unlock()
	}
}

// late reports whether the check has been critical for longer than its definition allows. mu is held.
func (c *checked) late() bool {
	if c.def == nil || c.since.IsZero() || c.def.ReapAfter == 0 {
		return false
	}
	return time.Since(c.since) > c.def.ReapAfter
}
