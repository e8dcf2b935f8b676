package server

import (
	"context"
	"sync"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/room"
)

// loopPause is how long a leader's loop that failed rests before it starts again.
const loopPause = time.Second

// Attach gives the server the log that it proposes to, and the Host that procedures run with. It comes before any other use.
func (s *Server) Attach(n *consensus.Node, h *room.Host) { s.node, s.host = n, h }

// Run evaluates what is watched, and runs the loops while this server leads, until ctx ends. Requests still parked then
// are answered with what there is.
func (s *Server) Run(ctx context.Context, loops []room.Loop) error {
	defer close(s.ended)
	ctx, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	wait.Go(func() { s.answers.run(ctx) })
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
	for _, l := range loops {
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
		s.once.Do(func() { close(s.whole) })
	}
	s.mu.Lock()
	close(s.began)
	s.began = make(chan struct{})
	s.mu.Unlock()
}

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
