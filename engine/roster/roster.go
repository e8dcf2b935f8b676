// Package roster knows the servers: it reads in gossip who they are, where they are reached and how they do, for this
// datacenter and, on servers, for all others. The doors choose servers by it, Raft finds addresses by ID in it. It is the one
// place that knows what the tags of a server mean.
package roster

import (
	"cmp"
	"context"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"rostra/engine/gossip"
)

// TagFull is the tag of a server that has no room for data.
const TagFull = "rostra_full"

// Server is a server as gossip shows it.
type Server struct {
	ID         string // of the node, and in Raft
	Node       string // the node's name, on the WAN without the datacenter
	Datacenter string
	Address    string // ip:port of the server port
	Build      string // Consul's version that it stands in for
	Level      int    // the newest rules of Commands that it knows
	Voter      bool   // it is meant to vote; false for read replicas
	Bootstrap  bool   // it was started to be a cluster of its own
	Expect     int    // bootstrap_expect
	TLS        bool   // its port speaks TLS
	Full       bool   // the disk that its data are on has no room
	Status     gossip.Status
}

// Parse reads a member's tags; false if it is no server.
func Parse(m gossip.Member) (Server, bool) {
	port, err := strconv.Atoi(m.Tags["port"])
	if m.Tags["role"] != "consul" || err != nil || port < 1 || port > 65535 {
		return Server{}, false
	}
	build, _, _ := strings.Cut(m.Tags["build"], ":")
	level, _ := strconv.Atoi(m.Tags["rostra_level"])
	expect, _ := strconv.Atoi(m.Tags["expect"])
	dc := m.Tags["dc"]
	return Server{
		ID: m.Tags["id"], Node: strings.TrimSuffix(m.Name, "."+dc), Datacenter: dc,
		Address: net.JoinHostPort(m.Addr, strconv.Itoa(port)), Build: build, Level: level,
		Voter: m.Tags["read_replica"] == "" && m.Tags["nonvoter"] == "", Bootstrap: m.Tags["bootstrap"] == "1",
		Expect: expect, TLS: m.Tags["use_tls"] == "1", Full: m.Tags[TagFull] == "1", Status: m.Status,
	}, true
}

// Roster is the list of servers, kept up to date by Run. Safe for concurrent use. What it returns is shared: do not change it.
type Roster struct {
	dc       string
	lan, wan *gossip.Pool // wan may be nil
	now      atomic.Pointer[list]

	reading sync.Mutex   // held while the pools are read: an older reading must not replace a newer one
	read    func() *list // reads the pools

	mu      sync.Mutex // guards changed
	changed chan struct{}
}

// list is the roster at one moment.
type list struct {
	byID    map[string]Server // of the own datacenter
	servers map[string][]Server
	members int // of the LAN pool that are alive
}

// New returns the roster of an agent of the datacenter dc, as the pools are now. wan is nil on agents that are not servers.
func New(dc string, lan, wan *gossip.Pool) *Roster {
	r := &Roster{dc: dc, lan: lan, wan: wan, changed: make(chan struct{})}
	r.read = r.readPools
	r.Refresh()
	return r
}

// Of returns a roster of the given servers without gossip behind it, for tests; Set replaces them.
func Of(dc string, servers ...Server) *Roster {
	r := &Roster{dc: dc, changed: make(chan struct{})}
	r.Set(servers...)
	return r
}

// Set replaces the servers of a roster without gossip.
func (r *Roster) Set(servers ...Server) {
	next := &list{byID: map[string]Server{}, servers: map[string][]Server{}}
	for _, s := range servers {
		next.add(s, r.dc)
	}
	r.store(next)
}

// Run follows gossip until ctx ends.
func (r *Roster) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	for _, pool := range []*gossip.Pool{r.lan, r.wan} {
		if pool != nil {
			wait.Go(func() {
				_ = pool.Run(ctx, func(e gossip.Event) { // it ends with ctx or with the pool
					if e.Kind != gossip.User {
						r.Refresh()
					}
				})
			})
		}
	}
	wait.Wait()
	return nil
}

// Refresh reads the pools now.
func (r *Roster) Refresh() {
	r.reading.Lock()
	defer r.reading.Unlock()
	r.store(r.read())
}

func (r *Roster) readPools() *list {
	next := &list{byID: map[string]Server{}, servers: map[string][]Server{}}
	if r.wan != nil {
		for _, m := range r.wan.Members() {
			if s, is := Parse(m); is && s.Datacenter != r.dc && s.Status != gossip.StatusLeft {
				next.add(s, r.dc)
			}
		}
	}
	for _, m := range r.lan.Members() {
		if m.Status == gossip.StatusAlive {
			next.members++
		}
		if s, is := Parse(m); is {
			next.add(s, r.dc)
		}
	}
	return next
}

func (l *list) add(s Server, own string) {
	l.servers[s.Datacenter] = append(l.servers[s.Datacenter], s)
	if s.Datacenter == own {
		l.byID[s.ID] = s
	}
}

func (r *Roster) store(next *list) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.Store(next)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Changed returns a channel that closes when the roster changes next.
func (r *Roster) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Servers returns all known servers of a datacenter ("" is the own), by name, also those that failed, and of the own those
// that left. A datacenter that all its servers have left is not known any more.
func (r *Roster) Servers(dc string) []Server { return r.now.Load().servers[cmp.Or(dc, r.dc)] }

// Level returns the highest level of rules that all living servers of a datacenter know ("" is the own); more than anybody
// knows if none lives.
func (r *Roster) Level(dc string) int {
	level := math.MaxInt
	for _, s := range r.Servers(dc) {
		if s.Status == gossip.StatusAlive {
			level = min(level, s.Level)
		}
	}
	return level
}

// Find returns the server of the own datacenter with the ID.
func (r *Roster) Find(id string) (Server, bool) {
	s, ok := r.now.Load().byID[id]
	return s, ok
}

// Members returns how many agents of the own datacenter are alive.
func (r *Roster) Members() int { return r.now.Load().members }
