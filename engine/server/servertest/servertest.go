// Package servertest runs features on a real server in memory with an HTTP listener: the harness of the features' own
// tests. Nothing else imports it.
package servertest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/engine/server"
	"rostra/engine/shelf"
	"rostra/kit/httpd"
)

// Agent is a running server of datacenter dc1 on node n1. It ends with its test.
type Agent struct {
	Door *server.Server
	Host *room.Host
	URL  string // of the HTTP listener; "" without one
	HTTP *http.Transport

	t   testing.TB
	web http.Handler
}

// Start runs the rooms, in this order, with the given settings by room name. The features' leader loops run.
func Start(t testing.TB, rooms []room.Room, settings map[string]any) *Agent {
	t.Helper()
	a := Inside(t, rooms, settings)
	listener := httptest.NewServer(a.web)
	a.URL, a.HTTP = listener.URL, &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		a.HTTP.CloseIdleConnections()
		listener.CloseClientConnections()
		listener.Close()
	})
	return a
}

// Inside is Start without a listener: Do calls the handler itself. So it can live in a synctest bubble.
func Inside(t testing.TB, rooms []room.Room, settings map[string]any) *Agent {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	door, err := server.New(server.Options{Datacenter: "dc1", ID: "s1", Rooms: rooms, Log: quiet, Lineage: func() string { return "test" }})
	if err != nil {
		t.Fatal(err)
	}
	node, err := consensus.Open(consensus.Options{ID: "s1", Address: "127.0.0.1:8300", Bootstrap: true, Logger: quiet}, door.Machine())
	if err != nil {
		t.Fatal(err)
	}
	host := &room.Host{Door: door, Cluster: door, Raft: door, Self: room.Identity{Node: "n1", ID: "s1", Datacenter: "dc1"}, Log: quiet,
		Shelf: new(shelf.Shelf)}
	door.Attach(node, host, nil)
	routes, loops := open(t, host, rooms, settings)
	web, err := httpd.New(httpd.Options{}, routes)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- door.Run(ctx, loops) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := node.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &Agent{Door: door, Host: host, t: t, web: web.Handler()}
}

func open(t testing.TB, host *room.Host, rooms []room.Room, settings map[string]any) (routes []httpd.Route, loops []room.Loop) {
	t.Helper()
	for _, r := range rooms {
		part, err := r.Open(host, settings[r.Name])
		if err != nil {
			t.Fatal(err)
		}
		routes, loops = append(routes, part.Routes...), append(loops, part.Loops...)
	}
	return routes, loops
}

// Handler is what Do calls in an agent without a listener, for requests of one's own.
func (a *Agent) Handler() http.Handler { return a.web }

// Do makes a request and returns status, headers and body.
func (a *Agent) Do(method, path, body string) (int, http.Header, string) {
	a.t.Helper()
	return a.Send(method, path, strings.NewReader(body))
}

// Send is Do with a body whose length need not be known.
func (a *Agent) Send(method, path string, body io.Reader) (int, http.Header, string) {
	a.t.Helper()
	r, err := http.NewRequest(method, a.URL+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.URL == "" {
		w := httptest.NewRecorder()
		a.web.ServeHTTP(w, r)
		return w.Code, w.Header(), w.Body.String()
	}
	resp, err := a.HTTP.RoundTrip(r)
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
