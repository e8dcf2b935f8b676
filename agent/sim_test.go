package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rostra/config"
	"rostra/engine/room"
	"rostra/feature/acl"
	"rostra/feature/catalog"
	"rostra/feature/connect"
	"rostra/feature/coordinate"
	"rostra/feature/health"
	"rostra/feature/kv"
	"rostra/feature/local"
	"rostra/feature/member"
	"rostra/feature/operator"
	"rostra/feature/query"
	"rostra/feature/session"
	"rostra/feature/snapshot"
	"rostra/feature/txn"
	"rostra/kit/disk"
	"rostra/kit/simnet"
)

// simRooms are the features of the program.
var simRooms = []room.Room{acl.Room, catalog.Room, health.Room, coordinate.Room, member.Room, session.Room, kv.Room, txn.Room, query.Room,
	local.Room, operator.Room, snapshot.Room, connect.Room}

// world is a whole cluster in one bubble: real agents, without their HTTP and DNS ports, on a network in memory and disks
// that forget what was not synced when the power goes. Time is virtual, all faults come from the seed.
type world struct {
	t     *testing.T
	net   *simnet.Net
	rand  *rand.Rand
	log   *simLog
	nodes []*simNode
	rooms []room.Room // what the programs of new machines can do; nil: simRooms
}

// simNode is one machine over its lives.
type simNode struct {
	*Agent                             // of the goroutine that starts and kills
	running      atomic.Pointer[Agent] // the same, for clients
	name, ip, id string
	args         []string
	rooms        []room.Room // what its program can do; nil: simRooms
	disk         *disk.Forgetful
	skew         atomic.Int64 // nanoseconds by which its clock is wrong
	full         atomic.Bool  // its disk says that there is no room, and takes all the same
	up           bool
	end          func()
	ended        chan struct{} // closes when its process has ended, with failure
	failure      error
}

// simLog keeps what all agents said, for a run that fails.
type simLog struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *simLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines.Len() > 64<<20 {
		l.lines.Reset()
	}
	return l.lines.Write(b)
}

// keep writes what the agents said to a file, if the run has a directory for what failed.
func (l *simLog) keep(t *testing.T) {
	if *simKeep == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	file := filepath.Join(*simKeep, "agents.log")
	if err := disk.WriteFile(disk.OS(), file, l.lines.Bytes(), 0o600); err != nil {
		t.Error(err)
		return
	}
	t.Logf("what the agents said is in %s", file)
}

// simulate runs f in a bubble with a cluster of its own.
func simulate(t *testing.T, seed uint64, servers, clients int, f func(w *world)) {
	inWorld(t, seed, func(w *world) {
		w.add("dc1", 0, servers, clients)
		f(w)
	})
}

// inWorld runs f in a bubble with a network where nobody is yet.
func inWorld(t *testing.T, seed uint64, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(seed), rand: rand.New(rand.NewPCG(seed, 1)), log: new(simLog)}
		w.net.Default(simnet.Link{Delay: 200 * time.Microsecond, Jitter: 100 * time.Microsecond})
		defer w.close()
		f(w)
	})
}

// add starts the machines of a datacenter, whose addresses begin with 10.site.
func (w *world) add(dc string, site, servers, clients int, extra ...string) (added []*simNode) {
	w.t.Helper()
	for i := range servers + clients {
		n := w.machine(dc, site, i, servers, extra...)
		added = append(added, n)
		w.start(n)
	}
	w.nodes = append(w.nodes, added...)
	return added
}

// machine returns the machine number i of a datacenter, not yet started: a server if i is below servers.
func (w *world) machine(dc string, site, i, servers int, extra ...string) *simNode {
	n := &simNode{rooms: w.rooms, ip: fmt.Sprintf("10.%d.%d.%d", site, i/200, 1+i%200), disk: disk.NewForgetful()}
	n.id = fmt.Sprintf("00000000-0000-4000-8000-%012d", site*1_000_000+i+1)
	n.name = fmt.Sprintf("c%d", i-servers+1)
	n.args = []string{"-data-dir=/none", "-datacenter=" + dc, "-bind=" + n.ip, "-retry-interval=1s",
		fmt.Sprintf("-retry-join=10.%d.0.1", site), fmt.Sprintf("-retry-join=10.%d.0.2", site)}
	if i < servers {
		n.name = fmt.Sprintf("s%d", i+1)
		n.args = append(append(n.args, "-server", fmt.Sprintf("-bootstrap-expect=%d", servers)), extra...)
	}
	n.args = append(n.args, "-node="+n.name)
	return n
}

func (w *world) start(n *simNode) {
	w.t.Helper()
	if n.rooms == nil {
		n.rooms = simRooms
	}
	if err := w.tryStart(n); err != nil {
		w.t.Fatalf("%s cannot start: %v", n.name, err)
	}
}

// tryStart returns why a machine's process cannot start.
func (w *world) tryStart(n *simNode) error {
	w.t.Helper()
	conf := newSettings(n.rooms)
	loaded, err := config.Load(config.Input{Args: n.args}, conf.all()...)
	if err != nil {
		w.t.Fatal(err)
	}
	conf.agent.DataDir = "" // what Serf and others keep in real files is not kept
	a := newAgent(n.rooms, n.args, conf, loaded, w.net.Host(n.ip))
	a.level.Set(slog.LevelDebug)
	a.log = newLog(w.log, nil, a.level, false).With("on", n.name)
	a.clock = func() time.Time { return time.Now().Add(time.Duration(n.skew.Load())) }
	a.space = func(string) (disk.Space, error) {
		if n.full.Load() {
			return disk.Space{Free: 1 << 20, Total: 1 << 40}, nil
		}
		return disk.Space{Free: 1 << 39, Total: 1 << 40}, nil
	}
	self, err := identity(conf.agent, conf.dns.Domain, n.id, false)
	if err != nil {
		w.t.Fatal(err)
	}
	certs, err := a.openCerts(&conf.agent.TLS)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := a.assemble(conf, &room.Host{Certs: certs, Self: self, Disk: n.disk, Dir: "/" + n.name}); err != nil {
		return errors.Join(err, a.close())
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		n.failure = a.run(ctx)
		close(ended)
	}()
	n.Agent, n.up, n.ended = a, true, ended
	n.running.Store(a)
	n.end = sync.OnceFunc(func() { stop(); <-ended })
	return nil
}

