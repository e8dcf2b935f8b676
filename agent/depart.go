package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"rostra/engine/consensus"
	"rostra/engine/gossip"
)

// How long an end takes at most, one after the other.
const (
	handTime   = 4 * time.Second // to hand leadership over, in up to handTries tries
	handTries  = 3
	removeTime = 3 * time.Second // for a leader to take a server that left out of the log's group
)

// Leave leaves the pools in good order; the process ends soon after the answer.
func (a *Agent) Leave(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case a.leaving.asks <- answer:
		return <-answer
	case <-ctx.Done():
		return ctx.Err()
	}
}

// depart takes this agent out of gossip and, while others can still ask, lets them.
func (a *Agent) depart(ctx context.Context) error {
	a.log.Info("leaving")
	a.handOver(ctx)
	var pools errgroup.Group // at once: each takes seconds to be sure that the others know
	for _, pool := range []*gossip.Pool{a.host.WAN, a.host.LAN} {
		if pool != nil {
			pools.Go(func() error { return pool.Leave(ctx) })
		}
	}
	left := pools.Wait()
	if a.others() {
		pause(ctx, a.now.agent.DrainTime)
		for end := time.Now().Add(removeTime); a.member() && time.Now().Before(end) && ctx.Err() == nil; {
			pause(ctx, removeTime/100)
		}
	}
	if left != nil {
		return fmt.Errorf("cannot leave: %w", left)
	}
	return nil
}

// handOver moves leadership to another server, if this one leads: its end then costs no election.
func (a *Agent) handOver(ctx context.Context) {
	if a.node == nil || !a.others() {
		return
	}
	if _, leads := a.node.Leading(); !leads {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handTime)
	defer cancel()
	var err error
	for range handTries {
		if err = a.node.Change(ctx, consensus.Change{Verb: consensus.Transfer}); err == nil || ctx.Err() != nil {
			break
		}
		if _, leads := a.node.Leading(); !leads {
			return
		}
	}
	if err != nil {
		a.log.Warn("cannot hand leadership over; the others elect a leader when this one is gone", "error", err)
	}
}

// others reports whether there are other servers in this one's group.
func (a *Agent) others() bool { return a.node != nil && len(a.node.Peers()) > 1 }

// member reports whether this server is still a part of its group.
func (a *Agent) member() bool {
	return slices.ContainsFunc(a.node.Peers(), func(p consensus.Peer) bool { return p.ID == a.host.Self.ID })
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
