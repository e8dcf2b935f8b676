package health

import (
	"rostra/engine/room"
	"rostra/kit/metric"
)

// Count counts the question, as Consul does.
func (q ServiceQuery) Count(m *metric.Registry, a room.Answer) {
	q.Tags.Count(m, "health.service", q.Service, len(a.Value.(EntryList)) > 0)
}
