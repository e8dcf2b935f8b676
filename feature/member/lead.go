package member

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/fault"
)

const (
	// reconcilePeriod is how often the leader compares all members with the catalog, whatever events told it.
	reconcilePeriod = 60 * time.Second
	// reconcileWidth is how many nodes are changed at the same time: the log packs them into few entries.
	reconcileWidth = 64
	// strangerShare of all nodes that gossip spoke of, at least one, are taken out in one period because it no longer knows
	// them: a leader that is mistaken must not empty the catalog.
	strangerShare = 3
)

// reconciler keeps the catalog's nodes in step with the members: a duty of the leader, one for each term.
type reconciler struct {
	host    *room.Host
	refused map[string]string // node → why the catalog refused its last change; told once

	mu     sync.Mutex
	reaped map[string]bool // lower-case names of members that gossip forgot in this term

	settled time.Time // from when on a node that gossip does not know is known to be none of it
	swept   time.Time // when strangers were taken out last
}

func newReconciler(h *room.Host) *reconciler {
	return &reconciler{host: h, refused: map[string]string{}, reaped: map[string]bool{}}
}

func (c *reconciler) run(ctx context.Context) error {
	began := time.Now()
	tick := time.NewTicker(reconcilePeriod)
	defer tick.Stop()
	ctx, stop := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	var events sync.WaitGroup
	events.Go(func() {
		_ = c.host.LAN.Run(ctx, func(e gossip.Event) { // ends with ctx; the tick catches what it may have missed
			if e.Kind == gossip.User {
				return
			}
			c.hear(e)
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	})
	defer events.Wait()
	defer stop()
	for {
		restored := c.host.Cluster.Restored()
		c.settle(began, c.host.LAN.Sync())
		start := time.Now()
		err := c.pass(ctx, c.host.LAN.Members(), start)
		c.host.Metrics.Sample("leader.reconcile").Since(start)
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-changed:
		case <-restored:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settle says that this term began then, and how long two members of the pool as it is now are without each other's list. After
// a power cut the leader is there before the others, and a pool that grows lets its members wait longer for each other.
func (c *reconciler) settle(began time.Time, every time.Duration) {
	if t := began.Add(2 * every); t.After(c.settled) {
		c.settled = t
	}
}

// hear notes who was forgotten: that is said of a member that has failed or left long ago, or because somebody asked for it.
func (c *reconciler) hear(e gossip.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range e.Members {
		if e.Kind == gossip.Reaped {
			c.reaped[strings.ToLower(m.Name)] = true
		} else {
			delete(c.reaped, strings.ToLower(m.Name))
		}
	}
}

// pass compares all members with the catalog, which it reads once, and writes what differs.
func (c *reconciler) pass(ctx context.Context, members []gossip.Member, now time.Time) error {
	c.mu.Lock()
	reaped := maps.Clone(c.reaped)
	c.mu.Unlock()
	for _, m := range members {
		delete(reaped, strings.ToLower(m.Name)) // forgotten after the list was read: that is for the next pass
	}
	answer, _, err := c.host.Door.Read(ctx, nodesQuery{}, room.Options{})
	if err != nil {
		return err
	}
	rows := answer.Value.(map[string]nodeRow)
	changes, strangers := plan(&c.host.Self, members, rows)
	changes = append(changes, c.farewells(strangers, reaped, rows, now)...)
	if err := c.write(ctx, changes); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range reaped {
		delete(c.reaped, name)
	}
	return nil
}

// farewells are the changes that take out strangers: those that gossip is known to have forgotten at once, others with caution.
func (c *reconciler) farewells(strangers []string, reaped map[string]bool, rows map[string]nodeRow, now time.Time) (changes []change) {
	var doubtful []string
	for _, name := range strangers {
		if reaped[strings.ToLower(name)] {
			changes = append(changes, change{node: name, commands: []room.Command{&catalog.Deregister{Node: name}}})
		} else {
			doubtful = append(doubtful, name)
		}
	}
	if len(doubtful) == 0 || now.Before(c.settled) || now.Before(c.swept.Add(reconcilePeriod)) {
		return changes
	}
	c.swept = now
	all := 0
	for _, row := range rows {
		if row.health != nil {
			all++
		}
	}
	limit := max(1, all/strangerShare)
	if held := len(doubtful) - limit; held > 0 {
		c.host.Log.Warn("many nodes of the catalog are unknown to gossip: some are kept until the next round", "unknown", len(doubtful),
			"taken out now", limit, "kept", held)
		doubtful = doubtful[:limit]
	}
	for _, name := range doubtful {
		c.host.Log.Info("a node that gossip does not know is taken out of the catalog", "node", name)
		changes = append(changes, change{node: name, commands: []room.Command{&catalog.Deregister{Node: name}}})
	}
	return changes
}

// write makes the changes. One that the state refuses is told once and tried again at the next pass; what fails for another
// reason ends the pass.
func (c *reconciler) write(ctx context.Context, changes []change) error {
	var group errgroup.Group
	group.SetLimit(reconcileWidth)
	refusals := make([]error, len(changes))
	for i, ch := range changes {
		refusals[i] = ch.refused
		group.Go(func() error {
			defer c.host.Metrics.Sample("leader.reconcileMember").Since(time.Now())
			for _, command := range ch.commands {
				_, _, err := c.host.Door.Apply(ctx, command, room.Options{})
				if fault.Is(err, fault.Refused) || fault.Is(err, fault.Invalid) {
					refusals[i] = err
					return nil
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	still := map[string]string{}
	for i, ch := range changes {
		if refusals[i] == nil {
			continue
		}
		still[ch.node] = refusals[i].Error()
		if c.refused[ch.node] != still[ch.node] {
			c.host.Log.Warn("the catalog refuses a member; it is tried again with every round", "node", ch.node, "error", refusals[i])
		}
	}
	c.refused = still
	return err
}
