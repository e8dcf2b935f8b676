package local

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"rostra/engine/check"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/httpd"
)

// An alias check is as healthy as another service: on this node it looks at the checks here whenever one of them changes,
// on another node it watches the catalog. It needs no servers for the first, and keeps its status while none answers for
// the second: not knowing is no illness.

// watchers are the alias checks of this node by the service they copy, each with what wakes it.
type watchers map[string]map[*checked]chan struct{}

// stir wakes the alias checks that look at a service; for "", at the node, all of them. The keeper's mu is held.
func (w watchers) stir(service string) {
	for id, group := range w {
		if service == "" || id == service {
			for _, wake := range group {
				nudge(wake)
			}
		}
	}
}

// aliasHere reports whether the check copies a service of this node.
func (k *keeper) aliasHere(c *checked) bool {
	if c.def == nil || c.row.Type != string(check.Alias) {
		return false
	}
	node := c.def.AliasNode
	return node == "" || strings.EqualFold(node, k.host.Self.Node)
}

// followAlias is the runner of an alias check.
func (k *keeper) followAlias(ctx context.Context, c *checked, tell func(check.Result)) {
	k.mu.Lock()
	here, service, wake := k.aliasHere(c), c.def.AliasService, make(chan struct{}, 1)
	if here {
		if k.aliases[service] == nil {
			k.aliases[service] = map[*checked]chan struct{}{}
		}
		k.aliases[service][c] = wake
	}
	k.mu.Unlock()
	if !here {
		k.followRemote(ctx, c, tell)
		return
	}
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if delete(k.aliases[service], c); len(k.aliases[service]) == 0 {
			delete(k.aliases, service)
		}
	}()
	var last check.Result
	for {
		k.mu.Lock()
		r := k.copied(c, map[*checked]bool{})
		k.mu.Unlock()
		if r != last {
			last = r
			tell(r)
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// copied judges an alias check of this node: the node's own checks and the service's. Other alias checks among them are
// judged anew, without those that were seen on the way, itself among them: two that look at each other would otherwise
// keep each other critical for ever. mu is held.
func (k *keeper) copied(c *checked, seen map[*checked]bool) check.Result {
	seen[c] = true
	service := c.def.AliasService
	if service != "" && k.services[service] == nil {
		return noService(service, k.host.Self.Node)
	}
	groups := []string{""}
	if service != "" {
		groups = append(groups, service)
	}
	var list []check.Aliased
	for _, group := range groups {
		ids := make([]string, 0, len(k.bound[group]))
		for id := range k.bound[group] {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			x := k.bound[group][id]
			result := check.Result{Status: check.Status(x.row.Status), Output: x.row.Output}
			switch {
			case seen[x]:
				continue
			case k.aliasHere(x):
				result = k.copied(x, seen)
			}
			list = append(list, check.Aliased{Name: x.row.Name, Result: result})
		}
	}
	return check.Worst(list)
}

func noService(service, node string) check.Result {
	return check.Result{Status: check.Critical, Output: fmt.Sprintf("Service %s could not be found on node %s", service, node)}
}

// followRemote follows a service of another node until ctx ends.
func (k *keeper) followRemote(ctx context.Context, c *checked, tell func(check.Result)) {
	for {
		err := k.watchRemote(ctx, c, tell)
		if ctx.Err() != nil {
			return
		}
		k.log.Warn("cannot follow what an alias check copies; it keeps its status", "check", c.row.CheckID, "error", err)
		select {
		case <-time.After(spread(retryPeriod, 1)):
		case <-ctx.Done():
			return
		}
	}
}

// news is an answer of one of the two watches of a remote alias.
type news struct {
	from   int
	answer room.Answer
	err    error
}

// watchRemote watches the services and the checks of the other node, and returns when either watch ends.
func (k *keeper) watchRemote(ctx context.Context, c *checked, tell func(check.Result)) error {
	k.mu.Lock()
	service, node, o := c.def.AliasService, c.def.AliasNode, room.Options{Token: c.token, Consistency: httpd.Stale}
	k.mu.Unlock()
	var wait sync.WaitGroup
	defer wait.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	got := make(chan news)
	key := strings.ToLower(node)
	for i, q := range []room.Query{catalog.NodeQuery{Node: key}, health.NodeChecksQuery{Node: key}} {
		w, err := k.host.Door.Watch(ctx, q, o)
		if err != nil {
			return err
		}
		defer w.Close()
		wait.Go(func() {
			for {
				a, err := w.Next(ctx)
				select {
				case got <- news{i, a, err}:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
			}
		})
	}
	var present *catalog.NodeServices
	var checks health.CheckList
	answered := [2]bool{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case n := <-got:
			if n.err != nil {
				return n.err
			}
			answered[n.from] = true
			if n.from == 0 {
				present, _ = n.answer.Value.(*catalog.NodeServices)
			} else {
				checks, _ = n.answer.Value.(health.CheckList)
			}
		}
		if answered[0] && answered[1] {
			tell(copiedFrom(node, service, present, checks))
		}
	}
}

// copiedFrom judges an alias check of another node, of which the catalog says this; present is nil if it has no such node.
func copiedFrom(node, service string, present *catalog.NodeServices, checks health.CheckList) check.Result {
	switch {
	case service == "" && present == nil:
		return check.Result{Status: check.Critical, Output: fmt.Sprintf("Node %s could not be found", node)}
	case service != "" && (present == nil ||
		!slices.ContainsFunc(present.Services, func(s *catalog.Service) bool { return s.ID == service })):
		return noService(service, node)
	}
	var list []check.Aliased
	for _, x := range checks {
		if x.ServiceID == "" || x.ServiceID == service {
			list = append(list, check.Aliased{Name: x.Name, Result: check.Result{Status: check.Status(x.Status), Output: x.Output}})
		}
	}
	return check.Worst(list)
}
