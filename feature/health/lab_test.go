package health

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/engine/server"
	"rostra/feature/catalog"
	"rostra/kit/httpd"
	"rostra/kit/store"
	"rostra/kit/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reg makes a Register of a node, its service "id/name[/tag…]" (or "") and checks "id:status[:service id]".
func reg(node, service string, checks ...string) *catalog.Register {
	c := &catalog.Register{Row: &catalog.Node{Node: node, Address: "127.0.0.1", Datacenter: "dc"}}
	if service != "" {
		f := strings.Split(service, "/")
		c.Service = &catalog.Service{ID: f[0], Service: f[1], Tags: f[2:], Port: 80, Weights: catalog.Weights{Passing: 1, Warning: 1}}
	}
	for _, text := range checks {
		f := append(strings.Split(text, ":"), "")
		c.Checks = append(c.Checks, &catalog.Check{CheckID: f[0], Name: f[0], Status: f[1], ServiceID: f[2]})
	}
	return c
}

// moved gives the node another address.
func moved(c *catalog.Register, address string) *catalog.Register {
	c.Row.Address = address
	return c
}

// racked gives the node the meta rack.
func racked(c *catalog.Register, rack string) *catalog.Register {
	c.Row.Meta = wire.Pairs{{Key: "rack", Value: rack}}
	return c
}

func rack(name string) catalog.Words { return catalog.WordsOf(map[string]string{"rack": name}) }

// lab runs Commands straight on a store.
type lab struct {
	t     testing.TB
	store *store.Store
}

func newLab(t testing.TB, commands ...room.Command) *lab {
	l := &lab{t, store.New(catalog.Room.Tables, nil, store.Limits{})}
	for _, c := range commands {
		l.must(c)
	}
	return l
}

func (l *lab) must(c room.Command) {
	l.t.Helper()
	b := l.store.Begin(0)
	defer b.Commit()
	if err := b.Run(func(tx *store.Tx) error { _, err := c.Run(tx); return err }); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) ask(q room.Query) room.Answer {
	v := l.store.View()
	defer v.Release()
	return q.Run(v)
}

// again returns a lab whose state went through a snapshot.
func (l *lab) again() *lab {
	l.t.Helper()
	v := l.store.View()
	defer v.Release()
	var b bytes.Buffer
	if _, err := v.WriteTo(&b); err != nil {
		l.t.Fatal(err)
	}
	fresh := newLab(l.t)
	if err := fresh.store.Restore(&b); err != nil {
		l.t.Fatal(err)
	}
	return fresh
}

// agent is a server with a log in memory behind the HTTP kit.
type agent struct {
	t    testing.TB
	door *server.Server
	url  string
	api  *api.Client
}

func newAgent(t testing.TB) *agent {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	rooms := []room.Room{catalog.Room, Room}
	srv, err := server.New(server.Options{Datacenter: "dc", ID: "s1", Rooms: rooms, Log: quiet, Lineage: func() string { return "test" }, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	node, err := consensus.Open(consensus.Options{ID: "s1", Address: "127.0.0.1:1", Bootstrap: true, Logger: quiet}, srv.Machine())
	if err != nil {
		t.Fatal(err)
	}
	srv.Attach(node, nil, nil)
	var routes []httpd.Route
	for _, r := range rooms {
		part, err := r.Open(&room.Host{Door: srv, Self: room.Identity{Datacenter: "dc", Node: "s1"}, Log: quiet}, nil)
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, part.Routes...)
	}
	web, err := httpd.New(httpd.Options{Logger: quiet}, routes)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(web.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Run(ctx, nil) })
	for end := time.After(10 * time.Second); srv.Counters()["index"] < 2; { // its beginning, and the level of the rules
		select {
		case <-end:
			t.Fatal("the server never used the rules of its level")
		case <-time.After(time.Millisecond):
		}
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		transport.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		listener.Close()
		end, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		if err := node.Close(end); err != nil {
			t.Error(err)
		}
	})
	client, err := api.NewClient(&api.Config{Address: listener.URL, HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return &agent{t, srv, listener.URL, client}
}

func (a *agent) apply(c room.Command) {
	a.t.Helper()
	if _, _, err := a.door.Apply(context.Background(), c, room.Options{}); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) get(path string) (int, string) {
	a.t.Helper()
	answer, err := http.Get(a.url + path)
	if err != nil {
		a.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}
