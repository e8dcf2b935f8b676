package txn

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/engine/server"
	"rostra/feature/catalog"
	"rostra/feature/kv"
	"rostra/feature/session"
	"rostra/kit/httpd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent is a server in memory with these rooms and an HTTP listener.
type agent struct {
	t    testing.TB
	door *server.Server
	url  string
	http *http.Transport
}

func startAgent(t testing.TB) *agent {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	rooms := []room.Room{catalog.Room, session.Room, kv.Room, Room}
	settings := map[string]any{"txn": &Settings{MaxBody: 5000, MaxValue: 1000}, "kv": &kv.Settings{MaxValue: 1000}, "session": &session.Settings{TTLMin: 10 * time.Second}}
	door, err := server.New(server.Options{Datacenter: "dc1", Rooms: rooms, Log: quiet,
		Lineage: func() string { return "test" }})
	if err != nil {
		t.Fatal(err)
	}
	node, err := consensus.Open(consensus.Options{ID: "s1", Address: "127.0.0.1:8300", Bootstrap: true, Logger: quiet}, door.Machine())
	if err != nil {
		t.Fatal(err)
	}
	door.Attach(node)
	host := &room.Host{Door: door, Self: room.Identity{Node: "n1", Datacenter: "dc1"}, Log: quiet}
	var routes []httpd.Route
	var loops []room.Loop
	for _, r := range rooms {
		part, err := r.Open(host, settings[r.Name])
		if err != nil {
			t.Fatal(err)
		}
		routes, loops = append(routes, part.Routes...), append(loops, part.Loops...)
	}
	web, err := httpd.New(httpd.Options{}, routes)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(web.Handler())
	transport := &http.Transport{DisableCompression: true}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- door.Run(ctx, loops) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
		listener.CloseClientConnections()
		listener.Close()
		if err := node.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &agent{t, door, listener.URL, transport}
}

// do makes a request and returns status, headers and body.
func (a *agent) do(method, path, body string) (int, http.Header, string) {
	a.t.Helper()
	return a.send(method, path, strings.NewReader(body))
}

func (a *agent) send(method, path string, body io.Reader) (int, http.Header, string) {
	a.t.Helper()
	r, err := http.NewRequest(method, a.url+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := a.http.RoundTrip(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}
