package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rostra/kit/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler answers as its functions do; nil ones echo.
type handler struct {
	call   func(ctx context.Context, from Peer, method string, body []byte) ([]byte, error)
	stream func(ctx context.Context, from Peer, method string, s Stream) error
}

func (h handler) Call(ctx context.Context, from Peer, method string, body []byte) ([]byte, error) {
	if h.call == nil {
		return body, nil
	}
	return h.call(ctx, from, method, body)
}

func (h handler) Stream(ctx context.Context, from Peer, method string, s Stream) error {
	if h.stream == nil {
		return echo(s)
	}
	return h.stream(ctx, from, method, s)
}

func echo(s Stream) error {
	for {
		b, err := s.Recv()
		if err != nil {
			return err
		}
		if err := s.Send(b); err != nil {
			return err
		}
	}
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// begin runs a Port until stop is called or the test ends.
func begin(t testing.TB, o Options) (p *Port, stop func()) {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return p, stop
}

// pair is a server on a real socket and a client of it.
func pair(t testing.TB, h Handler) (server, client *Port, to Target) {
	t.Helper()
	l := listen(t)
	server, _ = begin(t, Options{Listener: l, Handler: h})
	client, _ = begin(t, Options{})
	return server, client, Target{Address: l.Addr().String()}
}

func within5(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !true(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// wantFault fails the test unless err has the kind and its text holds text.
func wantFault(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("error %q of kind %d, want kind %d and %q", err, fault.KindOf(err), kind, text)
	}
}

var errPlain = errors.New("a plain error")

// faulty fails as the body tells it.
var faulty = handler{
	call: func(_ context.Context, _ Peer, method string, body []byte) ([]byte, error) { return nil, failure(body) },
	stream: func(_ context.Context, _ Peer, _ string, s Stream) error {
		b, err := s.Recv()
		if err != nil {
			return err
		}
		return failure(b)
	},
}

func failure(body []byte) error {
	switch string(body) {
	case "plain":
		return errPlain
	case "wrapped":
		return fmt.Errorf("cannot do it: %w", fault.New(fault.Denied, "Permission denied"))
	case "leader":
		return fmt.Errorf("%w", fault.ErrNoLeader)
	case "path":
		return fault.ErrNoPath
	case "bytes":
		return fault.New(fault.Refused, "%s", "key \"\xff\x00ü\n\" 100%")
	case "empty":
		return fault.New(fault.Conflict, "")
	case "eof":
		return io.EOF
	case "panic":
		panic("at the disco")
	}
	return nil
}
