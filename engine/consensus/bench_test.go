package consensus

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// nothing is a Machine that costs nothing, so that the figures are the log's own.
type nothing struct{ words }

func (*nothing) Apply(b Batch) []Outcome { return make([]Outcome, len(b.Commands)) }

// BenchmarkPropose writes 150-byte Commands to a real disk.
func BenchmarkPropose(b *testing.B) {
	for _, writers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			o := options(nil, b.TempDir())
			o.SegmentBytes, o.NoStopSnapshot = 0, true
			n := mustOpen(b, o, &nothing{})
			command := []byte(strings.Repeat("c", 150))
			before, cpu := n.Counters(), cpuTime()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := n.Propose(context.Background(), command); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			c := n.Counters()
			b.ReportMetric(float64(c.Commands-before.Commands)/float64(c.Syncs-before.Syncs), "writes/fsync")
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N)/1000, "cpu-µs/op")
			mustClose(b, n)
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOpen replays a log of single-Command entries.
func BenchmarkOpen(b *testing.B) {
	const entries = 100_000
	o := options(nil, b.TempDir())
	o.SegmentBytes, o.NoStopSnapshot = 0, true
	n := mustOpen(b, o, &nothing{})
	command := []byte(strings.Repeat("c", 200))
	for range entries {
		if _, err := n.Propose(context.Background(), command); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, n)
	b.ReportAllocs()
	for b.Loop() {
		n := mustOpen(b, o, &nothing{})
		b.StopTimer()
		mustClose(b, n)
		b.StartTimer()
	}
}
