package kv

import (
	"context"
	"time"

	"rostra/engine/room"
)

// Tombstones are kept for a while, so that who comes back with an index after a deletion sees that something happened.
const (
	tombstoneTTL = 15 * time.Minute
	reapPeriod   = ageStep * time.Nanosecond
)

// collect reaps old tombstones and lock-delays for as long as this server leads.
func collect(ctx context.Context, door room.Door) error {
	ticker := time.NewTicker(reapPeriod)
	defer ticker.Stop()
	var clock logClock
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		answer, _, err := door.Read(ctx, timeQuery{}, room.Options{})
		if err != nil {
			return err
		}
		now := clock.now(answer.Value.(int64))
		q := staleQuery{Before: now - int64(tombstoneTTL), Now: now}
		answer, _, err = door.Read(ctx, q, room.Options{})
		for more := err == nil && answer.Value.(bool); more && err == nil; {
			var result room.Result
			if result, _, err = door.Apply(ctx, &Reap{Before: q.Before}, room.Options{}); err == nil {
				more = result.(bool)
			}
		}
		if err != nil {
			return err
		}
	}
}

// logClock tells the log's time, by which tombstones have their age, also while nothing is written.
type logClock struct {
	newest int64     // time of the newest entry
	seen   time.Time // when it was new here
}

func (c *logClock) now(newest int64) int64 {
	if newest != c.newest || c.seen.IsZero() {
		c.newest, c.seen = newest, time.Now()
	}
	return newest + int64(time.Since(c.seen))
}
