package gossip

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"rostra/kit/simnet"
)

// plugs opens a member's sockets on a machine of a simulated network.
func plugs(t *testing.T, h *simnet.Host) (net.PacketConn, net.Listener) {
	t.Helper()
	packets, err := h.ListenPacket(":8301")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := h.Listen(":8301")
	if err != nil {
		t.Fatal(err)
	}
	return packets, streams
}

func on(t *testing.T, h *simnet.Host) memberlist.Transport {
	t.Helper()
	packets, streams := plugs(t, h)
	return Over(packets, streams, h.Dial)
}

func inBubble(t *testing.T, name string, h *simnet.Host, change func(*Options)) *Pool {
	t.Helper()
	o := Options{Name: name, Transport: on(t, h), BindPort: 8301}
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
		n := simnet.New(1)
		n.Default(simnet.Link{Delay: time.Millisecond, Jitter: time.Millisecond})
		a, b, c := inBubble(t, "a", n.Host("10.0.0.1"), nil), inBubble(t, "b", n.Host("10.0.0.2"), nil), inBubble(t, "c", n.Host("10.0.0.3"), nil)
		for _, p := range []*Pool{b, c} {
			if _, err := p.Join(context.Background(), []string{"10.0.0.1"}); err != nil { // the default port is the pool's
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		if show(a) != "a=alive b=alive c=alive" || show(b) != show(a) || show(c) != show(a) {
			t.Fatalf("a sees %s, b %s, c %s", show(a), show(b), show(c))
		}
		n.Partition([]string{"10.0.0.2"})
		cut := time.Now()
		for a.Members()[1].Status == StatusAlive {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(cut); took < 4*time.Second || took > 12*time.Second {
			t.Errorf("the failure was seen after %v", took)
		} else {
			t.Logf("the failure was seen after %v", took)
		}
		n.Heal()
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
			p := inBubble(t, "a", simnet.New(1).Host("10.0.0.1"), func(o *Options) {
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

// TestForcedToLeaveWhileJoining: an operator's force-leave and the member's return at one Lamport time do not leave the
// member leaving for ever in the lists of those who hear of the leaving first.
func TestForcedToLeaveWhileJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.Default(simnet.Link{Delay: time.Millisecond, Jitter: time.Millisecond})
		var pools []*Pool
		for i, name := range []string{"a", "b", "c", "d", "e"} {
			pools = append(pools, inBubble(t, name, n.Host(fmt.Sprintf("10.0.0.%d", i+1)), nil))
			if _, err := pools[i].Join(t.Context(), []string{"10.0.0.1"}); err != nil {
				t.Fatal(err)
			}
		}
		home := n.Host("10.0.0.9")
		x := inBubble(t, "x", home, nil)
		if _, err := x.Join(t.Context(), []string{"10.0.0.2"}); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(time.Minute)
			home.Kill()
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if got := show(pools[0]); !strings.HasSuffix(got, "x=failed") {
				t.Fatal(got)
			}
			x = inBubble(t, "x", home, nil)
			left := make(chan error, 1)
			go func() { left <- pools[0].ForceLeave("x", false) }()
			if _, err := x.Join(t.Context(), []string{"10.0.0.2"}); err != nil {
				t.Fatal(err)
			}
			if err := <-left; err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
			for _, p := range pools {
				if got := show(p); !strings.HasSuffix(got, "x=alive") {
					t.Errorf("%s sees %s", p.name, got)
				}
			}
		}
		for _, p := range append(pools, x) {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(10 * time.Second)
	})
}

// TestPruneAlive: an alive member that is to be pruned objects like one that is to leave, and is not forgotten some seconds
// later by those it has objected to.
func TestPruneAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.Default(simnet.Link{Delay: time.Millisecond})
		var pools []*Pool
		for i, name := range []string{"a", "b", "c"} {
			pools = append(pools, inBubble(t, name, n.Host(fmt.Sprintf("10.0.0.%d", i+1)), nil))
			if _, err := pools[i].Join(t.Context(), []string{"10.0.0.1"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		before := pools[0].Stats()["member_time"]
		if err := pools[0].ForceLeave("c", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for _, p := range pools {
			if got := show(p); got != "a=alive b=alive c=alive" {
				t.Errorf("%s sees %s", p.name, got)
			}
		}
		if pools[0].Stats()["member_time"] == before {
			t.Error("c did not object")
		}
		for _, p := range pools {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(10 * time.Second)
	})
}

// TestKeysOfWhoIsGone: while one member of a WAN pool is not heard and not yet known to have failed, an operation on the keys ends
// sooner than who asked for it gives up the server that does it (engine/server, elsewhere: 9 s), and says that one is missing.
func TestKeysOfWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.Default(simnet.Link{Delay: time.Millisecond, Jitter: time.Millisecond})
		wide := func(o *Options) { o.WAN = true }
		a, b, c := inBubble(t, "a", n.Host("10.0.0.1"), wide), inBubble(t, "b", n.Host("10.0.0.2"), wide), inBubble(t, "c", n.Host("10.0.0.3"), wide)
		for _, p := range []*Pool{b, c} {
			if _, err := p.Join(context.Background(), []string{"10.0.0.1"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		n.Partition([]string{"10.0.0.3"})
		began := time.Now()
		r, err := a.Keys(context.Background(), ListKeys, nil, 0)
		if took := time.Since(began); took >= 9*time.Second {
			t.Errorf("it took %v", took)
		}
		if r.Nodes != 3 || r.Responses != 2 || err == nil {
			t.Errorf("%+v %v", r, err)
		}
		for _, p := range []*Pool{a, b, c} {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute) // what goes on ends with its time
	})
}
