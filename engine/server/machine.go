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

// A Command travels as its name, the version of its rules (a positive integer) and its fields, each MessagePack. A name,
// a version or a field that this program does not know stops it: whoever skipped one would diverge (design rule 22).

func (s *Server) encode(c room.Command) ([]byte, error) {
	b := make([]byte, 0, 128)
	b = msgp.AppendString(b, c.Name())
	b = msgp.AppendInt(b, s.commands[c.Name()].Rules)
	b, err := c.MarshalMsg(b)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the command %s: %w", c.Name(), err)
	}
	return b, nil
}

func (s *Server) decode(b []byte) (room.Command, error) {
	name, b, err := msgp.ReadStringBytes(b)
	if err != nil {
		return nil, fmt.Errorf("cannot decode a command of the log: %w", err)
	}
	rules, b, err := msgp.ReadIntBytes(b)
	if err != nil {
		return nil, fmt.Errorf("cannot decode the command %q of the log: %w", name, err)
	}
	t, known := s.commands[name]
	if !known || rules < 1 || rules > t.Rules {
		return nil, fmt.Errorf("the log holds the command %q with rules %d, which this version does not know; upgrade this server", name, rules)
	}
	c := t.New()
	rest, err := store.DecodeStrict(b, c)
	if err != nil {
		return nil, fmt.Errorf("cannot decode the command %q of the log: %w", name, err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("cannot decode the command %q of the log: %d bytes too many", name, len(rest))
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
		commands[i] = c
	}
	batch := m.store.Begin(b.Time)
	for i, c := range commands {
		out[i].Err = batch.Run(func(tx *store.Tx) (err error) {
			out[i].Value, err = c.Run(tx)
			return err
		})
		if p := (*store.Panic)(nil); errors.As(out[i].Err, &p) {
			m.opts.Log.Error("a command panicked and was undone", "command", c.Name(), "panic", p.Value, "stack", string(p.Stack))
		}
	}
	batch.Commit()
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
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.replaced)
	m.replaced = make(chan struct{})
	return nil
}

// Restored closes when an archive next replaces the state.
func (s *Server) Restored() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replaced
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
