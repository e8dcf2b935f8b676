package gossip

import (
	"bytes"
	"compress/lzw"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/kit/simnet"
)

// One real agent among modelled peers (docs/gossip.md):
//
//	go test ./engine/gossip -run TestAmongModels -v -peers 5000 -minutes 20
var simPeers = flag.Int("peers", 60, "how many peers TestAmongModels models")

// What memberlist and Serf say to each other: the first byte of a message.
const (
	sayPing, sayIndirect, sayAck, saySuspect, sayAlive, sayDead, sayLists, sayMany, sayUser = 0, 1, 2, 3, 4, 5, 6, 7, 8
	sayCompressed, sayNack, saySum                                                          = 9, 11, 12
	serfJoined, serfLists                                                                   = 1, 2
)

// peer is a modelled member. It answers what it is asked over memberlist's protocol and has no thought of its own: what it
// would have gossiped about others comes from the model.
type peer struct {
	m       *model
	i       int
	name    string
	packets net.PacketConn
	streams net.Listener
}

// model stands for a pool of n members of which the real agent knows no better. It answers probes, exchanges lists, has
// members crash and return, and sends the agent all that it would hear of that: 4 × ceil(log10(n+1)) copies of each message,
// from peers that heard it as an epidemic spreads, each within the rounds in which they pass it on.
type model struct {
	t      *testing.T
	net    *simnet.Net
	n      int
	target *net.UDPAddr // the real agent
	work   sync.WaitGroup

	mu     sync.Mutex // guards the rest
	chance *rand.Rand
	peers  []*peer
	dead   map[int]bool
	incar  []uint32
	lists  []byte // what a peer answers to lists, nil if it is to be made anew
	wrong  int    // suspicions of the agent about a peer that lives
}

func (m *model) peer(i int) *peer {
	p := &peer{m: m, i: i, name: fmt.Sprintf("n%04d", i)}
	var err error
	if p.packets, err = m.net.Host(place(i)).ListenPacket(":8301"); err != nil {
		m.t.Fatal(err)
	}
	if p.streams, err = m.net.Host(place(i)).Listen(":8301"); err != nil {
		m.t.Fatal(err)
	}
	m.work.Go(p.hear)
	m.work.Go(p.accept)
	return p
}

func (p *peer) hear() {
	for buf := make([]byte, largestPacket); ; {
		n, from, err := p.packets.ReadFrom(buf)
		if err != nil {
			return
		}
		p.message(buf[:n], from)
	}
}

// message answers one message. The agent's are well-formed; if not, the test's counters tell.
func (p *peer) message(b []byte, from net.Addr) {
	if len(b) < 2 {
		return
	}
	kind, body := b[0], b[1:]
	switch kind {
	case saySum:
		p.message(b[min(len(b), 5):], from)
		return
	case sayMany:
		count := int(body[0])
		sizes, rest := body[1:1+2*count], body[1+2*count:]
		for ; len(sizes) > 0; sizes = sizes[2:] {
			k := int(binary.BigEndian.Uint16(sizes))
			p.message(rest[:k], from)
			rest = rest[k:]
		}
		return
	case sayPing, sayIndirect, saySuspect, sayCompressed:
	default:
		return
	}
	fields, _, err := msgp.ReadMapStrIntfBytes(body, nil)
	if err != nil {
		p.m.t.Errorf("the agent sends a message of kind %d: %v", kind, err)
		return
	}
	switch kind {
	case sayCompressed:
		plain, err := io.ReadAll(lzw.NewReader(bytes.NewReader(raw(fields["Buf"])), lzw.LSB, 8))
		if err != nil {
			p.m.t.Error(err)
		}
		p.message(plain, from)
	case sayPing:
		_, _ = p.packets.WriteTo(ack(fields["SeqNo"]), from) // a socket that was closed loses it
	case sayIndirect:
		if p.m.alive(string(raw(fields["Node"]))) {
			_, _ = p.packets.WriteTo(ack(fields["SeqNo"]), from)
			return
		}
		time.AfterFunc(400*time.Millisecond, func() {
			_, _ = p.packets.WriteTo(number(one(sayNack, 1), "SeqNo", fields["SeqNo"]), from)
		})
	case saySuspect:
		if p.m.alive(string(raw(fields["Node"]))) {
			p.m.mu.Lock()
			p.m.wrong++
			p.m.mu.Unlock()
		}
	}
}

