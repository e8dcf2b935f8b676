package gossip

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// wires is a network in memory that can lose one machine's traffic.
type wires struct {
	mu    sync.Mutex // guards all
	ends  map[string]*end
	quiet map[string]bool
}

// end is one machine's transport.
type end struct {
	net     *wires
	addr    *net.UDPAddr
	packets chan *memberlist.Packet
	streams chan net.Conn
	down    chan struct{}
	once    sync.Once
}

func (w *wires) end(ip string) *end {
	e := &end{
		net: w, addr: &net.UDPAddr{IP: net.ParseIP(ip), Port: 8301},
		packets: make(chan *memberlist.Packet, 100), streams: make(chan net.Conn), down: make(chan struct{}),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends[e.addr.String()] = e
	return e
}

func (w *wires) cut(e *end) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.quiet[e.addr.String()] = true
}

// reach returns the other end, nil if there is no way.
func (e *end) reach(addr string) *end {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	if e.net.quiet[addr] || e.net.quiet[e.addr.String()] {
		return nil
	}
	return e.net.ends[addr]
}

func (e *end) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return e.addr.IP, e.addr.Port, nil
}
func (e *end) PacketCh() <-chan *memberlist.Packet { return e.packets }
func (e *end) StreamCh() <-chan net.Conn           { return e.streams }

func (e *end) Shutdown() error {
	e.once.Do(func() { close(e.down) })
	return nil
}

func (e *end) WriteTo(b []byte, addr string) (time.Time, error) {
	if to := e.reach(addr); to != nil {
		select {
		case to.packets <- &memberlist.Packet{Buf: append([]byte(nil), b...), From: e.addr, Timestamp: time.Now()}:
		default:
		}
	}
	return time.Now(), nil
}

func (e *end) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to := e.reach(addr)
	if to == nil {
		return nil, errors.New("no route")
	}
	here, there := net.Pipe()
	select {
	case to.streams <- there:
		return here, nil
	case <-to.down:
		return nil, errors.New("refused")
	}
}

func inBubble(t *testing.T, name string, e *end, change func(*Options)) *Pool {
	t.Helper()
	o := Options{Name: name, Transport: e, BindPort: 8301}
	if change != nil {
		change(&o)
	}
	p, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestFailureIsSeenInTime uses the timings of production: a machine that falls silent is failed within 5 to 10 seconds
// on the LAN, and comes back when it can be heard again, since the others go on dialling it.
func TestFailureIsSeenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wires{ends: map[string]*end{}, quiet: map[string]bool{}}
		lost := w.end("10.0.0.2")
		a, b, c := inBubble(t, "a", w.end("10.0.0.1"), nil), inBubble(t, "b", lost, nil), inBubble(t, "c", w.end("10.0.0.3"), nil)
		for _, p := range []*Pool{b, c} {
			if _, err := p.Join(context.Background(), []string{"10.0.0.1"}); err != nil { // the default port is the pool's
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		if show(a) != "a=alive b=alive c=alive" || show(b) != show(a) || show(c) != show(a) {
			t.Fatalf("a sees %s, b %s, c %s", show(a), show(b), show(c))
		}
		w.cut(lost)
		cut := time.Now()
		for a.Members()[1].Status == StatusAlive {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(cut); took < 4*time.Second || took > 12*time.Second {
			t.Errorf("the failure was seen after %v", took)
		} else {
			t.Logf("the failure was seen after %v", took)
		}
		w.mu.Lock()
		w.quiet = map[string]bool{}
		w.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if show(a) != "a=alive b=alive c=alive" {
			t.Errorf("after the repair a sees %s", show(a))
		}
		for _, p := range []*Pool{a, b, c} {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(10 * time.Second) // a probe in flight ends with its interval
	}) // the bubble ends only if all goroutines do
}

func TestRejoinAfterLeave(t *testing.T) {
	for _, again := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "local.snapshot")
		if err := os.WriteFile(path, []byte("alive: z 10.0.0.9:8301\nclock: 7\nleave\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			var l lines
			w := &wires{ends: map[string]*end{}, quiet: map[string]bool{}}
			p := inBubble(t, "a", w.end("10.0.0.1"), func(o *Options) {
				o.SnapshotPath, o.RejoinAfterLeave, o.Logger = path, again, l.logger()
			})
			synctest.Wait()
			if l.has("Attempting re-join") != again {
				t.Errorf("rejoin after leave %v: %s", again, l.buf.String())
			}
			if again && p.Stats()["member_time"] == "1" {
				t.Error("the clock was not restored")
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Second)
		})
	}
}
