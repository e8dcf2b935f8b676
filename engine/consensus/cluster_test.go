package consensus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// cluster is some servers on one network in memory, in a bubble.
type cluster struct {
	t       *testing.T
	net     *wires
	adjust  func(*Options)
	logger  *slog.Logger
	members map[string]*server
	closing sync.WaitGroup
}

// server is one server over its lives: what it stores survives it.
type server struct {
	*Node
	id, address string
	jack        *jack
	words       *words
	memory      *memory
	up          bool
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
	for _, s := range c.members {
		if err := s.Form(context.Background(), c.peers()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cluster) peers() []Peer {
	var out []Peer
	for _, s := range c.members {
		out = append(out, Peer{ID: s.id, Address: s.address})
	}
	return out
}

// start opens a server, with what an earlier life stored.
func (c *cluster) start(id string) *server {
	c.t.Helper()
	s := c.members[id]
	if s == nil {
		s = &server{id: id, address: id + ":1", memory: newMemory()}
		c.members[id] = s
	}
	s.words, s.jack = newWords(), c.net.plug(id, s.address)
	o := Options{ID: id, Address: s.address, Streams: s.jack, Resolve: c.resolve, Logger: c.logger.With("on", id), memory: s.memory, NoStopSnapshot: true}
	if c.adjust != nil {
		c.adjust(&o)
	}
	n, err := Open(o, s.words)
	if err != nil {
		c.t.Fatal(err)
	}
	s.Node, s.up = n, true
	return s
}

func (c *cluster) resolve(id string) (string, bool) {
	if s := c.members[id]; s != nil {
		return s.address, true
	}
	return "", false
}

// kill is kill -9 as far as others can see.
func (c *cluster) kill(s *server) {
	s.up = false
	_ = s.jack.Close()
	gone, end := context.WithCancel(context.Background())
	end()
	c.closing.Go(func() { _ = s.Close(gone) })
}

func (c *cluster) stop() {
	for _, s := range c.members {
		if s.up {
			c.kill(s)
		}
	}
	c.closing.Wait()
}

// until waits, in the bubble's time, for something that must come true.
func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			for _, s := range c.members {
				c.t.Logf("%s up=%v: %v", s.id, s.up, s.Stats())
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
		for _, s := range c.members {
			if !s.up || s == not {
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

// others are the servers that are up, but one, in the order of their ids.
func (c *cluster) others(than *server) []*server {
	var out []*server
	for i := range 9 {
		if s := c.members[fmt.Sprint("s", i+1)]; s != nil && s.up && s != than {
			out = append(out, s)
		}
	}
	return out
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
	for _, o := range c.members {
		if o != s {
			c.net.set(s.id, o.id, cut)
			c.net.set(o.id, s.id, cut)
		}
	}
}
