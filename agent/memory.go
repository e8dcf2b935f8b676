package agent

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The memory policy of the whole program, named in docs/operating.md: under load the collector runs when the heap has
// doubled; once it is quiet, garbage worth the effort is collected and its memory given back, so that an agent at rest
// is as small as what it holds. It is set before anything is measured.
const (
	gcPercent  = 100
	quietPace  = 256 << 10 // bytes allocated in a second; less is rest
	worthwhile = 4 << 20   // bytes of garbage; less is left alone
)

// keepSmall collects garbage in quiet seconds until ctx ends.
func keepSmall(ctx context.Context) error {
	debug.SetGCPercent(gcPercent)
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		metrics.Read(samples)
		allocated, live, now := samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()
		if allocated-before < quietPace && now > live+max(worthwhile, live/8) {
			debug.FreeOSMemory()
		}
		before = allocated
	}
}
