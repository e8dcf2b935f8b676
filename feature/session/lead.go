package session

import (
	"context"
	"time"

	"rostra/engine/room"
	"rostra/kit/httpd"
	"rostra/kit/metric"
)

const (
	expiryPeriod = time.Second // how often the leader looks for sessions that are over
	expiryBatch  = 128         // how many of them one Command ends at most
)

// expire ends sessions that are not renewed in time, for as long as this server leads.
func expire(ctx context.Context, door room.Door, active *metric.Gauge) error {
	defer active.Set(0)
	ticker := time.NewTicker(expiryPeriod)
	defer ticker.Stop()
	t := timers{}
	for first := true; ; first = false {
		// What is stale is no harm: a renewal that is not seen keeps its session when the Command runs.
		answer, _, err := door.Read(ctx, renewalsQuery{}, room.Options{Consistency: httpd.Stale})
		if err != nil {
			return err
		}
		active.Set(float64(len(answer.Value.([]*renewal))))
		due := t.due(answer.Value.([]*renewal), time.Now(), first)
		for len(due) > 0 {
			n := min(len(due), expiryBatch)
			if _, _, err := door.Apply(ctx, &Expire{Seen: due[:n]}, room.Options{}); err != nil {
				return err
			}
			due = due[n:]
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// timers are the ends of sessions by ID, on this process's own clock.
type timers map[string]timer

type timer struct {
	renewed int64
	ends    time.Time
}

// due takes over the renewals and returns the sessions that are over: 2 × TTL after the last renewal, as spec
// http/session.md has it. In a leader's first look all sessions get that time in full, because their clients could not
// renew them while nobody led. No session waits longer than that, even if the clock that stamped its renewal ran ahead.
func (t timers) due(list []*renewal, now time.Time, first bool) []Seen {
	var over []Seen
	live := make(map[string]bool, len(list))
	for _, row := range list {
		live[row.ID] = true
		have, known := t[row.ID]
		if !known || have.renewed != row.Renewed {
			left := 2 * time.Duration(row.Life)
			if !first {
				// The leader looks every second, so what it sees for the first time is hardly older: more is a clock that jumped.
				left -= min(left, 2*expiryPeriod, max(0, time.Duration(now.UnixNano()-row.Renewed)))
			}
			have = timer{row.Renewed, now.Add(left)}
			t[row.ID] = have
		}
		if !now.Before(have.ends) {
			over = append(over, Seen{ID: row.ID, Renewed: row.Renewed})
		}
	}
	for id := range t {
		if !live[id] {
			delete(t, id)
		}
	}
	return over
}
