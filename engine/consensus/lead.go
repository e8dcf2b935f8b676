package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"rostra/engine/consensus/link"
)

// term is one time of this server's leadership, from when it has applied all that was committed before.
type term struct {
	number uint64
	ctx    context.Context
	end    context.CancelFunc
}

// terms knows whether this server leads and is ready.
type terms struct {
	mu      sync.Mutex
	stint   uint64 // counts gains and losses, so that a slow barrier does not announce a lost term
	now     *term  // nil: not leading, or not ready
	changed chan struct{}
	whole   chan struct{}
	isWhole bool
	over    bool
}

func (t *terms) init() { t.changed, t.whole = make(chan struct{}), make(chan struct{}) }

// begin starts a stint in which nothing is ready yet.
func (t *terms) begin() (stint uint64, led bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	led = t.now != nil
	t.drop()
	return t.stint, led
}

// lasts reports whether a stint is not over.
func (t *terms) lasts(stint uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stint == stint && !t.over
}

func (t *terms) drop() {
	t.stint++
	if t.now != nil {
		t.now.end()
		t.now = nil
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

// ready announces the term of a stint that still lasts.
func (t *terms) ready(stint, number uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stint != stint || t.over {
		return false
	}
	ctx, end := context.WithCancel(context.Background())
	t.now = &term{number, ctx, end}
	close(t.changed)
	t.changed = make(chan struct{})
	if !t.isWhole {
		t.isWhole = true
		close(t.whole)
	}
	return true
}

// end ends the term and lets none begin.
func (t *terms) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.drop()
}

func (t *terms) current() (*term, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now, t.changed
}

// Leading reports whether this server leads and has applied everything committed before its term, and the term's number.
func (n *Node) Leading() (term uint64, ready bool) {
	t, _ := n.terms.current()
	if t == nil {
		return 0, false
	}
	return t.number, true
}

// Whole is closed when this process has led and applied everything that was committed before. Until this process has
// applied everything that was committed at some moment after it started it must not answer any question about the
// state. A server that follows learns of such a moment only from the leader: whoever asks the leader for its index, and
// waits until the Machine here has applied it, knows the same.
func (n *Node) Whole() <-chan struct{} { return n.terms.whole }

// Lead runs duty for each term this server leads, from when it is ready; duty's context ends with the term, and the next
// begins only after duty has returned. Lead returns when ctx ends, with its error, or with the first error of duty.
func (n *Node) Lead(ctx context.Context, duty func(ctx context.Context, term uint64) error) error {
	var done *term
	for {
		t, changed := n.terms.current()
		if t == nil || t == done {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changed:
				continue
			}
		}
		done = t
		during, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(t.ctx, cancel)
		err := duty(during, t.number)
		stop()
		cancel()
		if err != nil && ctx.Err() == nil && t.ctx.Err() == nil {
			return err
		}
	}
}

// watchLeadership follows Raft's announcements. It must always listen: Raft waits until it is heard.
func (n *Node) watchLeadership(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			n.terms.end()
			return
		case leads := <-n.notify:
			stint, led := n.terms.begin()
			if leads {
				n.spawn(func() { n.becomeReady(stint) })
				n.spawn(func() { n.beat(ctx, stint) })
			} else if led {
				n.opts.Logger.Info("this server leads no more", "term", n.raft.CurrentTerm())
			}
		}
	}
}

// beat makes the heartbeats to all followers go out together for as long as a stint lasts. Raft sends them to each at random
// times of its own, and a server at rest that is woken twice as often takes twice as much of a processor. It sends one to all
// when it is asked whether this server still leads; what it says does not matter. Those that it sends by itself are due later
// then, and so only go out when its main loop waits for the disk.
func (n *Node) beat(ctx context.Context, stint uint64) {
	own := n.opts.HeartbeatTimeout
	if err := n.pace(2*own, max(2*own, n.opts.ElectionTimeout)); err != nil {
		n.opts.Logger.Warn("cannot send heartbeats together", "error", err)
		return
	}
	defer func() { _ = n.pace(own, n.opts.ElectionTimeout) }()
	tick := time.NewTicker(own * 19 / 100)
	defer tick.Stop()
	for n.terms.lasts(stint) {
		if len(n.servers()) > 1 {
			n.raft.VerifyLeader()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// pace sets Raft's timeouts. A leader sends heartbeats by itself after a tenth to a fifth of the first; it is no follower that
// would wait so long.
func (n *Node) pace(heartbeat, election time.Duration) error {
	return n.reload(func(c *raft.ReloadableConfig) { c.HeartbeatTimeout, c.ElectionTimeout = heartbeat, election })
}

// becomeReady passes this term's own barrier.
func (n *Node) becomeReady(stint uint64) {
	before := n.raft.CurrentTerm()
	defer func(start time.Time) { n.opts.Metrics.Sample("leader.barrier").Since(start) }(time.Now())
	err := n.raft.Barrier(0).Error()
	for errors.Is(err, raft.ErrLeadershipTransferInProgress) && n.terms.lasts(stint) {
		select { // the transfer may come to nothing, and then this server leads on
		case <-n.stopping:
			return
		case <-time.After(n.opts.ElectionTimeout / 10):
		}
		err = n.raft.Barrier(0).Error()
	}
	if err != nil || n.failure() != nil || n.raft.CurrentTerm() != before {
		return // leadership went, and with it the stint
	}
	if n.terms.ready(stint, before) {
		n.opts.Logger.Info("this server leads", "term", before)
		ctx, cancel := context.WithTimeout(context.Background(), link.BulkTimeout)
		defer cancel()
		if err := n.CorrectAddresses(ctx); err != nil && n.terms.lasts(stint) {
			n.opts.Logger.Warn("cannot store the new addresses of servers", "error", err)
		}
	}
}

func (n *Node) servers() []raft.Server {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}

// stranger returns an error if the stored cluster is one other server: this one would wait for it forever.
func (n *Node) stranger() error {
	servers := n.servers()
	if !n.opts.Bootstrap || len(servers) != 1 || string(servers[0].ID) == n.opts.ID {
		return nil
	}
	return fmt.Errorf("cannot use %s: it belongs to server %s, this is %s; restore the file node-id from a copy, or move the directory away",
		n.opts.Dir, servers[0].ID, n.opts.ID)
}

// leadAtOnce spares a lone voter the wait for a leader there cannot be: a shorter timeout makes Raft look at its timer
// again, find that nobody was heard, and elect itself.
func (n *Node) leadAtOnce() {
	voters, self := 0, false
	for _, s := range n.servers() {
		if s.Suffrage == raft.Voter {
			voters++
			self = self || string(s.ID) == n.opts.ID
		}
	}
	if voters != 1 || !self {
		return
	}
	if err := n.reload(func(c *raft.ReloadableConfig) { c.HeartbeatTimeout -= time.Microsecond }); err != nil {
		n.opts.Logger.Warn("cannot hurry the election", "error", err)
	}
}
