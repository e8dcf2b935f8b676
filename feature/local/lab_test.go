package local

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/engine/server"
	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/disk"
	"rostra/kit/httpd"
	"rostra/kit/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a server in memory, and the agents a test makes for it.
type lab struct {
	t    testing.TB
	door *gate
}

// gate is the server's door, with a doorkeeper who may refuse a Command before it happens, or lie about its outcome.
type gate struct {
	room.Door
	mu     sync.Mutex
	rule   func(c room.Command, o room.Options) (before, after error)
	count  int   // Commands that came
	closed error // what watches end with
}

// shut refuses watches from now on.
func (g *gate) shut(err error) {
	g.mu.Lock()
	g.closed = err
	g.mu.Unlock()
}

func (g *gate) Watch(ctx context.Context, q room.Query, o room.Options) (room.Watch, error) {
	g.mu.Lock()
	err := g.closed
	g.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return g.Door.Watch(ctx, q, o)
}

func (g *gate) Apply(ctx context.Context, c room.Command, o room.Options) (room.Result, room.Meta, error) {
	g.mu.Lock()
	rule := g.rule
	g.count++
	g.mu.Unlock()
	var before, after error
	if rule != nil {
		before, after = rule(c, o)
	}
	if before != nil {
		return nil, room.Meta{}, before
	}
	r, m, err := g.Door.Apply(ctx, c, o)
	if err == nil {
		err = after
	}
	return r, m, err
}

func (g *gate) obey(rule func(c room.Command, o room.Options) (before, after error)) {
	g.mu.Lock()
	g.rule = rule
	g.mu.Unlock()
}

func (g *gate) commands() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

func newLab(t testing.TB) *lab {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	srv, err := server.New(server.Options{Datacenter: "dc1", ID: "s1", Rooms: []room.Room{catalog.Room, health.Room}, Log: quiet,
		Lineage: func() string { return "test" }})
	if err != nil {
		t.Fatal(err)
	}
	node, err := consensus.Open(consensus.Options{ID: "s1", Address: "127.0.0.1:8300", Bootstrap: true, Logger: quiet}, srv.Machine())
	if err != nil {
		t.Fatal(err)
	}
	srv.Attach(node, nil, nil)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- srv.Run(ctx, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := node.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &lab{t, &gate{Door: srv}}
}

// agent is one run of the local feature.
type agent struct {
	t    testing.TB
	k    *keeper
	web  http.Handler
	log  *locked
	stop func()
}

// logged is what the agent has logged so far.
func (a *agent) logged() string {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	return a.log.w.String()
}

var self = room.Identity{Node: "n1", ID: "11111111-2222-3333-4444-555555555555", Datacenter: "dc1", Address: "127.0.0.1",
	Tagged: map[string]string{"lan": "127.0.0.1"}}

func defaults() *Settings { return Room.Settings().(*Settings) }

// open opens an agent whose loops do not run: what is sent to the catalog is what handlers send.
func (l *lab) open(fs disk.FS, dir string, s *Settings) (*agent, error) {
	l.t.Helper()
	log := &locked{w: &bytes.Buffer{}}
	meta := new(live.Value[map[string]string])
	meta.Set(map[string]string{"consul-version": "1.21.4"})
	h := &room.Host{Door: l.door, Self: self, Meta: meta, Log: slog.New(slog.NewTextHandler(log, nil)), Disk: fs, Dir: dir}
	k, err := openKeeper(h, s)
	if err != nil {
		return nil, err
	}
	web, err := httpd.New(httpd.Options{}, k.part().Routes)
	if err != nil {
		l.t.Fatal(err)
	}
	a := &agent{t: l.t, k: k, web: web.Handler(), log: log, stop: sync.OnceFunc(k.close)}
	l.t.Cleanup(func() { a.stop() })
	return a, nil
}

// start opens an agent in memory and runs its loops.
func (l *lab) start(s *Settings) *agent {
	l.t.Helper()
	a := l.must(nil, "", s)
	a.run()
	return a
}

func (l *lab) must(fs disk.FS, dir string, s *Settings) *agent {
	l.t.Helper()
	a, err := l.open(fs, dir, s)
	if err != nil {
		l.t.Fatal(err)
	}
	return a
}

func (a *agent) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- a.k.part().Run(ctx) }()
	a.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			a.t.Error(err)
		}
	})
}

type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// do makes a request and returns status and body.
func (a *agent) do(method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	a.web.ServeHTTP(w, httptest.NewRequest(method, "/v1/agent/"+path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func (a *agent) put(path, body string) {
	a.t.Helper()
	if status, text := a.do("PUT", path, body); status != 200 || text != "" {
		a.t.Fatalf("PUT %s %s: %d %s", path, body, status, text)
	}
}

// checks returns the local checks as "id=status/output", by ID.
func (a *agent) checks() map[string]*catalog.Check {
	a.k.mu.Lock()
	defer a.k.mu.Unlock()
	out := map[string]*catalog.Check{}
	for id, c := range a.k.checks {
		out[id] = c.row
	}
	return out
}

// remote returns what the catalog has of this node.
func (l *lab) remote() (*catalog.NodeServices, map[string]*catalog.Check) {
	l.t.Helper()
	ctx := context.Background()
	s, _, err := l.door.Read(ctx, catalog.NodeQuery{Node: "n1"}, room.Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	c, _, err := l.door.Read(ctx, health.NodeChecksQuery{Node: "n1"}, room.Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	checks := map[string]*catalog.Check{}
	for _, x := range c.Value.(health.CheckList) {
		checks[x.CheckID] = x
	}
	return s.Value.(*catalog.NodeServices), checks
}

func (l *lab) apply(c room.Command) {
	l.t.Helper()
	if _, _, err := l.door.Door.Apply(context.Background(), c, room.Options{}); err != nil {
		l.t.Fatal(err)
	}
}

// agree fails the test unless the catalog says of this node what the agent says, both ways.
func (l *lab) agree(a *agent) {
	l.t.Helper()
	if diff := l.differences(a); diff != "" {
		l.t.Fatalf("the catalog and the agent differ:\n%s", diff)
	}
}

func (l *lab) differences(a *agent) string {
	var b strings.Builder
	services, checks := l.remote()
	theirs := map[string]*catalog.Service{}
	if services != nil {
		for _, s := range services.Services {
			theirs[s.ID] = s
		}
	}
	a.k.mu.Lock()
	defer a.k.mu.Unlock()
	for id, s := range a.k.services {
		if t := theirs[id]; t == nil || !s.row.Same(t) {
			b.WriteString("service " + id + ": here " + show(s.row) + " there " + show(t) + "\n")
		}
		delete(theirs, id)
	}
	for id := range theirs {
		if id != consulService {
			b.WriteString("service " + id + ": only there\n")
		}
	}
	for id, c := range a.k.checks {
		if t := checks[id]; t == nil || !c.row.Same(t) {
			b.WriteString("check " + id + ": here " + show(c.row) + " there " + show(t) + "\n")
		}
		delete(checks, id)
	}
	for id := range checks {
		if id != catalog.SerfHealth {
			b.WriteString("check " + id + ": only there\n")
		}
	}
	return b.String()
}

func show(v any) string {
	if a, ok := v.(httpd.Appender); ok && v != (*catalog.Service)(nil) && v != (*catalog.Check)(nil) {
		return string(a.AppendJSON(nil))
	}
	b, _ := json.Marshal(v)
	return string(b)
}
