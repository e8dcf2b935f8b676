package relay

import (
	"context"
	"fmt"
	"sync"

	"rostra/engine/room"
	"rostra/engine/rpc"
)

// News is what a server tells about a subscription, or, without one, about itself.
type News struct {
	ID      uint64
	Answer  room.Answer // of the subscription; without Value if Err is set
	At      uint64      // the index of the state it is of
	Lineage string
	Err     error // the server has ended the subscription
	Fresh   room.Meta
}

// Subscriptions is an agent's watch stream to one server.
type Subscriptions struct {
	types  *Types
	stream rpc.Stream
	end    context.CancelFunc

	mu    sync.Mutex // guards the rest, and orders what is sent
	last  uint64
	known map[uint64]room.QueryType
	parts map[uint64][]byte // of long answers
	held  map[uint64]*held  // long answers, until their changes come; nil while one is asked for again
}

// Watch opens the stream. The caller reads it with Next until that fails, and closes it.
func (c *Client) Watch(ctx context.Context) (*Subscriptions, error) {
	ctx, end := context.WithCancel(ctx)
	s, err := c.all.port.Stream(ctx, c.to, methodWatch)
	if err != nil {
		end()
		return nil, err
	}
	return &Subscriptions{types: c.all.types, stream: s, end: end, known: map[uint64]room.QueryType{}, parts: map[uint64][]byte{},
		held: map[uint64]*held{}}, nil
}

// Close ends the stream.
func (s *Subscriptions) Close() { s.end() }

// Subscribe asks for the Query's answers from now on. at is the index of the newest state that was shown, of the given
// lineage: the server shows nothing older.
func (s *Subscriptions) Subscribe(q room.Query, o room.Options, at uint64, lineage string) (uint64, error) {
	body, known, err := s.types.query(q)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.known[s.last] = known
	return s.last, s.send(&want{ID: s.last, Asking: askingOf(o), Query: body, At: at, Lineage: lineage, Changes: true})
}

// Drop ends a subscription.
func (s *Subscriptions) Drop(id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(id)
	return s.send(&want{ID: id})
}

func (s *Subscriptions) forget(id uint64) {
	delete(s.known, id)
	delete(s.parts, id)
	delete(s.held, id)
}

func (s *Subscriptions) send(w *want) error {
	b, err := w.MarshalMsg(nil)
	if err != nil {
		return err
	}
	return s.stream.Send(b)
}

// Next returns the next news. An error ends the stream.
func (s *Subscriptions) Next() (News, error) {
	for {
		body, err := s.stream.Recv()
		if err != nil {
			return News{}, ended(err)
		}
		frame, err := decode[news](body)
		if err != nil {
			return News{}, err
		}
		if frame.ID == 0 {
			return News{Fresh: frame.Fresh.meta(room.Options{}), Lineage: frame.Lineage}, nil
		}
		if n, whole, err := s.gather(&frame); err != nil || whole {
			return n, err
		}
	}
}

// gather adds a frame to what came of its answer before; whole reports that it was the last. Of subscriptions that were
// dropped nothing is kept.
func (s *Subscriptions) gather(frame *news) (n News, whole bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, is := s.known[frame.ID]
	if !is {
		return n, false, nil
	}
	value := frame.Value
	if before := s.parts[frame.ID]; before != nil || frame.More {
		value = append(before, value...)
		s.parts[frame.ID] = value
	}
	if frame.More {
		return n, false, nil
	}
	delete(s.parts, frame.ID)
	n = News{ID: frame.ID, At: frame.At, Lineage: frame.Lineage, Err: frame.Verdict.err()}
	if n.Err != nil {
		s.forget(frame.ID)
		return n, true, nil
	}
	frame.Value = value
	if value, whole, err = s.complete(frame); !whole {
		return n, false, err
	}
	v, _, err := known.Answer.Read(value)
	if err != nil {
		return n, false, fmt.Errorf("cannot decode the answer to %s: %w", known.Name, err)
	}
	n.Answer = room.Answer{Value: v, Index: frame.Index, Missing: frame.Missing, Shared: room.NewShared(v)}
	return n, true, nil
}

// complete returns the value of an answer that has come: whole, or as a change of the one held. A change that does not apply
// is left out, and the whole asked for; whole reports that there is a value. mu is held.
func (s *Subscriptions) complete(frame *news) (value []byte, whole bool, err error) {
	value = frame.Value
	if frame.From != 0 {
		before, asked := s.held[frame.ID]
		if value, whole = before.become(frame); !whole {
			if asked && before == nil {
				return nil, false, nil // it was asked for already
			}
			s.held[frame.ID] = nil
			return nil, false, s.send(&want{ID: frame.ID, Again: true})
		}
	}
	delete(s.held, frame.ID)
	if frame.Keep {
		s.held[frame.ID] = &held{frame.Index, frame.Lineage, value}
	}
	return value, true, nil
}
