package metric

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"
)

// Every is how long an interval is.
const Every = 10 * time.Second

// pushEvery is how often what counters have counted is sent on.
const pushEvery = time.Second

// Interval is what was measured in one interval, as it is shown in JSON.
type Interval struct {
	Timestamp string // when it began
	Gauges    []Value
	Points    []Value // always empty: nothing of ours is told so
	Counters  []Summary
	Samples   []Summary
}

// Value is a gauge.
type Value struct {
	Name   string
	Value  float64
	Labels map[string]string
}

// Summary is a counter or a sample.
type Summary struct {
	Name   string
	Count  uint64
	Rate   float64 // of the sum, for a second
	Sum    float64
	Min    float64
	Max    float64
	Mean   float64
	Stddev float64
	Labels map[string]string
}

// Run cuts intervals until ctx ends, and sends on what is to be.
func (r *Registry) Run(ctx context.Context) error {
	push := time.NewTicker(pushEvery)
	defer push.Stop()
	cut := time.NewTimer(untilNext(time.Now()))
	defer cut.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-push.C:
			r.sendCounters()
		case <-cut.C:
			r.cut(time.Now())
			cut.Reset(untilNext(time.Now()))
		}
	}
}

// untilNext is the time to the next full ten seconds.
func untilNext(now time.Time) time.Duration { return now.Truncate(Every).Add(Every).Sub(now) }

// Last returns the last interval that is over; in the first ten seconds, what there is so far. The channel closes when
// another is over.
func (r *Registry) Last() (Interval, <-chan struct{}) {
	next := *r.changed.Load()
	if i := r.last.Load(); i != nil {
		return *i, next
	}
	r.cutting.Lock()
	defer r.cutting.Unlock()
	r.collect()
	return r.read(false, r.began), next
}

// cut ends the interval.
func (r *Registry) cut(now time.Time) {
	r.cutting.Lock()
	defer r.cutting.Unlock()
	r.collect()
	over := r.read(true, r.began)
	r.began = now
	r.last.Store(&over)
	next := make(chan struct{})
	close(*r.changed.Swap(&next))
}

// read makes an Interval of what there is; with end it is over. The caller holds cutting.
func (r *Registry) read(end bool, began time.Time) Interval {
	out := Interval{Timestamp: began.Truncate(Every).UTC().String(), Gauges: []Value{}, Points: []Value{}, Counters: []Summary{}, Samples: []Summary{}}
	naming := r.naming.Load()
	for _, s := range r.all() {
		name, told := naming.full(s, true)
		switch s.kind {
		case kindGauge:
			at := s.gauge.at.Load()
			if at < began.UnixNano() {
				continue
			}
			v := math.Float64frombits(s.gauge.bits.Load())
			if told && !math.IsNaN(v) && !math.IsInf(v, 0) {
				out.Gauges = append(out.Gauges, Value{name, v, mapOf(s.labels)})
			}
			if end {
				r.send(line{s, v, 1})
			}
		case kindProcess:
		case kindCounter:
			n := s.counter.n.Load()
			if n > s.cut && told {
				out.Counters = append(out.Counters, ones(name, n-s.cut, s.labels))
			}
			if end {
				s.cut = n
			}
		default:
			p := s.sample.look(end)
			if end {
				s.sum.add(&p)
			}
			if p.count == 0 || !told {
				continue
			}
			if sum := summaryOf(name, &p, s.labels); s.kind == kindSum {
				out.Counters = append(out.Counters, sum)
			} else {
				out.Samples = append(out.Samples, sum)
			}
		}
	}
	// The series are in the order of their short names.
	slices.SortStableFunc(out.Gauges, func(a, b Value) int { return strings.Compare(a.Name, b.Name) })
	for _, list := range [][]Summary{out.Counters, out.Samples} {
		slices.SortStableFunc(list, func(a, b Summary) int { return strings.Compare(a.Name, b.Name) })
	}
	return out
}

// add takes an interval into the total.
func (t *total) add(p *heap) {
	t.count += p.count
	t.sum += p.sum
	t.quantiles = new([len(quantiles)]float64)
	for i, q := range quantiles {
		t.quantiles[i] = p.quantile(q)
	}
}

// ones is a counter that was raised n times by one.
func ones(name string, n uint64, labels []Label) Summary {
	return Summary{Name: name, Count: n, Rate: float64(n) / Every.Seconds(), Sum: float64(n), Min: 1, Max: 1, Mean: 1, Labels: mapOf(labels)}
}

func summaryOf(name string, p *heap, labels []Label) Summary {
	return Summary{name, p.count, p.sum / Every.Seconds(), p.sum, p.min, p.max, p.mean(), p.deviation(), mapOf(labels)}
}

func mapOf(labels []Label) map[string]string {
	m := make(map[string]string, len(labels))
	for _, l := range labels {
		m[l.Name] = l.Value
	}
	return m
}