// stop ends a machine's process in order.
func (w *world) stop(n *simNode) {
	n.up = false
	n.end()
	w.net.Host(n.ip).Kill()
}

// kill is a power cut of one machine: connections break, what was not synced is gone.
func (w *world) kill(n *simNode) {
	n.up = false
	w.net.Host(n.ip).Kill()
	n.disk = n.disk.PowerCut()
	n.end() // what the old process does from here on nobody sees
}

// revive is what a supervisor does: a process that ended by itself is started again. It reports whether one had.
func (w *world) revive(n *simNode) bool {
	select {
	case <-n.ended:
	default:
		return false
	}
	w.net.Host(n.ip).Kill()
	n.end()
	w.start(n)
	return true
}

func (w *world) close() {
	for _, n := range w.nodes {
		if n.up {
			w.net.Host(n.ip).Kill()
			n.up = false
		}
		n.end()
	}
	time.Sleep(time.Minute) // probes in flight end soon after their pools
	if w.t.Failed() {
		w.log.keep(w.t)
	}
}

// until waits in virtual time for what is bound to come about.
func (w *world) until(what string, limit time.Duration, is func() bool) time.Duration {
	w.t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if is() {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			w.t.Fatalf("within %v there never was %s", limit, what)
		}
	}
}

// leader returns who leads and is ready; nil while nobody is, or more than one believes it.
func (w *world) leader() (found *simNode) {
	for _, n := range w.nodes {
		if n.up && n.node != nil {
			if _, ready := n.node.Leading(); ready {
				if found != nil {
					return nil
				}
				found = n
			}
		}
	}
	return found
}

func (w *world) awaitLeader() *simNode {
	w.t.Helper()
	var n *simNode
	w.until("a leader", 30*time.Second, func() bool { n = w.leader(); return n != nil })
	return n
}

// TestClusterForms: three servers and two client agents find one another, form one cluster, and the catalog holds them all.
func TestClusterForms(t *testing.T) {
	simulate(t, 1, 3, 2, func(w *world) {
		took := w.until("a leader", 20*time.Second, func() bool { return w.leader() != nil })
		t.Logf("a leader after %v", took)
		w.until("all nodes in the catalog", 30*time.Second, func() bool {
			a, _, err := w.nodes[0].host.Door.Read(context.Background(), catalog.NodesQuery{}, room.Options{})
			return err == nil && len(a.Value.(catalog.NodeList)) == 5
		})
	})
}

// TestLeaderDies: another server leads within a moment, again and again, and the dead come back as followers.
func TestLeaderDies(t *testing.T) {
	simulate(t, 2, 3, 0, func(w *world) {
		var pauses []time.Duration
		for range 10 {
			old := w.awaitLeader()
			w.kill(old)
			pauses = append(pauses, w.until("a new leader", 10*time.Second, func() bool { n := w.leader(); return n != nil && n != old }))
			w.start(old)
			time.Sleep(2 * time.Second)
		}
		t.Logf("pauses: %v", pauses)
	})
}

// TestLeaderStops: a leader that stops in order hands over, so that nobody notices more than a moment.
func TestLeaderStops(t *testing.T) {
	simulate(t, 3, 3, 0, func(w *world) {
		var pauses []time.Duration
		for range 3 {
			old := w.awaitLeader()
			begin := time.Now()
			stopped := make(chan struct{})
			go func() { defer close(stopped); old.end() }()
			w.until("another leader", 10*time.Second, func() bool {
				for _, n := range w.nodes {
					if _, ready := n.node.Leading(); n != old && n.up && ready {
						return true
					}
				}
				return false
			})
			pauses = append(pauses, time.Since(begin))
			<-stopped
			old.up = false
			w.net.Host(old.ip).Kill()
			w.start(old)
			time.Sleep(3 * time.Second)
		}
		t.Logf("pauses: %v", pauses)
	})
}

// TestServerIsReplaced: a server that died is taken out of the log's group once another has come for it, and the new one
// gets its vote.
func TestServerIsReplaced(t *testing.T) {
	simulate(t, 6, 3, 1, func(w *world) {
		l := w.awaitLeader()
		time.Sleep(15 * time.Second)
		dead := w.nodes[0]
		if dead == l {
			dead = w.nodes[1]
		}
		w.kill(dead)
		fresh := &simNode{name: "s4", ip: "10.0.7.7", id: "00000000-0000-4000-8000-0000000000aa", disk: disk.NewForgetful()}
		fresh.args = []string{"-data-dir=/none", "-bind=" + fresh.ip, "-node=s4", "-server", "-bootstrap-expect=3",
			"-retry-join=" + l.ip, "-retry-interval=1s"}
		w.nodes = append(w.nodes, fresh)
		w.start(fresh)
		took := w.until("three voters without the dead one", 3*time.Minute, func() bool {
			n := w.leader()
			if n == nil {
				return false
			}
			voters, gone := 0, true
			for _, p := range n.node.Peers() {
				gone = gone && p.ID != dead.id
				if p.Voter {
					voters++
				}
			}
			return gone && voters == 3
		})
		t.Logf("replaced after %v", took)
	})
}
