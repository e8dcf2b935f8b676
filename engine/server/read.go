package server

import (
	"context"
	"time"

	"rostra/engine/room"
	"rostra/kit/httpd"
)

// Read answers a Query. A default or consistent read waits until this server leads with its state whole; a stale one
// only for the state. A sole voter needs no round to confirm that it leads (design rule 12).
func (s *Server) Read(ctx context.Context, q room.Query, o room.Options) (room.Answer, room.Meta, error) {
	if err := s.admit(ctx, q, o); err != nil {
		return room.Answer{}, room.Meta{}, err
	}
	_, point := q.(room.Point)
	if point && o.Index == 0 {
		v := s.store.View()
		a := q.Run(v)
		v.Release()
		return a, s.meta(a.Index, o), nil
	}
	c := s.answers.join(q)
	defer s.answers.leave(c)
	a := c.fresh(s)
	if o.Index > 0 && a.Index <= o.Index {
		var err error
		if a, err = s.block(ctx, c, a, o); err != nil {
			return room.Answer{}, room.Meta{}, err
		}
	}
	return a.Answer, s.meta(a.Index, o), nil
}

func (s *Server) admit(ctx context.Context, q room.Query, o room.Options) error {
	if err := s.here(o.Datacenter); err != nil {
		return err
	}
	if s.ready.Load() == nil {
		h := holder{limit: s.opts.Hold}
		defer h.stop()
		await := s.awaitReady
		if o.Consistency == httpd.Stale {
			await = s.awaitWhole
		}
		if err := await(ctx, &h); err != nil {
			return err
		}
	}
	return q.Allowed(s.decider(o))
}

// block parks until the answer's index passes o.Index, the state is replaced, or the time is over; then the newest
// answer counts, whatever its index (spec http/conventions.md §8).
func (s *Server) block(ctx context.Context, c *cell, a *answer, o room.Options) (*answer, error) {
	wait := o.Wait
	if wait <= 0 {
		wait = s.opts.QueryTime
	}
	wait = min(wait, s.opts.MaxQueryTime+s.opts.MaxQueryTime/16) // clients' waits come with their jitter
	timer := time.NewTimer(wait)
	defer timer.Stop()
	s.stats.blocking.Add(1)
	defer s.stats.blocking.Add(-1)
	epoch := a.epoch
	c.parked.Add(1)
	defer c.parked.Add(-1)
	for {
		next := c.changed()
		if a = c.fresh(s); a.Index > o.Index || a.epoch != epoch {
			return a, nil
		}
		select {
		case <-next:
		case <-timer.C:
			return c.fresh(s), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ended:
			return c.fresh(s), nil
		}
	}
}

// Watch returns a live answer.
func (s *Server) Watch(ctx context.Context, q room.Query, o room.Options) (room.Watch, error) {
	if err := s.admit(ctx, q, o); err != nil {
		return nil, err
	}
	return &watch{server: s, cell: s.answers.join(q)}, nil
}

// watch is one caller's hold on a cell.
type watch struct {
	server *Server
	cell   *cell
	last   *answer
}

// Latest returns the newest answer without waiting.
func (w *watch) Latest() (room.Answer, error) { return w.cell.fresh(w.server).Answer, nil }

// Next waits for an answer that differs from the last one.
func (w *watch) Next(ctx context.Context) (room.Answer, error) {
	w.cell.parked.Add(1)
	defer w.cell.parked.Add(-1)
	for {
		next := w.cell.changed()
		a := w.cell.fresh(w.server)
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

// Close gives the cell back.
func (w *watch) Close() { w.server.answers.leave(w.cell) }
