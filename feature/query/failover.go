package query

import (
	"context"
	"slices"
	"time"

	"rostra/engine/room"
)

// mostPerTarget is how long another datacenter may take to answer.
const mostPerTarget = 5 * time.Second

// search is the look-out for instances in other datacenters.
type search struct {
	host    *room.Host
	service *Service
	limit   int
	o       room.Options
}

// elsewhere asks one datacenter after the other until one has instances. One that cannot be reached is passed over.
func (s *search) elsewhere(ctx context.Context, found *Outcome) {
	for _, dc := range s.targets() {
		found.Failovers++
		found.Datacenter = dc
		there, err := s.ask(ctx, dc)
		switch {
		case err != nil:
			s.host.Log.Debug("a prepared query cannot fail over", "service", s.service.Service, "datacenter", dc, "error", err)
		case len(there.Nodes) > 0:
			found.Nodes = there.Nodes
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// ask asks one datacenter. It gets half of the time that is left, so that others are asked when it does not answer.
func (s *search) ask(ctx context.Context, dc string) (*Outcome, error) {
	most := mostPerTarget
	if end, bounded := ctx.Deadline(); bounded {
		most = min(most, time.Until(end)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	o := s.o
	o.Datacenter = dc
	c := &Gather{*s.service, s.limit, readingOf(o)}
	found, _, err := call(ctx, s.host.Door, c, o)
	return found, err
}

// targets are the datacenters to ask: the nearest, then the named ones; or those of Targets. Each once; those that nobody
// knows are left out, and so is this one, where there is nothing.
func (s *search) targets() []string {
	if s.host.Roster == nil {
		return nil
	}
	f := &s.service.Failover
	others := s.host.Roster.Datacenters()[1:]
	list := slices.Clone(others[:min(f.NearestN, len(others))])
	named := f.Datacenters
	for _, t := range f.Targets {
		named = append(named[:len(named):len(named)], t.Datacenter)
	}
	for _, dc := range named {
		if slices.Contains(others, dc) && !slices.Contains(list, dc) {
			list = append(list, dc)
		}
	}
	return list
}
