package server

import (
	"context"
	"sync"
	"time"

	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/store"
)

// Read answers a Query. For a default or consistent read the state must hold all that was acknowledged before it came; for
// a stale one it must be whole.
func (s *Server) Read(ctx context.Context, q room.Query, o room.Options) (room.Answer, room.Meta, error) {
	if err := s.within(ctx, false, func() string { return s.types.NameOf(q) }); err != nil {
		return room.Answer{}, room.Meta{}, err
	}
	if !s.own(o) {
		return elsewhere(s, ctx, o, relay.Harmless, func(ctx context.Context, to *relay.Client, o room.Options) (room.Answer, room.Meta, error) {
			return to.Read(ctx, q, o)
		})
	}
	if o.Consistency == httpd.Stale && o.MaxStale > 0 && s.lastContact() > o.MaxStale {
		o.Consistency = httpd.Default
	}
	if _, travels := s.types.Answers(q); travels { // the others are the server's own
		s.meters.queries.Inc()
	}
	if err := s.admit(ctx, q, o); err != nil {
		return room.Answer{}, room.Meta{}, err
	}
	_, point := q.(room.Point)
	if point && o.Index == 0 {
		v := s.store.View()
		a := ask(q, v)
		v.Release()
		return a, s.meta(a.Index, o), nil
	}
	a, err := s.shared(ctx, q, o)
	if err != nil {
		return room.Answer{}, room.Meta{}, err
	}
	if c, is := q.(counted); is {
		c.Count(s.opts.Metrics, a.Answer)
	}
	return a.Answer, s.meta(a.Index, o), nil
}

// shared is an answer that others may be given, too.
func (s *Server) shared(ctx context.Context, q room.Query, o room.Options) (*answer, error) {
	c := s.answers.join(q)
	defer s.answers.leave(c)
	if o.Index == 0 {
		return c.fresh(s), nil
	}
	return s.block(ctx, c, o)
}

// ask runs the Query. No index is below that of the last restore: rows and subjects keep theirs, but a client that has seen
// a higher one before must learn that the state has changed.
func ask(q room.Query, v *store.View) room.Answer {
	a := q.Run(v)
	a.Index = max(a.Index, v.Restored())
	return a
}

func (s *Server) admit(ctx context.Context, q room.Query, o room.Options) error {
	h := holder{limit: s.opts.Hold}
	defer h.stop()
	await := s.confirm
	switch o.Consistency {
	case httpd.Stale:
		await = s.awaitWhole
	case httpd.Consistent:
		defer s.meters.consistent.Since(time.Now())
	}
	if err := await(ctx, &h); err != nil {
		return err
	}
	return q.Allowed(s.decider(o))
}

// block waits until the answer's index passes o.Index, the state is replaced, or the time is over; then the newest answer
// counts, whatever its index (spec http/conventions.md §8). A thing that is missing from first to last wakes nobody,
// however its index moves.
func (s *Server) block(ctx context.Context, c *cell, o room.Options) (*answer, error) {
	wait := o.Wait
	if wait <= 0 {
		wait = s.opts.QueryTime
	}
	wait = min(wait, s.opts.MaxQueryTime+s.opts.MaxQueryTime/16) // clients' waits come with their jitter
	timer := time.NewTimer(wait)
	defer timer.Stop()
	c.parked.Add(1)
	defer c.parked.Add(-1)
	floor := c.floor()
	var lost <-chan struct{}
	if o.Consistency != httpd.Stale {
		lost = s.signals.of(&s.signals.lost)
	}
	var first *answer
	for {
		next := c.changed()
		if err := c.await(ctx, floor, s.ended); err != nil {
			return nil, err
		}
		a := c.since(s, floor)
		if first == nil {
			first = a
			if a.Index > o.Index {
				return s.confirmed(ctx, c, a, o)
			}
			s.stats.blocking.Add(1) // from here on it counts as parked
			defer s.stats.blocking.Add(-1)
		}
		if a.lineage != first.lineage || a.Index > o.Index && !(a.Missing && first.Missing) {
			return s.confirmed(ctx, c, a, o)
		}
		select {
		case <-next:
		case <-lost:
			return s.confirmed(ctx, c, c.fresh(s), o)
		case <-timer.C:
			return s.confirmed(ctx, c, c.fresh(s), o)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ended:
			return c.fresh(s), nil
		}
	}
}

// confirmed returns the answer of a read that may have been parked while this server lost its leader: unless it is stale,
// or the server is stopping, it is then an error or a new answer (design rule 14).
func (s *Server) confirmed(ctx context.Context, c *cell, a *answer, o room.Options) (*answer, error) {
	if o.Consistency == httpd.Stale || s.inTouch() {
		return a, nil
	}
	select {
	case <-s.ended:
		return a, nil
	default:
	}
	h := holder{limit: min(s.opts.Hold, lostTime)}
	defer h.stop()
	if err := s.confirm(ctx, &h); err != nil {
		return nil, err
	}
	return c.fresh(s), nil
}

// touchTime is how long ago a follower may have heard from its leader to be in touch with it: a lease's time and some.
const touchTime = time.Second

// inTouch reports whether this server leads, or hears from who does.
func (s *Server) inTouch() bool {
	return s.ready.Load() != nil || s.knowsLeader() && s.lastContact() < touchTime
}

// await lets a member of a crowd wait for the crowd's turn before it asks for an evaluation: those who come back at once
// after each change must not each cause one.
func (c *cell) await(ctx context.Context, floor uint64, ended <-chan struct{}) error {
	if a := c.now.Load(); a == nil || a.touches >= floor || !c.crowded() {
		return nil
	}
	wait := c.turn()
	if wait == 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Watch returns a live answer.
func (s *Server) Watch(ctx context.Context, q room.Query, o room.Options) (room.Watch, error) {
	if !s.own(o) {
		return nil, fault.New(fault.Refused, "cannot watch another datacenter or server")
	}
	if err := s.admit(ctx, q, o); err != nil {
		return nil, err
	}
	return &watch{server: s, cell: s.answers.join(q)}, nil
}

// Moved returns another number after any Watch may have another answer. Read it before Latest.
func (s *Server) Moved() uint64 { return s.store.Moved() }

// watch is one caller's hold on a cell.
type watch struct {
	server *Server
	cell   *cell
	last   *answer
	closed sync.Once
}

// Latest returns the newest answer without waiting.
func (w *watch) Latest() (room.Answer, error) { return w.cell.fresh(w.server).Answer, nil }

// Next waits for an answer that differs from the last one.
func (w *watch) Next(ctx context.Context) (room.Answer, error) {
	w.cell.parked.Add(1)
	defer w.cell.parked.Add(-1)
	floor := w.cell.floor()
	for {
		next := w.cell.changed()
		if err := w.cell.await(ctx, floor, w.server.ended); err != nil {
			return room.Answer{}, err
		}
		a := w.cell.since(w.server, floor)
		if w.last == nil || a.different(w.last) {
			w.last = a
			return a.Answer, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return room.Answer{}, ctx.Err()
		}
	}
}

// Close gives the cell back. A second call does nothing.
func (w *watch) Close() { w.closed.Do(func() { w.server.answers.leave(w.cell) }) }
