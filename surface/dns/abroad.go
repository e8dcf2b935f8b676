package dns

import (
	"context"
	"errors"
	"sync"
	"time"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/fault"
)

// Other datacenters are asked, not watched. What they said is used again for a moment, so that a name in demand costs one
// question a second and not one for each query, and for as long as they cannot be reached.
const (
	farFresh = time.Second
	farKept  = 5 * time.Minute
	mostFar  = 4096
)

// far holds what other datacenters said.
type far struct {
	mu   sync.Mutex // guards kept
	kept map[foreign]*kept
}

type foreign struct {
	dc    string
	query room.Query
}

type kept struct {
	mu     sync.Mutex // held while one asks for all
	answer room.Answer
	at     time.Time // zero: never answered
	used   time.Time // guarded by far.mu
}

// abroad makes the answer to a question about another datacenter.
func (s *Server) abroad(ctx context.Context, a *ask) (*packed, error) {
	c := s.conf.Load()
	var q room.Query = catalog.NodesQuery{}
	if a.subject == aboutService {
		q = health.ServiceQuery{Service: a.name}
	}
	answer, err := s.askFar(ctx, a.dc, q)
	if errors.Is(err, fault.ErrNoPath) {
		return c.nothing, nil
	}
	if err != nil {
		return nil, err
	}
	if a.subject == aboutNode {
		if n := indexNodes(answer.Value.(catalog.NodeList)).byName[a.name]; n != nil {
			return c.in(a.dc).buildNode(a, n), nil
		}
		return c.nothing, nil
	}
	list := answer.Value.(health.EntryList)
	if _, known := tagsOf(list)[a.tag]; len(list) == 0 || !known {
		return c.nothing, nil
	}
	return c.in(a.dc).buildService(a, list), nil
}

// in returns the settings for names of another datacenter.
func (c *conf) in(dc string) *conf {
	there := *c
	there.dc = dc
	there.local = append(appendName(nil, dc), c.suffix...)
	return &there
}

// askFar asks a datacenter, unless it has just been asked. While it cannot be reached, what it said before counts.
func (s *Server) askFar(ctx context.Context, dc string, q room.Query) (room.Answer, error) {
	k := s.far.find(foreign{dc, q})
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.at.IsZero() && time.Since(k.at) < farFresh {
		return k.answer, nil
	}
	o := s.conf.Load().options
	o.Datacenter = dc
	answer, _, err := s.door.Read(ctx, q, o)
	switch {
	case err == nil:
		k.answer, k.at = answer, time.Now()
	case errors.Is(err, fault.ErrNoPath), k.at.IsZero(), time.Since(k.at) > farKept:
		return answer, err
	}
	return k.answer, nil
}

// find returns the place of a question; unused ones go when there are too many.
func (f *far) find(what foreign) *kept {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.kept[what]
	if k == nil {
		if len(f.kept) >= mostFar {
			for old, other := range f.kept {
				if time.Since(other.used) > farKept || len(f.kept) >= mostFar {
					delete(f.kept, old)
				}
			}
		}
		k = &kept{}
		f.kept[what] = k
	}
	k.used = time.Now()
	return k
}
