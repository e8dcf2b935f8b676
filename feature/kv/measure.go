package kv

import (
	"context"
	"time"

	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/httpd"
	"rostra/kit/metric"
	"rostra/kit/store"
)

// sizeQuery asks how many keys there are. Its Value is an int. Only a server asks itself; it does not travel.
type sizeQuery struct{}

// Allowed is always nil: no agent can send it.
func (sizeQuery) Allowed(authz.Decider) error { return nil }

// Subjects are all keys.
func (sizeQuery) Subjects() []store.Subject { return ListQuery{}.Subjects() }

// Point: the table knows its length.
func (sizeQuery) Point() {}

// Run counts.
func (sizeQuery) Run(r store.Reader) room.Answer { return room.Answer{Value: Entries.Len(r), Index: 1} }

// measure tells how many keys a server holds.
func measure(h *room.Host) {
	if h.Raft == nil {
		return
	}
	dc := metric.Label{Name: "datacenter", Value: h.Self.Datacenter}
	h.Metrics.Collect(func(a *metric.Asked) {
		ctx, end := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer end()
		if answer, _, err := h.Door.Read(ctx, sizeQuery{}, room.Options{Consistency: httpd.Stale}); err == nil {
			a.Gauge("state.kv_entries", float64(answer.Value.(int)), dc)
		}
	})
}
