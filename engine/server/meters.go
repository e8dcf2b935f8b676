package server

import (
	"time"

	"rostra/engine/room"
	"rostra/kit/metric"
)

// counted is a Query that counts itself by what it asks for, each time a server was asked it, with the answer it gave.
type counted interface {
	Count(m *metric.Registry, a room.Answer)
}

// meters are what is measured at this door, under Consul's names.
type meters struct {
	queries    *metric.Counter
	consistent *metric.Sample
	apply, run map[string]*metric.Sample // by the Command's name; of those that have one
}

func (m *meters) init(o *Options) {
	m.queries, m.consistent = o.Metrics.Counter("rpc.query"), o.Metrics.Sample("rpc.consistentRead")
	m.apply, m.run = map[string]*metric.Sample{}, map[string]*metric.Sample{}
	for _, r := range o.Rooms {
		for _, t := range r.Commands {
			name := t.New().Name()
			if t.ApplyMetric != "" {
				m.apply[name] = o.Metrics.Sample(t.ApplyMetric)
			}
			if t.RunMetric != "" {
				m.run[name] = o.Metrics.Sample(t.RunMetric)
			}
		}
	}
}

// applied measures from now on until what it returns is called how long a Command takes.
func (m *meters) applied(name string) (done func()) {
	began := time.Now()
	return func() { m.took(name, began) }
}

func (m *meters) took(name string, began time.Time) {
	if s := m.apply[name]; s != nil {
		s.Since(began)
	}
}

// stopwatch measures how long the Commands of one log entry run. A clock costs more than many a Command, so it is looked
// at only where the kind of Command changes: those of one kind in a row share their time.
type stopwatch struct {
	meters *meters
	name   string
	count  int
	began  time.Time
}

func (m *meters) watch(commands int) stopwatch {
	w := stopwatch{meters: m}
	if commands > 0 {
		w.began = time.Now()
	}
	return w
}

// next says that a Command of that name runs now.
func (w *stopwatch) next(name string) {
	if name != w.name && w.count > 0 {
		now := time.Now()
		w.note(now)
		w.began, w.count = now, 0
	}
	w.name = name
	w.count++
}

// stop says that the last one has run.
func (w *stopwatch) stop() {
	if w.count > 0 {
		w.note(time.Now())
	}
}

func (w *stopwatch) note(now time.Time) {
	if s := w.meters.run[w.name]; s != nil {
		s.Shared(now.Sub(w.began), w.count)
	}
}
