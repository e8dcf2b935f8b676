package gossip

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"rostra/kit/simnet"
)

// The simulations of docs/gossip.md:
//
//	go test ./engine/gossip -run TestSimulation -timeout 2h -v -agents 128,1000 -variants lifeguard,off,tuned -minutes 15
var (
	simAgents   = flag.String("agents", "12", "how many agents TestSimulation has, several with commas between")
	simVariants = flag.String("variants", "lifeguard", "the settings of TestSimulation: lifeguard, off, tuned")
	simMinutes  = flag.Int("minutes", 1, "how many minutes of virtual time TestSimulation has machines stall and crash")
	simSick     = flag.Bool("sick", false, "in TestSimulation the machines that stall do so nearly all the time")
	simSeed     = flag.Uint64("seed", 1, "the seed of TestSimulation's faults; what the agents do has other sources of chance")
)

// variants are the settings that are compared.
var variants = map[string]Timing{
	"lifeguard": {}, // the defaults
	"off":       {SuspicionMaxMult: 1, HealthMax: 1},
	"tuned":     {SuspicionMult: 2},
}

// sim is a pool of real members on a simulated network, some of whose machines stall now and then and some crash.
type sim struct {
	net    *simnet.Net
	chance *rand.Rand
	began  time.Time
	names  []string
	number map[string]int // of a name
	hosts  []*simnet.Host
	pools  []*Pool
	stalls int // machines 1 to stalls do
	work   sync.WaitGroup
	end    chan struct{} // closed when stalling ends
	used   time.Duration // CPU before it

	mu      sync.Mutex // guards the rest
	crashed map[string]time.Time
	seen    map[string]map[int]time.Duration // how long after the crash the healthy members knew
	last    map[string]time.Time             // of a wrong alarm about a healthy machine
	alarms  struct{ cases, seen, seenHealthy, stalled int }
}

// place is the IP of machine i.
func place(i int) string { return fmt.Sprintf("10.%d.%d.%d", i/62500, i/250%250, 1+i%250) }

// typical are tags as long as those of an agent.
func typical(i int) map[string]string {
	return map[string]string{"role": "node", "dc": "dc1", "segment": "", "vsn": "2", "vsn_min": "2", "vsn_max": "3",
		"build": "1.0.0:0123abcd", "id": fmt.Sprintf("00000000-0000-4000-8000-%012d", i)}
}

func newSim(t *testing.T, seed uint64, n int, timing Timing) *sim {
	s := &sim{
		net: simnet.New(seed), chance: rand.New(rand.NewPCG(seed, 9)), stalls: min(max(1, n/32), 8), began: time.Now(), end: make(chan struct{}), used: cpu(),
		crashed: map[string]time.Time{}, seen: map[string]map[int]time.Duration{}, last: map[string]time.Time{}, number: map[string]int{},
	}
	s.net.Default(simnet.Link{Delay: 300 * time.Microsecond, Jitter: 700 * time.Microsecond, Loss: 0.01})
	for i := range n {
		// memberlist's clocks run from the start on: members that all start at one moment would for ever probe and tell at one.
		time.Sleep(time.Duration(s.chance.Int64N(int64(2*time.Second) / int64(n))))
		s.names = append(s.names, fmt.Sprintf("n%04d", i))
		s.number[s.names[i]] = i
		s.hosts = append(s.hosts, s.net.Host(place(i)))
		packets, streams := plugs(t, s.hosts[i])
		p, err := Open(Options{Name: s.names[i], Transport: Over(packets, streams, s.hosts[i].Dial), BindPort: 8301,
			Tags: typical(i), Timing: timing})
		if err != nil {
			t.Fatal(err)
		}
		s.pools = append(s.pools, p)
		s.work.Go(func() {
			_ = p.Run(context.Background(), func(e Event) { // it ends with the pool, without an error
				if e.Kind == Failed {
					for _, m := range e.Members {
						s.note(i, m.Name)
					}
				}
			})
		})
	}
	return s
}

// healthy says whether a machine never stalls.
func (s *sim) healthy(i int) bool { return i == 0 || i > s.stalls }

// note is called when member i sees a member fail.
func (s *sim) note(i int, name string) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, dead := s.crashed[s.names[i]]; dead {
		return
	}
	if at, dead := s.crashed[name]; dead {
		if _, known := s.seen[name][i]; !known && s.healthy(i) {
			s.seen[name][i] = now.Sub(at)
		}
		return
	}
	if !s.healthy(s.number[name]) {
		s.alarms.stalled++
		return
	}
	s.alarms.seen++
	if s.healthy(i) {
		s.alarms.seenHealthy++
	}
	if last, ok := s.last[name]; !ok || now.Sub(last) > time.Minute {
		s.alarms.cases++
	}
	s.last[name] = now
}

