package server

import (
	"errors"
	"fmt"
	"io"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/store"
)

func (s *Server) decode(b []byte) (room.Command, error) {
	c, err := s.types.ReadCommand(b)
	if err != nil {
		return nil, fmt.Errorf("cannot run the log: %w", err)
	}
	return c, nil
}

// machine is the Server as Raft sees it.
type machine struct{ *Server }

// Machine returns what consensus runs the log on.
func (s *Server) Machine() consensus.Machine { return machine{s} }

// Apply runs one log entry's Commands, each at its own index, and publishes them together.
func (m machine) Apply(b consensus.Batch) []consensus.Outcome {
	out := make([]consensus.Outcome, len(b.Commands))
	commands := make([]room.Command, len(b.Commands))
	for i, raw := range b.Commands {
		c, err := m.decode(raw)
		if err != nil {
			panic(err) // consensus stops the server before the entry counts; nothing of it has run
		}
		if l, is := c.(*SetLevel); is && l.Level > m.rules.known {
			panic(errLevel(l.Level, m.rules.known)) // whoever goes on without knowing the rules diverges
		}
		commands[i] = c
	}
	batch := m.store.Begin(b.Time)
	watch := m.meters.watch(len(commands))
	for i, c := range commands {
		watch.next(c.Name())
		out[i].Err = batch.Run(func(tx *store.Tx) (err error) {
			out[i].Value, err = c.Run(tx)
			return err
		})
		if p := (*store.Panic)(nil); errors.As(out[i].Err, &p) {
			m.opts.Log.Error("a command panicked and was undone", "command", c.Name(), "panic", p.Value, "stack", string(p.Stack))
		}
	}
	watch.stop()
	digest := batch.Digest()
	batch.Commit()
	m.marks.add(b.Index, m.store.Index(), digest)
	m.views.reached(m.store.Index())
	for _, c := range commands {
		switch c := c.(type) {
		case *Compare:
			m.compare(c)
		case *SetLevel:
			if err := m.learn(); err != nil {
				panic(err)
			}
		}
	}
	m.stats.commands.Add(uint64(len(b.Commands)))
	m.stats.entries.Add(1)
	return out
}

// Capture pins the state as it is now.
func (m machine) Capture() (consensus.Image, error) { return m.store.View(), nil }

// Restore replaces the state.
func (m machine) Restore(r io.Reader) error {
	if err := m.store.Restore(r); err != nil {
		return err
	}
	m.marks.clear()
	if err := m.learn(); err != nil {
		return err
	}
	m.views.reached(m.store.Index())
	m.signals.give(&m.signals.replaced)
	return nil
}

// Restored closes when an archive next replaces the state.
func (s *Server) Restored() <-chan struct{} { return s.signals.of(&s.signals.replaced) }

// Time is that of the newest entry in the state.
func (m machine) Time() int64 {
	v := m.store.View()
	defer v.Release()
	return v.Time()
}

// StateSize is the rough size of the state in bytes.
func (m machine) StateSize() int64 { return m.store.Bytes() }

// Begin is the Command that names a new history: the first of a new cluster.
type Begin struct{ Lineage string }

// Name is the Command's name in the log.
func (c *Begin) Name() string { return "rostra.begin" }

// Allowed is always nil: only a leader proposes it.
func (c *Begin) Allowed(store.Reader, authz.Decider) error { return nil }

// Run names the history, unless it has a name.
func (c *Begin) Run(tx *store.Tx) (room.Result, error) {
	if tx.Lineage() == "" {
		tx.SetLineage(c.Lineage)
	}
	return nil, nil
}

// MarshalMsg appends the lineage.
func (c *Begin) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendString(b, c.Lineage), nil }

// UnmarshalMsg reads the lineage.
func (c *Begin) UnmarshalMsg(b []byte) (rest []byte, err error) {
	c.Lineage, rest, err = msgp.ReadStringBytes(b)
	return rest, err
}
