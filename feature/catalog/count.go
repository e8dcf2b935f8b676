package catalog

import (
	"strings"

	"rostra/engine/room"
	"rostra/kit/metric"
)

// Count counts the question, as Consul does.
func (q InstancesQuery) Count(m *metric.Registry, a room.Answer) {
	q.Tags.Count(m, "catalog.service", q.Service, len(a.Value.(InstanceList)) > 0)
}

// Count counts a question about a service with these tags, and whether there was an answer, under the names that Consul
// has for it below name.
func (w Words) Count(m *metric.Registry, name, service string, found bool) {
	label := metric.Label{Name: "service", Value: service}
	m.Counter(name+".query", label).Inc()
	if list := w.List(); len(list) == 1 {
		m.Counter(name+".query-tag", label, metric.Label{Name: "tag", Value: list[0]}).Inc()
	} else if len(list) > 1 {
		m.Counter(name+".query-tags", label, metric.Label{Name: "tags", Value: strings.Join(list, ",")}).Inc()
	}
	if !found {
		m.Counter(name+".not-found", label).Inc()
	}
}