func (p *peer) accept() {
	for {
		c, err := p.streams.Accept()
		if err != nil {
			return
		}
		p.m.work.Go(func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			first := make([]byte, 64<<10)
			n, err := c.Read(first)
			if err != nil {
				return
			}
			answer := p.m.list()
			if first[0] == sayPing { // short, it comes in one piece
				fields, _, err := msgp.ReadMapStrIntfBytes(first[1:n], nil)
				if err != nil {
					return
				}
				answer = ack(fields["SeqNo"])
			}
			_, _ = c.Write(answer)        // the agent complains if it does not come
			_, _ = io.Copy(io.Discard, c) // until the agent has all
		})
	}
}

func raw(v any) []byte {
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	b, _ := v.([]byte)
	return b
}

// one begins a message of a kind with so many fields.
func one(kind byte, fields uint32) []byte { return msgp.AppendMapHeader([]byte{kind}, fields) }

func number(b []byte, key string, v any) []byte {
	b = msgp.AppendString(b, key)
	b, _ = msgp.AppendIntf(b, v) // a number: cannot fail
	return b
}

func text(b []byte, key, v string) []byte {
	return msgp.AppendStringFromBytes(msgp.AppendString(b, key), []byte(v))
}

// ack has the place of the peer in Serf's payload.
func ack(seq any) []byte {
	place := msgp.AppendMapHeader([]byte{1}, 4)
	place = msgp.AppendFloat64(msgp.AppendString(place, "Adjustment"), 0)
	place = msgp.AppendFloat64(msgp.AppendString(place, "Error"), 0.5)
	place = msgp.AppendFloat64(msgp.AppendString(place, "Height"), 1e-4)
	place = msgp.AppendArrayHeader(msgp.AppendString(place, "Vec"), 8)
	for range 8 {
		place = msgp.AppendFloat64(place, 1e-5)
	}
	return text(number(one(sayAck, 2), "SeqNo", seq), "Payload", string(place))
}

func suspectOrDead(kind byte, incarnation uint32, name, from string) []byte {
	return text(text(number(one(kind, 3), "Incarnation", incarnation), "Node", name), "From", from)
}

// state has a member in a message that it lives, or in a list.
func (m *model) state(b []byte, i int) []byte {
	ip := m.net.Host(place(i)).String()
	meta := msgp.AppendMapHeader([]byte{tagMagic}, 8)
	for k, v := range typical(i) {
		meta = text(meta, k, v)
	}
	b = text(number(b, "Incarnation", m.incar[i]), "Node", fmt.Sprintf("n%04d", i))
	b = text(number(b, "Port", uint16(8301)), "Addr", string(net.ParseIP(ip).To4()))
	return text(text(b, "Meta", string(meta)), "Vsn", string([]byte{1, 5, 2, 2, 5, 4}))
}

// list is what each peer knows: all states and Serf's clocks.
func (m *model) list() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lists != nil {
		return m.lists
	}
	clocks := msgp.AppendMapHeader([]byte{serfLists}, 6)
	clocks = msgp.AppendMapHeader(msgp.AppendString(number(clocks, "LTime", uint64(10)), "StatusLTimes"), uint32(m.n))
	var states []byte
	for i := 1; i <= m.n; i++ {
		clocks = number(clocks, fmt.Sprintf("n%04d", i), uint64(m.incar[i]))
		one := m.state(msgp.AppendMapHeader(nil, 7), i)
		one = bytes.Replace(one, msgp.AppendString(nil, "Node"), msgp.AppendString(nil, "Name"), 1)
		kind := 0
		if m.dead[i] {
			kind = 2
		}
		states = append(states, number(one, "State", kind)...)
	}
	clocks = msgp.AppendNil(msgp.AppendString(clocks, "LeftMembers"))
	clocks = msgp.AppendNil(msgp.AppendString(number(clocks, "EventLTime", uint64(1)), "Events"))
	clocks = number(clocks, "QueryLTime", uint64(1))
	head := number(number(one(sayLists, 3), "Nodes", m.n), "UserStateLen", len(clocks))
	head = msgp.AppendBool(msgp.AppendString(head, "Join"), false)
	m.lists = bytes.Join([][]byte{head, states, clocks}, nil)
	return m.lists
}

