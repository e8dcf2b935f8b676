package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/kit/store"
)

// Bounds of the answers kept for Queries nobody holds at the moment.
const (
	idleAnswers = 4096             // how many
	idleTime    = 60 * time.Second // how long
	crowd       = 100              // more parked readers are woken at most once per crowdPace (design rule 17)
	crowdPace   = 50 * time.Millisecond
	sweepPeriod = 10 * time.Second
)

// answers holds one cell for each Query that somebody reads, watches or asked lately.
type answers struct {
	mu    sync.Mutex // guards cells and the users and last fields of every cell
	cells map[room.Query]*cell
	idle  int
	srv   *Server
	queue queue // cells with parked readers whose subjects were touched
}

// queue hands due cells from commits, which must not wait, to the one goroutine that evaluates them.
type queue struct {
	mu     sync.Mutex // guards cells
	cells  []*cell
	signal chan struct{}
}

func (q *queue) push(c *cell) {
	q.mu.Lock()
	q.cells = append(q.cells, c)
	q.mu.Unlock()
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

func (q *queue) take() []*cell {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.cells
	q.cells = nil
	return list
}

// cell is the shared evaluation of one Query.
type cell struct {
	query  room.Query
	waiter *store.Waiter
	users  int       // who holds it
	last   time.Time // when somebody last did
	parked atomic.Int64
	queued atomic.Bool
	big    atomic.Bool // it was a crowd that was woken last; many of it may be on their way back

	now  atomic.Pointer[answer]
	mu   sync.Mutex             // guards an evaluation and the fields below
	next chan struct{}          // closed when a different answer is there
	wake map[*follower]struct{} // who is called then
	owed bool                   // it is there, and next waits for the crowd's pace
	ran  time.Time              // when a crowd last got its turn: an evaluation, or next closed
}

// answer is a Query's answer in one history of the state, current while its cell has been touched that often. The
// lineage comes from the very view that was read, so an answer can never pass for one of the state that replaced it.
type answer struct {
	room.Answer
	lineage string
	at      uint64 // the index of the state
	touches uint64
	wire    *relay.Packed
}

// wireOf returns the wire form of an answer of that lineage, nil if it is of none or of another.
func (a *answer) wireOf(lineage string) *relay.Packed {
	if a == nil || a.lineage != lineage {
		return nil
	}
	return a.wire
}

// Equaler lets a Value say that it tells readers nothing new.
type Equaler interface{ Equal(other any) bool }

// different reports whether readers of old must be woken: a mere wake-up that changes nothing wakes nobody.
func (a *answer) different(old *answer) bool {
	if a.lineage != old.lineage {
		return true
	}
	if a.Index == old.Index || (a.Missing && old.Missing) {
		return false
	}
	if e, ok := a.Value.(Equaler); ok && e.Equal(old.Value) {
		return false
	}
	return true
}

func (a *answers) init(s *Server) {
	a.srv = s
	a.cells = map[room.Query]*cell{}
	a.queue.signal = make(chan struct{}, 1)
}

// join returns the Query's cell, made if need be, and holds it.
func (a *answers) join(q room.Query) *cell {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.cells[q]
	if c == nil {
		c = &cell{query: q, next: make(chan struct{})}
		c.waiter = a.srv.store.Watch(q.Subjects(), func() { a.touched(c) })
		a.cells[q] = c
	} else if c.users == 0 {
		a.idle--
	}
	c.users++
	return c
}

// leave gives the cell back. It stays for a while, for the next who asks.
func (a *answers) leave(c *cell) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.users--; c.users > 0 {
		return
	}
	c.last = time.Now()
	if a.idle++; a.idle > idleAnswers {
		a.evict(c.last.Add(-time.Second), idleAnswers/8)
	}
}

// evict drops the cells that nobody has held since the given time, and if they are fewer than least, others of the idle.
func (a *answers) evict(since time.Time, least int) {
	least -= a.drop(func(c *cell) bool { return c.last.Before(since) })
	a.drop(func(*cell) bool { least--; return least >= 0 })
}

