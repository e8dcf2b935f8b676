package health

import (
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/metric"
)

// Count implements room.Counted.
func (q ServiceQuery) Count(m *metric.Registry, a room.Answer) {
	catalog.CountService(m, "health.service", q.Service, q.Tags, len(a.Value.(EntryList)) > 0)
}