// live returns the members that did not crash.
func (s *sim) live() (list []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, name := range s.names {
		if _, dead := s.crashed[name]; !dead {
			list = append(list, i)
		}
	}
	return list
}

// known says whether each crash is known to all members that live and do not stall.
func (s *sim) known() bool {
	live := s.live()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, by := range s.seen {
		for _, i := range live {
			if _, is := by[i]; !is && s.healthy(i) {
				return false
			}
		}
	}
	return true
}

// agreed says whether each live member sees each live one alive and each other one failed.
func (s *sim) agreed() bool {
	live := s.live()
	s.mu.Lock()
	crashed := maps.Clone(s.crashed)
	s.mu.Unlock()
	for _, i := range live {
		if s.pools[i].serf.Memberlist().NumMembers() != len(live) {
			return false
		}
	}
	for _, i := range live {
		members := s.pools[i].serf.Members() // not the pool's: a million copies of tags take seconds
		for _, m := range members {
			if _, dead := crashed[m.Name]; dead != (m.Status == serf.StatusFailed) || !dead && m.Status != serf.StatusAlive {
				return false
			}
		}
		if len(members) != len(s.names) {
			return false
		}
	}
	return true
}

// forget empties the queues of what a member still has to tell others: each copy of each message counts as sent.
func (s *sim) forget(i int) {
	for _, at := range []struct {
		of    any
		field string
	}{{s.pools[i].serf.Memberlist(), "broadcasts"}, {s.pools[i].serf, "broadcasts"}} {
		// Neither has another way to its queue; the queue itself may be used by anybody.
		q := (*memberlist.TransmitLimitedQueue)(reflect.ValueOf(at.of).Elem().FieldByName(at.field).UnsafePointer())
		if q.NumQueued() > 0 {
			q.Reset()
		}
	}
}

