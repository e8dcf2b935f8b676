package server

import (
	"context"
	"time"

	"rostra/engine/relay"
	"rostra/kit/fault"
)

// orphanTime is how long a leader still has, once another one is known, to answer what was sent on to it. One that lives
// answers at once: it has lost its leadership. From one that is cut off or frozen nothing will come, and without this bound
// its callers would wait as long as the longest answer may take.
const orphanTime = time.Second

var errOrphaned = fault.New(fault.Unknown, "the leader that was asked does not answer and another server leads now: what was asked may have been done")

// reign is the time in which another server leads, as far as this one knows.
type reign struct {
	leader *relay.Client
	over   context.Context // ends orphanTime after another leader was known
	end    context.CancelFunc
}

// succeed notes who leads now; "" is nobody that is known, which ends no reign. One goroutine calls it.
func (s *Server) succeed(id string) {
	if id == "" {
		return
	}
	var next *reign
	if to, is := s.leader(); is {
		next = &reign{leader: s.clients.To(to)}
		next.over, next.end = context.WithCancel(context.Background())
	}
	before := s.signals.reign.Load()
	if before != nil && next != nil && before.leader == next.leader {
		next.end()
		return
	}
	s.signals.reign.Store(next)
	if before != nil {
		time.AfterFunc(orphanTime, before.end)
	}
}

// underLeader asks a leader. What it asked ends as unknown if that leader goes silent and another one comes.
func underLeader[T any](ctx context.Context, s *Server, leader *relay.Client, ask func(context.Context) (T, error)) (T, error) {
	r := s.signals.reign.Load()
	if r == nil || r.leader != leader {
		return ask(ctx) // it has just come
	}
	bound, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(r.over, end)()
	v, err := ask(bound)
	if err != nil && ctx.Err() == nil && bound.Err() != nil && fault.Is(err, fault.Unknown) {
		err = errOrphaned
	}
	return v, err
}
