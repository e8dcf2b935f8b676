package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"rostra/kit/fault"
)

func TestCall(t *testing.T) {
	type seen struct {
		from    Peer
		method  string
		hasTime bool
	}
	got := make(chan seen, 1)
	_, client, to := pair(t, handler{call: func(ctx context.Context, from Peer, method string, body []byte) ([]byte, error) {
		_, has := ctx.Deadline()
		got <- seen{from, method, has}
		return append([]byte("re: "), body...), nil
	}})
	for _, body := range []string{"", "hello", strings.Repeat("long ", 1<<20)} {
		reply, err := client.Call(within5(t), to, "kv.put", []byte(body))
		if err != nil || string(reply) != "re: "+body {
			t.Fatalf("%d bytes of a reply, %v", len(reply), err)
		}
		s := <-got
		if s.method != "kv.put" || !s.hasTime || s.from.Certificates != nil || !strings.HasPrefix(s.from.Address, "127.0.0.1:") {
			t.Errorf("the handler saw %+v", s)
		}
	}
	if _, err := client.Call(context.Background(), to, "m", nil); err != nil || (<-got).hasTime {
		t.Errorf("a call without a deadline: %v", err)
	}
}

func TestErrorsTravel(t *testing.T) {
	log := &lines{}
	l := listen(t)
	server, _ := begin(t, Options{Listener: l, Handler: faulty, Log: log.logger()})
	client, _ := begin(t, Options{})
	to := Target{Address: l.Addr().String()}
	for _, c := range []struct {
		body string
		kind fault.Kind
		text string
		is   error
	}{
		{"plain", fault.Internal, "a plain error", nil},
		{"wrapped", fault.Denied, "cannot do it: Permission denied", nil},
		{"leader", fault.NoLeader, "No cluster leader", fault.ErrNoLeader},
		{"path", fault.Internal, "No path to datacenter", fault.ErrNoPath},
		{"bytes", fault.Refused, "key \"\xff\x00ü\n\" 100%", nil},
		{"empty", fault.Conflict, "", nil},
		{"panic", fault.Internal, "cannot serve m: it panicked; the server's log says where", nil},
	} {
		_, err := client.Call(within5(t), to, "m", []byte(c.body))
		s, open := client.Stream(within5(t), to, "m")
		if open != nil {
			t.Fatal(open)
		}
		if err := s.Send([]byte(c.body)); err != nil {
			t.Fatal(err)
		}
		_, streamed := s.Recv()
		for _, err := range []error{err, streamed} {
			if err == nil || fault.KindOf(err) != c.kind || err.Error() != c.text || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s: %q of kind %d", c.body, err, fault.KindOf(err))
			}
		}
	}
	if n := server.Counters()["rpc.panics"]; n != 2 || log.count("at the disco") != 2 || log.count("main_test.go") == 0 {
		t.Errorf("%d panics counted, %d logged, stack %d", n, log.count("at the disco"), log.count("main_test.go"))
	}
}

