package check

import (
	"net"
	"strings"
	"testing"
	"time"
)

// listenUDP returns a socket on loopback that is closed with the test.
func listenUDP(t *testing.T) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Spec agent.md §6, udp: an empty datagram; an answer is health, so is silence until the timeout, a closed port is not.
func TestUDP(t *testing.T) {
	silent := listenUDP(t)
	echo := listenUDP(t)
	got := make(chan int, 1)
	go func() {
		n, from, err := echo.ReadFrom(make([]byte, 10))
		if err != nil {
			return
		}
		got <- n
		_, _ = echo.WriteTo([]byte("hello"), from)
	}()
	gone := listenUDP(t)
	closed := gone.LocalAddr().String()
	gone.Close()

	addr := echo.LocalAddr().String()
	if r := first(t, Spec{Kind: UDP, Target: addr, Timeout: time.Hour}, Env{}); r != (Result{Passing, "UDP connect " + addr + ": Success"}) {
		t.Errorf("a server that answers: %q", r)
	}
	if n := <-got; n != 0 {
		t.Errorf("sent %d bytes, want an empty datagram", n)
	}
	addr = silent.LocalAddr().String()
	if r := first(t, Spec{Kind: UDP, Target: addr, Timeout: 100 * time.Millisecond}, Env{}); r != (Result{Passing, "UDP connect " + addr + ": Success"}) {
		t.Errorf("a silent server: %q", r)
	}
	r := first(t, Spec{Kind: UDP, Target: closed, Timeout: time.Hour}, Env{})
	if r.Status != Critical || !strings.HasPrefix(r.Output, "read udp 127.0.0.1:") || !strings.HasSuffix(r.Output, "->"+closed+": read: connection refused") {
		t.Errorf("a closed port: %q", r)
	}
}

// The end of the check does not wait for a silent server.
func TestUDPStops(t *testing.T) {
	c := listenUDP(t)
	r, err := New(Spec{Kind: UDP, Target: c.LocalAddr().String(), Interval: time.Hour, Timeout: time.Hour}, Result{},
		func(r Result) { t.Errorf("reported %q", r) }, Env{Rand: func() float64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, r)
	if _, _, err := c.ReadFrom(make([]byte, 1)); err != nil { // it is under way
		t.Fatal(err)
	}
	stop()
}
