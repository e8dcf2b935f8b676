package rpc

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// layer is what consensus wants of Streams.
type layer interface {
	net.Listener
	Dial(address string, timeout time.Duration) (net.Conn, error)
}

func TestLogStreams(t *testing.T) {
	server, client, to := pair(t, handler{})
	var in, out layer = server.Streams(), client.Streams()
	if in.Addr().String() != to.Address || out.Addr() != nil {
		t.Errorf("addresses %v, %v", in.Addr(), out.Addr())
	}
	sent, err := out.Dial(to.Address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sent.Close() }()
	if _, err := io.WriteString(sent, "append entries"); err != nil {
		t.Fatal(err)
	}
	got, err := in.Accept()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 14)
	if _, err := io.ReadFull(got, buf); err != nil || string(buf) != "append entries" {
		t.Fatalf("%q, %v", buf, err)
	}
	if _, err := io.WriteString(got, "yes"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(sent, buf[:3]); err != nil || string(buf[:3]) != "yes" {
		t.Fatalf("%q, %v", buf[:3], err)
	}
	if _, err := client.Call(within5(t), to, "m", nil); err != nil {
		t.Errorf("a call beside it: %v", err)
	}
	if n := server.Counters(); n["rpc.log_streams"] != 1 || n["rpc.open"] != 2 {
		t.Errorf("counters %v", n)
	}
	if err := got.Close(); err != nil {
		t.Fatal(err)
	}
	if n := server.Counters()["rpc.open"]; n != 1 {
		t.Errorf("%d connections open after one was closed", n)
	}
	_ = in.Close()
	if _, err := in.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}

// TestLogStreamsEnd: Run takes the log streams that came in with it.
func TestLogStreamsEnd(t *testing.T) {
	l := listen(t)
	server, stop := begin(t, Options{Listener: l, Handler: handler{}})
	client, _ := begin(t, Options{})
	sent, err := client.Streams().Dial(l.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sent.Close() }()
	got, err := server.Streams().Accept()
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := got.Read(make([]byte, 1)); err == nil {
		t.Error("a log stream outlives Run")
	}
	if _, err := server.Streams().Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Run: %v", err)
	}
}
