package dns

import (
	"time"
)

// onceIn is how many questions share one look at the clock, which costs as much as a short answer: the one that is timed
// stands for those since the last. When less than one comes in a second, each is timed.
const onceIn = 16

// meter measures how long the questions of one worker take.
type meter struct {
	waiting [2]int // questions since the last that was timed: about names, about addresses
	second  int64  // of the coarse clock, when that was
	began   time.Time
	timed   bool
}

// arrived says that a question is there.
func (w *worker) arrived() {
	second := w.srv.clock.Load()
	w.timed = w.waiting[0]+w.waiting[1]+1 >= onceIn || second != w.second
	if w.timed {
		w.second, w.began = second, time.Now()
	}
}

// answered says that it is answered.
func (w *worker) answered() {
	to, kind := w.srv.domain, 0
	if w.q.kind == typePTR {
		to, kind = w.srv.ptr, 1
	}
	w.waiting[kind]++
	if w.timed {
		n := w.waiting[kind]
		to.Shared(time.Since(w.began)*time.Duration(n), n)
		w.waiting[kind] = 0
	}
}
