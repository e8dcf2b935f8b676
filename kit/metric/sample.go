package metric

import (
	"math"
	"sync/atomic"
	"time"
)

// Sample is a distribution of values: times in milliseconds, mostly. What is kept of an interval is how many there were,
// their sum, the least and the greatest, and a histogram with eight steps for each power of two, so that quantiles and the
// deviation are off by at most a sixteenth. Observing costs two atomic additions; a Sample that was never used holds no
// histogram.
type Sample struct {
	registry *Registry // nil: nobody reads it
	series   *series

	hist     atomic.Pointer[histogram]
	sum      atomic.Uint64 // bits; of this interval
	min, max atomic.Uint64 // bits; of this interval
}

const (
	lowest  = -14 // power of two: 61 ns, in milliseconds
	highest = 40
	perTwo  = 8
	buckets = (highest-lowest+1)*perTwo + 1 // the first holds all that is below
)

type histogram [buckets]atomic.Uint32

func newSample(r *Registry, s *series) *Sample {
	one := &Sample{registry: r, series: s}
	one.reset()
	return one
}

func (s *Sample) reset() {
	s.min.Store(math.Float64bits(math.Inf(1)))
	s.max.Store(math.Float64bits(math.Inf(-1)))
}

// bucketOf returns the place of a value.
func bucketOf(v float64) int {
	if !(v > 0) {
		return 0
	}
	bits := math.Float64bits(v)
	at := (int(bits>>52)-1023-lowest)*perTwo + int(bits>>49&(perTwo-1)) + 1
	return min(max(at, 0), buckets-1)
}

// middle returns the value that stands for all of a bucket.
func middle(bucket int) float64 {
	if bucket == 0 {
		return 0
	}
	bucket--
	return math.Ldexp(1+(float64(bucket%perTwo)+0.5)/perTwo, bucket/perTwo+lowest)
}

// Since observes the time that has passed.
func (s *Sample) Since(start time.Time) { s.Observe(milliseconds(time.Since(start))) }

// Took observes a time.
func (s *Sample) Took(d time.Duration) { s.Observe(milliseconds(d)) }

// Shared observes a time that n things took together: each its part of it.
func (s *Sample) Shared(d time.Duration, n int) {
	if n > 0 {
		s.observe(milliseconds(d)/float64(n), uint32(n))
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Observe notes a value.
func (s *Sample) Observe(v float64) { s.observe(v, 1) }

func (s *Sample) observe(v float64, n uint32) {
	if s.registry == nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	h := s.hist.Load()
	if h == nil {
		s.hist.CompareAndSwap(nil, new(histogram))
		h = s.hist.Load()
	}
	addFloat(&s.sum, v*float64(n))
	for old := s.min.Load(); v < math.Float64frombits(old) && !s.min.CompareAndSwap(old, math.Float64bits(v)); old = s.min.Load() {
	}
	for old := s.max.Load(); v > math.Float64frombits(old) && !s.max.CompareAndSwap(old, math.Float64bits(v)); old = s.max.Load() {
	}
	h[bucketOf(v)].Add(n)
	if list := s.registry.targets.Load(); list != nil {
		for _, t := range *list {
			t.put(line{s.series, v, n})
		}
	}
}

func addFloat(to *atomic.Uint64, v float64) {
	for {
		old := to.Load()
		if to.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

// quantiles are those that are told.
var quantiles = [...]float64{0.5, 0.9, 0.99}

// heap is what a sample came to in an interval.
type heap struct {
	count         uint64
	sum, min, max float64
	counts        []uint32 // by bucket; nil if there was nothing
}

// look returns what there is so far; with end it begins anew. An observation under way may fall into both sides: then a
// sum is off by one value.
func (s *Sample) look(end bool) heap {
	var p heap
	h := s.hist.Load()
	if h == nil {
		return p
	}
	p.counts = make([]uint32, buckets)
	for i := range h {
		n := h[i].Load()
		if n > 0 && end {
			n = h[i].Swap(0)
		}
		p.counts[i] = n
		p.count += uint64(n)
	}
	if p.count == 0 {
		return heap{}
	}
	if end {
		p.sum = math.Float64frombits(s.sum.Swap(0))
	} else {
		p.sum = math.Float64frombits(s.sum.Load())
	}
	p.min, p.max = math.Float64frombits(s.min.Load()), math.Float64frombits(s.max.Load())
	if p.min > p.max { // whoever has come first has not said so yet
		p.min = p.sum / float64(p.count)
		p.max = p.min
	}
	if end {
		s.reset()
	}
	return p
}

// quantile returns about the value that a part q of all are not above; NaN if there are none.
func (p *heap) quantile(q float64) float64 {
	if p.count == 0 {
		return math.NaN()
	}
	rank := uint64(math.Ceil(q * float64(p.count)))
	for i, n := range p.counts {
		if uint64(n) >= rank {
			return min(max(middle(i), p.min), p.max)
		}
		rank -= uint64(n)
	}
	return p.max
}

func (p *heap) mean() float64 {
	if p.count == 0 {
		return 0
	}
	return p.sum / float64(p.count)
}

// deviation is about the standard deviation.
func (p *heap) deviation() float64 {
	if p.count < 2 || p.min == p.max {
		return 0
	}
	mean, squares := p.mean(), 0.0
	for i, n := range p.counts {
		if n > 0 {
			d := min(max(middle(i), p.min), p.max) - mean
			squares += d * d * float64(n)
		}
	}
	return math.Sqrt(squares / float64(p.count-1))
}
