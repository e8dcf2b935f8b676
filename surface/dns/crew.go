package dns

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// queued is how many questions wait for a crew at most.
const queued = 1024

// job is a question that may have to wait.
type job struct {
	packet []byte
	from   peer
	socket socket
	until  time.Time // nobody waits for its answer any more
}

// crew answers questions that may have to wait, so that the others need not. Under more than it can do, who asked last is
// answered first, for who asked long ago has asked somebody else by now: what waited longest is dropped when there is no
// room, and what waited too long is told so when its turn comes. The zero value lacks most and do.
type crew struct {
	most    int // goroutines
	do      func(ctx context.Context, w *worker, j *job)
	dropped *atomic.Uint64

	mu    sync.Mutex // guards the rest but group
	life  context.Context
	jobs  []job // a ring: the oldest is at first
	first int
	count int
	busy  int
	idle  []*worker
	group sync.WaitGroup
}

// add takes a question. It never waits.
func (c *crew) add(s *Server, j job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jobs == nil {
		c.jobs = make([]job, queued)
	}
	if c.count == queued {
		c.jobs[c.first] = job{}
		c.first = (c.first + 1) % queued
		c.count--
		c.dropped.Add(1)
	}
	c.jobs[(c.first+c.count)%queued] = j
	c.count++
	if c.busy == c.most {
		return
	}
	c.busy++
	var w *worker
	if n := len(c.idle); n > 0 {
		w, c.idle = c.idle[n-1], c.idle[:n-1]
	} else {
		w = s.worker(rand.Uint64())
	}
	c.group.Go(func() { c.work(w) })
}

// next returns the newest question; false: there is none, and the worker is done.
func (c *crew) next(w *worker) (job, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == 0 {
		c.busy--
		if len(c.idle) < 8 {
			c.idle = append(c.idle, w)
		}
		return job{}, false
	}
	c.count--
	at := &c.jobs[(c.first+c.count)%queued]
	j := *at
	*at = job{}
	return j, true
}

// work answers questions until none waits. When the server's life ends, those that are left are answered at once.
func (c *crew) work(w *worker) {
	c.mu.Lock()
	ctx := c.life
	c.mu.Unlock()
	for {
		j, ok := c.next(w)
		if !ok {
			return
		}
		if time.Now().After(j.until) {
			c.dropped.Add(1)
			j.socket.write(w.late(j.packet), &j.from)
			continue
		}
		c.do(ctx, w, &j)
	}
}

// late is the answer to a question whose turn came too late.
func (w *worker) late(packet []byte) []byte {
	if w.q.parse(packet) != good {
		return nil
	}
	return w.compose(w.srv.conf.Load().alone, false)
}
