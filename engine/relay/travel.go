// Package relay is the door over the wire: the words in which agents ask servers, and servers one another, what they ask
// a Door. It has two ends, a Client that asks one server and a Host that answers for one, and between them the Types that
// know how each Command, Query and Procedure travels. engine/server and engine/remote are built on it.
package relay

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// Types knows what travels: the Commands, Queries and Procedures of all rooms. It does not change after NewTypes.
type Types struct {
	commands map[string]room.CommandType
	queries  map[string]room.QueryType
	byType   map[reflect.Type]room.QueryType
	calls    map[string]room.ProcedureType
}

// NewTypes gathers them. Two of one name are a mistake of the program and an error.
func NewTypes(rooms []room.Room, own ...room.CommandType) (*Types, error) {
	t := &Types{commands: map[string]room.CommandType{}, queries: map[string]room.QueryType{},
		byType: map[reflect.Type]room.QueryType{}, calls: map[string]room.ProcedureType{}}
	twice := func(what, name string) error {
		return fault.New(fault.Internal, "the %s %q is declared twice", what, name)
	}
	all := own
	for _, r := range rooms {
		all = append(all, r.Commands...)
		for _, q := range r.Queries {
			if _, there := t.queries[q.Name]; there {
				return nil, twice("query", q.Name)
			}
			t.queries[q.Name], t.byType[q.Type] = q, q
		}
		for _, c := range r.Calls {
			name := c.New().Name()
			if _, there := t.calls[name]; there {
				return nil, twice("procedure", name)
			}
			t.calls[name] = c
		}
	}
	for _, c := range all {
		name := c.New().Name()
		if _, there := t.commands[name]; there {
			return nil, twice("command", name)
		}
		if err := versioned(c); err != nil {
			return nil, fault.New(fault.Internal, "the command %q is declared wrongly: %v", name, err)
		}
		t.commands[name] = c
	}
	return t, nil
}

// versioned checks what a Command says of the versions of its rules.
func versioned(c room.CommandType) error {
	if c.Rules < 1 || c.Since == nil && c.Rules > 1 || c.Since != nil && len(c.Since) != c.Rules {
		return fmt.Errorf("it has %d versions of its rules and names the levels of %d", c.Rules, len(c.Since))
	}
	if !slices.IsSorted(c.Since) {
		return fmt.Errorf("the levels of its versions fall: %v", c.Since)
	}
	if _, is := c.New().(room.Ruled); c.Rules > 1 && !is {
		return errors.New("it has several versions of its rules and no method Under")
	}
	return nil
}

// A Command travels, in the log and on the wire, as its name, the version of its rules (a positive integer) and its
// fields, each MessagePack.

// Command encodes a Command with the newest rules that servers of the level know. What those rules cannot do is refused: a
// server that did not know it would stop.
func (t *Types) Command(c room.Command, level int) ([]byte, error) {
	known := t.commands[c.Name()]
	rules := known.RulesAt(level)
	if rules == 0 {
		return nil, fault.New(fault.Refused, "the command %q needs rules of level %d, and those in use are of level %d", c.Name(), known.Since[0], level)
	}
	if r, is := c.(room.Ruled); is {
		if err := r.Under(rules); err != nil {
			return nil, fault.New(fault.Refused, "the command %q cannot be run by rules of level %d, which are in use: %v", c.Name(), level, err)
		}
	}
	size := 128
	if z, is := c.(msgp.Sizer); is {
		size = msgp.StringPrefixSize + len(c.Name()) + msgp.IntSize + z.Msgsize() // a bound, so the buffer does not grow
	}
	b := make([]byte, 0, size)
	b = msgp.AppendString(b, c.Name())
	b = msgp.AppendInt(b, rules)
	b, err := c.MarshalMsg(b)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the command %s: %w", c.Name(), err)
	}
	return b, nil
}

// ReadCommand decodes one. A name, a version or a field that this program does not know is an error that says so: who
// skipped one would diverge (design rule 22).
func (t *Types) ReadCommand(b []byte) (room.Command, error) {
	name, b, err := msgp.ReadStringBytes(b)
	if err != nil {
		return nil, fmt.Errorf("cannot decode a command: %w", err)
	}
	rules, b, err := msgp.ReadIntBytes(b)
	if err != nil {
		return nil, fmt.Errorf("cannot decode the command %q: %w", name, err)
	}
	known, is := t.commands[name]
	if !is || rules < 1 || rules > known.Rules {
		return nil, fmt.Errorf("the command %q with rules %d is unknown to this version; upgrade this server", name, rules)
	}
	c := known.New()
	rest, err := store.DecodeStrict(b, c)
	if err != nil {
		return nil, fmt.Errorf("cannot decode the command %q: %w", name, err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("cannot decode the command %q: %d bytes too many", name, len(rest))
	}
	if r, is := c.(room.Ruled); is {
		if err := r.Under(rules); err != nil {
			return nil, fmt.Errorf("cannot run the command %q by its rules %d: %w", name, rules, err)
		}
	}
	return c, nil
}

// leaders reports whether only the leader's own loops propose the Command.
func (t *Types) leaders(command string) bool { return t.commands[command].Leaders }

// result returns the codec of what the Command's Run returns.
func (t *Types) result(command string) room.Codec {
	if c := t.commands[command].Result; c.Append != nil {
		return c
	}
	return room.Nothing
}

// query encodes a Query: its name, then its fields.
func (t *Types) query(q room.Query) ([]byte, room.QueryType, error) {
	known, is := t.byType[reflect.TypeOf(q)]
	if !is {
		return nil, known, fmt.Errorf("cannot ask another server for %T: it does not travel", q)
	}
	b, err := known.Query.Append(msgp.AppendString(nil, known.Name), q)
	return b, known, err
}

func (t *Types) readQuery(b []byte) (room.Query, room.QueryType, error) {
	name, b, err := msgp.ReadStringBytes(b)
	if err != nil {
		return nil, room.QueryType{}, fmt.Errorf("cannot decode a query: %w", err)
	}
	known, is := t.queries[name]
	if !is {
		return nil, known, fault.New(fault.Internal, "the query %q is unknown to this server; upgrade it", name)
	}
	v, _, err := known.Query.Read(b)
	if err != nil {
		return nil, known, fmt.Errorf("cannot decode the query %q: %w", name, err)
	}
	return v.(room.Query), known, nil
}

// Answers returns the codec of the values that answer the Query; false if it does not travel.
func (t *Types) Answers(q room.Query) (room.Codec, bool) {
	known, is := t.byType[reflect.TypeOf(q)]
	return known.Answer, is
}

// NameOf returns what a Query is called on its way, "" if it does not travel.
func (t *Types) NameOf(q room.Query) string { return t.byType[reflect.TypeOf(q)].Name }

func (t *Types) readCall(name string, b []byte) (room.Procedure, room.Codec, error) {
	known, is := t.calls[name]
	if !is {
		return nil, room.Codec{}, fault.New(fault.Internal, "the procedure %q is unknown to this server; upgrade it", name)
	}
	p := known.New()
	if _, err := room.ReadKnown(b, p); err != nil {
		return nil, room.Codec{}, fmt.Errorf("cannot decode the procedure %q: %w", name, err)
	}
	return p, t.callResult(name), nil
}

func (t *Types) callResult(name string) room.Codec {
	if c := t.calls[name].Result; c.Append != nil {
		return c
	}
	return room.Nothing
}
