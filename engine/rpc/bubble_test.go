package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rostra/kit/fault"
)

// memory is a network of one listener: pipes within the process. Once silent, what is written to its connections is lost.
type memory struct {
	*queue
	mu     sync.Mutex
	silent bool
}

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "memory" }

func newMemory() *memory { return &memory{queue: newQueue(memoryAddr{})} }

func (m *memory) dial(ctx context.Context, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	if !m.put(ctx, &memoryConn{far, m}) {
		return nil, errors.New("nobody listens")
	}
	return &memoryConn{near, m}, nil
}

func (m *memory) silence() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silent = true
}

type memoryConn struct {
	net.Conn
	net *memory
}

func (c *memoryConn) Write(b []byte) (int, error) {
	c.net.mu.Lock()
	silent := c.net.silent
	c.net.mu.Unlock()
	if silent {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// bubble runs a server and a client over memory in virtual time.
func bubble(t *testing.T, h Handler, body func(t *testing.T, m *memory, server, client *Port, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		server, stop := begin(t, Options{Listener: m, Handler: h})
		client, stopClient := begin(t, Options{Dial: m.dial})
		body(t, m, server, client, stop)
		stopClient()
		stop()
	})
}

// TestBubbleQuiet: a stream lives through an hour of quiet, pings and all; an unused connection is closed.
func TestBubbleQuiet(t *testing.T) {
	bubble(t, handler{}, func(t *testing.T, _ *memory, server, client *Port, _ func()) {
		ctx, cancel := context.WithCancel(context.Background())
		s, err := client.Stream(ctx, Target{Address: "s"}, "echo")
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		if err := s.Send([]byte("still here")); err != nil {
			t.Fatal(err)
		}
		if b, err := s.Recv(); err != nil || string(b) != "still here" {
			t.Fatalf("%q, %v", b, err)
		}
		if n := server.Counters(); n["rpc.accepted"] != 1 || n["rpc.open"] != 1 {
			t.Errorf("it took %d connections, %d are open", n["rpc.accepted"], n["rpc.open"])
		}
		cancel()
		pass(2 * idleTimeout)
		if n := server.Counters()["rpc.open"]; n != 0 {
			t.Errorf("%d unused connections are open", n)
		}
		if b, err := client.Call(context.Background(), Target{Address: "s"}, "m", []byte("x")); err != nil || string(b) != "x" {
			t.Errorf("a call after that: %q, %v", b, err)
		}
	})
}

// TestBubbleSilence: a server that falls silent is noticed within 15 s on a stream; a call obeys its own deadline.
func TestBubbleSilence(t *testing.T) {
	bubble(t, handler{}, func(t *testing.T, m *memory, _, client *Port, _ func()) {
		to := Target{Address: "s"}
		s, err := client.Stream(context.Background(), to, "echo")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		m.silence()
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = client.Call(ctx, to, "m", nil)
		wantFault(t, err, fault.Unknown, "deadline exceeded")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		_, err = s.Recv()
		wantFault(t, err, fault.Unknown, "cannot call echo at s")
		if took := time.Since(began); took > pingEvery+pingTimeout+time.Second {
			t.Errorf("noticed after %s", took)
		}
		ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began = time.Now()
		_, err = client.Call(ctx, to, "m", nil)
		wantFault(t, err, fault.NotApplied, "cannot call m at s")
		if took := time.Since(began); took > dialTimeout+time.Second {
			t.Errorf("a new connection to it was given up after %s", took)
		}
	})
}

// TestBubbleStop: a stop lets calls end, ends streams, and takes no longer than it says, whatever handlers do.
func TestBubbleStop(t *testing.T) {
	for _, c := range []struct {
		name   string
		call   func(ctx context.Context) // what the handler does
		least  time.Duration
		most   time.Duration
		answer bool // the call is answered
	}{
		{"idle", nil, 0, 200 * time.Millisecond, false},
		{"call ends", func(context.Context) { pass(500 * time.Millisecond) }, 500 * time.Millisecond, 700 * time.Millisecond, true},
		{"call goes on", func(ctx context.Context) { <-ctx.Done() }, time.Second, 1200 * time.Millisecond, false},
		{"call obeys nothing", func(context.Context) { pass(time.Hour) }, time.Second, 2 * time.Second, false},
	} {
		h := handler{call: func(ctx context.Context, _ Peer, method string, _ []byte) ([]byte, error) {
			c.call(ctx)
			return nil, nil
		}}
		t.Run(c.name, func(t *testing.T) {
			bubble(t, h, func(t *testing.T, _ *memory, server, client *Port, stop func()) {
				to := Target{Address: "s"}
				s, err := client.Stream(context.Background(), to, "echo")
				if err != nil {
					t.Fatal(err)
				}
				called := make(chan error, 1)
				if c.call != nil {
					go func() {
						_, err := client.Call(context.Background(), to, "m", nil)
						called <- err
					}()
				}
				synctest.Wait()
				began := time.Now()
				stop()
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("the stop took %s", took)
				}
				if _, err := s.Recv(); err == nil || err == io.EOF {
					t.Errorf("the stream ended with %v", err)
				}
				if c.call != nil {
					if err := <-called; (err == nil) != c.answer {
						t.Errorf("the call ended with %v", err)
					}
				}
				_, err = client.Call(context.Background(), to, "m", nil)
				wantFault(t, err, fault.NotApplied, "nobody listens")
				pass(2 * time.Hour) // a bubble waits for no handler
			})
		})
	}
}

// TestBubbleStopping: while the last calls end, new ones and new streams are refused as not applied.
func TestBubbleStopping(t *testing.T) {
	h := handler{call: func(ctx context.Context, _ Peer, method string, body []byte) ([]byte, error) {
		pass(500 * time.Millisecond)
		return body, nil
	}}
	bubble(t, h, func(t *testing.T, _ *memory, server, client *Port, stop func()) {
		to := Target{Address: "s"}
		first := make(chan error, 1)
		go func() {
			_, err := client.Call(context.Background(), to, "m", nil)
			first <- err
		}()
		synctest.Wait()
		server.work.stop()
		server.end()
		_, err := client.Call(context.Background(), to, "m", nil)
		wantFault(t, err, fault.NotApplied, "the server is stopping")
		s, err := client.Stream(context.Background(), to, "echo")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Recv()
		wantFault(t, err, fault.NotApplied, "the server is stopping")
		if err := <-first; err != nil {
			t.Errorf("the call before: %v", err)
		}
	})
}

// pass lets virtual time go by: everything that calls it runs in a bubble.
func pass(d time.Duration) { <-time.After(d) }
