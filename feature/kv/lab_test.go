package kv

import (
	"strings"
	"testing"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/session"
	"rostra/kit/authz"
	"rostra/kit/store"
	"rostra/kit/wire"
)

// lab runs Commands straight on a store, by a clock of its own.
type lab struct {
	t     *testing.T
	store *store.Store
	now   int64
	rules int // of session.create
}

const second = int64(1_000_000_000)

func newLab(t *testing.T) *lab {
	var tables []store.AnyTable
	var triggers []store.Trigger
	for _, r := range []room.Room{catalog.Room, session.Room, Room} {
		tables, triggers = append(tables, r.Tables...), append(triggers, r.Triggers...)
	}
	l := &lab{t: t, store: store.New(tables, triggers, store.Limits{}), now: 1_700_000_000 * second, rules: 3}
	l.must(&catalog.Register{Row: &catalog.Node{Node: "n1", Address: "127.0.0.1"}, Checks: []*catalog.Check{
		{CheckID: "serfHealth", Status: "passing"}, {CheckID: "disk", Status: "passing"}}})
	return l
}

// run runs a Command as the log would: from its bytes.
func (l *lab) run(c room.Command) (result room.Result, err error) {
	l.t.Helper()
	raw, err := c.MarshalMsg(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, r := range []room.Room{catalog.Room, session.Room, Room} {
		for _, typ := range r.Commands {
			if fresh := typ.New(); fresh.Name() == c.Name() {
				c = fresh
			}
		}
	}
	if rest, err := store.DecodeStrict(raw, c); err != nil || len(rest) > 0 {
		l.t.Fatalf("decoding %s: %d bytes left, %v", c.Name(), len(rest), err)
	}
	if c, ok := c.(*session.Create); ok {
		if err := c.Under(l.rules); err != nil {
			l.t.Fatal(err)
		}
	}
	v := l.store.View()
	if err := c.Allowed(v, authz.AllowAll{}); err != nil {
		l.t.Fatal(err)
	}
	v.Release()
	b := l.store.Begin(l.now)
	defer b.Commit()
	err = b.Run(func(tx *store.Tx) (err error) {
		result, err = c.Run(tx)
		return err
	})
	return result, err
}

func (l *lab) must(c room.Command) room.Result {
	l.t.Helper()
	result, err := l.run(c)
	if err != nil {
		l.t.Fatal(err)
	}
	return result
}

func (l *lab) ask(q room.Query) room.Answer {
	v := l.store.View()
	defer v.Release()
	return q.Run(v)
}

func (l *lab) put(key, value string) bool {
	l.t.Helper()
	return l.must(&Put{Op{Verb: Set, Key: key, Value: []byte(value)}}).(bool)
}

func (l *lab) op(o Op) bool {
	l.t.Helper()
	if strings.HasPrefix(o.Verb, "delete") {
		return l.must(&Delete{o}).(bool)
	}
	return l.must(&Put{o}).(bool)
}

func (l *lab) session(id, behavior string, delay int64, checks ...string) {
	l.t.Helper()
	s := session.Session{ID: id, Node: "n1", Behavior: behavior, NodeChecks: checks, LockDelay: wire.Duration(delay)}
	l.must(&session.Create{Session: s})
}

func (l *lab) entry(key string) *Entry {
	v := l.store.View()
	defer v.Release()
	return Entries.Get(v, key)
}

func touches(w *store.Waiter) uint64 {
	n, _ := w.Touches()
	return n
}
