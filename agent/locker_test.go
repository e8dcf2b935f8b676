package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/kv"
	"rostra/feature/session"
	"rostra/feature/txn"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/store"
	"rostra/kit/wire"
)

// lockClass is one way to use locks, and what is promised then.
type lockClass struct {
	keys       []string
	ttl, delay time.Duration
	checks     []string
	fenced     bool // two may believe that they hold
}

// lockClasses. With a TTL alone nobody else gets the lock before the holder's own clock has told it, lock-delay or not: a
// session outlives the TTL, or, should its node be taken out, its lock waits for it. A check, or somebody else, may end a session at once: then the lock-delay, longer than the TTL,
// gives the holder the time to notice. Without a lock-delay what remains is the order: at any moment one session holds by
// the state, each holder has a LockIndex of its own, and what a former one writes with check-session is refused. Who only
// believes may then believe it beside the next holder.
var lockClasses = []*lockClass{
	{keys: []string{"a1", "a2"}, ttl: 3 * time.Second},
	{keys: []string{"b1", "b2"}, ttl: 3 * time.Second, delay: 5 * time.Second, checks: []string{catalog.SerfHealth}},
	{keys: []string{"c1", "c2"}, ttl: 3 * time.Second, checks: []string{catalog.SerfHealth}, fenced: true},
}

// locker is a client that works with locks, one operation after the other, with one session after the other.
type locker struct {
	id      int
	node    *simNode
	hist    *lockHistory
	class   *lockClass
	chance  *rand.Rand
	session string               // "": none
	sent    time.Time            // the last renewal that succeeded
	holds   map[string]time.Time // since when it believes so
	next    int
}

// lockers work on the machines until the context ends.
func (w *world) lockers(ctx context.Context, wait *sync.WaitGroup, h *lockHistory, each int) {
	for i := range each * len(lockClasses) {
		l := &locker{id: 100 + i, node: w.nodes[i%len(w.nodes)], hist: h, class: lockClasses[i%len(lockClasses)], holds: map[string]time.Time{}}
		l.chance = rand.New(rand.NewPCG(w.rand.Uint64(), 3))
		wait.Go(func() {
			for ctx.Err() == nil {
				l.step(ctx)
				time.Sleep(time.Duration(20+l.chance.IntN(250)) * time.Millisecond)
			}
			l.notice()
			l.loseAll(time.Now())
		})
	}
}

func (l *locker) deadline() time.Time { return l.sent.Add(l.class.ttl) }

// notice gives everything up when the session's time is over by the client's own clock.
func (l *locker) notice() {
	if l.session != "" && !time.Now().Before(l.deadline()) {
		l.loseAll(time.Now())
		l.session = ""
	}
}

func (l *locker) lose(key string, at time.Time) {
	since, holds := l.holds[key]
	if !holds {
		return
	}
	delete(l.holds, key)
	if end := l.deadline(); at.After(end) {
		at = end
	}
	l.hist.mu.Lock()
	defer l.hist.mu.Unlock()
	l.hist.beliefs = append(l.hist.beliefs, belief{key, l.session, since.UnixNano(), at.UnixNano()})
}

func (l *locker) loseAll(at time.Time) {
	for _, key := range l.class.keys {
		l.lose(key, at)
	}
}

func (l *locker) value() string {
	l.next++
	return fmt.Sprintf("%d.%d", l.id, l.next)
}

// step does one operation.
func (l *locker) step(ctx context.Context) {
	ctx, end := context.WithTimeout(ctx, 2*time.Second)
	defer end()
	l.notice()
	if l.session == "" {
		l.create(ctx)
		return
	}
	key := l.class.keys[l.chance.IntN(len(l.class.keys))]
	_, holds := l.holds[key]
	n := l.chance.IntN(100)
	switch {
	case time.Since(l.sent) > l.class.ttl/4:
		l.renew(ctx)
	case n < 30:
		l.read(ctx, key)
	case n < 32: // it forgets to renew, and everything else
		l.loseAll(time.Now())
		l.session = ""
	case n < 34:
		l.loseAll(time.Now())
		l.destroy(ctx, l.session)
		l.session = ""
	case holds && n < 50:
		l.lose(key, time.Now())
		l.write(ctx, lockFree, key)
	case holds:
		l.write(ctx, lockWrite, key)
	case n < 85:
		l.write(ctx, lockTake, key)
	default: // what it does not hold it can neither write nor free
		l.write(ctx, lockFree+lockKind(n%2), key)
	}
	l.notice()
}