func (a *answers) drop(which func(*cell) bool) (n int) {
	for q, c := range a.cells {
		if c.users == 0 && which(c) {
			c.waiter.Close()
			delete(a.cells, q)
			n++
		}
	}
	a.idle -= n
	return n
}

// touched is called by the commit: readers that are parked get a new evaluation, others make it when they come.
func (a *answers) touched(c *cell) {
	if c.parked.Load() > 0 && c.queued.CompareAndSwap(false, true) {
		a.queue.push(c)
	}
}

// run evaluates due cells until ctx ends.
func (a *answers) run(ctx context.Context) {
	sweep := time.NewTicker(sweepPeriod)
	defer sweep.Stop()
	for {
		select {
		case <-a.queue.signal:
			for _, c := range a.queue.take() {
				a.serve(c)
			}
		case <-sweep.C:
			a.mu.Lock()
			a.evict(time.Now().Add(-idleTime), 0)
			a.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// serve evaluates a due cell and wakes its readers. A crowded one waits for its turn and stays queued meanwhile, so that
// further touches add nothing.
func (a *answers) serve(c *cell) {
	if wait := c.turn(); wait > 0 {
		time.AfterFunc(wait, func() { a.queue.push(c) })
		return
	}
	c.queued.Store(false)
	c.fresh(a.srv)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.announce(a)
}

// turn returns how long it is until the cell's crowd may be served again; 0 if it may now, or is no crowd.
func (c *cell) turn() time.Duration {
	if !c.crowded() {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, crowdPace-time.Since(c.ran))
}

func (c *cell) crowded() bool { return c.big.Load() || c.parked.Load() > crowd }

// announce wakes the parked readers if a different answer is there, a crowd not sooner than its turn. c.mu is held.
func (c *cell) announce(a *answers) {
	if !c.owed {
		return
	}
	if c.crowded() {
		if wait := crowdPace - time.Since(c.ran); wait > 0 {
			if c.queued.CompareAndSwap(false, true) {
				time.AfterFunc(wait, func() { a.queue.push(c) })
			}
			return
		}
	}
	c.owed, c.ran = false, time.Now()
	c.big.Store(c.parked.Load() > crowd)
	close(c.next)
	c.next = make(chan struct{})
	for f := range c.wake {
		f.wake()
	}
}

// changed returns the channel that closes when the next different answer is there.
func (c *cell) changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

// current returns the answer at hand if none of its subjects has been touched since, else nil.
func (c *cell) current() *answer {
	n, settled := c.waiter.Touches()
	if a := c.now.Load(); a != nil && settled && a.touches == n {
		return a
	}
	return nil
}

// floor is how many touches an answer must have seen that holds what any view holds now.
func (c *cell) floor() uint64 {
	n, settled := c.waiter.Touches()
	if !settled {
		n++
	}
	return n
}

// since returns an answer as of at least floor touches: the one at hand if it is that new, else a fresh one. A member of a
// crowd need not have what came after it asked.
func (c *cell) since(s *Server, floor uint64) *answer {
	if a := c.now.Load(); a != nil && a.touches >= floor {
		return a
	}
	return c.fresh(s)
}

// fresh returns an answer that contains every write acknowledged before the call: the one at hand if it is current, else
// a new one (design rule 11).
func (c *cell) fresh(s *Server) *answer {
	if a := c.current(); a != nil {
		return a
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.now.Load()
	n, settled := c.waiter.Touches()
	if old != nil && settled && old.touches == n {
		return old
	}
	a := &answer{touches: n}
	v := s.store.View()
	a.lineage, a.at, a.Answer = v.Lineage(), v.Index(), ask(c.query, v)
	v.Release()
	s.stats.evaluations.Add(1)
	if old != nil && a.lineage == old.lineage && a.Index == old.Index {
		a.Answer, a.wire = old.Answer, old.wire // nothing visible changed: the encodings still hold
	} else {
		a.Shared, a.wire = room.NewShared(a.Value), relay.Pack(a.Answer, old.wireOf(a.lineage))
	}
	c.now.Store(a)
	c.owed = c.owed || old != nil && a.different(old)
	c.announce(&s.answers)
	if c.crowded() && time.Since(c.ran) >= crowdPace {
		c.ran = time.Now()
	}
	return a
}
