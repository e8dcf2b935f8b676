package simnet

import (
	"container/heap"
	"time"
)

// event is something that happens later. It runs with mu held and must not wait.
type event struct {
	due time.Duration // since the start of the network
	seq uint64
	run func()
}

// agenda is a heap of events: the first is the next one.
type agenda []*event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].due != a[j].due {
		return a[i].due < a[j].due
	}
	return a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *agenda) Push(e any) { *a = append(*a, e.(*event)) }

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return e
}

// now is how old the network is.
func (n *Net) now() time.Duration { return time.Since(n.start) }

// after runs something a while from now, at the earliest when mu is unlocked. The caller holds mu.
func (n *Net) after(d time.Duration, run func()) { n.at(n.now()+d, run) }

func (n *Net) at(due time.Duration, run func()) {
	n.seq++
	heap.Push(&n.agenda, &event{due, n.seq, run})
}

func (n *Net) lock() { n.mu.Lock() }

// unlock lets happen what is due, and sets the timer for the rest. All that is due at once happens in the order in which
// it was scheduled.
func (n *Net) unlock() {
	for len(n.agenda) > 0 && n.agenda[0].due <= n.now() {
		heap.Pop(&n.agenda).(*event).run()
	}
	if len(n.agenda) > 0 && (n.armed == 0 || n.agenda[0].due < n.armed) {
		n.armed = n.agenda[0].due
		if wait := n.armed - n.now(); n.timer == nil {
			n.timer = time.AfterFunc(wait, n.tick)
		} else {
			n.timer.Reset(wait)
		}
	}
	n.mu.Unlock()
}

func (n *Net) tick() {
	n.lock()
	n.armed = 0
	n.unlock()
}

// signal wakes all who wait for a change. It is guarded by mu.
type signal struct{ changed chan struct{} }

func (s *signal) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// channel returns what is closed by the next wake.
func (s *signal) channel() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// wait unlocks mu until s changes and locks it again.
func (n *Net) wait(s *signal) {
	c := s.channel()
	n.unlock()
	<-c
	n.lock()
}

// deadline is when waiting for a signal ends. It is guarded by mu.
type deadline struct {
	set   bool
	at    time.Duration
	armed time.Duration // when the next look at it is due; 0 for never
}

func (d *deadline) passed(n *Net) bool { return d.set && d.at <= n.now() }

// move sets the deadline, or none if t is zero, and wakes who waits so that they look at it.
func (d *deadline) move(n *Net, t time.Time, s *signal) {
	d.set, d.at = !t.IsZero(), t.Sub(n.start)
	s.wake()
	d.arm(n, s)
}

// arm schedules one look, unless there is one before: deadlines that are moved ahead all the time leave nothing behind.
func (d *deadline) arm(n *Net, s *signal) {
	if !d.set || d.at <= n.now() || d.armed != 0 && d.armed <= d.at {
		return
	}
	look := d.at
	d.armed = look
	n.at(look, func() {
		if d.armed != look {
			return // an earlier look has been scheduled since
		}
		d.armed = 0
		if d.passed(n) {
			s.wake()
		} else {
			d.arm(n, s)
		}
	})
}
