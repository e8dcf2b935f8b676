package dns

import (
	"context"
	"time"

	"rostra/engine/room"
	"rostra/feature/health"
	"rostra/kit/httpd"
)

const (
	ageStale = 5 * time.Second // questions answered from a state older than that are counted
	ageEver  = 365 * 24 * time.Hour
	ageLook  = 500 * time.Millisecond // how long to ask for the age
)

// bound is how old what is answered without asking a server may be; false: as old as it likes.
func (c *conf) bound() (time.Duration, bool) {
	d := ageEver
	if c.AllowStale && c.MaxStale > 0 {
		d = min(d, c.MaxStale)
	}
	if c.UseCache && c.CacheMaxAge > 0 {
		d = min(d, c.CacheMaxAge)
	}
	return d, d < ageEver
}

// lookAge finds out how old the state behind the door is, for the questions of the last second.
func (s *Server) lookAge(ctx context.Context, asked uint64) {
	most, bounded := s.conf.Load().bound()
	if asked == 0 && !bounded {
		s.aged.Store(false)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ageLook)
	defer cancel()
	_, meta, err := s.door.Read(ctx, health.ServiceQuery{Service: "consul"}, room.Options{Consistency: httpd.Stale})
	if err == nil && meta.LastContact > ageStale {
		s.stats.stale.Add(asked)
		s.old.Add(asked)
	}
	s.aged.Store(bounded && (err != nil || meta.LastContact > most))
}

// strict reports whether every question must be asked of a server that knows a leader, because what is kept may not be
// used, or is too old.
func (s *Server) strict() bool { return s.aged.Load() || !s.conf.Load().AllowStale }

// asked returns the answer of a server to a Query, and where what is made of it is kept.
func (s *Server) asked(ctx context.Context, q room.Query) (*source, room.Answer, error) {
	a, _, err := s.door.Read(ctx, q, room.Options{})
	return s.cache.spare(q), a, err
}
