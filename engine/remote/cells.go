package remote

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// Bounds of the live answers that nobody holds at the moment. What is asked for now and then must be there when the
// servers are not, so they are kept long, and none goes by its age while no server is there to tell it again.
const (
	idleAnswers = 1024
	idleTime    = time.Hour
	sweepPeriod = 10 * time.Second
)

// cells holds one live answer for each Query that somebody reads, watches or asked lately.
type cells struct {
	mu       sync.Mutex // guards all, and every cell
	byKey    map[key]*cell
	byID     map[uint64]*cell // those subscribed on the stream
	subs     *relay.Subscriptions
	idle     int
	swept    time.Time
	fresh    room.Meta // of the server
	heard    time.Time // when it last said something
	touched  time.Time // when it last said so while it knew a leader
	lineage  string
	moved    atomic.Uint64 // counts what may have changed an answer
	replaced chan struct{}
	changed  chan struct{} // closed and replaced when the connection or the leader comes or goes
	ended    bool
}

// key: rights are a part of what is asked.
type key struct {
	query room.Query
	token string
}

// cell is one live answer.
type cell struct {
	key
	users int
	last  time.Time
	id    uint64        // of the subscription; 0 without
	now   *relay.News   // nil before the first
	next  chan struct{} // closed and replaced when a different answer, or err, is there
	err   error         // the servers refuse it; the cell is dead
}

func (c *cells) init() {
	c.byKey, c.byID = map[key]*cell{}, map[uint64]*cell{}
	c.replaced, c.changed = make(chan struct{}), make(chan struct{})
}

// join returns the Query's cell and holds it; subscribed if there is a stream.
func (c *cells) join(k key) *cell {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.byKey[k]
	if one == nil {
		one = &cell{key: k, next: make(chan struct{})}
		c.byKey[k] = one
		c.subscribe(one)
	} else if one.users == 0 {
		c.idle--
	}
	one.users++
	return one
}

// subscribe asks the server for a cell. A failure ends the stream, and the next one asks again. mu is held.
func (c *cells) subscribe(one *cell) {
	if c.subs == nil {
		return
	}
	at, lineage := uint64(0), ""
	if one.now != nil {
		at, lineage = one.now.At, one.now.Lineage
	}
	id, err := c.subs.Subscribe(one.query, room.Options{Token: one.token}, at, lineage)
	if err == nil {
		one.id = id
		c.byID[id] = one
	}
}

func (c *cells) leave(one *cell) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one.users--; one.users > 0 || one.err != nil {
		return
	}
	one.last = time.Now()
	if c.idle++; c.idle > idleAnswers || time.Since(c.swept) > sweepPeriod {
		c.sweep()
	}
}

// forgettable reports whether nobody has asked for a cell for long, so that it may be forgotten. mu is held.
func (c *cells) forgettable(one *cell) bool {
	return c.subs != nil && one.users == 0 && time.Since(one.last) > idleTime
}

// sweep drops what nobody asked for a while, and if that is little some of the rest. mu is held.
func (c *cells) sweep() {
	c.swept = time.Now()
	surplus := c.idle - idleAnswers*7/8
	for _, old := range []bool{true, false} {
		for _, one := range c.byKey {
			if old && c.forgettable(one) || !old && one.users == 0 && c.idle > idleAnswers && surplus > 0 {
				c.drop(one)
				c.idle--
				surplus--
			}
		}
	}
}

// drop forgets a cell. mu is held.
func (c *cells) drop(one *cell) {
	delete(c.byKey, one.key)
	if one.id != 0 && c.subs != nil {
		_ = c.subs.Drop(one.id) // a broken stream ends all subscriptions
		delete(c.byID, one.id)
	}
}

// connect subscribes all cells on a new stream.
func (c *cells) connect(subs *relay.Subscriptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs, c.byID, c.heard = subs, map[uint64]*cell{}, time.Now()
	for _, one := range c.byKey {
		if c.forgettable(one) {
			c.drop(one)
			c.idle--
			continue
		}
		one.id = 0
		if c.subscribe(one); one.id == 0 {
			return fault.New(fault.Unknown, "the stream broke at once")
		}
	}
	return nil
}

