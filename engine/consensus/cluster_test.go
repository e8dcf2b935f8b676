package consensus

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"rostra/kit/fault"
)

// cluster is some servers on one network in memory, in a bubble.
type cluster struct {
	t       *testing.T
	net     *wires
	adjust  func(*Options)
	logger  *slog.Logger
	closing sync.WaitGroup

	mu      sync.Mutex
	members map[string]*server // their newest lives
}

// server is one life of a server. What it stores survives it.
type server struct {
	*Node
	id, address string
	jack        *jack
	words       *words
	memory      *memory
	up          bool // guarded by the cluster's lock
	ended       chan struct{}
}

func newCluster(t *testing.T, size int, adjust func(*Options)) *cluster {
	c := &cluster{t: t, net: newWires(), adjust: adjust, logger: quiet, members: map[string]*server{}}
	for i := range size {
		c.start(fmt.Sprint("s", i+1))
	}
	t.Cleanup(c.stop)
	return c
}

// formed starts servers that form a cluster.
func formed(t *testing.T, size int, adjust func(*Options)) *cluster {
	c := newCluster(t, size, adjust)
	for _, s := range c.live() {
		if err := s.Form(context.Background(), c.peers()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cluster) peers() []Peer {
	var out []Peer
	for _, s := range c.live() {
		out = append(out, Peer{ID: s.id, Address: s.address})
	}
	return out
}

// start opens a server, with what an earlier life stored.
func (c *cluster) start(id string) *server {
	c.t.Helper()
	return c.startAt(id, "")
}

// startAt opens it at a new address.
func (c *cluster) startAt(id, address string) *server {
	c.t.Helper()
	s := &server{id: id, address: id + ":1", memory: newMemory(), words: newWords(), up: true, ended: make(chan struct{})}
	c.mu.Lock()
	if before := c.members[id]; before != nil {
		c.mu.Unlock()
		<-before.ended // two lives must not share what is stored
		c.mu.Lock()
		s.address, s.memory = before.address, before.memory
	}
	if address != "" {
		s.address = address
	}
	address = s.address
	c.members[id] = s
	c.mu.Unlock()
	s.jack = c.net.plug(id, address)
	o := Options{ID: id, Address: address, Streams: s.jack, Resolve: c.resolve, Logger: c.logger.With("on", id), memory: s.memory, NoStopSnapshot: true}
	if c.adjust != nil {
		c.adjust(&o)
	}
	n, err := Open(o, s.words)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	s.Node = n
	c.mu.Unlock()
	return s
}

func (c *cluster) resolve(id string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.members[id]; s != nil {
		return s.address, true
	}
	return "", false
}

// live are the servers that are up, in the order of their ids.
func (c *cluster) live() []*server {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*server
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		if s := c.members[id]; s.up && s.Node != nil {
			out = append(out, s)
		}
	}
	return out
}

// kill is kill -9 as far as others can see.
func (c *cluster) kill(s *server) {
	c.mu.Lock()
	s.up = false
	c.mu.Unlock()
	_ = s.jack.Close()
	gone, end := context.WithCancel(context.Background())
	end()
	c.closing.Go(func() { _ = s.Close(gone); close(s.ended) })
}

func (c *cluster) stop() {
	for _, s := range c.live() {
		c.kill(s)
	}
	c.closing.Wait()
}

// until waits, in the bubble's time, for something that must come true.
func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			for _, s := range c.live() {
				c.t.Logf("%s: %v", s.id, s.Stats())
			}
			c.t.Fatalf("never: %s", what)
		}
	}
}

// leader waits for one that is ready and not the one given.
func (c *cluster) leader(not *server) *server {
	c.t.Helper()
	var found *server
	c.until("a leader", func() bool {
		found = nil
		for _, s := range c.live() {
			if s == not {
				continue
			}
			if _, ready := s.Leading(); ready && (found == nil || s.Term() > found.Term()) {
				found = s
			}
		}
		return found != nil
	})
	return found
}

// others are the servers that are up, but one.
func (c *cluster) others(than *server) []*server {
	return slices.DeleteFunc(c.live(), func(s *server) bool { return s == than })
}

// same waits until every server that is up has this word.
func (c *cluster) same(key, value string) {
	c.t.Helper()
	for _, s := range c.others(nil) {
		c.until(fmt.Sprint(s.id, " has ", key), func() bool { return s.words.get(key) == value })
	}
}

// cutOff cuts all links of a server, in both directions.
func (c *cluster) cutOff(s *server, cut bool) {
	for i := range 9 {
		if o := fmt.Sprint("s", i+1); o != s.id {
			c.net.set(s.id, o, cut)
			c.net.set(o, s.id, cut)
		}
	}
}

// load is writes from many at once, and what their writers were told.
type load struct {
	c       *cluster
	cancel  context.CancelFunc
	writers sync.WaitGroup

	mu      sync.Mutex
	acked   map[string]bool // done
	never   map[string]bool // certainly not applied
	unknown int
}

// write starts writers that end with done.
func (c *cluster) write(writers int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	c.t.Cleanup(cancel)
	l := &load{c: c, cancel: cancel, acked: map[string]bool{}, never: map[string]bool{}}
	for w := range writers {
		l.writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if live := c.live(); len(live) == 0 || !l.put(live, w, i) {
					pass(20 * time.Millisecond)
				} else {
					pass(25 * time.Millisecond)
				}
			}
		})
	}
	return l
}

// put writes at the server that leads, as far as one can tell, or another if that is not clear; every third writer
// writes several at once.
func (l *load) put(live []*server, w, i int) bool {
	s := live[i%len(live)]
	for _, o := range live {
		if o.State() == "Leader" {
			s = o
		}
	}
	key := fmt.Sprintf("w%d-%d", w, i)
	if w%3 != 0 {
		_, err := s.Propose(context.Background(), []byte(key+"="+key))
		return l.told(key, err)
	}
	var commands [][]byte
	for j := range 5 {
		commands = append(commands, fmt.Appendf(nil, "%s-%d=x", key, j))
	}
	done := true
	for j, out := range s.ProposeAll(context.Background(), commands) {
		done = l.told(fmt.Sprintf("%s-%d", key, j), out.Err) && done
	}
	return done
}

func (l *load) told(key string, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.acked[key] = true
	case fault.Is(err, fault.NotApplied), fault.Is(err, fault.NoLeader):
		l.never[key] = true
	case fault.Is(err, fault.Unknown):
		l.unknown++
	default:
		l.c.t.Errorf("%s: %v of kind %v", key, err, fault.KindOf(err))
	}
	return err == nil
}

// done ends the writers, waits until all servers that are up agree, and compares their state with what was told.
func (l *load) done() {
	l.c.t.Helper()
	l.cancel()
	l.writers.Wait()
	for {
		// A leader that was just deposed may still think it leads.
		if _, err := l.c.leader(nil).Propose(context.Background(), []byte("end=1")); err == nil {
			break
		}
	}
	l.c.same("end", "1")
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.acked) == 0 {
		l.c.t.Error("nothing was ever acknowledged")
	}
	for _, s := range l.c.live() {
		for k := range l.acked {
			if s.words.get(k) == "" {
				l.c.t.Errorf("%s was acknowledged and %s does not have it", k, s.id)
			}
		}
		for k := range l.never {
			if s.words.get(k) != "" {
				l.c.t.Errorf("%s was said to be not applied and %s has it", k, s.id)
			}
		}
	}
	l.c.t.Logf("%d acknowledged, %d not applied, %d unknown", len(l.acked), len(l.never), l.unknown)
}

// pass lets the bubble's time go on.
func pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Until(end)) {
	}
}
