package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
	"go.uber.org/goleak"

	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/engine/rpc"
	"rostra/engine/server"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// note is the row, the answer and, as put, the Command of the small feature that these tests run.
type note struct{ Name, Text string }

func (n *note) MarshalMsg(b []byte) ([]byte, error) {
	return msgp.AppendString(msgp.AppendString(msgp.AppendArrayHeader(b, 2), n.Name), n.Text), nil
}

func (n *note) UnmarshalMsg(b []byte) (rest []byte, err error) {
	size, b, err := msgp.ReadArrayHeaderBytes(b)
	if err == nil && size != 2 {
		err = errors.New("no note")
	}
	for _, field := range []*string{&n.Name, &n.Text} {
		if err == nil {
			*field, b, err = msgp.ReadStringBytes(b)
		}
	}
	return b, err
}

func (n *note) Msgsize() int { return 32 + len(n.Name) + len(n.Text) }

var notes = store.NewTable[note]("notes", store.Schema[note]{Key: func(n *note) string { return n.Name }})

func subject(name string) store.Subject { return store.Subject{Kind: "note", Name: name} }

type put struct{ note }

func (p *put) Name() string                              { return "note.put" }
func (p *put) Allowed(store.Reader, authz.Decider) error { return nil }
func (p *put) Run(tx *store.Tx) (room.Result, error) {
	if p.Text == "refuse" {
		return nil, fault.New(fault.Refused, "refused by rule")
	}
	notes.Put(tx, &note{p.note.Name, p.Text})
	tx.Touch(subject(p.note.Name))
	return "put " + p.Text, nil
}

// get asks for the text of a note; its Value is a text.
type get struct{ Name string }

type text struct{ Text string }

func (t *text) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendString(b, t.Text), nil }
func (t *text) UnmarshalMsg(b []byte) (rest []byte, err error) {
	t.Text, rest, err = msgp.ReadStringBytes(b)
	return rest, err
}

func (g *get) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendString(b, g.Name), nil }
func (g *get) UnmarshalMsg(b []byte) (rest []byte, err error) {
	g.Name, rest, err = msgp.ReadStringBytes(b)
	return rest, err
}

func (g get) Allowed(authz.Decider) error { return nil }
func (g get) Subjects() []store.Subject   { return []store.Subject{subject(g.Name)} }
func (g get) Run(r store.Reader) room.Answer {
	n := notes.Get(r, g.Name)
	if n == nil {
		return room.Answer{Value: text{}, Index: 1, Missing: true}
	}
	return room.Answer{Value: text{n.Text}, Index: r.Touched(subject(g.Name))}
}

var noteRoom = room.Room{Name: "note", Tables: []store.AnyTable{notes},
	Commands: []room.CommandType{{New: func() room.Command { return new(put) }, Rules: 1, Result: room.String}},
	Queries:  []room.QueryType{room.QueryOf[get]("note.get", room.Packed[text]())},
	Calls:    []room.ProcedureType{{New: func() room.Procedure { return new(whoami) }, Result: room.String}}}

// whoami is a procedure that returns the ID of the server it runs on.
type whoami struct{}

func (*whoami) Name() string                                              { return "note.whoami" }
func (*whoami) Allowed(authz.Decider) error                               { return nil }
func (*whoami) MarshalMsg(b []byte) ([]byte, error)                       { return msgp.AppendNil(b), nil }
func (*whoami) UnmarshalMsg(b []byte) ([]byte, error)                     { return msgp.ReadNilBytes(b) }
func (*whoami) Call(_ context.Context, h *room.Host) (room.Result, error) { return h.Self.ID, nil }

// lab is a cluster of servers on real sockets, without gossip: everybody knows everybody.
type lab struct {
	t       testing.TB
	servers []*labServer
	valves  []*valve // of the servers
	roster  *roster.Roster
}

type labServer struct {
	*server.Server
	id   string
	port *rpc.Port
	node *consensus.Node
	stop func()
}