func TestStream(t *testing.T) {
	_, client, to := pair(t, handler{})
	s, err := client.Stream(within5(t), to, "echo")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"a", "", strings.Repeat("b", 3<<20)} {
		if err := s.Send([]byte(m)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Recv(); err != nil || string(got) != m {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if err := s.(interface{ CloseSend() error }).CloseSend(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Recv(); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
	}
	if err := s.Send([]byte("late")); err != io.EOF {
		t.Errorf("Send after the end: %v", err)
	}
}

// TestStreamCancelled: who cancels frees the handler, and hears of it as an end of unknown outcome.
func TestStreamCancelled(t *testing.T) {
	entered, ended := make(chan bool, 1), make(chan error, 1)
	_, client, to := pair(t, handler{stream: func(ctx context.Context, _ Peer, _ string, s Stream) error {
		entered <- true
		_, err := s.Recv()
		ended <- err
		<-ctx.Done()
		return err
	}})
	ctx, cancel := context.WithCancel(within5(t))
	s, err := client.Stream(ctx, to, "m")
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	cancel()
	_, err = s.Recv()
	wantFault(t, err, fault.Unknown, "context canceled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the cause is lost: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler got %v", err)
	}
}

// TestFate: what certainly did not reach a handler, and what may have.
func TestFate(t *testing.T) {
	entered := make(chan bool, 1)
	server, client, to := pair(t, handler{call: func(ctx context.Context, _ Peer, _ string, _ []byte) ([]byte, error) {
		entered <- true
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	_ = server
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := client.Call(gone, to, "m", nil)
	wantFault(t, err, fault.NotApplied, "context canceled")

	nobody := listen(t)
	_ = nobody.Close()
	_, err = client.Call(within5(t), Target{Address: nobody.Addr().String()}, "m", nil)
	wantFault(t, err, fault.NotApplied, "connection refused")
	_, err = client.Stream(within5(t), Target{Address: nobody.Addr().String()}, "m")
	wantFault(t, err, fault.NotApplied, "connection refused")

	ctx, cancel := context.WithCancel(within5(t))
	go func() { <-entered; cancel() }()
	_, err = client.Call(ctx, to, "m", nil)
	wantFault(t, err, fault.Unknown, "context canceled")

	go func() { <-entered; client.Forget(to.Address) }()
	_, err = client.Call(within5(t), to, "m", nil)
	wantFault(t, err, fault.Unknown, "cannot call m at "+to.Address)

	_, err = client.Call(within5(t), to, strings.Repeat("m", 256), nil)
	wantFault(t, err, fault.NotApplied, "name has 1 to 255 bytes")
	_, err = client.Call(within5(t), to, "m", make([]byte, MaxMessage+1))
	wantFault(t, err, fault.TooLarge, "at most 67108864")
}

// TestServerDies: its connection breaks in the middle of a call and of a stream; a call after that is refused at once.
func TestServerDies(t *testing.T) {
	l := listen(t)
	entered := make(chan bool, 1)
	h := handler{call: func(ctx context.Context, _ Peer, _ string, _ []byte) ([]byte, error) {
		entered <- true
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	server, stop := begin(t, Options{Listener: l, Handler: h})
	client, _ := begin(t, Options{})
	to := Target{Address: l.Addr().String()}
	s, err := client.Stream(within5(t), to, "echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	go func() { <-entered; server.conns.close() }() // as kill -9 would
	_, err = client.Call(within5(t), to, "m", nil)
	wantFault(t, err, fault.Unknown, "cannot call m at")
	_, err = s.Recv()
	wantFault(t, err, fault.Unknown, "cannot call echo at")
	stop()
	_, err = client.Call(within5(t), to, "m", nil)
	wantFault(t, err, fault.NotApplied, "connection refused")
}

// TestReturn: a server that comes back is found again within the backoff.
func TestReturn(t *testing.T) {
	l := listen(t)
	address := l.Addr().String()
	_, stop := begin(t, Options{Listener: l, Handler: handler{}})
	client, _ := begin(t, Options{})
	if _, err := client.Call(within5(t), Target{Address: address}, "m", nil); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := client.Call(within5(t), Target{Address: address}, "m", nil); !fault.Is(err, fault.NotApplied) {
		t.Errorf("nobody there: %v", err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skip("the port was taken meanwhile:", err)
	}
	begin(t, Options{Listener: l, Handler: handler{}})
	eventually(t, "the server is found again", func() bool {
		reply, err := client.Call(within5(t), Target{Address: address}, "m", []byte("x"))
		return err == nil && bytes.Equal(reply, []byte("x"))
	})
}

func TestMisuse(t *testing.T) {
	if _, err := New(Options{MaxConnsPerClient: -1}); err == nil {
		t.Error("a negative limit is taken")
	}
	p, err := New(Options{Listener: listen(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "no handler") {
		t.Errorf("Run without a handler: %v", err)
	}
	if err := p.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "run already") {
		t.Errorf("Run again: %v", err)
	}
	_ = p.opts.Listener.Close()
	client, stop := begin(t, Options{})
	stop()
	_, err = client.Call(context.Background(), Target{Address: "127.0.0.1:1"}, "m", nil)
	wantFault(t, err, fault.NotApplied, "this agent is stopping")
}
