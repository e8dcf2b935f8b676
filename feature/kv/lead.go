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
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		now := time.Now()
		q := staleQuery{Before: now.Add(-tombstoneTTL).UnixNano(), Now: now.UnixNano()}
		answer, _, err := door.Read(ctx, q, room.Options{})
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
