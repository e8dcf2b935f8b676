package metric

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Prometheus appends all that there is in Prometheus' text format, version 0.0.4, grouped by name: counters and gauges as
// such, samples as summaries whose quantiles are those of the last interval. Gauges and labelled series that were not
// heard of for longer than keep are left out; with 0 all are told.
func (r *Registry) Prometheus(b []byte, keep time.Duration) []byte {
	r.cutting.Lock()
	defer r.cutting.Unlock()
	r.collect()
	naming, now := r.naming.Load(), time.Now()
	kinds := map[string]kind{} // the first of a name decides: the format allows one
	var list []exposed
	for _, s := range r.all() {
		name, told := naming.full(s, true)
		if !(told || s.kind == kindProcess) || s.kind == kindGauge && s.gauge.at.Load() == 0 || keep > 0 && s.silent(now) > keep {
			continue
		}
		name = prometheusName(name)
		if k, known := kinds[name]; known && k != s.kind {
			continue
		}
		kinds[name] = s.kind
		list = append(list, exposed{name, s})
	}
	slices.SortStableFunc(list, func(a, b exposed) int { return strings.Compare(a.name, b.name) })
	for i, e := range list {
		if i == 0 || list[i-1].name != e.name {
			b = append(b, "# HELP "+e.name+" "+e.name+"\n# TYPE "+e.name+" "+e.prometheusType()+"\n"...)
		}
		b = e.append(b)
	}
	return b
}

// exposed is a series under its name in Prometheus.
type exposed struct {
	name string
	*series
}

func (e exposed) prometheusType() string {
	switch {
	case e.kind == kindSample:
		return "summary"
	case e.kind == kindGauge, e.kind == kindProcess && !strings.HasSuffix(e.name, "_total"):
		return "gauge"
	}
	return "counter"
}

func (e exposed) append(b []byte) []byte {
	switch e.kind {
	case kindGauge, kindProcess:
		return appendValue(b, e.name, e.labels, "", math.Float64frombits(e.gauge.bits.Load()))
	case kindCounter:
		return appendValue(b, e.name, e.labels, "", float64(e.counter.n.Load()))
	}
	live := e.sample.look(false)
	if e.kind == kindSum {
		return appendValue(b, e.name, e.labels, "", e.sum.sum+live.sum)
	}
	for i, q := range quantiles {
		v := live.quantile(q)
		if e.sum.quantiles != nil {
			v = e.sum.quantiles[i]
		}
		b = appendValue(b, e.name, e.labels, strconv.FormatFloat(q, 'g', -1, 64), v)
	}
	b = appendValue(b, e.name+"_sum", e.labels, "", e.sum.sum+live.sum)
	return appendValue(b, e.name+"_count", e.labels, "", float64(e.sum.count+live.count))
}

// silent is how long ago a series changed or was set, as far as readers saw.
func (s *series) silent(now time.Time) time.Duration {
	changed := false
	switch s.kind {
	case kindGauge, kindProcess:
		return now.Sub(time.Unix(0, s.gauge.at.Load()))
	case kindCounter:
		n := s.counter.n.Load()
		changed, s.told = n != s.told, n
	default:
		n := s.sum.count + s.sample.look(false).count
		changed, s.told = n != s.told, n
	}
	if changed || s.seen.IsZero() || len(s.labels) == 0 {
		s.seen = now
	}
	return now.Sub(s.seen)
}

func appendValue(b []byte, name string, labels []Label, quantile string, v float64) []byte {
	b = append(b, name...)
	if len(labels) > 0 || quantile != "" {
		b = append(b, '{')
		for _, l := range labels {
			b = append(append(append(b, prometheusName(l.Name)...), `="`...), escape.Replace(strings.ToValidUTF8(l.Value, "\uFFFD"))...)
			b = append(b, `",`...)
		}
		if quantile != "" {
			b = append(append(append(b, `quantile="`...), quantile...), `",`...)
		}
		b[len(b)-1] = '}'
	}
	b = append(b, ' ')
	return append(strconv.AppendFloat(b, v, 'g', -1, 64), '\n')
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// prometheusName replaces what Prometheus allows in no name.
func prometheusName(name string) string {
	clean := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
			return c
		}
		return '_'
	}, name)
	if clean == "" || clean[0] >= '0' && clean[0] <= '9' {
		clean = "_" + clean
	}
	return clean
}
