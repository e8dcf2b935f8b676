package relay

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"rostra/engine/room"
	"rostra/engine/rpc"
	"rostra/kit/fault"
)

// Bounds of one watch stream.
const (
	frameBytes   = 64 << 10               // of a value in one frame: long answers must not hold up short ones
	mostWants    = 1 << 16                // subscriptions of one agent
	freshPeriod  = 250 * time.Millisecond // how often it is looked whether the server has found or lost its leader
	freshAtLeast = time.Second            // how often an agent is told how fresh the server is even so: silence means trouble
)

// watching is one agent's stream as its server sees it. One goroutine reads wants, one writes news; an idle subscription
// is a record in the maps and nothing else.
type watching struct {
	host   *Host
	stream rpc.Stream

	mu     sync.Mutex // guards the rest and the fields of each wanted
	wants  map[uint64]*wanted
	ready  []*wanted // those with something to send, each once
	signal chan struct{}
}

// wanted is one subscription.
type wanted struct {
	id      uint64
	codec   room.Codec
	follow  Follower
	at      uint64
	lineage string
	queued  bool // in ready
	gone    bool
	rest    *news // what is left to send of a long answer
}

// watch serves one agent until its stream ends.
func (h *Host) watch(ctx context.Context, s rpc.Stream) error {
	ctx, stop := context.WithCancel(ctx)
	w := &watching{host: h, stream: s, wants: map[uint64]*wanted{}, signal: make(chan struct{}, 1)}
	var writing sync.WaitGroup
	writing.Go(func() { w.write(ctx) })
	err := w.read() // it ends with the stream; so does a write that fails
	stop()
	writing.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.wants {
		one.follow.Close()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (w *watching) read() error {
	for {
		body, err := w.stream.Recv()
		if err != nil {
			return err
		}
		ask, err := decode[want](body)
		if err != nil {
			return err
		}
		if len(ask.Query) == 0 {
			w.drop(ask.ID)
			continue
		}
		if err := w.add(&ask); err != nil {
			w.push(&wanted{id: ask.ID, gone: true, rest: &news{ID: ask.ID, Verdict: verdictOf(err)}})
		}
	}
}

func (w *watching) add(ask *want) error {
	q, known, err := w.host.types.readQuery(ask.Query)
	if err != nil {
		return err
	}
	w.mu.Lock()
	count, twice := len(w.wants), w.wants[ask.ID] != nil
	w.mu.Unlock()
	if count >= mostWants || twice || ask.ID == 0 {
		return fault.New(fault.Busy, "one agent may watch %d queries", mostWants)
	}
	one := &wanted{id: ask.ID, codec: known.Answer, at: ask.At, lineage: ask.Lineage}
	one.follow, err = w.host.door.Follow(q, ask.Asking.options(), func() { w.push(one) })
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.wants[ask.ID] = one
	w.mu.Unlock()
	w.push(one)
	return nil
}

func (w *watching) drop(id uint64) {
	w.mu.Lock()
	one := w.wants[id]
	delete(w.wants, id)
	if one != nil {
		one.gone = true
	}
	w.mu.Unlock()
	if one != nil {
		one.follow.Close()
	}
}

// push notes that there may be something to send. It never waits: commits call it.
func (w *watching) push(one *wanted) {
	w.mu.Lock()
	if !one.queued {
		one.queued = true
		w.ready = append(w.ready, one)
	}
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// write sends news until ctx ends or the stream breaks.
func (w *watching) write(ctx context.Context) {
	tick := time.NewTicker(freshPeriod)
	defer tick.Stop()
	var told room.Meta
	toldAt := time.Time{}
	for {
		if now, lineage := w.host.group.Freshness(); told.KnownLeader != now.KnownLeader || time.Since(toldAt) >= freshAtLeast {
			told, toldAt = now, time.Now()
			if w.send(&news{Fresh: freshnessOf(now), Lineage: lineage, Verdict: verdictOf(nil)}) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.signal:
			if w.sendReady(ctx) != nil {
				return
			}
		}
	}
}

// sendReady sends one frame of each subscription that has something, and again until none has.
func (w *watching) sendReady(ctx context.Context) error {
	for ctx.Err() == nil {
		w.mu.Lock()
		ready := w.ready
		w.ready = nil
		for _, one := range ready {
			one.queued = false
		}
		w.mu.Unlock()
		if len(ready) == 0 {
			return nil
		}
		for _, one := range ready {
			if err := w.sendOne(one); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// sendOne sends the next frame of a subscription. Only the writer looks at rest, except before the subscription is known.
func (w *watching) sendOne(one *wanted) error {
	if one.rest == nil {
		w.mu.Lock()
		gone := one.gone
		w.mu.Unlock()
		if gone {
			return nil
		}
		taken, is := one.follow.Take(one.at, one.lineage)
		if !is {
			return nil
		}
		value, err := taken.Packed(one.codec)
		one.rest = &news{ID: one.id, Index: taken.Answer.Index, Missing: taken.Answer.Missing, At: taken.At,
			Lineage: taken.Lineage, Value: value, Verdict: verdictOf(err)}
		one.at, one.lineage = taken.At, taken.Lineage
	}
	frame := *one.rest
	if len(frame.Value) > frameBytes {
		frame.Value, frame.More = frame.Value[:frameBytes], true
		one.rest.Value = one.rest.Value[frameBytes:]
		w.push(one)
	} else {
		one.rest = nil
	}
	return w.send(&frame)
}

func (w *watching) send(n *news) error {
	b, err := n.MarshalMsg(nil)
	if err != nil {
		return err
	}
	return w.stream.Send(b)
}
