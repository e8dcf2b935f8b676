package dns

import (
	"time"

	"rostra/kit/metric"
)

// onceIn is how many questions share one look at the clock, which costs as much as a short answer: the one that is timed
// stands for those since the last. When less than one comes in a second, each is timed.
const onceIn = 16

// timedTypes are the types of questions that are told apart where their times are kept, the last for all others.
var timedTypes = [...]struct {
	kind uint16
	name string
}{{typeA, "A"}, {typeAAAA, "AAAA"}, {typeSRV, "SRV"}, {typePTR, "PTR"}, {typeANY, "ANY"}, {typeTXT, "TXT"}, {typeSOA, "SOA"},
	{typeNS, "NS"}, {typeCNAME, "CNAME"}, {0, "other"}}

func timedType(kind uint16) int {
	for i := range timedTypes {
		if timedTypes[i].kind == kind {
			return i
		}
	}
	return len(timedTypes) - 1
}

// meter measures how long the questions of one worker take.
type meter struct {
	waiting [2]int // questions since the last that was timed: about names, about addresses
	typed   [len(timedTypes)]int
	second  int64 // of the coarse clock, when that was
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
	of := timedType(w.q.kind)
	w.waiting[kind]++
	w.typed[of]++
	if w.timed {
		took := time.Since(w.began)
		stand(to, took, &w.waiting[kind])
		stand(w.srv.types[of], took, &w.typed[of])
	}
}

// stand notes the time of one question for all n that it stands for.
func stand(to *metric.Sample, took time.Duration, n *int) {
	to.Shared(took*time.Duration(*n), *n)
	*n = 0
}
