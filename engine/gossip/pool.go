package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/serf/serf"

	"rostra/kit/fault"
)

var errClosed = errors.New("the gossip pool is closed")

// Pool is this process's membership in one pool. Its methods may be called at the same time from several goroutines.
type Pool struct {
	name     string
	self     Member // this member as it was at the start
	serf     *serf.Serf
	incoming chan serf.Event // emptied by receive at once: Serf stands still while it is full
	log      *lineWriter
	work     sync.WaitGroup // receive, answerKeys, seek, Join and Leave
	joining  chan struct{}  // of one place: taken while Serf joins, who waits at a mutex of its own for the end of another join
	tagging  sync.Mutex     // serialises SetTags: Serf keeps the tags in an unguarded field
	feeds    feeds
	keyring  *Keyring         // nil without encryption
	keyAsks  chan *serf.Query // questions about the keyring, for answerKeys
	rules    *rules
	tally    *tally
	pushPull time.Duration

	ending  sync.Mutex    // guards leaving and closed
	leaving chan struct{} // not nil once Leave was called; closed when Serf has left
	leftErr error         // valid once leaving is closed
	closed  bool
	stop    chan struct{} // ends receive
	done    chan struct{} // closed when Close has done its work
}

func newPool(o *Options, log *lineWriter, r *rules) *Pool {
	return &Pool{
		name: o.Name, log: log, incoming: make(chan serf.Event, 1024), keyring: o.Keyring,
		keyAsks: make(chan *serf.Query, keyAsksLimit), rules: r, tally: log.tally,
		pushPull: o.timing().PushPull, joining: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}), feeds: feeds{log: log.log},
	}
}

func (p *Pool) start(s *serf.Serf) {
	p.serf = s
	p.self = p.Local()
	p.work.Go(p.receive)
	p.work.Go(p.answerKeys)
}

// receive hands Serf's events to the feeds until the pool is closed.
func (p *Pool) receive() {
	for {
		select {
		case e := <-p.incoming:
			if p.askedForKeys(e) {
				continue
			}
			if e, ok := toEvent(e); ok {
				for _, m := range p.rules.follow(e) {
					p.work.Go(func() { p.seek(m) })
				}
				p.feeds.publish(e)
			}
		case <-p.stop:
			return
		}
	}
}

// Members returns all known members, this one included, also those that left or failed not long ago, by name.
func (p *Pool) Members() []Member {
	list := p.serf.Members()
	members := make([]Member, len(list))
	for i, m := range list {
		members[i] = toMember(m)
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return members
}

// Local returns this member with the address and port it advertises.
func (p *Pool) Local() Member {
	for _, m := range p.serf.Members() { // not LocalMember, which panics once this member is forgotten
		if m.Name == p.name {
			return toMember(m)
		}
	}
	m := p.self // it has left, and another member had it pruned
	m.Tags, m.Status = copyTags(m.Tags), StatusLeft
	return m
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// Counters returns what this member refused and threw away since it was opened.
func (p *Pool) Counters() map[string]uint64 { return p.tally.counters() }

// Sync returns how much time passes between two exchanges of the whole list with some other member, as many as there are
// now: who has been in the pool for twice as long knows all members.
func (p *Pool) Sync() time.Duration {
	every := p.pushPull
	if n := p.serf.Memberlist().NumMembers(); n > 32 { // memberlist slows down from there
		every *= time.Duration(math.Ceil(math.Log2(float64(n))-math.Log2(32))) + 1
	}
	return every
}

// ForceLeave makes a failed member one that left; with prune it is no longer listed. An alive member objects and stays, and is
// never pruned: Serf would forget it some seconds after it has objected, and tell neither it nor us when it is there again.
// It waits until others are told, if there are others. An unknown name is a fault.
func (p *Pool) ForceLeave(name string, prune bool) error {
	known, alive, others := false, false, false
	for _, m := range p.serf.Members() {
		switch lives := m.Status == serf.StatusAlive; m.Name {
		case name:
			known, alive = true, lives
		case p.name:
		default:
			others = others || lives
		}
	}
	if !known {
		return fault.New(fault.Refused, "agent: No node found with name '%s'", name)
	}
	if alive && !others && name != p.name {
		// Serf tells nobody when it thinks that the last other member leaves, so that member could not object and
		// would be leaving for ever in our list.
		return nil
	}
	leave := p.serf.RemoveFailedNode
	if prune && !alive {
		leave = p.serf.RemoveFailedNodePrune
	}
	if err := leave(name); err != nil {
		return fmt.Errorf("cannot force %s to leave: %w", name, err)
	}
	return nil
}

// Send tells all members of the pool, this one included, of a user event, in no order and without a guarantee. Name and
// payload together may have 512 bytes encoded; the error beyond is Serf's, word for word.
func (p *Pool) Send(name string, payload []byte) error { return p.serf.UserEvent(name, payload, false) }

// SetTags replaces the tags of this member and waits until others are told, if there are others. The map is copied.
func (p *Pool) SetTags(tags map[string]string) error {
	p.tagging.Lock()
	defer p.tagging.Unlock()
	if err := p.serf.SetTags(copyTags(tags)); err != nil {
		return fmt.Errorf("cannot set the tags of %s: %w", p.name, err)
	}
	return nil
}

// Stats returns the section serf_lan or serf_wan of `info`, in Consul's keys; coordinate_resets is missing while
// coordinates are disabled.
func (p *Pool) Stats() map[string]string { return p.serf.Stats() }

// Encrypted reports whether the members share a key.
func (p *Pool) Encrypted() bool { return p.serf.EncryptionEnabled() }

// Leave tells the others that this member goes, so that they do not take it for failed, and goes on answering for
// Timing.LeaveDelay. The pool still has to be closed. Leaving cannot be called off: when ctx ends first, Leave returns
// its error and the leaving goes on; Close waits for it. A second call waits for the first.
func (p *Pool) Leave(ctx context.Context) error {
	p.ending.Lock()
	if p.leaving == nil {
		if p.closed {
			p.ending.Unlock()
			return fmt.Errorf("cannot leave: %w", errClosed)
		}
		p.leaving = make(chan struct{})
		p.work.Go(func() {
			defer close(p.leaving)
			p.leftErr = p.serf.Leave()
		})
	}
	leaving := p.leaving
	p.ending.Unlock()
	select {
	case <-leaving:
	case <-ctx.Done():
		return fmt.Errorf("cannot wait for the end of leaving: %w", ctx.Err())
	}
	if p.leftErr != nil {
		return fmt.Errorf("cannot leave: %w", p.leftErr)
	}
	return nil
}

// Close ends the pool: its sockets are closed, the snapshot file is whole, dials are given up, every Run returns. Without
// a Leave before, the others will see this member fail. A probe or a received connection in flight ends soon after, a probe
// within its interval. A second call waits for the first. Lists and Stats go on
// answering with the last state.
func (p *Pool) Close() error {
	p.ending.Lock()
	if p.closed {
		p.ending.Unlock()
		<-p.done
		return nil
	}
	p.closed = true
	leaving := p.leaving
	p.ending.Unlock()
	defer close(p.done)
	if leaving != nil {
		<-leaving // memberlist panics if it is shut down just before it leaves
	}
	p.log.closing.Store(true)
	err := p.serf.Shutdown()
	close(p.stop)
	p.work.Wait()
	p.feeds.close()
	if err != nil {
		return fmt.Errorf("cannot close the gossip pool: %w", err)
	}
	return nil
}