func (l *locker) apply(ctx context.Context, c room.Command) (room.Result, error) {
	r, _, err := l.node.running.Load().host.Door.Apply(ctx, c, room.Options{})
	return r, err
}

func (l *locker) create(ctx context.Context) {
	s := session.Session{ID: wire.NewID(), Node: l.node.name, Behavior: session.Release, NodeChecks: l.class.checks,
		LockDelay: wire.Duration(l.class.delay), TTL: l.class.ttl.String(), Life: wire.Duration(l.class.ttl)}
	if l.id%2 == 1 {
		s.Behavior = session.Delete
	}
	call := time.Now()
	if _, err := l.apply(ctx, &session.Create{Session: s}); err != nil {
		return // if it exists nobody uses it
	}
	l.session, l.sent = s.ID, call
	l.hist.mu.Lock()
	defer l.hist.mu.Unlock()
	l.hist.sessions[s.ID] = &lockSession{class: l.class, node: l.node.name, deletes: s.Behavior == session.Delete, born: call.UnixNano(), renewed: call.UnixNano()}
}

func (l *locker) renew(ctx context.Context) {
	call := time.Now()
	_, err := l.apply(ctx, &session.Renew{ID: l.session})
	l.notice()
	switch {
	case l.session == "":
	case err == nil:
		l.sent = call
		l.hist.mu.Lock()
		defer l.hist.mu.Unlock()
		l.hist.sessions[l.session].renewed = call.UnixNano()
	case fault.Is(err, fault.NotFound):
		l.loseAll(time.Now())
		l.session = ""
	}
}

func (l *locker) destroy(ctx context.Context, id string) {
	call := time.Now()
	_, err := l.apply(ctx, &session.Destroy{ID: id})
	if certainlyNot(err) {
		return
	}
	l.hist.mu.Lock()
	s := l.hist.sessions[id]
	if err == nil && s.ended == 0 {
		s.ended = time.Now().UnixNano()
	}
	l.hist.mu.Unlock()
	for _, key := range l.class.keys {
		l.hist.add(l.id, lockIn{kind: lockEnd, key: key, session: id, deletes: s.deletes}, lockOut{ok: err == nil, unknown: err != nil}, call)
	}
}

// certainlyNot tells errors after which nothing was done and nothing learned.
func certainlyNot(err error) bool {
	return fault.Is(err, fault.NotApplied) || fault.Is(err, fault.NoLeader)
}

// write takes, frees or writes a lock.
func (l *locker) write(ctx context.Context, kind lockKind, key string) {
	in := lockIn{kind: kind, key: key, session: l.session, value: l.value(), delays: l.class.delay > 0}
	op := kv.Op{Verb: kv.Lock, Key: key, Session: l.session, Value: []byte(in.value)}
	var c room.Command = &kv.Put{Op: op}
	switch kind {
	case lockFree:
		op.Verb = kv.Unlock
		c = &kv.Put{Op: op}
	case lockWrite:
		set := op
		op.Verb, set.Verb, set.Session = kv.CheckSession, kv.Set, ""
		c = &txn.Txn{Ops: []txn.Op{{KV: &op}, {KV: &set}}}
	}
	call := time.Now()
	r, err := l.apply(ctx, c)
	var out lockOut
	switch {
	case certainlyNot(err):
		return
	case fault.Is(err, fault.Refused): // there is no such session
		l.loseAll(time.Now())
		l.session = ""
		return
	case err == nil && kind != lockWrite:
		out.ok = r.(bool)
	case err == nil:
		out.ok = true
	case !fault.Is(err, fault.Conflict):
		out.unknown = true
	}
	l.hist.add(l.id, in, out, call)
	switch l.notice(); {
	case l.session == "" || out.unknown:
	case !out.ok:
		l.lose(key, time.Now())
	case kind == lockTake:
		if _, holds := l.holds[key]; !holds {
			l.holds[key] = time.Now()
		}
	}
}

// read looks at the lock, and sometimes ends the session of another that holds it.
func (l *locker) read(ctx context.Context, key string) {
	mode := httpd.Default
	if l.chance.IntN(4) == 0 {
		mode = httpd.Consistent
	}
	call := time.Now()
	a, _, err := l.node.running.Load().host.Door.Read(ctx, kv.KeyQuery{Key: key}, room.Options{Consistency: mode})
	if err != nil {
		return
	}
	var out lockOut
	if e := a.Value.(kv.Found).Entry; e != nil {
		out.entry = lockEntry{true, e.Session, string(e.Value), e.LockIndex}
	}
	l.hist.add(l.id, lockIn{kind: lockRead, key: key, session: l.session}, out, call)
	if l.notice(); out.entry.holder != l.session {
		l.lose(key, time.Now())
		if out.entry.holder != "" && len(l.class.checks) > 0 && l.chance.IntN(12) == 0 {
			l.destroy(ctx, out.entry.holder)
		}
	}
}

