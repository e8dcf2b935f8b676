package local

import (
	"context"

	"rostra/engine/check"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/fault"
)

// Besides what files and clients register, the agent has checks about itself: its parts report, and the reports are kept
// here as checks of the node, which nobody else can change.

// follow keeps the checks in step with the agent's reports until ctx ends.
func (k *keeper) follow(ctx context.Context) {
	for {
		list, changed := k.host.Reports.All()
		k.takeReports(list)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (k *keeper) takeReports(list []room.Report) {
	present := map[string]bool{}
	for _, r := range list {
		present[r.ID] = true
		k.takeReport(r)
	}
	k.mu.Lock()
	var gone []string
	for id, c := range k.checks {
		if c.source == fromAgent && !present[id] {
			gone = append(gone, id)
		}
	}
	k.mu.Unlock()
	for _, id := range gone {
		err := k.deregisterCheck(id, func(c *checked) bool { return c.source == fromAgent })
		if err != nil && !isGone(err) {
			k.log.Error("cannot remove a check of the agent's own", "check", id, "error", err)
			continue
		}
		k.mu.Lock()
		k.hurry(item{true, id})
		k.mu.Unlock()
	}
}

func (k *keeper) takeReport(r room.Report) {
	k.mu.Lock()
	c := k.checks[r.ID]
	k.mu.Unlock()
	if c == nil || c.source != fromAgent {
		row := &catalog.Check{Node: k.host.Self.Node, CheckID: r.ID, Name: r.Name, Status: r.Status, Output: r.Output, ServiceTags: []string{}}
		c = &checked{row: row, source: fromAgent}
		if err := k.registerCheck(c); err != nil {
			k.log.Error("cannot register a check of the agent's own", "check", r.ID, "error", err)
			return
		}
		k.mu.Lock()
		k.hurry(item{true, r.ID})
		k.mu.Unlock()
	}
	k.result(c, check.Result{Status: check.Status(r.Status), Output: r.Output})
}

// ours refuses what others want to do to a check of the agent's own.
func ours(id string) error {
	return fault.New(fault.Invalid, "Check %q is the agent's own and cannot be changed", id)
}