func newLab(t testing.TB, n int) *lab {
	t.Helper()
	l := &lab{t: t, roster: roster.Of("dc1")}
	var known []roster.Server
	var listeners []net.Listener
	for i := range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, listener)
		known = append(known, roster.Server{ID: fmt.Sprint("s", i+1), Node: fmt.Sprint("s", i+1), Datacenter: "dc1",
			Address: listener.Addr().String(), Level: 1, Voter: true, Expect: n, Status: gossip.StatusAlive})
	}
	l.roster.Set(known...)
	for i := range n {
		l.valves = append(l.valves, &valve{Listener: listeners[i]})
		l.servers = append(l.servers, l.start(known[i], l.valves[i], n))
	}
	return l
}

func (l *lab) start(self roster.Server, listener net.Listener, n int) *labServer {
	l.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	must := func(err error) {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
	}
	port, err := rpc.New(rpc.Options{Listener: listener})
	must(err)
	s, err := server.New(server.Options{Datacenter: "dc1", ID: self.ID, Domain: "consul.", Expect: n, Hold: 3 * time.Second,
		Rooms: []room.Room{noteRoom}, Log: quiet, Lineage: func() string { return "lab" }, Dir: l.t.TempDir()})
	must(err)
	node, err := consensus.Open(consensus.Options{ID: self.ID, Address: self.Address, Logger: quiet, Streams: port.Streams(),
		Resolve: func(id string) (string, bool) { one, is := l.roster.Find(id); return one.Address, is }}, s.Machine())
	must(err)
	s.Attach(node, &room.Host{Door: s, Roster: l.roster, Self: room.Identity{ID: self.ID}}, port)
	port.Serve(relay.NewHost(s.Types(), s, quiet))
	portCtx, portStop := context.WithCancel(context.Background())
	ctx, stop := context.WithCancel(context.Background())
	var porting, running sync.WaitGroup
	porting.Go(func() { _ = port.Run(portCtx) })
	running.Go(func() { _ = s.Run(ctx, nil) })
	one := &labServer{Server: s, id: self.ID, port: port, node: node}
	one.stop = sync.OnceFunc(func() {
		stop()
		running.Wait()
		end, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		_ = node.Close(end)
		portStop()
		porting.Wait()
	})
	l.t.Cleanup(one.stop)
	return one
}

// agent starts a client agent; change is called before it runs.
func (l *lab) agent(change ...func(*Remote)) *Remote {
	l.t.Helper()
	port, err := rpc.New(rpc.Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	types, err := server.NewTypes([]room.Room{noteRoom})
	if err != nil {
		l.t.Fatal(err)
	}
	r := New(Options{Datacenter: "dc1", Domain: "consul.", Hold: 3 * time.Second}, types, port, l.roster)
	for _, f := range change {
		f(r)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	running.Go(func() { _ = port.Run(ctx) })
	l.t.Cleanup(func() { stop(); running.Wait() })
	return r
}

// leader waits for a server that leads.
func (l *lab) leader() *labServer {
	l.t.Helper()
	var found *labServer
	l.until("a leader", func() bool {
		for _, s := range l.servers {
			if _, ready := s.node.Leading(); ready {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

func (l *lab) until(what string, is func() bool) {
	l.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); !is(); {
		select {
		case <-tick.C:
		case <-end:
			l.t.Fatalf("there never was %s", what)
		}
	}
}

func (l *lab) put(d room.Door, name, what string) {
	l.t.Helper()
	got, _, err := d.Apply(context.Background(), &put{note{name, what}}, room.Options{})
	if err != nil || got != "put "+what {
		l.t.Fatalf("putting %s: %v, %v", name, got, err)
	}
}

// valve is a listener that can be shut: then its connections stay open, and nothing that is sent on them arrives, as with a server
// that is cut off or frozen.
type valve struct {
	net.Listener
	shut atomic.Bool
}

func (v *valve) Accept() (net.Conn, error) {
	c, err := v.Listener.Accept()
	return &valved{c, v}, err
}

type valved struct {
	net.Conn
	valve *valve
}

func (c *valved) Read(p []byte) (int, error) {
	for {
		if n, err := c.Conn.Read(p); err != nil || !c.valve.shut.Load() {
			return n, err
		}
	}
}

func (c *valved) Write(p []byte) (int, error) {
	if c.valve.shut.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}