// watched is a program that tells the history which nodes are taken out of the catalog.
func watched(h *lockHistory) []room.Room {
	return with(func() room.Command { return &deregister{h: h} })
}

type deregister struct {
	catalog.Deregister
	h *lockHistory
}

// Run is called by every server, and again when one has started anew: the first time counts.
func (c *deregister) Run(tx *store.Tx) (room.Result, error) {
	had := catalog.Nodes.Get(tx, strings.ToLower(c.Node))
	r, err := c.Deregister.Run(tx)
	if had != nil && catalog.Nodes.Get(tx, strings.ToLower(c.Node)) == nil {
		c.h.mu.Lock()
		defer c.h.mu.Unlock()
		if _, known := c.h.gone[tx.Index()]; !known {
			c.h.gone[tx.Index()] = farewell{had.Node, time.Now().UnixNano()}
		}
	}
	return r, err
}

// The programs of TestLocksBite.

// greedy gives a lock that another session holds.
type greedy struct{ kv.Put }

func (c *greedy) Run(tx *store.Tx) (room.Result, error) {
	if e := kv.Entries.Get(tx, c.Op.Key); c.Op.Verb == kv.Lock && e != nil && e.Session != "" && e.Session != c.Op.Session {
		free := kv.Put{Op: kv.Op{Verb: kv.Unlock, Key: c.Op.Key, Session: e.Session}}
		if _, err := free.Run(tx); err != nil {
			return nil, err
		}
	}
	return c.Put.Run(tx)
}

// hasty knows no lock-delay.
type hasty struct{ kv.Put }

func (c *hasty) Run(tx *store.Tx) (room.Result, error) {
	if c.Op.Verb != kv.Lock {
		return c.Put.Run(tx)
	}
	if e := kv.Entries.Get(tx, c.Op.Key); e != nil && e.Session != "" || session.Find(tx, c.Op.Session) == nil {
		return c.Put.Run(tx)
	}
	_, err := c.Op.Run(tx)
	return err == nil, err
}

// deaf answers renewals and does not note them.
type deaf struct{ session.Renew }

func (c *deaf) Run(tx *store.Tx) (room.Result, error) {
	if s := session.Find(tx, c.ID); s != nil {
		return s, nil
	}
	return c.Renew.Run(tx)
}

// with are the features of the program with one Command replaced.
func with(c func() room.Command) []room.Room {
	rooms := append([]room.Room(nil), simRooms...)
	for i, r := range rooms {
		commands := append([]room.CommandType(nil), r.Commands...)
		for k := range commands {
			if commands[k].New().Name() == c().Name() {
				commands[k].New = c
			}
		}
		rooms[i].Commands = commands
	}
	return rooms
}

// TestLocksBite: the random histories find programs that break a promise of locks, even while nothing else is broken, and
// nothing in the program as it is.
func TestLocksBite(t *testing.T) {
	for _, c := range []struct {
		what  string
		rooms []room.Room
		good  bool
	}{
		{"as it is", simRooms, true},
		{"a lock is given although it is held", with(func() room.Command { return new(greedy) }), false},
		{"no lock-delay", with(func() room.Command { return new(hasty) }), false},
		{"renewals count for nothing", with(func() room.Command { return new(deaf) }), false},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newLockHistory()
			inWorld(t, 41, func(w *world) {
				w.rooms = c.rooms
				w.add("dc1", 0, 1, 1)
				w.awaitLeader()
				time.Sleep(2 * time.Second)
				ctx, stop := context.WithCancel(context.Background())
				var wait sync.WaitGroup
				w.lockers(ctx, &wait, h, 4)
				time.Sleep(40 * time.Second)
				stop()
				wait.Wait()
			})
			found, _ := h.wrong()
			if (len(found) == 0) != c.good {
				t.Errorf("%d operations, %d sessions: %q", len(h.ops), len(h.sessions), found)
			}
			_, loose := h.rivals()
			t.Logf("%d operations, %d sessions, %d beliefs; without lock-delay two believed %d times; found %d: %.300q",
				len(h.ops), len(h.sessions), len(h.beliefs), len(loose), len(found), found)
		})
	}
}
