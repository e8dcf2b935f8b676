// Package metric measures a process: counters, gauges and samples by name and labels, cut into intervals of ten seconds.
// The instruments are cheap enough for hot paths (an atomic operation or a few); whoever reads them pays: the last
// interval as JSON, all of it as Prometheus text, or sent on to statsd, statsite and dogstatsd (Push). Capture takes in
// what libraries emit through github.com/hashicorp/go-metrics.
//
// Names are dotted, without the prefix that is put before them when they are read; one that begins with a dot stands
// without a prefix. What is measured in time is in milliseconds, unless its name says otherwise.
package metric

import (
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Label tells series of one name apart.
type Label struct{ Name, Value string }

// kind is what a series is.
type kind uint8

const (
	kindCounter kind = iota
	kindGauge
	kindSample
	kindSum     // a counter whose steps differ: libraries count bytes with them
	kindProcess // told to Prometheus only; a gauge, or with the name's end _total a counter
)

// mostLabelled bounds the series of one name. What comes beyond shares one: labels may hold what clients have sent.
const mostLabelled = 1024

// otherValue is the value of each label of the series that those beyond the bound share.
const otherValue = "_other"

// Registry holds what one process measures. Its methods may be called concurrently. A nil Registry is one that nobody
// reads: its instruments work and are forgotten.
type Registry struct {
	mu     sync.RWMutex // guards the next three
	series map[string]*series
	count  map[string]int // series by name
	ask    []func(*Asked)

	cutting sync.Mutex // guards what is owned by who cuts and reads: held by cut, Intervals, Prometheus
	began   time.Time  // of the interval under way
	last    atomic.Pointer[Interval]
	changed atomic.Pointer[chan struct{}] // closes at the next cut

	naming  atomic.Pointer[Naming]
	targets atomic.Pointer[[]*target]
}

// series is one instrument with its name. What is not atomic belongs to who holds cutting.
type series struct {
	name   string
	labels []Label
	kind   kind

	counter Counter
	gauge   Gauge
	sample  *Sample

	cut    uint64    // counter's total at the last cut
	pushed uint64    // counter's total when it was last sent on
	told   uint64    // what a reader with a retention time saw last
	seen   time.Time // and when that was new
	sum    total
}

// total is what a sample came to in the intervals that are over.
type total struct {
	count     uint64
	sum       float64
	quantiles *[len(quantiles)]float64 // of the last one; nil before
}

// New returns an empty registry. Run cuts its intervals.
func New() *Registry {
	r := &Registry{series: map[string]*series{}, count: map[string]int{}, began: time.Now()}
	next := make(chan struct{})
	r.changed.Store(&next)
	r.naming.Store(&Naming{})
	return r
}

// key identifies a series: its name and its labels in the order given.
func key(b []byte, name string, labels []Label) []byte {
	b = append(b, name...)
	for _, l := range labels {
		b = append(append(append(append(b, 0), l.Name...), 1), l.Value...)
	}
	return b
}

// find returns the series of a name and labels, and makes it if there is none. A name has one kind: whoever asks for
// another gets a series that nobody reads.
func (r *Registry) find(k kind, name string, labels []Label) *series {
	if r == nil {
		return newSeries(nil, k, name, nil)
	}
	var room [160]byte
	id := key(room[:0], name, labels)
	r.mu.RLock()
	s := r.series[string(id)]
	r.mu.RUnlock()
	if s == nil {
		s = r.add(k, name, labels, string(id))
	}
	if s.kind != k {
		return newSeries(nil, k, name, nil)
	}
	return s
}

func (r *Registry) add(k kind, name string, labels []Label, id string) *series {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.series[id]; s != nil {
		return s
	}
	if len(labels) > 0 && r.count[name] >= mostLabelled {
		labels = slices.Clone(labels)
		for i := range labels {
			labels[i].Value = otherValue
		}
		id = string(key(nil, name, labels))
		if s := r.series[id]; s != nil {
			return s
		}
	}
	s := newSeries(r, k, strings.Clone(name), slices.Clone(labels))
	r.series[id] = s
	r.count[s.name]++
	return s
}

func newSeries(r *Registry, k kind, name string, labels []Label) *series {
	s := &series{name: name, labels: labels, kind: k}
	if k == kindSample || k == kindSum {
		s.sample = newSample(r, s)
	}
	return s
}

// all returns the series by name and labels.
func (r *Registry) all() []*series {
	r.mu.RLock()
	list := make([]*series, 0, len(r.series))
	for _, s := range r.series {
		list = append(list, s)
	}
	r.mu.RUnlock()
	slices.SortFunc(list, func(a, b *series) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return slices.CompareFunc(a.labels, b.labels, func(x, y Label) int {
			return strings.Compare(x.Name+"\x00"+x.Value, y.Name+"\x00"+y.Value)
		})
	})
	return list
}

// Counter counts what happens. The zero Counter is one that nobody reads.
type Counter struct{ n atomic.Uint64 }

// Counter returns the counter of a name and labels.
func (r *Registry) Counter(name string, labels ...Label) *Counter {
	return &r.find(kindCounter, name, labels).counter
}

// Inc counts one.
func (c *Counter) Inc() { c.n.Add(1) }

// Add counts n at once.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Gauge is a value that is so now. The zero Gauge is one that nobody reads.
type Gauge struct {
	bits atomic.Uint64
	at   atomic.Int64 // when it was set, in nanoseconds; 0: never
}

// Gauge returns the gauge of a name and labels.
func (r *Registry) Gauge(name string, labels ...Label) *Gauge {
	return &r.find(kindGauge, name, labels).gauge
}

// Set says what is so.
func (g *Gauge) Set(v float64) {
	g.bits.Store(math.Float64bits(v))
	g.at.Store(time.Now().UnixNano())
}

// Sample returns the sample of a name and labels.
func (r *Registry) Sample(name string, labels ...Label) *Sample {
	return r.find(kindSample, name, labels).sample
}

// Asked takes what is asked for when it is read.
type Asked struct{ r *Registry }

// Collect lets a function say, whenever the registry is read, what is so then. It is called by one goroutine at a time
// and holds up all readers: it must not wait long.
func (r *Registry) Collect(f func(*Asked)) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ask = append(r.ask, f)
}

// Gauge says what is so now.
func (a *Asked) Gauge(name string, v float64, labels ...Label) { a.r.Gauge(name, labels...).Set(v) }

// Process says what Prometheus' own clients tell of any process, under a name of theirs. Only Prometheus is told.
func (a *Asked) Process(name string, v float64) { a.r.find(kindProcess, "."+name, nil).gauge.Set(v) }

// Counter says how much was counted since the start of the process.
func (a *Asked) Counter(name string, total uint64, labels ...Label) {
	a.r.Counter(name, labels...).n.Store(total)
}

// collect asks all who told Collect. The caller holds cutting.
func (r *Registry) collect() {
	r.mu.RLock()
	ask := r.ask
	r.mu.RUnlock()
	for _, f := range ask {
		f(&Asked{r})
	}
}
