package catalog

import (
	"strings"

	"rostra/engine/room"
	"rostra/kit/metric"
)

// Count implements room.Counted.
func (q InstancesQuery) Count(m *metric.Registry, a room.Answer) {
	CountService(m, "catalog.service", q.Service, q.Tags, len(a.Value.(InstanceList)) > 0)
}

// CountService counts a question about a service and what was found, under the names that Consul has for it below name.
func CountService(m *metric.Registry, name, service string, tags Words, found bool) {
	label := metric.Label{Name: "service", Value: service}
	m.Counter(name+".query", label).Inc()
	if list := tags.List(); len(list) == 1 {
		m.Counter(name+".query-tag", label, metric.Label{Name: "tag", Value: list[0]}).Inc()
	} else if len(list) > 1 {
		m.Counter(name+".query-tags", label, metric.Label{Name: "tags", Value: strings.Join(list, ",")}).Inc()
	}
	if !found {
		m.Counter(name+".not-found", label).Inc()
	}
}
