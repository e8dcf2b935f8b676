package relay

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/room"
	"rostra/engine/rpc"
	"rostra/kit/fault"
)

// Caller is what carries the words: an rpc.Port.
type Caller interface {
	Call(ctx context.Context, to rpc.Target, method string, body []byte) ([]byte, error)
	Stream(ctx context.Context, to rpc.Target, method string) (rpc.Stream, error)
}

// longestWait is more than any server lets a read block.
const longestWait = 11 * time.Minute

// patience is how much longer than the answering server's own waiting a call may take.
const patience = 5 * time.Second

// Clients keeps a Client for each server that was asked lately. Safe for concurrent use.
type Clients struct {
	types *Types
	port  Caller
	hold  time.Duration // how long servers wait for a leader
	limit atomic.Int64  // of an answer's time; 0: none

	mu     sync.Mutex // guards list and closed
	list   map[rpc.Target]*Client
	closed bool
	work   sync.WaitGroup // batches on their way
}

// NewClients returns an empty set. hold is how long a server that is asked may wait for a leader.
func NewClients(types *Types, port Caller, hold time.Duration) *Clients {
	return &Clients{types: types, port: port, hold: hold, list: map[rpc.Target]*Client{}}
}

// SetTimeout changes how long an answer may take beside a blocking query's wait; 0, or longer than a server may take for it,
// leaves it at that.
func (s *Clients) SetTimeout(d time.Duration) { s.limit.Store(int64(d)) }

// timeout is how long an answer may take.
func (s *Clients) timeout() time.Duration {
	most := s.hold + patience
	if limit := time.Duration(s.limit.Load()); limit > 0 {
		return min(limit, most)
	}
	return most
}

// mostClients bounds the set: clients hold no connection, so to forget them all costs nothing.
const mostClients = 1024

// To returns the Client of a server.
func (s *Clients) To(to rpc.Target) *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.list[to]
	if c == nil {
		if len(s.list) >= mostClients {
			clear(s.list)
		}
		c = &Client{all: s, to: to}
		s.list[to] = c
	}
	return c
}

// Close lets nothing begin any more and returns when no batch is on its way. The port's end makes that soon.
func (s *Clients) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.work.Wait()
}

// spawn starts a sender, unless Close was called.
func (s *Clients) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Go(f)
	}
	return !s.closed
}

// Client asks one server. What it returns are the server's own answers and faults; what happens on the way is
// fault.NotApplied if the server surely did not get the question, else fault.Unknown. Safe for concurrent use.
type Client struct {
	all *Clients
	to  rpc.Target

	mu    sync.Mutex // guards queue and busy
	queue []*pending
	busy  int // batches on their way
}

// pending is a Command that waits for its batch.
type pending struct {
	ask   applyAsk
	name  string
	final bool
	done  chan struct{}
	taken bool // guarded by the client's mu
	out   outcome
	fresh freshness
	err   error
}

// Batches of Commands: what comes while others are on their way travels together.
const (
	batchesAtOnce = 2
	batchCommands = 1024
	batchBytes    = 1 << 20
)

// Apply sends a Command with others that come at the same time. raw is its form in the log. final forbids the server to
// send it on.
func (c *Client) Apply(ctx context.Context, name string, raw []byte, final bool, o room.Options) (room.Result, room.Meta, error) {
	p := &pending{ask: applyAsk{Asking: askingOf(o), Command: raw}, name: name, final: final, done: make(chan struct{})}
	c.mu.Lock()
	c.queue = append(c.queue, p)
	if c.busy < batchesAtOnce {
		if !c.all.spawn(c.send) {
			p.taken = true
			c.mu.Unlock()
			return nil, room.Meta{}, fault.New(fault.NotApplied, "this agent is stopping")
		}
		c.busy++
	}
	c.mu.Unlock()
	select {
	case <-p.done:
	case <-ctx.Done():
		c.mu.Lock()
		taken := p.taken
		p.taken = true // send drops it
		c.mu.Unlock()
		if !taken {
			return nil, room.Meta{}, fault.New(fault.NotApplied, "%s", ctx.Err().Error())
		}
		return nil, room.Meta{}, fault.New(fault.Unknown, "%s", ctx.Err().Error())
	}
	if p.err != nil {
		return nil, room.Meta{}, p.err
	}
	meta := p.fresh.meta(o)
	if err := p.out.Verdict.err(); err != nil {
		return nil, meta, err
	}
	result, _, err := c.all.types.result(name).Read(p.out.Value)
	if err != nil {
		return nil, meta, fmt.Errorf("cannot decode the result of %s: %w", name, err)
	}
	return result, meta, nil
}

// send sends batches until nothing waits.
func (c *Client) send() {
	for {
		batch := c.take()
		if batch == nil {
			return
		}
		ask := applyBatch{Final: batch[0].final, List: make([]applyAsk, len(batch))}
		for i, p := range batch {
			ask.List[i] = p.ask
		}
		ctx, end := context.WithTimeout(context.Background(), c.all.timeout())
		var said outcomes
		err := c.call(ctx, methodApply, &ask, &said)
		end()
		if err == nil && len(said.List) != len(batch) {
			err = fault.New(fault.Unknown, "%d outcomes for %d commands", len(said.List), len(batch))
		}
		for i, p := range batch {
			if p.err = err; err == nil {
				p.out, p.fresh = said.List[i], said.Fresh
			}
			close(p.done)
		}
	}
}

