package remote

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/roster"
)

// Rebalancing: an agent moves to a random server now and then, so that servers that were away get their share again. The
// more agents there are for a server, the less often each moves.
const (
	rebalanceMin     = 2 * time.Minute
	movesPerSecond   = 64 // of all agents, for one server
	failureMemory    = 30 * time.Second
	shortestBalanced = 1 * time.Second
)

// choice is the server an agent talks to. It stays with one for as long as that answers.
type choice struct {
	roster *roster.Roster
	least  time.Duration // to stay with a server that answers

	mu      sync.Mutex // guards the rest
	current string     // ID
	trouble map[string]time.Time
}

// alive returns the servers that gossip knows to be alive; if there are none, all that it knows: it may be wrong.
func (c *choice) alive() []roster.Server {
	all := c.roster.Servers("")
	var list []roster.Server
	for _, s := range all {
		if s.Status == gossip.StatusAlive {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		for _, s := range all {
			if s.Status != gossip.StatusLeft {
				list = append(list, s)
			}
		}
	}
	return list
}

// living returns how many servers gossip knows to be alive.
func (c *choice) living() (n int) {
	for _, s := range c.roster.Servers("") {
		if s.Status == gossip.StatusAlive {
			n++
		}
	}
	return n
}

// pick returns the server to ask, none of those to be left out; false if none is known. Where some are left out the
// agent's own server stays the same.
func (c *choice) pick(not ...string) (roster.Server, bool) {
	list := slices.DeleteFunc(c.alive(), func(s roster.Server) bool { return slices.Contains(not, s.ID) })
	if len(list) == 0 {
		return roster.Server{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(list, func(s roster.Server) bool { return s.ID == c.current }); i >= 0 {
		return list[i], true
	}
	s := c.best(list)
	if len(not) == 0 {
		c.current = s.ID
	}
	return s, true
}

// best returns a random one of those that made the least trouble lately. mu is held.
func (c *choice) best(list []roster.Server) roster.Server {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	now := time.Now()
	for id, at := range c.trouble {
		if now.Sub(at) > failureMemory {
			delete(c.trouble, id)
		}
	}
	return slices.MinFunc(list, func(a, b roster.Server) int { return c.trouble[a.ID].Compare(c.trouble[b.ID]) })
}

// failed leaves a server that did not answer.
func (c *choice) failed(s roster.Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trouble == nil {
		c.trouble = map[string]time.Time{}
	}
	c.trouble[s.ID] = time.Now()
	if c.current == s.ID {
		c.current = ""
	}
}

// stay goes back to a server that is followed and lives, unless it made trouble lately: of who is asked and not followed the
// agent would not notice that it has gone silent.
func (c *choice) stay(s roster.Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, is := c.trouble[s.ID]; !is || time.Since(at) > failureMemory {
		c.current = s.ID
	}
}

// move leaves the current server for a random one, perhaps the same.
func (c *choice) move() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = ""
}

// restless returns how long to stay with a server.
func (c *choice) restless() time.Duration {
	least := max(c.least, time.Duration(c.roster.Members())*time.Second/movesPerSecond)
	return least + rand.N(least/2+shortestBalanced)
}
