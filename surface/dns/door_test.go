package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"go.uber.org/goleak"

	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/engine/shelf"
	"rostra/feature/catalog"
	prepared "rostra/feature/query"
	"rostra/feature/session"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/store"
	"rostra/kit/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeDoor answers Queries from a store, as a server does.
type fakeDoor struct {
	room.Door
	store *store.Store
	far   map[string]*store.Store // other datacenters
	cut   atomic.Bool             // they cannot be reached
	asked atomic.Int64            // how often they were asked
	quiet atomic.Bool             // they do not answer
	lost  atomic.Bool             // no leader; set by lose
	turns atomic.Uint64           // counts calls of lose
	hold  atomic.Bool             // not whole: Watch waits
	open  atomic.Int64            // watches
	age   atomic.Int64            // of the state, a duration
	calls atomic.Int64            // of procedures
	near  room.Sorter             // by distance; nil: there is none
}

// tables are those of the rooms that names are about.
var tables = slices.Concat(catalog.Room.Tables, session.Room.Tables, prepared.Room.Tables)

// Call runs a procedure in this datacenter, or in another.
func (d *fakeDoor) Call(ctx context.Context, p room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	d.calls.Add(1)
	h := &room.Host{Door: d, Self: room.Identity{Node: "srv1", Datacenter: "dc1"}, Log: slog.New(slog.DiscardHandler), Shelf: new(shelf.Shelf)}
	servers := []roster.Server{{Datacenter: "dc1"}}
	for dc := range d.far {
		servers = append(servers, roster.Server{Datacenter: dc})
	}
	h.Roster = roster.Of("dc1", servers...)
	if d.near != nil {
		shelf.Put(h.Shelf, d.near)
	}
	switch there := d.far[o.Datacenter]; {
	case o.Datacenter == "": // what the procedure reads tells whether there is a leader
	case there == nil:
		return nil, room.Meta{}, fault.ErrNoPath
	case d.cut.Load():
		return nil, room.Meta{}, fault.New(fault.Internal, "Remote DC has no server currently reachable")
	default:
		h.Door, h.Self.Datacenter, h.Roster = &fakeDoor{store: there}, o.Datacenter, nil
	}
	result, err := p.Call(ctx, h)
	return result, room.Meta{}, err
}

// Read asks a server of this datacenter, or of another.
func (d *fakeDoor) Read(ctx context.Context, q room.Query, o room.Options) (room.Answer, room.Meta, error) {
	d.asked.Add(1)
	if d.quiet.Load() {
		<-ctx.Done()
		return room.Answer{}, room.Meta{}, ctx.Err()
	}
	there, meta := d.far[o.Datacenter], room.Meta{}
	if o.Datacenter == "" {
		if there = d.store; o.Consistency != httpd.Stale && d.lost.Load() {
			return room.Answer{}, room.Meta{}, fault.ErrNoLeader
		}
		meta.LastContact = time.Duration(d.age.Load())
	}
	switch {
	case there == nil:
		return room.Answer{}, room.Meta{}, fault.ErrNoPath
	case d.cut.Load() && there != d.store:
		return room.Answer{}, room.Meta{}, fault.New(fault.Internal, "Remote DC has no server currently reachable")
	}
	v := there.View()
	defer v.Release()
	return q.Run(v), meta, nil
}

func (d *fakeDoor) Watch(ctx context.Context, q room.Query, _ room.Options) (room.Watch, error) {
	if d.hold.Load() {
		<-ctx.Done()
		return nil, fault.ErrNoLeader
	}
	if d.lost.Load() {
		return nil, fault.ErrNoLeader
	}
	d.open.Add(1)
	return &fakeWatch{door: d, query: q, waiter: d.store.Watch(q.Subjects(), nil)}, nil
}

// Moved is another number after every change of the store, and of lost.
func (d *fakeDoor) Moved() uint64 { return d.store.Moved() + d.turns.Load() }

// lose says whether there is no leader.
func (d *fakeDoor) lose(is bool) {
	d.lost.Store(is)
	d.turns.Add(1)
}

type fakeWatch struct {
	room.Watch
	door    *fakeDoor
	query   room.Query
	waiter  *store.Waiter
	mu      sync.Mutex
	answer  room.Answer
	touches uint64
}

