package consensus

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// tcp is Streams over real TCP.
type tcp struct{ net.Listener }

func (tcp) Dial(address string, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", address, timeout)
}

// TestRealServers: three of them on TCP and disks, at new addresses in each life: formed, written to, one given 20 MB
// by snapshot, the leader stopped under load, all started again.
func TestRealServers(t *testing.T) {
	type real struct {
		*Node
		w   *words
		dir string
	}
	var mu sync.Mutex
	servers, addresses := map[string]*real{}, map[string]string{}
	start := func(id string) *real {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		addresses[id] = l.Addr().String()
		s := &real{w: newWords()}
		if old := servers[id]; old != nil {
			s.dir = old.dir
		} else {
			s.dir = t.TempDir()
		}
		servers[id] = s
		mu.Unlock()
		n, err := Open(Options{Dir: s.dir, ID: id, Address: l.Addr().String(), Streams: tcp{l}, Logger: quiet,
			Resolve: func(id string) (string, bool) { mu.Lock(); defer mu.Unlock(); a, ok := addresses[id]; return a, ok },
			Sizes:   Sizes{TrailingBytes: 1 << 20}}, s.w)
		if err != nil {
			t.Fatal(err)
		}
		s.Node = n
		t.Cleanup(func() { _ = n.Close(context.Background()) })
		return s
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); !ok(); runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	put := func(key, value string) (leader string) {
		t.Helper()
		until("a write of "+key, func() bool {
			for id, s := range servers {
				if _, err := s.Propose(context.Background(), []byte(key+"="+value)); err == nil {
					leader = id
					return true
				}
			}
			return false
		})
		return leader
	}
	same := func(key, value string) {
		t.Helper()
		until("all have "+key, func() bool {
			for _, s := range servers {
				if s.w.get(key) != value {
					return false
				}
			}
			return true
		})
	}
	var peers []Peer
	for i := range 3 {
		id := fmt.Sprint("s", i+1)
		start(id)
		peers = append(peers, Peer{ID: id, Address: addresses[id]})
	}
	for _, s := range servers {
		if err := s.Form(context.Background(), peers); err != nil {
			t.Fatal(err)
		}
	}
	l := put("a", "1")
	same("a", "1")
	lagging := "s1"
	if l == lagging {
		lagging = "s2"
	}
	mustClose(t, servers[lagging].Node)
	stopped := servers[lagging]
	delete(servers, lagging)
	for i := range 20 {
		l = put(fmt.Sprint("big", i), strings.Repeat("x", 1<<20))
	}
	for _, s := range servers { // whoever leads then has cut its log
		if err := s.Snapshot(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	servers[lagging] = stopped
	start(lagging)
	same("big19", strings.Repeat("x", 1<<20))
	if servers[lagging].fsm.restores.Load() == 0 {
		t.Error("the one that lagged was given no snapshot")
	}
	mustClose(t, servers[l].Node)
	stopped = servers[l]
	delete(servers, l)
	put("b", "2")
	servers[l] = stopped
	start(l)
	same("b", "2")
	for id := range addresses {
		mustClose(t, servers[id].Node)
	}
	for _, id := range []string{"s1", "s2", "s3"} {
		start(id)
	}
	put("c", "3")
	same("c", "3")
	same("a", "1")
}
