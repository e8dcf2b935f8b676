package store

import (
	"sync"
	"sync/atomic"

	"github.com/tinylib/msgp/msgp"
)

// Subject names something that answers depend on: a whole table (Name ""), a service's name, a node, a key, or with
// Prefix every name of the kind that starts with Name.
type Subject struct {
	Kind   string
	Name   string
	Prefix bool
}

func (s Subject) key() string { return s.Kind + "\x00" + s.Name }

// named is the subject that has the index: a prefix has none apart from its name's.
func (s Subject) named() Subject { return Subject{Kind: s.Kind, Name: s.Name} }

// Waiter is a registered interest in subjects. It counts, no queue: whoever looks sees whether something was touched.
type Waiter struct {
	registry *registry
	subjects []Subject
	wake     func()
	touches  atomic.Uint64
	round    uint64 // of the registry's last wake that touched it; owned by the store's writer
}

// Touches returns how many commits touched one of the subjects. Read it before taking a View: what the View gives is
// current for as long as the number stays, because a commit publishes its view before it touches. In between, settled is
// false: who knows from elsewhere that there is a newer view must not take what he has for current on the number's word.
func (w *Waiter) Touches() (n uint64, settled bool) {
	settled = !w.registry.touching.Load() // looked at first: once it is false again the number has changed
	return w.touches.Load(), settled
}

// Close ends the interest; wake may still be called by a commit that is under way.
func (w *Waiter) Close() { w.registry.remove(w) }

// registry maps subjects to waiters. Prefix watches are found by the lengths registered for their kind.
type registry struct {
	mu      sync.RWMutex // guards both maps
	waiters map[Subject]*crowd
	lengths map[string]map[int]int // kind → prefix length → registrations
	round   uint64                 // counts wakes; owned by the store's writer

	touching atomic.Bool // from before a view is published until all that it touches is marked
}

// crowd is those who wait for one subject.
type crowd struct {
	waiters map[*Waiter]struct{}
	round   uint64 // of the registry's last wake that touched it; owned by the store's writer
}

func (r *registry) init() {
	r.waiters = map[Subject]*crowd{}
	r.lengths = map[string]map[int]int{}
}

func (r *registry) add(subjects []Subject, wake func()) *Waiter {
	w := &Waiter{registry: r, subjects: subjects, wake: wake}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range subjects {
		c := r.waiters[s]
		if c == nil {
			c = &crowd{waiters: map[*Waiter]struct{}{}}
			r.waiters[s] = c
		}
		if _, again := c.waiters[w]; again {
			continue
		}
		c.waiters[w] = struct{}{}
		if s.Prefix {
			if r.lengths[s.Kind] == nil {
				r.lengths[s.Kind] = map[int]int{}
			}
			r.lengths[s.Kind][len(s.Name)]++
		}
	}
	return w
}

func (r *registry) remove(w *Waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range w.subjects {
		c := r.waiters[s]
		if c == nil {
			continue
		}
		if _, there := c.waiters[w]; !there {
			continue
		}
		delete(c.waiters, w)
		if len(c.waiters) == 0 {
			delete(r.waiters, s)
		}
		if s.Prefix {
			n := r.lengths[s.Kind]
			if n[len(s.Name)]--; n[len(s.Name)] == 0 {
				delete(n, len(s.Name))
			}
			if len(n) == 0 {
				delete(r.lengths, s.Kind)
			}
		}
	}
}

// wake marks the waiters of the subjects, and of the registered prefixes of their names, touched: each of them once.
func (r *registry) wake(list []Subject) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.waiters) == 0 {
		return
	}
	r.round++
	for _, s := range list {
		r.touch(r.waiters[s])
		for n := range r.lengths[s.Kind] {
			if n <= len(s.Name) {
				r.touch(r.waiters[Subject{s.Kind, s.Name[:n], true}])
			}
		}
	}
}

// wakeAll marks every waiter touched: the whole state has been replaced.
func (r *registry) wakeAll() {
	r.mu.RLock()
	defer r.mu.RUnlock()
	r.round++
	for _, c := range r.waiters {
		r.touch(c)
	}
}

func (r *registry) touch(c *crowd) {
	if c == nil || c.round == r.round {
		return
	}
	c.round = r.round
	for w := range c.waiters {
		if w.round == r.round {
			continue
		}
		w.round = r.round
		w.touches.Add(1)
		if w.wake != nil {
			w.wake()
		}
	}
}

// touched is the replicated table of subjects' indexes, so that an answer's index is the same on every server and after
// a restart.
var touched = NewTable[touch]("store.touched", Schema[touch]{Key: func(t *touch) string { return t.Subject }, Brief: true})

// touch is a row of touched. Its code is written by hand: two fields that change with every Command.
type touch struct {
	Subject string
	Index   uint64
}

func readTouched(r Reader, s Subject) uint64 {
	if t := touched.Get(r, s.key()); t != nil {
		return t.Index
	}
	return 0
}

// MarshalMsg appends the row.
func (t *touch) MarshalMsg(b []byte) ([]byte, error) {
	b = msgp.AppendArrayHeader(b, 2)
	b = msgp.AppendString(b, t.Subject)
	return msgp.AppendUint64(b, t.Index), nil
}

// UnmarshalMsg reads the row.
func (t *touch) UnmarshalMsg(b []byte) (rest []byte, err error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return b, err
	}
	if n != 2 {
		return b, msgp.ArrayError{Wanted: 2, Got: n}
	}
	if t.Subject, b, err = msgp.ReadStringBytes(b); err != nil {
		return b, err
	}
	t.Index, b, err = msgp.ReadUint64Bytes(b)
	return b, err
}

// Msgsize bounds the encoded size, in bytes.
func (t *touch) Msgsize() int { return 16 + len(t.Subject) }
