package metric

import (
	"bufio"
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pushed runs a registry that sends to one target until all wanted lines have come.
func pushed(t *testing.T, target Target, lines func() []string, want ...string) {
	t.Helper()
	r := New()
	r.Name(Naming{Prefix: "consul", Host: "h1"})
	run, err := r.Push([]Target{target}, true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = run(ctx) })
	defer all.Wait()
	defer stop()
	r.Counter("raft.apply").Add(3)
	r.Gauge("raft.peers").Set(2.5)
	r.Sample("kvs.apply").Observe(0.25)
	r.Sample("api.http", Label{"method", "GET"}, Label{"path", "v1:kv"}).Observe(7)
	r.sendCounters()
	r.sendCounters() // nothing new
	r.cut(time.Now())
	missing := slices.Clone(want)
	for len(missing) > 0 {
		for _, line := range lines() {
			if i := slices.Index(missing, line); i >= 0 {
				missing = slices.Delete(missing, i, i+1)
			} else if !strings.Contains(line, "telemetry.dropped") {
				t.Errorf("unwanted or twice: %q", line)
			}
		}
	}
}

func packets(t *testing.T, c net.PacketConn) func() []string {
	t.Cleanup(func() { _ = c.Close() })
	b := make([]byte, 65536)
	return func() []string {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, _, err := c.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if n > packetSize {
			t.Errorf("a packet of %d bytes", n)
		}
		return strings.Split(strings.TrimSuffix(string(b[:n]), "\n"), "\n")
	}
}

var plain = []string{"consul.raft.apply:3|c", "consul.h1.raft.peers:2.5|g", "consul.kvs.apply:0.25|ms", "consul.api.http.GET.v1_kv:7|ms"}

func TestStatsd(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pushed(t, Target{Dialect: Statsd, Address: c.LocalAddr().String()}, packets(t, c), plain...)
}

func TestStatsite(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var in *bufio.Scanner
	pushed(t, Target{Dialect: Statsite, Address: l.Addr().String()}, func() []string {
		if in == nil {
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			in = bufio.NewScanner(conn)
		}
		if !in.Scan() {
			t.Fatal(in.Err())
		}
		return []string{in.Text()}
	}, plain...)
}

func TestDogStatsd(t *testing.T) {
	want := []string{"consul.raft.apply:3|c|#team:a", "consul.raft.peers:2.5|g|#team:a", "consul.kvs.apply:0.25|ms|#team:a",
		"consul.api.http:7|ms|#team:a,method:GET,path:v1_kv"}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pushed(t, Target{Dialect: DogStatsd, Address: c.LocalAddr().String(), Tags: []string{"team:a"}}, packets(t, c), want...)
	path := filepath.Join(t.TempDir(), "dog")
	if c, err = net.ListenPacket("unixgram", path); err != nil {
		t.Fatal(err)
	}
	pushed(t, Target{Dialect: DogStatsd, Address: "unix://" + path, Tags: []string{"team:a"}}, packets(t, c), want...)
}

// TestFailingTarget: who cannot be reached is an error for the eager, told once to the others, and blocks nobody.
func TestFailingTarget(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	failed := make(chan error, 8)
	target := Target{Dialect: Statsite, Address: address, Failed: func(err error) { failed <- err }}
	if _, err := New().Push([]Target{target}, true); err == nil || !strings.Contains(err.Error(), "cannot send metrics to "+address) {
		t.Errorf("eager: %v", err)
	}
	r := New()
	run, err := r.Push([]Target{target}, false)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * queued { // nobody takes them yet
		r.Sample("s").Observe(1)
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = run(ctx) })
	<-failed
	for range 100 {
		r.Sample("s").Observe(1)
	}
	stop()
	all.Wait()
	if len(failed) > 0 {
		t.Errorf("told again: %v", <-failed)
	}
	r.Prometheus(nil, 0)
	if n := r.Counter(".rostra.telemetry.dropped").n.Load(); n != queued {
		t.Errorf("%d dropped, want %d", n, queued)
	}
}

// TestNobodyListens: over UDP a packet that nobody takes is only refused with the next one, and the first of a new socket never; it
// is told once all the same.
func TestNobodyListens(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	one := &target{Target: Target{Address: c.LocalAddr().String(), Failed: func(error) { told++ }}}
	_ = c.Close()
	refused := 0
	for range 20 {
		one.pending = append(one.pending, "x:1|c\n"...)
		if one.flush(); one.conn == nil {
			refused++
		}
	}
	if refused < 2 || told != 1 {
		t.Errorf("told %d times of %d refusals", told, refused)
	}
	if one.conn != nil {
		_ = one.conn.Close()
	}
}
