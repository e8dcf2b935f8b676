package agent

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rostra/kit/disk"
	"rostra/kit/httpd"
	"rostra/kit/simnet"
)

// Long runs: go test -run TestChaos -chaos 1h ./agent, with -seed to play one fault schedule again.
var (
	chaosTime = flag.Duration("chaos", 0, "how long TestChaos goes on with ever new seeds, in real time; 0 is a short run")
	chaosSeed = flag.Uint64("seed", 0, "play this fault schedule; with -chaos, begin with it")
)

// chaosSpan is the virtual time of one schedule under faults.
const chaosSpan = 60 * time.Second

// TestChaos runs clients against a cluster while machines die, stall and lose one another, and checks that what the clients
// saw could have come from one machine. Which schedule was played can be repeated by its seed; which goroutine was first
// cannot.
func TestChaos(t *testing.T) {
	seeds := []uint64{1, 2}
	if *chaosSeed != 0 {
		seeds = []uint64{*chaosSeed}
	}
	end := time.Now().Add(*chaosTime)
	for i := uint64(0); i < uint64(len(seeds)) || time.Now().Before(end); i++ {
		chaos(t, seeds[0]+i)
		if t.Failed() {
			return
		}
	}
}

func chaos(t *testing.T, seed uint64) {
	servers := 3
	if seed%4 == 0 {
		servers = 5
	}
	h, locks := &history{}, newLockHistory()
	var faults []string
	var log *simLog
	inWorld(t, seed, func(w *world) {
		log, w.rooms = w.log, watched(locks)
		w.add("dc1", 0, servers, 2)
		w.awaitLeader()
		time.Sleep(2 * time.Second)
		ctx, stop := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		for i := range 8 {
			c := &client{id: i, node: w.nodes[i%len(w.nodes)], hist: h, seen: map[string]seenValue{}}
			luck := w.rand.Uint64()
			wait.Go(func() { c.run(ctx, luck) })
		}
		w.lockers(ctx, &wait, locks, 3)
		faults = w.torment(chaosSpan)
		w.net.Heal()
		w.net.Default(simnet.Link{Delay: 200 * time.Microsecond, Jitter: 100 * time.Microsecond})
		for _, n := range w.nodes {
			w.net.Host(n.ip).Resume()
			n.disk.Ail(nil)
			n.skew.Store(0)
			if !n.up {
				w.start(n)
			}
			w.revive(n)
		}
		w.until("a leader after all", time.Minute, func() bool { return w.leader() != nil })
		time.Sleep(5 * time.Second)
		stop()
		wait.Wait()
		w.agree()
	})
	judge(t, h, seed)
	judgeLocks(t, locks, seed)
	_, loose := locks.rivals()
	stops := strings.Count(strings.Join(faults, "\n"), "had stopped")
	t.Logf("seed %d: %d operations, %d of them certain; %d on locks, %d sessions, %d times a lock was held, %d rivals without lock-delay; %d faults, %d servers stopped",
		seed, len(h.ops), h.certain(), len(locks.ops), len(locks.sessions), len(locks.beliefs), len(loose), len(faults), stops)
	if t.Failed() {
		t.Logf("the faults: %q", faults)
		log.keep(t)
	}
}

// run does operations at random until ctx ends.
func (c *client) run(ctx context.Context, luck uint64) {
	chance := rand.New(rand.NewPCG(luck, 2))
	for ctx.Err() == nil {
		key := fmt.Sprintf("k%d", chance.IntN(3))
		mode := httpd.Default
		if chance.IntN(4) == 0 {
			mode = httpd.Consistent
		}
		switch n := chance.IntN(10); {
		case n < 4:
			c.do(ctx, opIn{kind: opGet, key: key, listed: chance.IntN(2) == 0}, mode)
		case n < 7:
			c.do(ctx, opIn{kind: opPut, key: key, value: c.value()}, mode)
		case n < 9:
			c.do(ctx, opIn{kind: opCAS, key: key, value: c.value()}, mode)
		default:
			c.do(ctx, opIn{kind: opDelete, key: key}, mode)
		}
		time.Sleep(time.Duration(10+chance.IntN(150)) * time.Millisecond)
	}
}

