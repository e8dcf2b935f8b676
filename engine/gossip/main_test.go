package gossip

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick is as fast as a busy test machine bears.
var quick = Timing{
	GossipInterval: 10 * time.Millisecond, ProbeInterval: 50 * time.Millisecond, ProbeTimeout: 25 * time.Millisecond,
	SuspicionMult: 1, LeaveDelay: 50 * time.Millisecond, BroadcastTimeout: time.Second,
}

// lines collects what a pool logs.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: levelTrace}))
}

func at(name string, change func(*Options)) Options {
	o := Options{Name: name, BindAddr: "127.0.0.1", Timing: quick, Tags: map[string]string{"role": "consul", "of": name}}
	if change != nil {
		change(&o)
	}
	return o
}

// open opens a pool on a real socket and closes it with the test.
func open(t *testing.T, name string, change func(*Options)) *Pool {
	t.Helper()
	p, err := Open(at(name, change))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func addr(p *Pool) string { return hostPort(p.Local().Addr, int(p.Local().Port)) }

// pair opens two pools that know each other.
func pair(t *testing.T) (a, b *Pool) {
	t.Helper()
	a, b = open(t, "a", nil), open(t, "b", nil)
	if n, err := b.Join(context.Background(), []string{addr(a)}); n != 1 || err != nil {
		t.Fatalf("Join = %d, %v", n, err)
	}
	eventually(t, "both alive", func() bool {
		// The join itself is told by gossip, after the lists: it moves the clock.
		return show(a) == "a=alive b=alive" && show(b) == "a=alive b=alive" && a.Stats()["member_time"] == "2"
	})
	return a, b
}

func show(p *Pool) string {
	var s []string
	for _, m := range p.Members() {
		s = append(s, m.Name+"="+m.Status.String())
	}
	return strings.Join(s, " ")
}

// eventually waits for a condition that other goroutines and the kernel bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
			runtime.Gosched()
		case <-limit:
			t.Fatalf("waited too long for: %s", what)
		}
	}
}

// follow runs a receiver of events until the test ends.
func follow(t *testing.T, p *Pool) <-chan Event {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	got, ended := make(chan Event, 100), make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.Run(ctx, func(e Event) { got <- e }); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { stop(); <-ended })
	return got
}

// want reads events until one is of the kind and about the name.
func want(t *testing.T, events <-chan Event, kind Kind, name string) Event {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case e := <-events:
			if e.Kind == kind && (e.Name == name || len(e.Members) > 0 && e.Members[0].Name == name) {
				return e
			}
		case <-limit:
			t.Fatalf("no event of kind %d about %q", kind, name)
		}
	}
}
