package dns

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"rostra/engine/room"
)

// Bounds of what is kept.
const (
	shards     = 16
	mostAnswer = 65536    // packed answers
	mostBytes  = 64 << 20 // of them
	mostIdle   = 60       // seconds an answer or a watch stays unasked
)

// cache holds the packed answers by question and the watches that keep them fresh. Only names that exist get in: what
// does not exist is told from the lists of names.
type cache struct {
	srv    *Server
	seed   maphash.Seed
	parts  [shards]shard
	count  atomic.Int64
	bytes  atomic.Int64
	mu     sync.Mutex // guards sources, life and every source's users
	life   context.Context
	byName map[room.Query]*source
	cut    atomic.Uint64          // counts closed sources
	spares map[room.Query]*source // guarded by mu: for Queries that are asked, not watched
}

type shard struct {
	mu      sync.RWMutex
	entries map[string]*entry
}

// entry is the answer to one question: a lower-case name and a class of types.
type entry struct {
	seen   atomic.Uint64 // the stamp at which answer was found to be current; 0: never
	answer atomic.Pointer[packed]
	used   atomic.Int64 // Unix seconds
	source *source
	size   atomic.Int64
	mu     sync.Mutex // held to make another answer, so that an older one never replaces a newer
	ask    ask
}

// source is a live answer of the door, with what was made of its latest value.
type source struct {
	watch   room.Watch
	closed  atomic.Bool   // the watch is no longer live
	used    atomic.Int64  // Unix seconds
	ready   chan struct{} // closed when watch or err is there
	query   room.Query
	err     error
	end     context.CancelFunc
	users   int // entries
	derived atomic.Pointer[derived]
}

type derived struct {
	shared *room.Shared
	value  any
}

func (c *cache) init(s *Server) {
	c.srv, c.seed, c.byName, c.life = s, maphash.MakeSeed(), map[room.Query]*source{}, context.Background()
	for i := range c.parts {
		c.parts[i].entries = map[string]*entry{}
	}
}

func (c *cache) shard(key []byte) *shard { return &c.parts[maphash.Bytes(c.seed, key)%shards] }

// find returns the entry of a question; nil if it has none.
func (c *cache) find(key []byte) *entry {
	s := c.shard(key)
	s.mu.RLock()
	e := s.entries[string(key)]
	s.mu.RUnlock()
	return e
}

// errClosed is for entries that outlived their watch: the question must be resolved anew.
var errClosed = errors.New("the watch is closed")

// stamp is another number after any watch may have another answer, or was closed; 0: nobody can tell.
func (s *Server) stamp() uint64 {
	if s.mover == nil {
		return 0
	}
	return 1 + s.mover.Moved() + s.cache.cut.Load()
}

