// Package gossip finds the other agents: a Serf pool for one datacenter (LAN) and one of the servers of all (WAN), each
// behind a few calls. It knows members, their tags and coordinates; what a member means to the catalog is a feature's
// affair. In this version a pool has one member, the agent itself.
package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/coordinate"
	"github.com/hashicorp/serf/serf"
)

// Options describe this agent to a pool.
type Options struct {
	Name          string            // unique in the pool
	WAN           bool              // timings for long distances
	BindAddr      string            // IP address
	BindPort      int               // UDP and TCP; 0 takes a free one
	AdvertiseAddr string            // IP address that others reach; BindAddr if ""
	AdvertisePort int               // 0: the bound port
	Tags          map[string]string // what members tell each other
	SnapshotPath  string            // file that remembers the members; "" for none
	Logger        *slog.Logger
}

// Status is what the pool believes of a member. The numbers are those of the HTTP API.
type Status int

// The statuses a member can have.
const (
	StatusNone Status = iota
	StatusAlive
	StatusLeaving
	StatusLeft
	StatusFailed
)

// String returns the word that the members table shows.
func (s Status) String() string {
	return [...]string{"none", "alive", "leaving", "left", "failed"}[s]
}

// Member is one agent as the pool sees it.
type Member struct {
	Name                                  string
	Addr                                  string // IP address
	Port                                  uint16
	Tags                                  map[string]string
	Status                                Status
	ProtocolMin, ProtocolMax, ProtocolCur uint8
	DelegateMin, DelegateMax, DelegateCur uint8
}

// Pool is this agent's membership. Safe for concurrent use.
type Pool struct{ serf *serf.Serf }

// Open joins nobody: it starts a pool of one. An address that is in use is an error that names it.
func Open(o Options) (*Pool, error) {
	c := serf.DefaultConfig()
	c.Init()
	c.NodeName, c.Tags, c.SnapshotPath = o.Name, o.Tags, o.SnapshotPath
	c.ProtocolVersion = 5
	c.Logger = newLogger(o.Logger)
	c.MemberlistConfig = memberlist.DefaultLANConfig()
	if o.WAN {
		c.MemberlistConfig = memberlist.DefaultWANConfig()
	}
	m := c.MemberlistConfig
	m.Logger = c.Logger
	m.BindAddr, m.BindPort = o.BindAddr, o.BindPort
	m.AdvertiseAddr, m.AdvertisePort = o.AdvertiseAddr, o.AdvertisePort
	m.DeadNodeReclaimTime = deadNodeReclaim
	s, err := serf.Create(c)
	if err != nil {
		where := net.JoinHostPort(o.BindAddr, strconv.Itoa(o.BindPort))
		return nil, fmt.Errorf("cannot open the gossip port %s: %s; free the address, or set ports.serf_lan, ports.serf_wan or bind_addr",
			where, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return &Pool{s}, nil
}

// deadNodeReclaim is how long a dead name is kept from another address (spec agent.md §13).
const deadNodeReclaim = 30e9

func newMember(m serf.Member) Member {
	return Member{Name: m.Name, Addr: m.Addr.String(), Port: m.Port, Tags: m.Tags, Status: Status(m.Status),
		ProtocolMin: m.ProtocolMin, ProtocolMax: m.ProtocolMax, ProtocolCur: m.ProtocolCur,
		DelegateMin: m.DelegateMin, DelegateMax: m.DelegateMax, DelegateCur: m.DelegateCur}
}

// Members returns all members the pool knows, by name.
func (p *Pool) Members() []Member {
	var list []Member
	for _, m := range p.serf.Members() {
		list = append(list, newMember(m))
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Local returns this agent as a member.
func (p *Pool) Local() Member { return newMember(p.serf.LocalMember()) }

// Leave tells the others that this agent goes of its own will. The pool stays open.
func (p *Pool) Leave(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- p.serf.Leave() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops taking part. The others will think that this agent failed, unless it left before.
func (p *Pool) Close() error {
	err := p.serf.Shutdown()
	<-p.serf.ShutdownCh()
	return err
}

// Stats returns the pool's figures under the keys of info.
func (p *Pool) Stats() map[string]string { return p.serf.Stats() }

// Encrypted reports whether gossip is encrypted.
func (p *Pool) Encrypted() bool { return p.serf.EncryptionEnabled() }

// Coordinate is a place in the network's latency space, in seconds (spec agent.md §19).
type Coordinate struct {
	Vec                       []float64
	Error, Adjustment, Height float64
}

// Coordinate returns where this agent is; an error if coordinates are off.
func (p *Pool) Coordinate() (*Coordinate, error) {
	c, err := p.serf.GetCoordinate()
	if err != nil {
		return nil, err
	}
	return fromSerf(c), nil
}

func fromSerf(c *coordinate.Coordinate) *Coordinate {
	return &Coordinate{Vec: c.Vec, Error: c.Error, Adjustment: c.Adjustment, Height: c.Height}
}