// take takes the next batch off the queue; nil ends the sender.
func (c *Client) take() (batch []*pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	used, size := 0, 0
	for _, p := range c.queue {
		if len(batch) > 0 && (len(batch) == batchCommands || size+len(p.ask.Command) > batchBytes || p.final != batch[0].final) {
			break
		}
		used++
		if !p.taken {
			p.taken = true
			batch = append(batch, p)
			size += len(p.ask.Command)
		}
	}
	rest := copy(c.queue, c.queue[used:])
	clear(c.queue[rest:])
	c.queue = c.queue[:rest]
	if len(batch) == 0 {
		c.busy--
	}
	return batch
}

// call makes one call with MessagePack on both ways.
func (c *Client) call(ctx context.Context, method string, ask msgp.Marshaler, said msgp.Unmarshaler) error {
	body, err := ask.MarshalMsg(nil)
	if err != nil {
		return err
	}
	answer, err := c.all.port.Call(ctx, c.to, method, body)
	if err != nil {
		return err
	}
	if _, err := msgp.Skip(answer); err != nil { // generated code makes slices of whatever length it reads
		return fault.New(fault.Unknown, "cannot decode the answer of %s: %v", c.to.Address, err)
	}
	if _, err := said.UnmarshalMsg(answer); err != nil {
		return fault.New(fault.Unknown, "cannot decode the answer of %s: %v", c.to.Address, err)
	}
	return nil
}

// within bounds a call: by what the server may wait, and for a blocking read its wait.
func (c *Client) within(ctx context.Context, o room.Options) (context.Context, context.CancelFunc) {
	limit := c.all.timeout()
	switch {
	case o.Index > 0 && o.Wait > 0:
		limit += o.Wait
	case o.Index > 0:
		limit += longestWait // the server's own default
	}
	return context.WithTimeout(ctx, limit)
}

// Read asks a Query once; with o.Index the server blocks.
func (c *Client) Read(ctx context.Context, q room.Query, o room.Options) (room.Answer, room.Meta, error) {
	body, known, err := c.all.types.query(q)
	if err != nil {
		return room.Answer{}, room.Meta{}, err
	}
	ctx, end := c.within(ctx, o)
	defer end()
	var said readSaid
	if err := c.call(ctx, methodRead, &readAsk{Asking: askingOf(o), Query: body}, &said); err != nil {
		return room.Answer{}, room.Meta{}, err
	}
	v, _, err := known.Answer.Read(said.Value)
	if err != nil {
		return room.Answer{}, room.Meta{}, fmt.Errorf("cannot decode the answer to %s: %w", known.Name, err)
	}
	a := room.Answer{Value: v, Index: said.Index, Missing: said.Missing, Shared: room.NewShared(v)}
	return a, said.Fresh.meta(o), nil
}

// Call runs a procedure on the server.
func (c *Client) Call(ctx context.Context, p room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	body, err := p.MarshalMsg(nil)
	if err != nil {
		return nil, room.Meta{}, fmt.Errorf("cannot encode the procedure %s: %w", p.Name(), err)
	}
	ctx, end := c.within(ctx, o)
	defer end()
	var said callSaid
	if err := c.call(ctx, methodCall, &callAsk{Asking: askingOf(o), Name: p.Name(), Body: body}, &said); err != nil {
		return nil, room.Meta{}, err
	}
	result, _, err := c.all.types.callResult(p.Name()).Read(said.Value)
	if err != nil {
		return nil, room.Meta{}, fmt.Errorf("cannot decode the result of %s: %w", p.Name(), err)
	}
	return result, said.Fresh.meta(o), nil
}

// Confirm asks a server whether, for all it knows, the leader of the term still leads: its own term is no higher.
func (c *Client) Confirm(ctx context.Context, from string, term uint64) (bool, error) {
	var said confirmSaid
	err := c.call(ctx, methodConfirm, &confirmAsk{from, term}, &said)
	return err == nil && said.Term <= term, err
}

// Reach asks the leader of the term which index a server's state must have reached to speak for the cluster as of now.
// from is the ID of this server, a member of the term.
func (c *Client) Reach(ctx context.Context, from string, term uint64) (uint64, error) {
	var said reachSaid
	err := c.call(ctx, methodReach, &confirmAsk{from, term}, &said)
	return said.Index, err
}

// Forming asks a server whether it has state, and else with whom it would form a new cluster.
func (c *Client) Forming(ctx context.Context, from string) (begun bool, with []string, err error) {
	var said formingSaid
	err = c.call(ctx, methodForming, &confirmAsk{From: from}, &said)
	return said.Begun, said.With, err
}

// Sum asks a server what its state came to between two indexes, once it has run the log up to entry; false if it cannot tell.
func (c *Client) Sum(ctx context.Context, entry, from, to uint64) (sum uint64, known bool) {
	var said sumSaid
	err := c.call(ctx, methodSum, &sumAsk{entry, from, to}, &said)
	return said.Sum, err == nil && said.Known
}