// current returns the entry's answer, made anew if what it was made of has changed. While nothing at all has, it is found
// without a look at the watch: among many answers, most of what one costs is to fetch from memory what leads to it.
func (e *entry) current(s *Server) (*packed, error) {
	if s.strict() {
		return nil, errClosed
	}
	if now := s.clock.Load(); e.used.Load() != now {
		e.used.Store(now)
	}
	c, stamp, seen := s.conf.Load(), s.stamp(), e.seen.Load()
	if p := e.answer.Load(); p != nil && stamp != 0 && seen == stamp && (p.conf == c || p.conf == c.alt) {
		return p, nil
	}
	if e.source.closed.Load() {
		return nil, errClosed
	}
	a, err := e.source.watch.Latest()
	if err != nil {
		return nil, err
	}
	if p := e.answer.Load(); e.made(p, a, c) {
		e.seen.Store(stamp)
		return p, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	stamp = s.stamp()
	if a, err = e.source.watch.Latest(); err != nil {
		return nil, err
	}
	p := e.answer.Load()
	if !e.made(p, a, c) {
		p = c.of(&e.ask).build(&e.ask, e.source, a)
		p.shared = a.Shared
		s.stats.packed.Add(1)
		e.answer.Store(p)
		n := p.bytes()
		s.cache.bytes.Add(n - e.size.Swap(n))
	}
	e.seen.Store(stamp)
	return p, nil
}

// made reports whether the answer was made of a and by these settings.
func (e *entry) made(p *packed, a room.Answer, c *conf) bool {
	return p != nil && a.Shared != nil && p.shared == a.Shared && p.conf == c.of(&e.ask)
}

// add enters an answer; one that came first stays, as long as it lives.
func (c *cache) add(key []byte, a ask, src *source) *entry {
	e := &entry{ask: a, source: src}
	e.used.Store(c.srv.clock.Load())
	c.mu.Lock()
	src.users++
	c.mu.Unlock()
	s := c.shard(key)
	s.mu.Lock()
	have := s.entries[string(key)]
	dead := have != nil && have.source.closed.Load()
	if have == nil || dead {
		s.entries[string(key)] = e
	}
	s.mu.Unlock()
	switch {
	case dead:
		c.release(have.source)
		c.bytes.Add(-have.size.Swap(0))
		return e
	case have != nil:
		c.release(src)
		return have
	}
	if c.count.Add(1) > mostAnswer || c.bytes.Load() > mostBytes {
		c.evict()
	}
	return e
}

func (c *cache) release(src *source) {
	c.mu.Lock()
	src.users--
	c.mu.Unlock()
}

// drop removes entries for which the test holds.
func (c *cache) drop(test func(e *entry) bool) {
	for i := range c.parts {
		s := &c.parts[i]
		var gone []*entry
		s.mu.Lock()
		for k, e := range s.entries {
			if test(e) {
				delete(s.entries, k)
				gone = append(gone, e)
			}
		}
		s.mu.Unlock()
		for _, e := range gone {
			c.count.Add(-1)
			c.bytes.Add(-e.size.Swap(0))
			e.source.used.Store(max(e.source.used.Load(), e.used.Load()))
			c.release(e.source)
		}
	}
}

// evict drops the eighth of the entries that was asked longest ago.
func (c *cache) evict() {
	var ages []int64
	for i := range c.parts {
		s := &c.parts[i]
		s.mu.RLock()
		for _, e := range s.entries {
			ages = append(ages, e.used.Load())
		}
		s.mu.RUnlock()
	}
	slices.SortFunc(ages, cmp.Compare[int64])
	if len(ages) == 0 {
		return
	}
	left := len(ages)/8 + 1
	limit := ages[left-1]
	c.drop(func(e *entry) bool {
		if left == 0 || e.used.Load() > limit {
			return false
		}
		left--
		c.srv.stats.evicted.Add(1)
		return true
	})
}

// sweep ends what nobody has asked for a minute.
func (c *cache) sweep() {
	since := c.srv.clock.Load() - mostIdle
	bytes := int64(0)
	c.drop(func(e *entry) bool {
		idle := e.used.Load() < since
		if !idle {
			bytes += e.size.Load()
		}
		return idle
	})
	c.bytes.Store(bytes) // what readers of dropped entries may have added is forgotten
	c.closeIf(func(s *source) bool { return s.users == 0 && s.used.Load() < since })
}

// clear forgets everything.
func (c *cache) clear() {
	c.closeIf(func(*source) bool { return true })
	c.drop(func(*entry) bool { return true })
}

// forget drops a source whose watch has failed, and what hangs on it.
func (c *cache) forget(src *source) {
	c.closeIf(func(s *source) bool { return s == src })
	c.drop(func(e *entry) bool { return e.source == src })
}

func (c *cache) closeIf(test func(*source) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for q, s := range c.byName {
		select {
		case <-s.ready:
		default:
			continue // being opened
		}
		if test(s) {
			delete(c.byName, q)
			s.closed.Store(true)
			c.cut.Add(1)
			s.watch.Close()
			s.end()
		}
	}
}

func (c *cache) watches() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byName)
}

// open returns the live answer to a Query. The first who asks opens the watch, which may wait for a leader; the others
// wait for him; all as long as their ctx lets them.
func (c *cache) open(ctx context.Context, q room.Query) (*source, error) {
	c.mu.Lock()
	src := c.byName[q]
	if src == nil {
		src = &source{query: q, ready: make(chan struct{})}
		c.byName[q] = src
		life := c.life
		c.mu.Unlock()
		c.begin(ctx, life, src)
	} else {
		c.mu.Unlock()
		select {
		case <-src.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	src.used.Store(c.srv.clock.Load())
	return src, src.err
}

// begin opens the source's watch, which lives as long as Serve; ctx only bounds the opening.
func (c *cache) begin(ctx, life context.Context, src *source) {
	defer close(src.ready)
	life, end := context.WithCancel(life)
	bound := context.AfterFunc(ctx, end)
	w, err := c.srv.door.Watch(life, src.query, c.srv.conf.Load().options)
	if !bound() && err == nil { // too late: what it lives in has ended
		w.Close()
		err = ctx.Err()
	}
	if err == nil {
		src.watch, src.end = w, end
		c.srv.stats.opened.Add(1)
		return
	}
	end()
	src.err = err
	c.mu.Lock()
	delete(c.byName, src.query)
	c.mu.Unlock()
}

// mostSpares is how many Queries that are asked, not watched, keep what was made of their answers.
const mostSpares = 256

// spare returns a source without a watch: where what is made of a Query's answer is kept for the next who asks it.
func (c *cache) spare(q room.Query) *source {
	c.mu.Lock()
	defer c.mu.Unlock()
	src := c.spares[q]
	if src == nil {
		if len(c.spares) >= mostSpares || c.spares == nil {
			c.spares = map[room.Query]*source{}
		}
		src = &source{query: q}
		c.spares[q] = src
	}
	return src
}

// view returns what derive makes of the latest answer, made once per change.
func view[T, V any](src *source, a room.Answer, from func(T) V) V {
	if d := src.derived.Load(); d != nil && a.Shared != nil && d.shared == a.Shared {
		return d.value.(V)
	}
	v := from(a.Value.(T))
	src.derived.Store(&derived{a.Shared, v})
	return v
}
