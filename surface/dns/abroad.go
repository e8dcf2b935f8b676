package dns

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
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
	// mostAsking leaves goroutines of the pool to the names of this datacenter when another one does not answer.
	mostAsking = pool * 3 / 4
)

var errCrowded = errors.New("too many questions wait for other datacenters")

// far holds what other datacenters said.
type far struct {
	mu     sync.Mutex // guards kept
	kept   map[foreign]*kept
	asking atomic.Int32 // questions that wait for an answer
}

type foreign struct {
	dc    string
	query room.Query
}

type kept struct {
	mu   sync.Mutex // held while one asks for all
	last atomic.Pointer[said]
	used time.Time // guarded by far.mu
}

// said is what came of asking.
type said struct {
	answer room.Answer
	at     time.Time // when it was given; zero: never
	asked  time.Time // when it was last asked for
	err    error     // what came of that
}

// fresh reports whether there is no need to ask again.
func (s *said) fresh() bool { return s != nil && time.Since(s.asked) < farFresh }

// value is the answer that counts. While the datacenter cannot be reached, that is what it said before.
func (s *said) value() (room.Answer, error) {
	if s.err == nil || s.old() {
		return s.answer, nil
	}
	return room.Answer{}, s.err
}

// old reports whether there is an answer that will do while there is no newer one.
func (s *said) old() bool {
	return s != nil && !s.at.IsZero() && time.Since(s.at) <= farKept && !errors.Is(s.err, fault.ErrNoPath)
}

// abroad makes the answer to a question about another datacenter.
func (s *Server) abroad(ctx context.Context, a *ask) (*packed, error) {
	c := s.conf.Load().of(a)
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
	there.dc, there.wan = dc, c.Translate && dc != c.dc
	there.local = append(appendName(nil, dc), c.suffix...)
	return &there
}

// askFar asks a datacenter, unless it has just been asked or somebody is asking and there is an older answer.
func (s *Server) askFar(ctx context.Context, dc string, q room.Query) (room.Answer, error) {
	k := s.far.find(foreign{dc, q})
	last := k.last.Load()
	if last.fresh() {
		return last.value()
	}
	defer s.far.asking.Add(-1)
	if s.far.asking.Add(1) > mostAsking {
		if last.old() {
			return last.answer, nil
		}
		return room.Answer{}, errCrowded
	}
	if !k.mu.TryLock() {
		if last.old() {
			return last.answer, nil
		}
		k.mu.Lock()
	}
	defer k.mu.Unlock()
	if last = k.last.Load(); last.fresh() {
		return last.value()
	}
	o := s.conf.Load().options
	o.Datacenter = dc
	next := new(said)
	if last != nil {
		*next = *last
	}
	answer, _, err := s.door.Read(ctx, q, o)
	next.asked, next.err = time.Now(), err
	if err == nil {
		next.answer, next.at = answer, next.asked
	}
	k.last.Store(next)
	return next.value()
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
