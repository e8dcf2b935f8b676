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
	fewer      = 500       // goroutines that ended, as those of connections; what they held is not garbage before it is looked for
)

// keepSmall collects garbage in quiet seconds until ctx ends.
func keepSmall(ctx context.Context) error {
	debug.SetGCPercent(gcPercent)
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/free:bytes"}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before, most := uint64(0), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		metrics.Read(samples)
		allocated, live, now := samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()
		running, free := samples[3].Value.Uint64(), samples[4].Value.Uint64()
		most = max(most, running)
		if allocated-before < quietPace && (wasteful(now, live, free) || most > running+fewer) {
			debug.FreeOSMemory()
			most = running
		}
		before = allocated
	}
}

// wasteful reports whether there is enough to give back: objects that died since they were last looked for, of all objects, and what
// the collector has freed and holds, in the expectation that the heap grows again to twice of what lives: after a snapshot was
// restored that is as much as the state itself.
func wasteful(objects, live, free uint64) bool { return objects+free > live+max(worthwhile, live/8) }