func (m *model) alive(name string) bool {
	var i int
	if _, err := fmt.Sscanf(name, "n%d", &i); err != nil {
		m.t.Errorf("the agent speaks of %q", name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.dead[i]
}

// some returns a peer that lives.
func (m *model) some() *peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		if i := 1 + m.chance.IntN(m.n); !m.dead[i] {
			return m.peers[i]
		}
	}
}

// soon is a while until something happens that does once in mean.
func (m *model) soon(mean time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.chance.ExpFloat64() * float64(mean))
}

// send has some peer send the agent a packet.
func (m *model) send(b []byte) { _, _ = m.some().packets.WriteTo(b, m.target) }

// rumour sends the agent a message's copies. They begin to spread after a while.
func (m *model) rumour(after time.Duration, message []byte) {
	const round, fan = 200 * time.Millisecond, 3
	copies := 4 * int(math.Ceil(math.Log10(float64(m.n+2))))
	m.mu.Lock()
	defer m.mu.Unlock()
	for range copies {
		u := m.chance.Float64()
		heard := max(0, math.Log(float64(m.n)*u/(1-u))/math.Log(1+fan)) // rounds until one of the peers has heard it
		wait := after + time.Duration(float64(round)*(heard+m.chance.Float64()*float64(copies)/fan))
		time.AfterFunc(wait, func() { m.send(message) })
	}
}

// crash kills a peer. Each second another one probes it, on average; a second later that one suspects it; three that do
// are enough for the shortest time.
func (m *model) crash(i int) {
	m.mu.Lock()
	m.dead[i], m.lists = true, nil
	name, incarnation := m.peers[i].name, m.incar[i]
	m.mu.Unlock()
	m.net.Host(place(i)).Kill()
	at := time.Second
	for k := range 3 {
		at += m.soon(time.Second)
		from := m.some().name
		m.rumour(at, suspectOrDead(saySuspect, incarnation, name, from))
		if k == 0 {
			shortest := time.Duration(4 * math.Log10(float64(m.n+1)) * float64(time.Second))
			m.rumour(at+shortest, suspectOrDead(sayDead, incarnation, name, from))
		}
	}
}

// restart brings a peer back, who tells so and joins.
func (m *model) restart(i int) {
	m.mu.Lock()
	delete(m.dead, i)
	m.incar[i]++
	m.lists = nil
	alive := m.state(one(sayAlive, 6), i)
	name, incarnation := m.peers[i].name, m.incar[i]
	m.mu.Unlock()
	p := m.peer(i)
	m.mu.Lock()
	m.peers[i] = p
	m.mu.Unlock()
	m.rumour(0, alive)
	joined := append([]byte{sayUser}, one(serfJoined, 2)...)
	m.rumour(0, text(number(joined, "LTime", uint64(10+incarnation)), "Node", name))
}

