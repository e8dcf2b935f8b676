package relay

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/caller"
	"rostra/engine/room"
	"rostra/engine/rpc"
	"rostra/kit/fault"
)

// Proposal is a Command that came over the wire.
type Proposal struct {
	Command room.Command
	Options room.Options
}

// Outcome is what became of one.
type Outcome struct {
	Result room.Result
	Err    error
}

// Door is a server's door as others use it.
type Door interface {
	room.Door
	// Propose applies Commands of several callers. final forbids to send them on to another server.
	Propose(ctx context.Context, list []Proposal, final bool) ([]Outcome, room.Meta)
	// Follow calls back whenever the answer to a Query may have changed.
	Follow(q room.Query, o room.Options, wake func()) (Follower, error)
}

// Follower is a live answer that is asked for when it may have changed.
type Follower interface {
	// Take returns the newest answer if it differs from the one taken last, or if it is wanted again, and the state is not
	// older than at, which counts for that lineage alone. It does not wait.
	Take(at uint64, lineage string, again bool) (Taken, bool)
	Close()
}

// Taken is an answer with the state it is of.
type Taken struct {
	Answer  room.Answer
	At      uint64 // the index of the state
	Lineage string
	Packed  *Packed // made with Pack once for all who take it
}

// Peer is a server as its fellow servers use it.
type Peer interface {
	// Term returns the term this server is in.
	Term() uint64
	// Reach returns the index that a server must have reached to speak for the cluster as of now. from is the ID of the
	// server that asks, which was in the term then.
	Reach(ctx context.Context, from string, term uint64) (uint64, error)
	// Forming reports whether this server has state already, and else the IDs, sorted, of the servers that it would form
	// a new cluster with.
	Forming() (begun bool, with []string)
	// Sum returns what this server's state came to between two indexes, once it has run the log up to entry; false if it
	// cannot tell.
	Sum(ctx context.Context, entry, from, to uint64) (sum uint64, known bool)
}

// Group is a server as one that keeps the whole state.
type Group interface {
	Archive(ctx context.Context, o room.Options) (write func(io.Writer) error, index uint64, err error)
	Unarchive(ctx context.Context, r io.Reader, o room.Options) error
	// Freshness is what every answer says about this server now, and which history its state is of.
	Freshness() (m room.Meta, lineage string)
}

// Host answers for one server. It is an rpc.Handler.
type Host struct {
	types   *Types
	door    Door
	peer    Peer
	group   Group
	watches watches
}

// Server is all that a server is to others.
type Server interface {
	Door
	Peer
	Group
}

// NewHost returns the answering end.
func NewHost(types *Types, s Server, log *slog.Logger) *Host {
	h := &Host{types: types, door: s, peer: s, group: s}
	h.watches.init(log)
	return h
}

// Counters returns what was counted since NewHost, by name, and how many watches there are.
func (h *Host) Counters() map[string]uint64 { return h.watches.counters() }

// Call answers one call.
func (h *Host) Call(ctx context.Context, from rpc.Peer, method string, body []byte) ([]byte, error) {
	switch method {
	case methodConfirm, methodReach, methodForming:
		if err := from.Serves(); err != nil {
			return nil, err
		}
	case methodApply, methodRead, methodCall:
		ctx = caller.With(ctx, from.Address)
	}
	switch method {
	case methodApply:
		return answer(ctx, body, func(ctx context.Context, batch *applyBatch) (msgp.Marshaler, error) {
			if batch.Final { // a follower's: the leader's own Commands may be among them
				if err := from.Serves(); err != nil {
					return nil, err
				}
			}
			return h.apply(ctx, batch)
		})
	case methodRead:
		return answer(ctx, body, h.read)
	case methodCall:
		return answer(ctx, body, h.call)
	case methodConfirm:
		return answer(ctx, body, h.confirm)
	case methodReach:
		return answer(ctx, body, h.reach)
	case methodForming:
		return answer(ctx, body, h.forming)
	case methodSum:
		return answer(ctx, body, h.sum)
	}
	return nil, unknownMethod(method)
}

func unknownMethod(method string) error {
	return fault.New(fault.NotApplied, "the method %q is unknown to this server; upgrade it", method)
}

