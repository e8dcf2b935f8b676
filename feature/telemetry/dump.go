package telemetry

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"

	"rostra/kit/metric"
)

// dump writes the last interval to standard error whenever the process gets SIGUSR1, until ctx ends.
func dump(ctx context.Context, m *metric.Registry) error {
	signals := make(chan os.Signal, 1)
	onDump(signals)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
			last, _ := m.Last()
			writeInterval(os.Stderr, last)
		}
	}
}

// writeInterval writes a line for each metric, as people know them from SIGUSR1: time, kind, name with labels, values.
func writeInterval(w io.Writer, i metric.Interval) {
	for _, v := range i.Gauges {
		fmt.Fprintf(w, "[%s][G] '%s': %.3f\n", i.Timestamp, named(v.Name, v.Labels), v.Value)
	}
	for kind, list := range [][]metric.Summary{i.Counters, i.Samples} {
		for _, s := range list {
			fmt.Fprintf(w, "[%s][%c] '%s': Count: %d Min: %.3f Mean: %.3f Max: %.3f Stddev: %.3f Sum: %.3f\n",
				i.Timestamp, "CS"[kind], named(s.Name, s.Labels), s.Count, s.Min, s.Mean, s.Max, s.Stddev, s.Sum)
		}
	}
}

func named(name string, labels map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		name += "." + labels[key]
	}
	return name
}
