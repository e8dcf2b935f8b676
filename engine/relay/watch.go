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
	freshPeriod  = 250 * time.Millisecond // how often it is looked whether the server has found or lost its leader
	freshAtLeast = time.Second            // how often an agent is told how fresh the server is even so: silence means trouble
)

// watching is one agent's stream as its server sees it. One goroutine reads wants, one writes news; an idle subscription
// is a record in the maps and nothing else.
type watching struct {
	host   *Host
	stream rpc.Stream
	from   string // whose it is: the connection's address
	unsent int    // bytes of all rests; the writer's

	mu     sync.Mutex // guards the rest and the fields of each wanted
	wants  map[uint64]*wanted
	ready  []*wanted // those with something to send, each once
	signal chan struct{}
}

// wanted is one subscription.
type wanted struct {
	id      uint64
	codec   room.Codec
	follow  Follower // nil until it is known, and of one that is refused
	token   holder
	changes bool // of long answers are understood
	at      uint64
	lineage string
	sent    uint64 // the index of the long answer sent last, of that lineage; 0 for none
	rest    *news  // what is left to send of a long answer

	queued bool // in ready
	gone   bool
	again  bool // the whole is wanted again
}

// watch serves one agent until its stream ends.
func (h *Host) watch(ctx context.Context, from rpc.Peer, s rpc.Stream) error {
	if err := h.watches.open(from.Address); err != nil {
		return err
	}
	defer h.watches.close(from.Address)
	ctx, stop := context.WithCancel(ctx)
	w := &watching{host: h, stream: s, from: from.Address, wants: map[uint64]*wanted{}, signal: make(chan struct{}, 1)}
	var writing sync.WaitGroup
	writing.Go(func() { w.write(ctx) })
	err := w.read() // it ends with the stream; so does a write that fails
	stop()
	writing.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.wants {
		w.end(one)
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
		switch {
		case ask.Again:
			w.again(ask.ID)
			continue
		case len(ask.Query) == 0:
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
	twice := w.wants[ask.ID] != nil
	w.mu.Unlock()
	if twice || ask.ID == 0 {
		return fault.New(fault.Refused, "a watch cannot have the number %d: it is 0, or in use", ask.ID)
	}
	one := &wanted{id: ask.ID, codec: known.Answer, token: holderOf(ask.Asking.Token), changes: ask.Changes, at: ask.At,
		lineage: ask.Lineage}
	if err := w.host.watches.add(w.from, one.token); err != nil {
		return err
	}
	follow, err := w.host.door.Follow(q, ask.Asking.options(), func() { w.push(one) })
	if err != nil {
		w.host.watches.remove(w.from, one.token)
		return err
	}
	w.mu.Lock()
	w.wants[ask.ID], one.follow = one, follow
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
		w.end(one)
	}
}

// end gives back what a subscription holds.
func (w *watching) end(one *wanted) {
	one.follow.Close()
	w.host.watches.remove(w.from, one.token)
}

// again has the answer sent whole.
func (w *watching) again(id uint64) {
	w.mu.Lock()
	one := w.wants[id]
	if one != nil {
		one.again = true
	}
	w.mu.Unlock()
	if one != nil {
		w.push(one)
	}
}

// push notes that there may be something to send. It never waits: commits call it.
func (w *watching) push(one *wanted) {
	w.mu.Lock()
	if !one.queued && (one.follow != nil || one.rest != nil) { // it may be called before it is followed
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
	w.mu.Lock()
	gone, again := one.gone && one.follow != nil, one.again
	w.mu.Unlock()
	switch {
	case gone:
		w.unsent -= one.left()
		one.rest = nil
		return nil
	case one.rest == nil && w.unsent > w.host.watches.limits.unsent:
		w.push(one) // others have their turn meanwhile
		return nil
	}
	later := one.rest != nil && one.follow != nil
	if one.rest == nil && !w.begin(one, again) {
		return nil
	}
	frame := *one.rest
	before := one.left()
	if len(frame.Value) > frameBytes {
		frame.Value, frame.More = frame.Value[:frameBytes], true
		one.rest.Value = one.rest.Value[frameBytes:]
		w.push(one)
	} else {
		if one.rest = nil; later {
			w.push(one) // a call that came between the frames was taken for theirs
		}
	}
	w.unsent += one.left() - before
	return w.send(&frame)
}

func (one *wanted) left() int {
	if one.rest == nil {
		return 0
	}
	return len(one.rest.Value)
}

// begin takes the next answer of a subscription to be sent, if there is one.
func (w *watching) begin(one *wanted, again bool) bool {
	taken, is := one.follow.Take(one.at, one.lineage, again)
	if !is {
		return false
	}
	if again {
		one.sent = 0
		w.mu.Lock()
		one.again = false
		w.mu.Unlock()
	}
	value, err := taken.Packed.whole(one.codec)
	n := &news{ID: one.id, Index: taken.Answer.Index, Missing: taken.Answer.Missing, At: taken.At, Lineage: taken.Lineage,
		Value: value, Verdict: verdictOf(err), Keep: one.changes && long(value)}
	if n.Keep && one.sent != 0 && one.lineage == n.Lineage {
		if change, known := taken.Packed.since(one.sent); known {
			n.Value, n.From, n.Sum = change, one.sent, taken.Packed.sum
		}
	}
	one.at, one.lineage, one.sent = n.At, n.Lineage, 0
	if n.Keep {
		one.sent = n.Index
	}
	w.host.watches.told(n)
	one.rest = n
	w.unsent += len(n.Value)
	return true
}

func (w *watching) send(n *news) error {
	b, err := n.MarshalMsg(nil)
	if err != nil {
		return err
	}
	return w.stream.Send(b)
}