// Stream serves one stream.
func (h *Host) Stream(ctx context.Context, from rpc.Peer, method string, s rpc.Stream) error {
	switch method {
	case methodWatch:
		return h.watch(ctx, from, s)
	case methodArchive:
		return h.archive(ctx, s)
	case methodRestore:
		return h.restore(ctx, s)
	}
	return unknownMethod(method)
}

// decoded is a pointer to T with generated code.
type decoded[T any] interface {
	*T
	msgp.Unmarshaler
}

func decode[T any, P decoded[T]](body []byte) (T, error) {
	var ask T
	if _, err := msgp.Skip(body); err != nil {
		return ask, fault.New(fault.NotApplied, "cannot decode a request: %v", err)
	}
	if _, err := P(&ask).UnmarshalMsg(body); err != nil {
		return ask, fault.New(fault.NotApplied, "cannot decode a request: %v", err)
	}
	return ask, nil
}

func answer[T any, P decoded[T]](ctx context.Context, body []byte, serve func(context.Context, *T) (msgp.Marshaler, error)) ([]byte, error) {
	ask, err := decode[T, P](body)
	if err != nil {
		return nil, err
	}
	said, err := serve(ctx, &ask)
	if err != nil {
		return nil, err
	}
	return said.MarshalMsg(nil)
}

func (h *Host) apply(ctx context.Context, batch *applyBatch) (msgp.Marshaler, error) {
	said := &outcomes{List: make([]outcome, len(batch.List))}
	var list []Proposal
	var at []int // the place of each in the batch
	for i, a := range batch.List {
		c, err := h.types.ReadCommand(a.Command)
		if err == nil && !batch.Final && h.types.leaders(c.Name()) {
			err = fmt.Errorf("the command %q is the leader's own", c.Name())
		}
		if err != nil {
			said.List[i].Verdict = verdictOf(fault.New(fault.Refused, "%v", err))
			continue
		}
		list, at = append(list, Proposal{c, a.Asking.options()}), append(at, i)
	}
	outs, meta := h.door.Propose(ctx, list, batch.Final)
	for k, out := range outs {
		o := &said.List[at[k]]
		if o.Verdict = verdictOf(out.Err); out.Err != nil {
			continue
		}
		b, err := h.types.result(list[k].Command.Name()).Append(nil, out.Result)
		if err != nil {
			o.Verdict = verdictOf(fault.New(fault.Unknown, "cannot encode the result: %v", err))
		}
		o.Value = b
	}
	said.Fresh = freshnessOf(meta)
	return said, nil
}

func (h *Host) read(ctx context.Context, ask *readAsk) (msgp.Marshaler, error) {
	q, known, err := h.types.readQuery(ask.Query)
	if err != nil {
		return nil, err
	}
	a, meta, err := h.door.Read(ctx, q, ask.Asking.options())
	if err != nil {
		return nil, err
	}
	value, err := known.Answer.Append(nil, a.Value)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the answer to %s: %w", known.Name, err)
	}
	return &readSaid{Fresh: freshnessOf(meta), Index: a.Index, Missing: a.Missing, Value: value}, nil
}

func (h *Host) call(ctx context.Context, ask *callAsk) (msgp.Marshaler, error) {
	p, codec, err := h.types.readCall(ask.Name, ask.Body)
	if err != nil {
		return nil, err
	}
	result, meta, err := h.door.Call(ctx, p, ask.Asking.options())
	if err != nil {
		return nil, err
	}
	value, err := codec.Append(nil, result)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the result of %s: %w", ask.Name, err)
	}
	return &callSaid{Fresh: freshnessOf(meta), Value: value}, nil
}

func (h *Host) confirm(context.Context, *confirmAsk) (msgp.Marshaler, error) {
	return &confirmSaid{Term: h.peer.Term()}, nil
}

func (h *Host) reach(ctx context.Context, ask *confirmAsk) (msgp.Marshaler, error) {
	index, err := h.peer.Reach(ctx, ask.From, ask.Term)
	return &reachSaid{Index: index}, err
}

func (h *Host) forming(context.Context, *confirmAsk) (msgp.Marshaler, error) {
	begun, with := h.peer.Forming()
	return &formingSaid{Begun: begun, With: with}, nil
}

func (h *Host) sum(ctx context.Context, ask *sumAsk) (msgp.Marshaler, error) {
	sum, known := h.peer.Sum(ctx, ask.Entry, ask.From, ask.To)
	return &sumSaid{Sum: sum, Known: known}, nil
}