// bother probes the agent once a second, as a pool does, and sends it lists as often as each member gets some.
func (m *model) bother(until <-chan struct{}, lists time.Duration) {
	m.work.Go(func() {
		for seq := uint32(0); ; seq++ {
			select {
			case <-until:
				return
			case <-time.After(m.soon(time.Second)):
				m.send(text(number(one(sayPing, 2), "SeqNo", seq), "Node", "n0000"))
			}
		}
	})
	m.work.Go(func() {
		for {
			select {
			case <-until:
				return
			case <-time.After(m.soon(lists)):
			}
			if c, err := m.net.Host(place(m.some().i)).Dial(context.Background(), m.target.String()); err == nil {
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = c.Write(m.list()) // what becomes of it shows at the agent
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}
		}
	})
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// amongModels runs for a while, with a crash every 20 s and a return a minute later, and returns the CPU time.
func amongModels(t *testing.T, n int, real bool, long time.Duration) (used time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{t: t, net: simnet.New(1), n: n, target: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(place(0) + ":8301")),
			chance: rand.New(rand.NewPCG(1, 1)), dead: map[int]bool{}, incar: make([]uint32, n+1), peers: make([]*peer, n+1)}
		m.net.Default(simnet.Link{Delay: 300 * time.Microsecond, Jitter: 700 * time.Microsecond, Loss: 0.01})
		for i := 1; i <= n; i++ {
			m.incar[i], m.peers[i] = 1, m.peer(i)
		}
		m.list()
		before := heap()
		var p *Pool
		var took []time.Duration
		crashed := map[string]time.Time{}
		var mu sync.Mutex // guards took and crashed
		lists := 30 * time.Second
		if real {
			p = inBubble(t, "n0000", m.net.Host(place(0)), func(o *Options) { o.Tags = typical(0) })
			if _, err := p.Join(t.Context(), []string{place(1)}); err != nil {
				t.Fatal(err)
			}
			m.work.Go(func() {
				_ = p.Run(context.Background(), func(e Event) { // it ends with the pool, without an error
					mu.Lock()
					defer mu.Unlock()
					for _, one := range e.Members {
						if at, dead := crashed[one.Name]; e.Kind == Failed && dead {
							took = append(took, time.Since(at))
							delete(crashed, one.Name)
						} else if e.Kind == Failed {
							t.Errorf("%s was taken for failed", one.Name)
						}
					}
				})
			})
			for p.serf.Memberlist().NumMembers() != n+1 {
				time.Sleep(time.Second)
			}
			lists = p.Sync()
			t.Logf("the agent's heap: %.1f MiB", float64(heap()-before)/(1<<20))
		} else {
			m.peers[0] = m.peer(0)
		}
		began, count := cpu(), m.net.Host(place(0)).Counters()
		// rates logs what the agent said and heard since the last call.
		rates := func(when string, long time.Duration) {
			now := m.net.Host(place(0)).Counters()
			each := func(a, b uint64) float64 { return float64(b-a) / long.Seconds() }
			t.Logf("%s, each second: %.2f packets out, %.0f B; %.2f packets in, %.0f B; in streams %.0f B out, %.0f B in; %.2f ms of CPU with the model",
				when, each(count.PacketsOut, now.PacketsOut), each(count.BytesOut, now.BytesOut), each(count.PacketsIn, now.PacketsIn),
				each(count.BytesIn, now.BytesIn), each(count.StreamOut, now.StreamOut), each(count.StreamIn, now.StreamIn),
				(cpu()-began).Seconds()*1000/long.Seconds())
			began, count = cpu(), now
		}
		until := make(chan struct{})
		m.bother(until, lists)
		time.Sleep(time.Minute)
		rates("just joined", time.Minute)
		time.Sleep(settling(n))
		rates("meanwhile", settling(n))
		time.Sleep(5 * time.Minute)
		rates("quiet", 5*time.Minute)
		for k := range int(long / (20 * time.Second)) {
			i := 2 + (k*7)%(n-1)
			mu.Lock()
			crashed[m.peers[i].name] = time.Now()
			mu.Unlock()
			m.crash(i)
			m.work.Go(func() { time.Sleep(time.Minute); m.restart(i) })
			time.Sleep(20 * time.Second)
		}
		used = cpu() - began
		rates("with crashes", long)
		close(until)
		time.Sleep(5 * time.Minute)
		if real {
			mu.Lock()
			if len(crashed) != 0 || p.serf.Memberlist().NumMembers() != n+1 {
				t.Errorf("not seen: %v; the agent knows %d members of %d", crashed, p.serf.Memberlist().NumMembers(), n+1)
			}
			t.Logf("%d crashes seen: %s; thrown away: %v", len(took), quantiles(took), p.Counters())
			mu.Unlock()
			m.mu.Lock()
			t.Logf("the agent suspected peers that live %d times", m.wrong)
			m.mu.Unlock()
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		for i := range n + 1 {
			m.net.Host(place(i)).Kill()
		}
		m.work.Wait()
		time.Sleep(2 * time.Minute)
	})
	return used
}

// TestAmongModels measures what a large pool costs one agent: with the agent, less without it.
func TestAmongModels(t *testing.T) {
	long := time.Duration(*simMinutes) * time.Minute
	with := amongModels(t, *simPeers-1, true, long)
	without := amongModels(t, *simPeers-1, false, long)
	t.Logf("the agent takes %.2f ms of CPU in a second: %v with it, %v without, in %v", (with-without).Seconds()*1000/long.Seconds(), with, without, long)
}

// settling is how long a new member goes on telling others what it has learnt: 16 copies of each state, 8 to a packet, 15
// packets a second.
func settling(n int) time.Duration { return time.Minute + time.Duration(n)*150*time.Millisecond }
