// Package simnet is a network in memory for tests: machines with TCP and UDP sockets, and links between them that delay,
// lose, duplicate and reorder, are cut one way or both, and machines that stall or die. What is delayed waits on the clock
// of package time only, and whoever waits blocks on a channel, so that a testing/synctest bubble runs it in virtual time;
// a Net must be made inside the bubble that uses it. It needs no goroutine and no end. All chance comes from one seed: the
// n-th thing that a machine sends has the same luck in each run. Which of two goroutines sends first is not up to it.
package simnet

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Link says how a link behaves, one way. The zero Link is perfect: what is sent is there at once.
type Link struct {
	Delay  time.Duration // from one end to the other
	Jitter time.Duration // up to that much more, evenly; alone enough to reorder packets
	// Loss is how probably a packet is lost, 0 to 1. Of a stream nothing is lost: it is sent again, after 200 ms, 400 ms
	// and so on, and what was sent later waits for it.
	Loss      float64
	Duplicate float64 // how probably a packet arrives twice; not of streams
	Reorder   float64 // how probably a packet is held back by up to 2×(Delay+Jitter) + 1 ms; not of streams
}

// Net is a network. Its methods and those of its hosts and sockets may be called at the same time.
type Net struct {
	seed  uint64
	start time.Time

	mu       sync.Mutex // guards the rest, also of the hosts and sockets; never held while waiting
	agenda   agenda     // what happens later
	seq      uint64     // orders what happens at the same time
	timer    *time.Timer
	armed    time.Duration // when the timer fires; 0 if it does not
	hosts    map[netip.Addr]*Host
	fallback Link
	links    map[way]Link
	cuts     map[way]bool
	split    bool // each host is heard in its group only
}

// way is a direction between two machines.
type way struct{ from, to *Host }

// New makes an empty network whose links are perfect.
func New(seed uint64) *Net {
	return &Net{seed: seed, start: time.Now(), hosts: map[netip.Addr]*Host{}, links: map[way]Link{}, cuts: map[way]bool{}}
}

// Host returns the machine with this IP, made on first use. It panics if ip is no IP address of one machine.
func (n *Net) Host(ip string) *Host {
	n.lock()
	defer n.unlock()
	return n.host(ip)
}

// host is Host for who holds mu.
func (n *Net) host(ip string) *Host {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
		panic(fmt.Sprintf("cannot make a host of %q: not the IP address of one machine", ip))
	}
	a = a.Unmap()
	if h := n.hosts[a]; h != nil {
		return h
	}
	sum := fnv.New64a()
	_, _ = sum.Write(a.AsSlice())
	h := &Host{
		net: n, ip: a, chance: rand.New(rand.NewPCG(n.seed, sum.Sum64())), nextPort: firstPort,
		listeners: map[netip.AddrPort]*listener{}, sockets: map[netip.AddrPort]*packetConn{},
		conns: map[*conn]struct{}{}, dials: map[*dialing]struct{}{},
	}
	n.hosts[a] = h
	return h
}

// Default sets how all links behave that Link did not set. A machine talks to itself without faults.
func (n *Net) Default(l Link) {
	n.lock()
	defer n.unlock()
	n.fallback = l
}

// Link sets how the link from one IP to another behaves, this way only.
func (n *Net) Link(from, to string, l Link) {
	n.lock()
	defer n.unlock()
	n.links[way{n.host(from), n.host(to)}] = l
}

// Cut lets nothing through from one IP to another, this way only, also not what is on its way. Packets are lost; the bytes
// of streams wait, and dials too, until they time out.
func (n *Net) Cut(from, to string) {
	n.lock()
	defer n.unlock()
	n.cuts[way{n.host(from), n.host(to)}] = true
}

// Mend ends a Cut: what waited is sent again 200 ms later.
func (n *Net) Mend(from, to string) {
	n.lock()
	defer n.unlock()
	delete(n.cuts, way{n.host(from), n.host(to)})
	n.host(from).kick(retransmit)
}

// Partition cuts the network into groups of IPs, both ways. The hosts in none of them, also those made later, are a group
// of their own. It replaces an earlier Partition, not the cuts.
func (n *Net) Partition(groups ...[]string) {
	n.lock()
	defer n.unlock()
	for _, h := range n.hosts {
		h.group = 0
	}
	n.split = true
	for i, g := range groups {
		for _, ip := range g {
			n.host(ip).group = i + 1
		}
	}
	n.kick()
}

// Heal ends the Partition and all cuts. Links stay as they are, stalled hosts stay stalled.
func (n *Net) Heal() {
	n.lock()
	defer n.unlock()
	n.split = false
	clear(n.cuts)
	n.kick()
}

// kick sends again what waited for a way that is open now, host by host in a fixed order.
func (n *Net) kick() {
	hosts := make([]*Host, 0, len(n.hosts))
	for _, h := range n.hosts {
		hosts = append(hosts, h)
	}
	slices.SortFunc(hosts, func(a, b *Host) int { return a.ip.Compare(b.ip) })
	for _, h := range hosts {
		h.kick(retransmit)
	}
}

// open says whether anything comes through.
func (n *Net) open(from, to *Host) bool {
	if from == to {
		return true
	}
	if n.split && from.group != to.group {
		return false
	}
	return len(n.cuts) == 0 || !n.cuts[way{from, to}]
}

func (n *Net) link(from, to *Host) Link {
	if from == to {
		return Link{}
	}
	if len(n.links) > 0 {
		if l, ok := n.links[way{from, to}]; ok {
			return l
		}
	}
	return n.fallback
}

// parse reads "ip:port". An empty IP, "localhost" and the unspecified addresses are told apart by who calls.
func parse(network, address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := net.LookupPort(network, port)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch host {
	case "":
		return netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(number)), nil
	case "localhost":
		return netip.AddrPortFrom(loopback, uint16(number)), nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
