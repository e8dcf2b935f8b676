package metric

import (
	"strings"

	"github.com/hashicorp/go-metrics"
)

// Capture makes the registry the one that libraries emit to through go-metrics, which has one place for the whole process,
// until release is called. A second registry that captures takes over from the first.
func Capture(r *Registry) (release func(), err error) {
	conf := &metrics.Config{FilterDefault: true, TimerGranularity: 1e6} // names are ours to complete; times in milliseconds
	mine, err := metrics.NewGlobal(conf, captured{r})
	if err != nil {
		return nil, err
	}
	return func() {
		if metrics.Default() == mine {
			_, _ = metrics.NewGlobal(conf, &metrics.BlackholeSink{})
		}
	}, nil
}

// captured is a registry as go-metrics' MetricSink.
type captured struct{ r *Registry }

// of finds a library's series without an allocation if it is known.
func (c captured) of(k kind, parts []string, labels []metrics.Label) *series {
	var nameRoom, keyRoom [160]byte
	name := nameRoom[:0]
	for i, p := range parts {
		if i > 0 {
			name = append(name, '.')
		}
		name = append(name, p...)
	}
	id := append(keyRoom[:0], name...)
	for _, l := range labels {
		id = append(append(append(append(id, 0), l.Name...), 1), l.Value...)
	}
	c.r.mu.RLock()
	s := c.r.series[string(id)]
	c.r.mu.RUnlock()
	if s != nil && s.kind == k {
		return s
	}
	own := make([]Label, len(labels))
	for i, l := range labels {
		own[i] = Label(l)
	}
	return c.r.find(k, strings.ReplaceAll(string(name), " ", "_"), own)
}

// SetGauge implements metrics.MetricSink.
func (c captured) SetGauge(key []string, v float32) { c.SetGaugeWithLabels(key, v, nil) }

// SetGaugeWithLabels implements metrics.MetricSink.
func (c captured) SetGaugeWithLabels(key []string, v float32, labels []metrics.Label) {
	c.of(kindGauge, key, labels).gauge.Set(float64(v))
}

// SetPrecisionGauge implements metrics.PrecisionGaugeMetricSink.
func (c captured) SetPrecisionGauge(key []string, v float64) {
	c.SetPrecisionGaugeWithLabels(key, v, nil)
}

// SetPrecisionGaugeWithLabels implements metrics.PrecisionGaugeMetricSink.
func (c captured) SetPrecisionGaugeWithLabels(key []string, v float64, labels []metrics.Label) {
	c.of(kindGauge, key, labels).gauge.Set(v)
}

// EmitKey implements metrics.MetricSink; no library of ours uses it.
func (c captured) EmitKey(key []string, v float32) { c.SetGauge(key, v) }

// IncrCounter implements metrics.MetricSink.
func (c captured) IncrCounter(key []string, v float32) { c.IncrCounterWithLabels(key, v, nil) }

// IncrCounterWithLabels implements metrics.MetricSink.
func (c captured) IncrCounterWithLabels(key []string, v float32, labels []metrics.Label) {
	c.of(kindSum, key, labels).sample.Observe(float64(v))
}

// AddSample implements metrics.MetricSink.
func (c captured) AddSample(key []string, v float32) { c.AddSampleWithLabels(key, v, nil) }

// AddSampleWithLabels implements metrics.MetricSink.
func (c captured) AddSampleWithLabels(key []string, v float32, labels []metrics.Label) {
	c.of(kindSample, key, labels).sample.Observe(float64(v))
}