// disconnected keeps what is known, as of now.
func (c *cells) disconnected() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs, c.byID = nil, map[uint64]*cell{}
	for _, one := range c.byKey {
		one.id = 0
	}
	c.announce()
}

// announce wakes who waits for a connection or a leader. mu is held.
func (c *cells) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// take notes what the server said.
func (c *cells) take(n relay.News) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = time.Now()
	if n.ID == 0 {
		c.fresh = n.Fresh
	}
	if c.fresh.KnownLeader {
		c.touched = c.heard
	}
	if n.Lineage != "" && n.Lineage != c.lineage {
		if c.lineage != "" {
			close(c.replaced)
			c.replaced = make(chan struct{})
		}
		c.lineage = n.Lineage
	}
	if n.ID == 0 {
		c.announce()
		return
	}
	one := c.byID[n.ID]
	defer c.moved.Add(1)
	switch {
	case one == nil:
		return
	case n.Err != nil:
		one.err = n.Err
		delete(c.byID, n.ID)
		delete(c.byKey, one.key)
		if one.users == 0 {
			c.idle--
		}
	case one.now != nil && same(one.now, &n):
		n.Answer = one.now.Answer // what was derived from it can be kept
		one.now = &n
		return
	default:
		one.now = &n
	}
	close(one.next)
	one.next = make(chan struct{})
}

// same reports whether an answer is the one that is known already, told again by another server.
func same(a, b *relay.News) bool {
	return a.Lineage == b.Lineage && a.Answer.Index == b.Answer.Index && a.Answer.Missing == b.Answer.Missing
}

// end lets all who wait go.
func (c *cells) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	defer c.moved.Add(1)
	for _, one := range c.byKey {
		one.err = fault.ErrNoLeader
		close(one.next)
		one.next = make(chan struct{})
	}
	clear(c.byKey)
	c.announce()
}

func (c *cells) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byID)
}

func (c *cells) restored() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replaced
}

// age is how old the answers are at most: what the server said of itself, and how long it has been silent if the stream
// is broken.
func (c *cells) age() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.meta(0, room.Options{}).LastContact
}

// meta describes an answer. mu is held.
func (c *cells) meta(index uint64, o room.Options) room.Meta {
	m := c.fresh
	m.Index, m.Consistency = index, o.Consistency
	if c.subs == nil {
		m.KnownLeader = false
		if !c.heard.IsZero() {
			m.Age = time.Since(c.heard)
			m.LastContact += m.Age
		}
	}
	return m
}

// state is a cell at one moment.
type state struct {
	now     *relay.News
	next    <-chan struct{}
	changed <-chan struct{}
	err     error
	meta    room.Meta
	touched time.Time
	dead    bool // the agent is stopping

	followed bool // a stream to a server is there
}

func (c *cells) look(one *cell, o room.Options) state {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := state{now: one.now, next: one.next, changed: c.changed, err: one.err, touched: c.touched, dead: c.ended, followed: c.subs != nil}
	index := uint64(0)
	if one.now != nil {
		index = one.now.Answer.Index
	}
	s.meta = c.meta(index, o)
	return s
}

// read answers from a cell, blocking as spec http/conventions.md §8 has it.
func (c *cells) read(ctx context.Context, r *Remote, q room.Query, o room.Options) (room.Answer, room.Meta, error) {
	one := c.join(key{q, o.Token})
	defer c.leave(one)
	s, err := c.first(ctx, r, one, o)
	if err != nil || o.Index == 0 {
		return answerOf(s), s.meta, err
	}
	wait := o.Wait
	if wait <= 0 {
		wait = r.opts.QueryTime
	}
	timer := time.NewTimer(min(wait, r.opts.MaxQueryTime+r.opts.MaxQueryTime/16)) // clients' waits come with their jitter
	defer timer.Stop()
	began := s.now
	lost := time.NewTimer(s.left(o))
	defer lost.Stop()
	for {
		a := s.now.Answer
		moved := s.now != began && (s.now.Lineage != began.Lineage || a.Index > o.Index && !(a.Missing && began.Answer.Missing))
		if moved || s.now == began && a.Index > o.Index {
			break
		}
		select {
		case <-s.next:
			if s = c.look(one, o); s.err != nil {
				return room.Answer{}, s.meta, s.err
			}
			continue
		case <-lost.C:
			if s = c.look(one, o); s.left(o) > 0 {
				lost.Reset(s.left(o))
				continue
			}
			return room.Answer{}, s.meta, fault.ErrNoLeader
		case <-timer.C:
		case <-ctx.Done():
			return room.Answer{}, s.meta, ctx.Err()
		}
		break
	}
	s, err = c.touch(ctx, r, one, o)
	return answerOf(s), s.meta, err
}

