package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/rpc"
	"rostra/kit/fault"
)

// A default or consistent read may only be answered from a state that holds everything acknowledged before the read came.
// The leader asks a quorum whether it still leads, a follower asks the leader how far it must be. Reads that come while
// such a round is under way share the next one: a round counts for those alone that came before it began (design rules 11
// to 13).

const (
	roundTime = time.Second           // a round without an answer is given up and tried again
	askMore   = 30 * time.Millisecond // voters that did not answer by then are helped out by the others
)

// rounds runs one round after the other, for as long as somebody waits for one.
type rounds struct {
	run func() (index uint64, err error)

	mu      sync.Mutex // guards the rest
	running bool
	closed  bool
	next    *round
	work    sync.WaitGroup // what was started and has not ended
}

type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// join returns what a round that begins after the call comes to.
func (r *rounds) join(ctx context.Context) (uint64, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return 0, fault.ErrNoLeader
	}
	mine := r.next
	if mine == nil {
		mine = &round{done: make(chan struct{})}
		r.next = mine
		if !r.running {
			r.running = true
			r.work.Go(r.loop)
		}
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return 0, fault.ErrNoLeader
	}
}

// close lets no round begin any more and waits for those that did.
func (r *rounds) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.work.Wait()
}

func (r *rounds) loop() {
	for {
		r.mu.Lock()
		now := r.next
		r.next = nil
		r.running = now != nil
		r.mu.Unlock()
		if now == nil {
			return
		}
		now.index, now.err = r.run()
		close(now.done)
	}
}

// confirm returns once this server's state holds everything that was acknowledged before the call.
func (s *Server) confirm(ctx context.Context, h *holder) error {
	for {
		if s.ready.Load() != nil && s.sole() {
			return nil // nobody else could have been elected
		}
		if _, err := s.awaitLeader(ctx, h); err != nil {
			return err
		}
		index, err := s.rounds.join(ctx)
		if err == nil && s.views.await(ctx, s.store, index, h.expired()) {
			s.isWhole()
			return nil
		}
		if !h.pause(ctx) {
			return fault.ErrNoLeader
		}
	}
}

// sole reports whether this server is the only voter.
func (s *Server) sole() bool { return s.clients == nil || s.node.Voters() == 1 }

// round is one round, whatever this server is now.
func (s *Server) round() (uint64, error) {
	ctx, end := context.WithTimeout(context.Background(), roundTime)
	defer end()
	if t := s.ready.Load(); t != nil {
		return s.confirmTerm(ctx, t)
	}
	to, ok := s.leader()
	if !ok {
		return 0, fault.ErrNoLeader
	}
	return s.clients.To(to).Reach(ctx, s.opts.ID, s.node.Term())
}

// Reach implements relay.Group. The asker's own word counts: it was in the term when it asked, and all that waits for its
// question came before.
func (s *Server) Reach(ctx context.Context, from string, term uint64) (uint64, error) {
	t := s.ready.Load()
	if t == nil || t.number != term {
		return 0, fault.New(fault.NotApplied, "this server does not lead term %d", term)
	}
	if quorate(s.node.Peers(), s.opts.ID, from) {
		return s.stillIn(t)
	}
	return s.rounds.join(ctx)
}

// quorate reports whether the named servers alone are a majority of those that vote.
func quorate(peers []consensus.Peer, ids ...string) bool {
	voters, have := 0, 0
	for _, p := range peers {
		if p.Voter {
			voters++
			if slices.Contains(ids, p.ID) {
				have++
			}
		}
	}
	return have > voters/2
}

// stillIn returns this leader's index if its own word still counts for the term.
func (s *Server) stillIn(t *term) (uint64, error) {
	index := s.store.Index()
	if s.node.Term() != t.number || s.ready.Load() != t {
		return 0, fault.New(fault.NotApplied, "this server does not lead term %d any more", t.number)
	}
	return index, nil
}

// others returns the voters but for this server.
func (s *Server) others() (list []consensus.Peer) {
	for _, p := range s.node.Peers() {
		if p.Voter && p.ID != s.opts.ID {
			list = append(list, p)
		}
	}
	return list
}

// confirmTerm asks voters until a quorum agrees that nobody was elected after this server. It asks no more than are needed,
// unless they do not answer soon.
func (s *Server) confirmTerm(ctx context.Context, t *term) (uint64, error) {
	voters := s.others()
	need := (len(voters) + 1) / 2 // with this server a majority
	said := make(chan bool, len(voters))
	asked := 0
	ask := func(n int) {
		for ; asked < min(n, len(voters)); asked++ {
			to := s.target(voters[asked])
			s.rounds.work.Go(func() {
				agrees, err := s.clients.To(to).Confirm(ctx, s.opts.ID, t.number)
				said <- err == nil && agrees
			})
		}
	}
	ask(need)
	more := time.NewTimer(askMore)
	defer more.Stop()
	heard := 0
	for need > 0 {
		select {
		case agrees := <-said:
			if heard++; agrees {
				need--
			} else {
				ask(len(voters))
			}
			if need > 0 && heard == len(voters) {
				return 0, fault.ErrNoLeader
			}
		case <-more.C:
			ask(len(voters))
		case <-ctx.Done():
			return 0, fault.ErrNoLeader
		}
	}
	return s.stillIn(t)
}

// target is where a server of the log is reached: as gossip has it, else as it is stored.
func (s *Server) target(p consensus.Peer) rpc.Target {
	to := rpc.Target{Address: p.Address, Server: s.serverName(s.opts.Datacenter)}
	if s.host != nil && s.host.Roster != nil {
		if known, is := s.host.Roster.Find(p.ID); is {
			to.Address = known.Address
		}
	}
	return to
}

// serverName is the name that the certificates of a datacenter's servers hold.
func (s *Server) serverName(datacenter string) string {
	return rpc.ServerName(datacenter, s.opts.Domain)
}

// views lets readers wait until the published state has reached an index.
type views struct {
	mu      sync.Mutex // guards waiters
	waiters []viewWaiter
}

type viewWaiter struct {
	index uint64
	there func() // called once, must not wait
}

// when calls there once the store has reached the index, perhaps at once.
func (v *views) when(s interface{ Index() uint64 }, index uint64, there func()) {
	if s.Index() >= index {
		there()
		return
	}
	v.mu.Lock()
	v.waiters = append(v.waiters, viewWaiter{index, there})
	v.mu.Unlock()
	v.reached(s.Index()) // it may have come meanwhile
}

// reached is called after each publication.
func (v *views) reached(index uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.waiters) == 0 {
		return
	}
	kept := v.waiters[:0]
	for _, w := range v.waiters {
		if w.index <= index {
			w.there()
		} else {
			kept = append(kept, w)
		}
	}
	clear(v.waiters[len(kept):])
	v.waiters = kept
}

// await waits for the index and reports whether it came.
func (v *views) await(ctx context.Context, s interface{ Index() uint64 }, index uint64, expired <-chan time.Time) bool {
	if s.Index() >= index {
		return true
	}
	there := make(chan struct{})
	v.when(s, index, func() { close(there) })
	select {
	case <-there:
		return true
	case <-ctx.Done():
	case <-expired:
	}
	return false
}
