package gossip

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// feedLimit is how many events wait for one receiver: some times what a pool of a thousand members causes at once.
const feedLimit = 4096

// feeds are the receivers of a pool's events.
type feeds struct {
	log    *slog.Logger
	mu     sync.Mutex // guards the rest and the fields of each feed
	open   []*feed
	closed bool
}

// feed is the queue of one receiver. Events never wait for a receiver: a full queue is dropped and becomes a Resync.
type feed struct {
	events []Event
	wake   chan struct{} // holds a token if there is something to fetch or the feeds are closed
}

// Run calls fn with every event of the pool from now on, one after the other, until ctx ends or the pool is closed; it
// then returns nil. The first event is a Resync, so that who reads Members at each Resync misses nothing. There may be
// several Runs, each with its own pace; one that falls thousands of events behind loses them, user events too, for a Resync.
func (p *Pool) Run(ctx context.Context, fn func(Event)) error {
	f := p.feeds.add()
	defer p.feeds.remove(f)
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil
		}
		events, closed := p.feeds.fetch(f)
		for _, e := range events {
			if ctx.Err() != nil {
				return nil
			}
			fn(e)
		}
		if closed {
			return nil
		}
	}
}

func (s *feeds) add() *feed {
	f := &feed{events: []Event{{Kind: Resync}}, wake: make(chan struct{}, 1)}
	f.wake <- struct{}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, f)
	return f
}

func (s *feeds) remove(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = slices.DeleteFunc(s.open, func(o *feed) bool { return o == f })
}

// fetch empties the feed; closed says that nothing will follow.
func (s *feeds) fetch(f *feed) (events []Event, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, f.events = f.events, nil
	return events, s.closed
}

func (s *feeds) publish(e Event) {
	s.mu.Lock()
	full := false
	for _, f := range s.open {
		if len(f.events) >= feedLimit {
			f.events, full = []Event{{Kind: Resync}}, true
		}
		f.events = append(f.events, e)
		f.poke()
	}
	s.mu.Unlock()
	if full {
		s.log.Warn("gossip: dropped the events of a slow receiver", "limit", feedLimit)
	}
}

func (s *feeds) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, f := range s.open {
		f.poke()
	}
}

func (f *feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}
