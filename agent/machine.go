package agent

import (
	"context"
	"fmt"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"rostra/engine/room"
	"rostra/kit/disk"
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
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/goroutines:goroutines"}}
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
		running := samples[3].Value.Uint64()
		most = max(most, running)
		if allocated-before < quietPace && (now > live+max(worthwhile, live/8) || most > running+fewer) {
			debug.FreeOSMemory()
			most = running
		}
		before = allocated
	}
}

// The policy for a disk that fills up, named in docs/operating.md. A server whose log cannot be written stops, since nobody
// knows then what is on the disk. So one that is alone takes no more writes while there is still some room: it goes on
// reading, and takes writes again as soon as there is room. One of several goes on: if its disk is full it stops, and the
// others, whose disks may have room, go on without it.
const (
	reserve   = 64 << 20 // bytes that are left free; on small disks their tenth part
	spaceTime = time.Second
	spaceID   = "rostra:disk"
)

// keepSpace looks how much room there is until ctx ends. space is disk.SpaceOf.
func (a *Agent) keepSpace(ctx context.Context, space func(dir string) (disk.Space, error)) error {
	tick := time.NewTicker(spaceTime)
	defer tick.Stop()
	was := ""
	for {
		if s, err := space(a.host.Dir); err == nil { // a directory that is gone shows elsewhere
			was = a.judgeSpace(s, was)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// judgeSpace says what there is to say about the room on the disk, if that was not said before, and bounds the writes.
func (a *Agent) judgeSpace(s disk.Space, was string) (now string) {
	keep := min(reserve, s.Total/10)
	switch {
	case s.ReadOnly:
		now = "the disk of the data directory is mounted read-only: mount it for writing, and mend what made it so"
	case s.Free < keep:
		now = fmt.Sprintf("the disk of the data directory is full: less than %d MiB are free, which are kept for what must be written; free some", keep>>20)
	}
	if now != was {
		if now != "" {
			a.log.Error(now, "data_dir", a.host.Dir)
			a.host.Reports.Set(room.Report{ID: spaceID, Name: "Room for data", Status: "warning", Output: now})
		} else {
			a.log.Info("there is room on the disk of the data directory again")
			a.host.Reports.Drop(spaceID)
		}
	}
	switch {
	case a.node == nil:
	case a.others():
		a.node.Allow(0, "")
	case now != "":
		a.node.Allow(0, "this server takes no writes now: "+now)
	default:
		a.node.Allow(int64(s.Free-keep), fmt.Sprintf("this server cannot take the write: the disk of the data directory has room for %d MiB more; free some", (s.Free-keep)>>20))
	}
	return now
}