func (w *fakeWatch) Latest() (room.Answer, error) {
	if w.door.lost.Load() {
		return room.Answer{}, fault.ErrNoLeader
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, settled := w.waiter.Touches(); w.answer.Shared == nil || !settled || t != w.touches {
		v := w.door.store.View()
		w.answer, w.touches = w.query.Run(v), t
		v.Release()
		w.answer.Shared = room.NewShared(w.answer.Value)
	}
	return w.answer, nil
}

func (w *fakeWatch) Close() {
	w.waiter.Close()
	w.door.open.Add(-1)
}

// do runs Commands, each in a log entry of its own.
func (d *fakeDoor) do(t testing.TB, commands ...room.Command) {
	t.Helper()
	for _, c := range commands {
		b := d.store.Begin(1)
		err := b.Run(func(tx *store.Tx) error { _, err := c.Run(tx); return err })
		b.Commit()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func settings() *Settings {
	return &Settings{Domain: "consul.", NodeTTL: 3 * time.Second, UDPAnswerLimit: 3, AllowStale: true, NodeMetaTXT: true, RecursorTimeout: 2 * time.Second,
		ServiceTTL: map[string]time.Duration{"*": 5 * time.Second, "web": 10 * time.Second, "db*": 7 * time.Second},
		SOARefresh: 3600, SOARetry: 600, SOAExpire: 86400, SOAMinTTL: 4}
}

// newServer returns a server over a store with the given settings.
func newServer(t testing.TB, s *Settings, commands ...room.Command) (*Server, *fakeDoor) {
	d := &fakeDoor{store: store.New(tables, nil, store.Limits{})}
	d.do(t, commands...)
	return New(d, room.Identity{Node: "srv1", Datacenter: "dc1", Domain: "consul."}, s, slog.New(slog.DiscardHandler)), d
}

// serve opens sockets for the server and returns their address.
func serve(t testing.TB, s *Server, addr string) string {
	t.Helper()
	udp, tcp, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	at := tcp.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, udp, []net.Listener{tcp}) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(2 * time.Second):
			t.Error("Serve does not end")
		}
	})
	return at
}

func node(name, addr string, meta ...string) *catalog.Node {
	n := &catalog.Node{Node: name, Address: addr, Datacenter: "dc1"}
	m := map[string]string{}
	for i := 0; i < len(meta); i += 2 {
		m[meta[i]] = meta[i+1]
	}
	n.Meta = wire.PairsOf(m)
	return n
}

func instance(n *catalog.Node, name, id, addr string, port int, tags ...string) *catalog.Register {
	return &catalog.Register{Row: n, Service: &catalog.Service{Service: name, ID: id, Address: addr, Port: port,
		Tags: tags, Weights: catalog.Weights{Passing: 1, Warning: 1}}}
}

func weighty(n *catalog.Node, name string) *catalog.Register {
	r := instance(n, name, name, "10.4.4.4", 80)
	r.Service.Weights = catalog.Weights{Passing: 9, Warning: 4}
	return r
}

func check(n *catalog.Node, id, service, status string) *catalog.Register {
	return &catalog.Register{Row: n, Checks: []*catalog.Check{{CheckID: id, Name: id, ServiceID: service, Status: status}}}
}

// example is the catalog of the worked examples, and some more.
func example() []room.Command {
	srv1 := node("srv1", "127.0.0.1", "os", "linux")
	web2 := instance(srv1, "web", "web2", "10.1.2.3", 8081, "v2")
	web2.Service.Weights = catalog.Weights{Passing: 5, Warning: 2}
	dual := node("dual", "10.0.0.9")
	dual.TaggedAddresses = wire.PairsOf(map[string]string{"lan_ipv4": "10.0.0.9", "lan_ipv6": "2001:db8::9"})
	list := []room.Command{
		instance(srv1, "consul", "consul", "", 8300),
		instance(srv1, "web", "web1", "", 8080, "v1", "Primary"), web2,
		instance(srv1, "web", "web6", "2001:db8::1", 8082),
		instance(srv1, "db-main", "db", "db.example.com", 5432),
		instance(srv1, "v4only", "v4only", "", 80, "v1.2"),
		instance(dual, "both", "both", "", 80),
		instance(node("my.host", "10.0.0.8", "rfc1035-a", "plain", " k=`", "v`"), "dotted", "dotted", "", 80),
		instance(node("named", "host.example.com"), "onname", "onname", "", 80),
		instance(srv1, "self", "self", "self.service.consul", 80),
		instance(srv1, "sick", "sick", "", 80), check(srv1, "c1", "sick", "critical"),
		instance(srv1, "warm", "warm", "", 80), check(srv1, "c2", "warm", "warning"),
		weighty(srv1, "tepid"), check(srv1, "c3", "tepid", "warning"), weighty(srv1, "strange"), check(srv1, "c4", "strange", "unheard of"),
		instance(srv1, "Mixed", "mixed", "10.9.9.9", 80, "Tag"),
	}
	for i := range 30 {
		list = append(list, instance(srv1, "many", fmt.Sprint("many", i), fmt.Sprintf("10.2.0.%d", i+1), 80))
	}
	return list
}

// asks sends a question and returns the reply.
func asks(t testing.TB, network, addr, name string, kind uint16, size int) *mdns.Msg {
	t.Helper()
	m := new(mdns.Msg)
	m.SetQuestion(name, kind)
	if size > 0 {
		m.SetEdns0(uint16(size), false)
	}
	return sends(t, network, addr, m)
}

func sends(t testing.TB, network, addr string, m *mdns.Msg) *mdns.Msg {
	t.Helper()
	c := &mdns.Client{Net: network, UDPSize: 65535, Timeout: 5 * time.Second}
	r, _, err := c.Exchange(m, addr)
	if err != nil {
		t.Fatalf("%s %v: %v", network, m.Question, err)
	}
	return r
}