// lostTime is how long parked default reads outlive the contact with a server that knows a leader. Who holds a lock learns
// by their end that it may be lost: sooner than gossip gives up this node, whose sessions end with it.
const lostTime = 4 * time.Second

// left is how long a parked read with these options may go on without news of a leader.
func (s state) left(o room.Options) time.Duration {
	if o.Consistency == httpd.Stale {
		return lostTime
	}
	return max(0, lostTime-time.Since(s.touched))
}

func answerOf(s state) room.Answer {
	if s.now == nil {
		return room.Answer{}
	}
	return s.now.Answer
}

// first waits for the cell's first answer, for the hold time at most; not at all while no server is known, or gossip knows
// none that lives and none tells anything, though it is tried all the time (follow).
func (c *cells) first(ctx context.Context, r *Remote, one *cell, o room.Options) (state, error) {
	end := time.NewTimer(r.opts.Hold)
	defer end.Stop()
	for {
		s := c.look(one, o)
		switch {
		case s.err != nil:
			return s, s.err
		case s.now != nil:
			return s, nil
		case s.dead:
			return s, fault.ErrNoLeader
		}
		if _, known := r.choice.pick(); !known || !s.followed && r.choice.living() == 0 {
			return s, ErrNoServers
		}
		select {
		case <-s.next:
		case <-end.C:
			return s, ErrNoServers
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// touch returns the cell's newest answer. A default read that was parked is an error while the server knows no leader, or
// there is none to ask (design rule 14).
func (c *cells) touch(ctx context.Context, r *Remote, one *cell, o room.Options) (state, error) {
	end := time.NewTimer(min(r.opts.Hold, lostTime))
	defer end.Stop()
	for {
		s := c.look(one, o)
		if s.err != nil {
			return s, s.err
		}
		if o.Consistency == httpd.Stale || s.meta.KnownLeader || s.dead {
			return s, nil
		}
		select {
		case <-s.changed:
		case <-end.C:
			return s, fault.ErrNoLeader
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// watch holds a cell for a caller, from its first answer on.
func (c *cells) watch(ctx context.Context, r *Remote, q room.Query, o room.Options) (room.Watch, error) {
	w := &watch{cells: c, cell: c.join(key{q, o.Token})}
	if _, err := c.first(ctx, r, w.cell, o); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// watch is one caller's hold on a cell.
type watch struct {
	cells  *cells
	cell   *cell
	last   *relay.News
	closed sync.Once
}

// Latest returns what is known, however old.
func (w *watch) Latest() (room.Answer, error) {
	s := w.cells.look(w.cell, room.Options{})
	if s.err != nil {
		return room.Answer{}, s.err
	}
	return s.now.Answer, nil
}

// Next waits for an answer that differs from the last one.
func (w *watch) Next(ctx context.Context) (room.Answer, error) {
	for {
		s := w.cells.look(w.cell, room.Options{})
		if s.err != nil {
			return room.Answer{}, s.err
		}
		if w.last == nil || !same(w.last, s.now) {
			w.last = s.now
			return s.now.Answer, nil
		}
		select {
		case <-s.next:
		case <-ctx.Done():
			return room.Answer{}, ctx.Err()
		}
	}
}

// Close gives the cell back. A second call does nothing.
func (w *watch) Close() { w.closed.Do(func() { w.cells.leave(w.cell) }) }