// join brings all into one pool, by lists alone: the first member meets each of the others, and each of them again. What
// they would tell each other besides is forgotten: each one told of each one 16 times by each one is most of the cost of a
// thousand members, and what is measured comes after it.
func (s *sim) join(t *testing.T) {
	joined := make(chan struct{})
	s.work.Go(func() {
		for {
			for i := range s.pools {
				s.forget(i)
			}
			select {
			case <-joined:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	for range 2 {
		var all sync.WaitGroup
		for i := range s.pools[1:] {
			wait := time.Duration(s.chance.Int64N(int64(20*time.Millisecond) * int64(len(s.pools))))
			all.Go(func() {
				time.Sleep(wait)
				if _, err := s.pools[i+1].Join(context.Background(), []string{place(0)}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	time.Sleep(time.Second)
	close(joined)
	s.await(t, "all members know each other", 10*time.Minute)
}

// await waits until the members agree.
func (s *sim) await(t *testing.T, what string, limit time.Duration) {
	start := time.Now()
	for !s.agreed() {
		if time.Since(start) > limit {
			for k, i := range s.live() {
				if k%(1+len(s.pools)/10) == 0 {
					t.Logf("%s sees %d members, %v", s.names[i], s.pools[i].serf.Memberlist().NumMembers(), s.pools[i].Stats())
				}
			}
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(5 * time.Second)
	}
	t.Logf("%v after the start: %s, %v after the last change; %v of CPU so far", time.Since(s.began), what, time.Since(start),
		(cpu() - s.used).Round(time.Millisecond))
}

// stall has the machines that do stall for 1 to 10 s, and run for 5 to 20 s, until the end. Sick ones stall for 2 to 16 s
// and run for 10 to 500 ms: long enough to say what they think, too short to hear what others do.
func (s *sim) stall() {
	stall, run := [2]time.Duration{time.Second, 10 * time.Second}, [2]time.Duration{5 * time.Second, 20 * time.Second}
	if *simSick {
		stall, run = [2]time.Duration{2 * time.Second, 16 * time.Second}, [2]time.Duration{10 * time.Millisecond, 500 * time.Millisecond}
	}
	for i := 1; i <= s.stalls; i++ {
		own := rand.New(rand.NewPCG(s.chance.Uint64(), uint64(i)))
		wait := func(d [2]time.Duration) bool {
			select {
			case <-time.After(d[0] + time.Duration(own.Int64N(int64(d[1]-d[0])))):
				return true
			case <-s.end:
				return false
			}
		}
		s.work.Go(func() {
			for wait(run) {
				s.hosts[i].Pause()
				wait(stall)
				s.hosts[i].Resume()
			}
		})
	}
}

// crash kills a machine: nothing of it is heard again.
func (s *sim) crash(t *testing.T, i int) {
	s.mu.Lock()
	s.crashed[s.names[i]], s.seen[s.names[i]] = time.Now(), map[int]time.Duration{}
	s.mu.Unlock()
	s.hosts[i].Kill()
	if err := s.pools[i].Close(); err != nil {
		t.Error(err)
	}
}

// traffic returns what each member sends in a second, while fn runs: packets, bytes in them, bytes in streams.
func (s *sim) traffic(fn func()) string {
	sum := func() (c simnet.Counters) {
		for _, h := range s.hosts {
			one := h.Counters()
			c.PacketsOut, c.BytesOut, c.StreamOut = c.PacketsOut+one.PacketsOut, c.BytesOut+one.BytesOut, c.StreamOut+one.StreamOut
		}
		return c
	}
	before, start := sum(), time.Now()
	fn()
	after, each := sum(), time.Since(start).Seconds()*float64(len(s.hosts))
	return fmt.Sprintf("%.2f packets, %.0f B in packets, %.0f B in streams", float64(after.PacketsOut-before.PacketsOut)/each,
		float64(after.BytesOut-before.BytesOut)/each, float64(after.StreamOut-before.StreamOut)/each)
}

func (s *sim) close(t *testing.T) {
	var all sync.WaitGroup
	for _, p := range s.pools {
		all.Go(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s.work.Wait()
	time.Sleep(2 * time.Minute) // a probe that was slowed down ends with its interval
}

// quantiles writes the median, the 99th of 100 and the longest.
func quantiles(d []time.Duration) string {
	if len(d) == 0 {
		return "none"
	}
	slices.Sort(d)
	at := func(q float64) float64 { return d[int(q*float64(len(d)-1))].Seconds() }
	return fmt.Sprintf("median %.1f s, 99th %.1f s, max %.1f s", at(0.5), at(0.99), at(1))
}

// report logs the figures, and fails for a crash that a healthy member did not see.
func (s *sim) report(t *testing.T, stalling time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first, full, each []time.Duration
	observers := 0
	for i, name := range s.names {
		if _, dead := s.crashed[name]; s.healthy(i) && !dead {
			observers++
		}
	}
	for name, by := range s.seen {
		var list []time.Duration
		for i, took := range by {
			if _, dead := s.crashed[s.names[i]]; !dead {
				list = append(list, took)
			}
		}
		if len(list) != observers {
			t.Errorf("%d of %d healthy members saw the crash of %s", len(list), observers, name)
			continue
		}
		first, full, each = append(first, slices.Min(list)), append(full, slices.Max(list)), append(each, list...)
	}
	hours := float64(observers) * stalling.Hours()
	t.Logf("crashes %d; first to know: %s", len(first), quantiles(first))
	t.Logf("last healthy member to know: %s; each of them: %s", quantiles(full), quantiles(each))
	t.Logf("wrong alarms about healthy members: %d (%.4f per node·hour), seen %d times, %d by healthy ones; stalled ones seen failed: %d times",
		s.alarms.cases, float64(s.alarms.cases)/hours, s.alarms.seen, s.alarms.seenHealthy, s.alarms.stalled)
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// simulate is one run. What it asserts holds whatever the figures: all crashes are seen by all, and in the end no member
// that lives is taken for failed, by anyone.
func simulate(t *testing.T, seed uint64, n int, timing Timing, stalling time.Duration) {
	real, used := time.Now(), cpu()
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, seed, n, timing)
		s.join(t)
		time.Sleep(30 * time.Second)
		t.Logf("a quiet pool, each member in a second: %s", s.traffic(func() { time.Sleep(time.Minute) }))
		s.mu.Lock()
		s.alarms.cases, s.alarms.seen, s.alarms.seenHealthy = 0, 0, 0 // members that join late are no news
		s.mu.Unlock()
		t.Logf("%d machines stall", s.stalls)
		s.stall()
		crashes := max(1, int(stalling/(20*time.Second)))
		crashes = min(crashes, n/4)
		t.Logf("with stalls and crashes: %s", s.traffic(func() {
			for i := range crashes {
				time.Sleep(stalling / time.Duration(crashes))
				s.crash(t, n-1-i)
			}
		}))
		for range 60 { // the last crash is to be seen, too
			if time.Sleep(time.Second); s.known() {
				break
			}
		}
		close(s.end)
		s.await(t, "all members agree", time.Hour)
		s.report(t, stalling)
		s.close(t)
	})
	t.Logf("%v, %v of CPU", time.Since(real).Round(time.Millisecond), (cpu() - used).Round(time.Millisecond))
}

func TestSimulation(t *testing.T) {
	for _, size := range strings.Split(*simAgents, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n < 8 || n > 60_000 {
			t.Fatalf("-agents: %q is no number from 8 to 60000", size)
		}
		for _, name := range strings.Split(*simVariants, ",") {
			timing, ok := variants[name]
			if !ok {
				t.Fatalf("-variants: there is no %q", name)
			}
			t.Run(size+"/"+name, func(t *testing.T) {
				simulate(t, *simSeed, n, timing, time.Duration(*simMinutes)*time.Minute)
			})
		}
	}
}
