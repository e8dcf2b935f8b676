// Package room is the contract between the machine and the features that live on it: what a feature hands over (tables,
// triggers, Commands, Queries, routes, verbs, loops) and what it may ask for (the Door to replicated state, and the
// Host's facts about this agent). It holds no behaviour of its own beyond that.
package room

import (
	"context"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/kit/authz"
	"rostra/kit/httpd"
	"rostra/kit/store"
)

// Door is how every part of Rostra reads and changes replicated state, wherever that state lives. Safe for concurrent
// use. Errors are faults; fault.NoLeader means nobody can answer truthfully now, fault.Unknown that a write may have
// happened.
type Door interface {
	// Apply returns once the Command is committed on a majority, on disk, and has run. The Result is what Run returned.
	Apply(ctx context.Context, c Command, o Options) (Result, Meta, error)
	// Read returns one answer. With o.Index it waits, up to o.Wait, for an answer with a higher index.
	Read(ctx context.Context, q Query, o Options) (Answer, Meta, error)
	// Watch returns a live answer. The caller closes it.
	Watch(ctx context.Context, q Query, o Options) (Watch, error)
	// Call runs a named procedure on the server that answers: the leader, with Stale any server, with o.Server that one.
	// What any server may run is run again by another if the first does not answer, so it must be repeatable.
	Call(ctx context.Context, p Procedure, o Options) (Result, Meta, error)
}

// Result is what a Command or Procedure gave back; its type is the Command's own affair.
type Result any

// Meta accompanies an answer: its index, and how fresh the answering server is.
type Meta = httpd.Meta

// Options say how to ask. The zero value is a default read or a plain write in this datacenter.
type Options struct {
	Token       string
	Datacenter  string // "" is the agent's own
	Server      string // ask this server of the datacenter alone, by its ID; "" chooses by Consistency
	Consistency httpd.Consistency
	MaxStale    time.Duration
	Cached      bool          // an agent may answer from what it watches, as with Stale
	Index       uint64        // wait for an answer newer than this; 0 does not wait
	Wait        time.Duration // how long; the door bounds it and adds up to a sixteenth
}

// OptionsOf returns the options an HTTP request asked for.
func OptionsOf(r *httpd.Request) Options {
	p := &r.Params
	return Options{Token: p.Token, Datacenter: p.Datacenter, Consistency: p.Consistency, MaxStale: p.MaxStale, Cached: p.Cached,
		Index: p.Index, Wait: p.Wait}
}

// Command is a change of replicated state: a plain value that travels in the log. Run is a function of the state and
// the Command alone: no clock but tx.Time, no randomness, no map order. It validates first and writes after.
type Command interface {
	msgp.Marshaler
	msgp.Unmarshaler
	Name() string // its name in the log, "kv.put"; never reused for anything else
	// Allowed returns nil or a fault.Denied. r shows the state before the Command.
	Allowed(r store.Reader, d authz.Decider) error
	// Run changes the state. An error refuses the Command and undoes what it wrote.
	Run(tx *store.Tx) (Result, error)
}

// CommandType lets the log's reader make a Command by its name.
type CommandType struct {
	New   func() Command
	Rules int // the newest version of its rules that this program knows, from 1
	// Since holds, for each version, the level of a program that knows it (Level); a version is proposed once every server
	// of the datacenter has that level. nil: there is one version, and the first release has it.
	Since []int
	// Leaders marks Commands that only loops of the leader propose: what an agent sends of them is refused.
	Leaders bool
	// Result carries what Run returns; the zero Codec stands for Nothing.
	Result Codec
	// What is measured of it, under Consul's names; "" for nothing: how long a leader took to carry it through the log
	// ("kvs.apply"), and how long a server took to run it ("fsm.kvs").
	ApplyMetric, RunMetric string
}

// RulesAt returns the newest version of the rules that servers of the level know; 0: they do not know the Command.
func (t CommandType) RulesAt(level int) int {
	if t.Since == nil {
		return 1
	}
	rules := 0
	for _, since := range t.Since {
		if since <= level {
			rules++
		}
	}
	return rules
}

// Ruled is a Command whose rules have changed since its first version.
type Ruled interface {
	// Under tells it by which version of its rules it is to run: before it is encoded, and after it was decoded. An error says
	// what it wants that those rules cannot do.
	Under(rules int) error
}

// Level counts the versions of the rules by which the Commands of a program change the state: it is the highest that one
// of them names in Since, 1 in the first release. A server that lacks a level stops at a Command of it, so the leader uses a
// level only once every server has it (gossip tag rostra_level).
func Level(rooms []Room) int {
	level := 1
	for _, r := range rooms {
		for _, c := range r.Commands {
			for _, since := range c.Since {
				level = max(level, since)
			}
		}
	}
	return level
}

// Query is a question to replicated state. It must be comparable (no slices, no maps): equal Queries share one
// evaluation and one encoding.
type Query interface {
	Allowed(d authz.Decider) error
	// Subjects are what the answer depends on: when none of them is touched, the answer stands.
	Subjects() []store.Subject
	Run(r store.Reader) Answer
}

// Point marks Queries that cost less to evaluate than to share (one row by its key); blocked ones are shared all the
// same.
type Point interface{ Point() }

// Procedure is a named call that runs on the answering server, with that server's Host. One that any server may run and that may
// change something has a method Changes() bool that says so (relay.RiskOf); it may then do it twice, as nobody knows whether a
// server that does not answer has done it.
type Procedure interface {
	msgp.Marshaler
	msgp.Unmarshaler
	Name() string
	Allowed(d authz.Decider) error
	Call(ctx context.Context, h *Host) (Result, error)
}

// Watch is a live answer to one Query, shared with everybody who asks the same.
type Watch interface {
	// Latest returns the newest answer without waiting. The same unchanged answer has the same Shared, so that what was
	// derived from it can be kept.
	Latest() (Answer, error)
	// Next waits for an answer that differs from the one last returned by Next; the first call returns at once. Steps
	// between may be skipped.
	Next(ctx context.Context) (Answer, error)
	Close()
}
