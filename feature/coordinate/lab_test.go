package coordinate

import (
	"testing"

	"go.uber.org/goleak"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab runs Commands straight on a store.
type lab struct {
	t     *testing.T
	store *store.Store
}

func newLab(t *testing.T) *lab {
	tables := append(append([]store.AnyTable{}, catalog.Room.Tables...), Room.Tables...)
	return &lab{t, store.New(tables, Room.Triggers, store.Limits{})}
}

// run runs a Command as the log would: from its bytes.
func (l *lab) run(c room.Command, fresh room.Command) error {
	l.t.Helper()
	raw, err := c.MarshalMsg(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if rest, err := store.DecodeStrict(raw, fresh); err != nil || len(rest) > 0 {
		l.t.Fatalf("decoding %s: %d bytes left, %v", c.Name(), len(rest), err)
	}
	b := l.store.Begin(0)
	defer b.Commit()
	return b.Run(func(tx *store.Tx) error { _, err := fresh.Run(tx); return err })
}

func (l *lab) node(name string) {
	l.t.Helper()
	if err := l.run(register(name), new(catalog.Register)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) update(entries ...Entry) error {
	return l.run(&Update{Entries: entries}, new(Update))
}

func (l *lab) ask(q room.Query) room.Answer {
	v := l.store.View()
	defer v.Release()
	return q.Run(v)
}

func register(node string) *catalog.Register {
	return &catalog.Register{Row: &catalog.Node{Node: node, Address: "127.0.0.1", Datacenter: "dc1"}}
}

// at is a place on a line, in seconds.
func at(node string, x float64) Entry {
	return Entry{Node: node, Coord: gossip.Coordinate{Vec: [8]float64{x}, Height: 0.00001, Error: 1.5}}
}

func startInside(t *testing.T) *servertest.Agent {
	t.Helper()
	return servertest.Inside(t, []room.Room{catalog.Room, health.Room, Room}, nil)
}
