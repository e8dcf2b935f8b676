package simnet

import (
	"cmp"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// The ports that the system chooses.
const firstPort, lastPort = 32768, 60999

// Host is a machine with one IP, and its loopback addresses, that only itself reaches.
type Host struct {
	net    *Net
	ip     netip.Addr
	chance *rand.Rand // the luck of what this machine sends

	// The rest is guarded by net.mu.
	group     int // of a Partition
	paused    bool
	waiting   []func() // what goes on at Resume
	nextPort  int
	nextConn  uint64
	listeners map[netip.AddrPort]*listener
	sockets   map[netip.AddrPort]*packetConn
	conns     map[*conn]struct{} // those that are open or have something on its way
	dials     map[*dialing]struct{}
	count     Counters
}

// Counters are what a machine sent and received since it was made. Packets to itself count.
type Counters struct {
	PacketsOut, PacketsIn uint64 // in: what reached a socket
	PacketsLost           uint64 // of those that it sent: by chance, cut, without a socket there or with a full one
	BytesOut, BytesIn     uint64 // in packets
	Dials                 uint64
	StreamOut, StreamIn   uint64 // bytes in streams; out: written, in: arrived
}

// Counters returns what the machine sent and received so far.
func (h *Host) Counters() Counters {
	h.net.lock()
	defer h.net.unlock()
	return h.count
}

// String returns the IP.
func (h *Host) String() string { return h.ip.String() }

// Pause stalls the machine: Read, ReadFrom and Accept give nothing, sent packets and dials wait, what is written to
// streams stays in their buffers, and what others send waits too. Its timers and deadlines go on. Code that holds a
// mutex over a WriteTo, or a Write that does not fit, would stop the clock of a bubble.
func (h *Host) Pause() {
	h.net.lock()
	defer h.net.unlock()
	h.paused = true
}

// Resume ends a Pause, and all that waited goes on.
func (h *Host) Resume() {
	h.net.lock()
	defer h.net.unlock()
	h.resume()
}

func (h *Host) resume() {
	if !h.paused {
		return
	}
	h.paused = false
	waiting := h.waiting
	h.waiting = nil
	for _, run := range waiting {
		h.net.after(0, run)
	}
	h.kick(0)
	for _, c := range h.open() {
		c.in.readable.wake()
	}
	for _, l := range h.listeners {
		l.changed.wake()
	}
	for _, s := range h.sockets {
		s.readable.wake()
		s.writable.wake()
	}
}

// Kill ends the machine's process: its listeners and sockets are closed, its dials fail, and the other ends of its
// connections are reset once they hear of it, after what was written before. A stalled machine is not any more. Whoever
// listens from now on is a new process.
func (h *Host) Kill() {
	h.net.lock()
	defer h.net.unlock()
	h.paused = false
	h.waiting = nil
	for _, l := range h.listeners {
		l.shut()
	}
	for _, s := range h.sockets {
		s.shut()
	}
	for d := range h.dials {
		d.end(nil, net.ErrClosed)
	}
	for _, c := range h.open() {
		if !c.closed {
			c.shut(true)
		}
	}
}

// open returns the machine's connections, oldest first: what is done to them has an order.
func (h *Host) open() []*conn {
	list := make([]*conn, 0, len(h.conns))
	for c := range h.conns {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *conn) int { return cmp.Compare(a.number, b.number) })
	return list
}

// kick sends again what waited in streams for an open way.
func (h *Host) kick(late time.Duration) {
	for _, c := range h.open() {
		c.out.kick(late)
	}
}

// patiently runs something now, or when the machine is no longer stalled.
func (h *Host) patiently(run func()) {
	if h.paused {
		h.waiting = append(h.waiting, run)
		return
	}
	run()
}

// local finds the address that a socket listens on. The unspecified address is the machine's own, and loopback.
func (h *Host) local(network, address string) (netip.AddrPort, error) {
	at, err := parse(network, address)
	if err != nil {
		return at, err
	}
	ip := at.Addr()
	if ip.IsUnspecified() {
		ip = h.ip
	}
	if ip != h.ip && !ip.IsLoopback() {
		return at, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	if at.Port() != 0 {
		return netip.AddrPortFrom(ip, at.Port()), nil
	}
	for range lastPort - firstPort {
		at = netip.AddrPortFrom(ip, h.port())
		if h.listeners[at] == nil && h.sockets[at] == nil { // of both kinds, as many want the same number for both
			return at, nil
		}
	}
	return at, os.NewSyscallError("bind", syscall.EADDRINUSE)
}

// port returns the next one that the system chooses.
func (h *Host) port() uint16 {
	p := h.nextPort
	if h.nextPort++; h.nextPort > lastPort {
		h.nextPort = firstPort
	}
	return uint16(p)
}

// to returns the machine that has an address as this machine sees it, nil if there is none.
func (h *Host) to(ip netip.Addr) *Host {
	if ip.IsLoopback() {
		return h
	}
	return h.net.hosts[ip]
}

// find returns the socket at an address. One at the machine's own address also hears loopback, as if it had been bound
// to all.
func find[S any](sockets map[netip.AddrPort]S, at netip.AddrPort, own netip.Addr) (S, bool) {
	s, ok := sockets[at]
	if !ok && at.Addr().IsLoopback() {
		s, ok = sockets[netip.AddrPortFrom(own, at.Port())]
	}
	return s, ok
}

// travel is how long something takes this time.
func (h *Host) travel(l Link) time.Duration {
	d := l.Delay
	if l.Jitter > 0 {
		d += time.Duration(h.chance.Int64N(int64(l.Jitter)))
	}
	return d
}

// hits says whether something happens that has this probability.
func (h *Host) hits(probability float64) bool {
	return probability > 0 && h.chance.Float64() < probability
}

func udp(a netip.AddrPort) *net.UDPAddr { return net.UDPAddrFromAddrPort(a) }
func tcp(a netip.AddrPort) *net.TCPAddr { return net.TCPAddrFromAddrPort(a) }
