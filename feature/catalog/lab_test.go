package catalog

import (
	"bytes"
	"context"
	"fmt"
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
	"rostra/kit/httpd"
	"rostra/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab runs Commands straight on a store.
type lab struct {
	t     testing.TB
	store *store.Store
}

func newLab(t testing.TB) *lab {
	return &lab{t, store.New(Room.Tables, nil, store.Limits{})}
}

// run runs a Command as the log would: from its bytes. It must leave the Command as it was.
func (l *lab) run(c room.Command) error {
	l.t.Helper()
	raw, err := c.MarshalMsg(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	var fresh room.Command = new(Register)
	if c.Name() == new(Deregister).Name() {
		fresh = new(Deregister)
	}
	if rest, err := store.DecodeStrict(bytes.Clone(raw), fresh); err != nil || len(rest) > 0 {
		l.t.Fatalf("decoding %s: %d bytes left, %v", c.Name(), len(rest), err)
	}
	b := l.store.Begin(0)
	defer b.Commit()
	err = b.Run(func(tx *store.Tx) error {
		_, err := fresh.Run(tx)
		return err
	})
	if again, _ := fresh.MarshalMsg(nil); !bytes.Equal(again, raw) {
		l.t.Errorf("%s changed itself", c.Name())
	}
	return err
}

func (l *lab) must(c room.Command) *lab {
	l.t.Helper()
	if err := l.run(c); err != nil {
		l.t.Fatal(err)
	}
	return l
}

// still runs a Command that must move nothing.
func (l *lab) still(c room.Command) {
	l.t.Helper()
	before := l.store.Index()
	l.must(c)
	if now := l.store.Index(); now != before {
		l.t.Errorf("the index moved from %d to %d", before, now)
	}
}

func (l *lab) ask(q room.Query) room.Answer {
	v := l.store.View()
	defer v.Release()
	return q.Run(v)
}

func (l *lab) json(q room.Query) string {
	return string(l.ask(q).Value.(httpd.Appender).AppendJSON(nil))
}

func (l *lab) snapshot() []byte {
	l.t.Helper()
	v := l.store.View()
	defer v.Release()
	var b bytes.Buffer
	if _, err := v.WriteTo(&b); err != nil {
		l.t.Fatal(err)
	}
	return b.Bytes()
}

// reg makes a Register of a node, its service "id/name[/tag…]" (or "") and checks "id:status[:service id]".
func reg(node, service string, checks ...string) *Register {
	c := &Register{Row: &Node{Node: node, Address: "127.0.0.1", Datacenter: "dc"}}
	if service != "" {
		f := strings.Split(service, "/")
		c.Service = &Service{ID: f[0], Service: f[1], Tags: f[2:], Port: 80, Weights: Weights{1, 1}}
	}
	for _, text := range checks {
		f := append(strings.Split(text, ":"), "")
		c.Checks = append(c.Checks, &Check{CheckID: f[0], Name: f[0], Status: f[1], ServiceID: f[2]})
	}
	return c
}

// withID makes reg of a node with an ID and, unless it is "", a serfHealth check.
func withID(node, id, serf string) *Register {
	c := reg(node, "")
	c.Row.ID = id
	if serf != "" {
		c.Checks = []*Check{{CheckID: SerfHealth, Name: SerfHealth, Status: serf}}
	}
	return c
}

// agent is a server with a log in memory behind the HTTP kit.
type agent struct {
	t    testing.TB
	door *server.Server
	url  string
	api  *api.Client
}

func newAgent(t testing.TB, rooms ...room.Room) *agent {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	srv, err := server.New(server.Options{Datacenter: "dc", ID: "s1", Rooms: rooms, Log: quiet, Lineage: func() string { return "test" }, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	node, err := consensus.Open(consensus.Options{ID: "s1", Address: "127.0.0.1:1", Bootstrap: true, Logger: quiet}, srv.Machine())
	if err != nil {
		t.Fatal(err)
	}
	host := &room.Host{Door: srv, Self: room.Identity{Datacenter: "dc", Node: "s1"}, Log: quiet}
	srv.Attach(node, host, nil)
	var routes []httpd.Route
	for _, r := range rooms {
		part, err := r.Open(host, nil)
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

// call sends a request and returns the status, the body and the headers.
func (a *agent) call(method, path, body string) (int, string, http.Header) {
	a.t.Helper()
	r, err := http.NewRequest(method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer.StatusCode, string(text), answer.Header
}

func (a *agent) put(path, body string) {
	a.t.Helper()
	if status, text, _ := a.call("PUT", path, body); status != 200 || text != "true" {
		a.t.Fatalf("PUT %s %s: %d %s", path, body, status, text)
	}
}

// want checks a GET's body.
func (a *agent) want(path, body string) {
	a.t.Helper()
	if status, text, _ := a.call("GET", path, ""); status != 200 || text != body {
		a.t.Errorf("GET %s: %d\n got %s\nwant %s", path, status, text, body)
	}
}

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}
