package query

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rostra/engine/room"
	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
	"rostra/feature/coordinate"
	"rostra/feature/health"
	"rostra/feature/session"
	"rostra/kit/authz"
	"rostra/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// below are this feature and those it stands on.
var below = []room.Room{catalog.Room, health.Room, coordinate.Room, session.Room, Room}

// lab runs Commands straight on a store.
type lab struct {
	t     *testing.T
	store *store.Store
}

func newLab(t *testing.T) *lab {
	var tables []store.AnyTable
	var triggers []store.Trigger
	for _, r := range below {
		tables, triggers = append(tables, r.Tables...), append(triggers, r.Triggers...)
	}
	return &lab{t: t, store: store.New(tables, triggers, store.Limits{})}
}

// run runs a Command as the log would: from its bytes.
func (l *lab) run(c room.Command) error {
	l.t.Helper()
	raw, err := c.MarshalMsg(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, r := range below {
		for _, typ := range r.Commands {
			if fresh := typ.New(); fresh.Name() == c.Name() {
				c = fresh
			}
		}
	}
	if rest, err := store.DecodeStrict(raw, c); err != nil || len(rest) > 0 {
		l.t.Fatalf("decoding %s: %d bytes left, %v", c.Name(), len(rest), err)
	}
	v := l.store.View()
	if err := c.Allowed(v, authz.AllowAll{}); err != nil {
		l.t.Fatal(err)
	}
	v.Release()
	b := l.store.Begin(1)
	defer b.Commit()
	return b.Run(func(tx *store.Tx) error { _, err := c.Run(tx); return err })
}

func (l *lab) must(c room.Command) {
	l.t.Helper()
	if err := l.run(c); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) ask(q room.Query) room.Answer {
	v := l.store.View()
	defer v.Release()
	return q.Run(v)
}

// id is the n-th ID.
func id(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", n) }

// named is a query of a service of the same name.
func named(n int, name string) Definition {
	return Definition{ID: id(n), Name: name, Service: Service{Service: "db"}}
}

// prefixed is a template.
func prefixed(n int, name string) Definition {
	d := named(n, name)
	d.Template.Type = PrefixMatch
	return d
}

// startInside runs a server in a bubble, and waits until the leader has said that all servers know prepared queries.
func startInside(t *testing.T) *servertest.Agent {
	t.Helper()
	a := servertest.Inside(t, below, map[string]any{"session": &session.Settings{TTLMin: 10 * time.Second}})
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		_, _, err := a.Door.Apply(t.Context(), &Delete{ID: "none"}, room.Options{})
		if err == nil || err.Error() == missing("none").Error() {
			return a
		}
	}
	t.Fatal("the level is not raised")
	return nil
}

func apply(t *testing.T, a *servertest.Agent, c room.Command) {
	t.Helper()
	if _, _, err := a.Door.Apply(t.Context(), c, room.Options{}); err != nil {
		t.Fatal(err)
	}
}
