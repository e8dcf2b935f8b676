package session

import (
	"testing"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/store"
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
	tables := append(append([]store.AnyTable{}, catalog.Room.Tables...), Room.Tables...)
	triggers := append(append([]store.Trigger{}, catalog.Room.Triggers...), Room.Triggers...)
	l := &lab{t: t, store: store.New(tables, triggers, store.Limits{}), now: 1_700_000_000 * second, rules: 3}
	l.register("n1", &catalog.Check{CheckID: "serfHealth", Status: "passing"}, &catalog.Check{CheckID: "disk", Status: "warning"},
		&catalog.Check{CheckID: "bad", Status: "critical"})
	l.register("n2", &catalog.Check{CheckID: "serfHealth", Status: "passing"})
	return l
}

func (l *lab) register(node string, checks ...*catalog.Check) {
	l.t.Helper()
	l.must(&catalog.Register{Row: &catalog.Node{Node: node, Address: "127.0.0.1"}, Checks: checks})
}

// run runs a Command as the log would: from its bytes.
func (l *lab) run(c room.Command) (result room.Result, err error) {
	l.t.Helper()
	raw, err := c.MarshalMsg(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, r := range []room.Room{catalog.Room, Room} {
		for _, typ := range r.Commands {
			if fresh := typ.New(); fresh.Name() == c.Name() {
				c = fresh
			}
		}
	}
	if rest, err := store.DecodeStrict(raw, c); err != nil || len(rest) > 0 {
		l.t.Fatalf("decoding %s: %d bytes left, %v", c.Name(), len(rest), err)
	}
	if c, ok := c.(*Create); ok {
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

// ids returns the sessions an answer lists.
func ids(a room.Answer) (list []string) {
	for _, s := range a.Value.(List) {
		list = append(list, s.ID)
	}
	return list
}
