package server

import (
	"context"
	"sync"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/relay"
	"rostra/engine/room"
)

// loopPause is how long a leader's loop that failed rests before it starts again.
const loopPause = time.Second

// Attach gives the server the log that it proposes to, and the Host that procedures run with, whose Roster knows the other
// servers. port carries what is said to them; nil on a lone server. It comes before any other use.
func (s *Server) Attach(n *consensus.Node, h *room.Host, port relay.Caller) {
	s.node, s.host = n, h
	if port != nil {
		s.clients = relay.NewClients(s.types, port, s.opts.Hold)
		s.SetTimeout(s.opts.Timeout)
	}
}

// Run evaluates what is watched, and runs the loops while this server leads, until ctx ends. Requests still parked then
// are answered with what there is.
func (s *Server) Run(ctx context.Context, loops []room.Loop) error {
	defer close(s.ended)
	defer s.rounds.close()
	defer func() {
		if s.clients != nil {
			s.clients.Close()
		}
	}()
	ctx, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	wait.Go(func() { s.answers.run(ctx) })
	wait.Go(func() { s.observe(ctx) })
	if s.opts.Expect > 0 && s.clients != nil {
		wait.Go(func() { s.form(ctx) })
	}
	err := s.node.Lead(ctx, func(ctx context.Context, number uint64) error { return s.lead(ctx, number, loops) })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// lead is one term: the state is whole, this server speaks for the cluster until ctx ends.
func (s *Server) lead(ctx context.Context, number uint64, loops []room.Loop) error {
	if s.store.Lineage() == "" {
		if err := s.begin(ctx); err != nil {
			return err
		}
	}
	s.setReady(&term{number})
	var wait sync.WaitGroup
	own := []room.Loop{{Name: "rules of commands", Run: s.raiseLevel}, {Name: "comparing states", Run: s.proposeCompare}}
	for _, l := range append(own, loops...) {
		wait.Go(func() { s.loop(ctx, l) })
	}
	<-ctx.Done()
	s.setReady(nil) // at once, however long a loop takes to notice
	wait.Wait()
	return nil
}

// begin names the history of a new cluster.
func (s *Server) begin(ctx context.Context) error {
	entry, err := s.encode(&Begin{Lineage: s.opts.Lineage()})
	if err == nil {
		_, err = s.node.Propose(ctx, entry)
	}
	return err
}

func (s *Server) setReady(t *term) {
	s.ready.Store(t)
	if t != nil {
		s.isWhole()
	}
	s.announce()
}

// isWhole notes that the state holds everything that was committed before this process started.
func (s *Server) isWhole() { s.once.Do(func() { close(s.whole) }) }

// announce wakes who waits for a leader.
func (s *Server) announce() { s.signals.give(&s.signals.began) }

// loop keeps one of the leader's duties running until the term ends.
func (s *Server) loop(ctx context.Context, l room.Loop) {
	for ctx.Err() == nil {
		err := l.Run(ctx)
		if ctx.Err() != nil {
			return
		}
		s.opts.Log.Warn("a duty of the leader failed and starts again", "duty", l.Name, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(loopPause):
		}
	}
}