// torment does harm for a while: one thing after the other, some at the same time, and mends it again. It returns what it
// did.
func (w *world) torment(span time.Duration) (done []string) {
	note := func(format string, args ...any) { done = append(done, fmt.Sprintf(format, args...)) }
	servers := []*simNode{}
	for _, n := range w.nodes {
		if n.name[0] == 's' {
			servers = append(servers, n)
		}
	}
	pick := func() *simNode { return servers[w.rand.IntN(len(servers))] }
	for end := time.Now().Add(span); time.Now().Before(end); {
		one, other := pick(), w.nodes[w.rand.IntN(len(w.nodes))]
		lasts := time.Duration(100+w.rand.IntN(6000)) * time.Millisecond
		switch w.rand.IntN(13) {
		case 0: // power cut
			if one.up {
				note("%s dies for %v", one.name, lasts)
				w.kill(one)
				time.Sleep(lasts)
				w.start(one)
			}
		case 1: // the leader's power is cut
			if l := w.leader(); l != nil {
				note("the leader %s dies for %v", l.name, lasts)
				w.kill(l)
				time.Sleep(lasts)
				w.start(l)
			}
		case 2: // all at once
			note("all servers die for %v", lasts)
			for _, n := range servers {
				w.kill(n)
			}
			time.Sleep(lasts)
			for _, n := range servers {
				w.start(n)
			}
		case 3:
			note("%s stalls for %v", one.name, lasts)
			w.net.Host(one.ip).Pause()
			time.Sleep(lasts)
			w.net.Host(one.ip).Resume()
		case 4:
			note("%s does not hear %s for %v", other.name, one.name, lasts)
			w.net.Cut(one.ip, other.ip)
			time.Sleep(lasts)
			w.net.Mend(one.ip, other.ip)
		case 5:
			var left, right []string
			for _, n := range w.nodes {
				if w.rand.IntN(2) == 0 {
					left = append(left, n.ip)
				} else {
					right = append(right, n.ip)
				}
			}
			note("%v and %v are apart for %v", left, right, lasts)
			w.net.Partition(left, right)
			time.Sleep(lasts)
			w.net.Heal()
		case 6:
			note("%s is alone for %v", one.name, lasts)
			var others []string
			for _, n := range w.nodes {
				if n != one {
					others = append(others, n.ip)
				}
			}
			w.net.Partition([]string{one.ip}, others)
			time.Sleep(lasts)
			w.net.Heal()
		case 7:
			note("the network is bad for %v", lasts)
			w.net.Default(simnet.Link{Delay: 20 * time.Millisecond, Jitter: 60 * time.Millisecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.2})
			time.Sleep(lasts)
			w.net.Default(simnet.Link{Delay: 200 * time.Microsecond, Jitter: 100 * time.Microsecond})
		case 8:
			note("the disk of %s is slow for %v", one.name, lasts)
			one.disk.Ail(w.slow(lasts))
		case 9:
			note("all disks are slow for %v", lasts)
			for _, n := range servers {
				n.disk.Ail(w.slow(lasts))
			}
		case 10: // it stays wrong until it jumps again
			jump := time.Duration(w.rand.Int64N(int64(2*time.Hour))) - time.Hour
			note("the clock of %s is off by %v", one.name, jump)
			one.skew.Store(int64(jump))
		default:
			if l := w.leader(); l != nil && w.rand.IntN(2) == 0 {
				one = l
			}
			note("%s", w.spoil(one, lasts))
		}
		time.Sleep(time.Duration(w.rand.IntN(2000)) * time.Millisecond)
		for _, n := range servers {
			if n.up && w.revive(n) {
				note("%s had stopped: %v", n.name, n.failure)
			}
		}
	}
	return done
}

// slow makes every sync take 200 ms to 2 s for a while, whatever else happens meanwhile.
func (w *world) slow(lasts time.Duration) func(disk.Op) error {
	chance, until := rand.New(rand.NewPCG(w.rand.Uint64(), 4)), time.Now().Add(lasts)
	var mu sync.Mutex
	return func(op disk.Op) error {
		if op.Kind != "sync" || time.Now().After(until) {
			return nil
		}
		mu.Lock()
		takes := 200*time.Millisecond + time.Duration(chance.IntN(1800))*time.Millisecond
		mu.Unlock()
		time.Sleep(takes)
		return nil
	}
}

// spoil makes a machine's disk fail for a while: all its syncs, all its writes, or one step of any kind. Then it works
// again; a process that stopped is started by its supervisor, sometimes after the power was cut as well.
func (w *world) spoil(n *simNode, lasts time.Duration) string {
	how := []string{"sync", "write", "one step"}[w.rand.IntN(3)]
	if how == "one step" {
		var steps atomic.Int64
		nth := int64(w.rand.IntN(40))
		n.disk.Ail(func(disk.Op) error {
			if steps.Add(1) == nth+1 {
				return syscall.EIO
			}
			return nil
		})
	} else {
		n.ail(how)
	}
	time.Sleep(lasts)
	n.disk.Ail(nil)
	cut, outcome := w.rand.IntN(2) == 0, "it goes on"
	select {
	case <-n.ended:
		outcome = fmt.Sprintf("it had stopped: %v", n.failure)
	default:
	}
	if cut {
		w.kill(n)
		w.start(n)
	} else {
		w.revive(n)
	}
	return fmt.Sprintf("the disk of %s fails (%s) for %v; %s; power cut after that: %v", n.name, how, lasts, outcome, cut)
}

// agree waits until all servers have the same state, byte for byte.
func (w *world) agree() {
	w.t.Helper()
	w.until("one state on all servers", time.Minute, func() bool {
		index := uint64(0)
		for _, n := range w.nodes {
			if n.server == nil || !n.up {
				continue
			}
			w.revive(n) // one whose disk failed may take its time to end
			at := n.server.Counters()["index"]
			if index != 0 && at != index {
				return false
			}
			index = at
		}
		return true
	})
}
