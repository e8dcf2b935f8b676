package server

import (
	"sync"
	"sync/atomic"

	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/kit/fault"
)

// follower is an agent's hold on a cell: it is called when the answer may have changed, and takes it when it has time.
// Unlike a parked reader it needs no goroutine.
type follower struct {
	server *Server
	cell   *cell
	wake   func() // must not wait
	closed sync.Once

	last    *answer     // the one taken last, without its encodings; used by Take alone
	waiting atomic.Bool // for the state to become new enough
}

// Follow implements relay.Door. Whatever mode was asked for, answers are those of this server's state: who follows is told
// how fresh that is. Before the state is whole nobody can follow it.
func (s *Server) Follow(q room.Query, o room.Options, wake func()) (relay.Follower, error) {
	select {
	case <-s.whole:
	default:
		return nil, fault.ErrNoLeader
	}
	if err := q.Allowed(s.decider(o)); err != nil {
		return nil, err
	}
	f := &follower{server: s, cell: s.answers.join(q), wake: wake}
	f.cell.parked.Add(1)
	f.cell.mu.Lock()
	if f.cell.wake == nil {
		f.cell.wake = map[*follower]struct{}{}
	}
	f.cell.wake[f] = struct{}{}
	f.cell.mu.Unlock()
	return f, nil
}

// Take returns the newest answer if it tells something new. While the state is older than at there is none; wake is called
// when it is no longer. It is used by one goroutine.
func (f *follower) Take(at uint64, lineage string, again bool) (relay.Taken, bool) {
	s := f.server
	if at > s.store.Index() && lineage == s.store.Lineage() {
		if f.waiting.CompareAndSwap(false, true) {
			s.views.when(s.store, at, func() {
				f.waiting.Store(false)
				f.wake()
			})
		}
		return relay.Taken{}, false
	}
	a := f.cell.now.Load()
	// A crowd's answer was evaluated just before it was called; but one who comes to it may have seen more elsewhere.
	if a == nil || !f.cell.crowded() || a.at < at && a.lineage == lineage {
		a = f.cell.fresh(s)
	}
	// Under the lock the next answer is not packed, so that it knows that this one was sent.
	f.cell.mu.Lock()
	defer f.cell.mu.Unlock()
	if now := f.cell.now.Load(); now != nil {
		a = now
	}
	if f.last != nil && !again && !a.different(f.last) {
		return relay.Taken{}, false
	}
	a.wire.Send()
	f.last = &answer{Answer: room.Answer{Value: a.Value, Index: a.Index, Missing: a.Missing}, lineage: a.lineage}
	return relay.Taken{Answer: a.Answer, At: a.at, Lineage: a.lineage, Packed: a.wire}, true
}

// Close gives the cell back.
func (f *follower) Close() {
	f.closed.Do(func() {
		f.cell.mu.Lock()
		delete(f.cell.wake, f)
		f.cell.mu.Unlock()
		f.cell.parked.Add(-1)
		f.server.answers.leave(f.cell)
	})
}
