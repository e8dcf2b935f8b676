package agent

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// Two programs for the tests of an upgrade. The older has the Command test.note, which keeps a text. The newer has other
// rules for it, by which texts are kept in capitals and may have an author, and the Command test.mark.
type (
	program interface{ newer() bool }
	older   struct{}
	newer   struct{}
)

func (older) newer() bool { return false }
func (newer) newer() bool { return true }

// note is the row, and as write and mark the Command.
type note[P program] struct {
	Key, Text string
	By        string // only the newer program knows it; left out of the bytes where it is ""
}

func (n *note[P]) MarshalMsg(b []byte) ([]byte, error) {
	size := uint32(2)
	if n.By != "" {
		size = 3
	}
	b = msgp.AppendMapHeader(b, size)
	b = msgp.AppendString(msgp.AppendString(b, "Key"), n.Key)
	b = msgp.AppendString(msgp.AppendString(b, "Text"), n.Text)
	if n.By != "" {
		b = msgp.AppendString(msgp.AppendString(b, "By"), n.By)
	}
	return b, nil
}

// UnmarshalMsg skips what it does not know, as generated code does.
func (n *note[P]) UnmarshalMsg(b []byte) (rest []byte, err error) {
	size, b, err := msgp.ReadMapHeaderBytes(b)
	for range size {
		var field, value string
		if field, b, err = msgp.ReadStringBytes(b); err != nil {
			return b, err
		}
		if value, b, err = msgp.ReadStringBytes(b); err != nil {
			return b, err
		}
		switch {
		case field == "Key":
			n.Key = value
		case field == "Text":
			n.Text = value
		case field == "By" && (*new(P)).newer():
			n.By = value
		}
	}
	return b, err
}

func (n *note[P]) Msgsize() int { return 32 + len(n.Key) + len(n.Text) + len(n.By) }

func notesOf[P program](name string) *store.Table[note[P], *note[P]] {
	return store.NewTable[note[P]](name, store.Schema[note[P]]{Key: func(n *note[P]) string { return n.Key }})
}

var (
	oldNotes, newNotes = notesOf[older]("test.notes"), notesOf[newer]("test.notes")
	newMarks           = notesOf[newer]("test.marks")
)

// oldWrite and newWrite are test.note in either program.
type oldWrite struct{ note[older] }

func (w *oldWrite) Name() string                              { return "test.note" }
func (w *oldWrite) Allowed(store.Reader, authz.Decider) error { return nil }
func (w *oldWrite) Run(tx *store.Tx) (room.Result, error) {
	oldNotes.Put(tx, &note[older]{Key: w.Key, Text: w.Text})
	return w.Text, nil
}

type newWrite struct {
	note[newer]
	rules int
}

func (w *newWrite) Name() string                              { return "test.note" }
func (w *newWrite) Allowed(store.Reader, authz.Decider) error { return nil }

func (w *newWrite) Under(rules int) error {
	if w.rules = rules; rules < 2 && w.By != "" {
		return fmt.Errorf("a note has no author by them")
	}
	return nil
}

func (w *newWrite) Run(tx *store.Tx) (room.Result, error) {
	n := w.note
	if w.rules >= 2 {
		n.Text = strings.ToUpper(n.Text)
	}
	newNotes.Put(tx, &n)
	return n.Text, nil
}

type mark struct{ note[newer] }

func (m *mark) Name() string                              { return "test.mark" }
func (m *mark) Allowed(store.Reader, authz.Decider) error { return nil }
func (m *mark) Run(tx *store.Tx) (room.Result, error) {
	newMarks.Put(tx, &m.note)
	return m.Text, nil
}

// careless is a Command that the newer program gave a field without a version of its rules.
type careless[P program] struct{ note[P] }

func (c *careless[P]) Name() string                              { return "test.careless" }
func (c *careless[P]) Allowed(store.Reader, authz.Decider) error { return nil }
func (c *careless[P]) Run(*store.Tx) (room.Result, error)        { return nil, nil }

// oldLevel and newLevel are the levels of the two programs.
var oldLevel, newLevel = room.Level(simRooms), room.Level(simRooms) + 1

var (
	oldProgram = append(slices.Clone(simRooms), room.Room{Name: "test", Tables: []store.AnyTable{oldNotes},
		Commands: []room.CommandType{{New: func() room.Command { return new(oldWrite) }, Rules: 1, Result: room.String},
			{New: func() room.Command { return new(careless[older]) }, Rules: 1}}})
	newProgram = append(slices.Clone(simRooms), room.Room{Name: "test", Tables: []store.AnyTable{newNotes, newMarks},
		Commands: []room.CommandType{{New: func() room.Command { return new(newWrite) }, Rules: 2, Since: []int{1, newLevel}, Result: room.String},
			{New: func() room.Command { return new(mark) }, Rules: 1, Since: []int{newLevel}, Result: room.String},
			{New: func() room.Command { return new(careless[newer]) }, Rules: 1}}})
)

// upgrade is a cluster of three servers with a client agent of either program, under load.
type upgrade struct {
	*world
	servers      []*simNode
	oldAgent     *simNode
	newAgent     *simNode
	mu           sync.Mutex // guards the rest
	acknowledged map[string]string
	errors       map[string]int
	stop         func()
}

func simulateUpgrade(t *testing.T, seed uint64, programs [3][]room.Room, f func(u *upgrade)) {
	inWorld(t, seed, func(w *world) {
		u := &upgrade{world: w, acknowledged: map[string]string{}, errors: map[string]int{}}
		for i, p := range [][]room.Room{programs[0], programs[1], programs[2], oldProgram, newProgram} {
			n := w.machine("dc1", 0, i, 3)
			n.rooms = p
			w.nodes = append(w.nodes, n)
			w.start(n)
		}
		u.servers, u.oldAgent, u.newAgent = w.nodes[:3], w.nodes[3], w.nodes[4]
		w.awaitLeader()
		ctx, stop := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		for i := range 10 {
			n := w.nodes[i%len(w.nodes)]
			wait.Go(func() { u.write(ctx, n, i) })
		}
		u.stop = sync.OnceFunc(func() { stop(); wait.Wait() })
		defer u.stop()
		f(u)
	})
}

// write writes through one agent, in the words of its program, whatever that is at the time. Every write has a key of its
// own.
func (u *upgrade) write(ctx context.Context, through *simNode, id int) {
	for i := 0; ctx.Err() == nil; i++ {
		key, text := fmt.Sprintf("%d/%d", id, i%500), fmt.Sprintf("text %d", i)
		got, err := through.note(ctx, key, text, "")
		u.mu.Lock()
		if err == nil {
			u.acknowledged[key] = got
		} else {
			delete(u.acknowledged, key)
			if !fault.Is(err, fault.Unknown) && !fault.Is(err, fault.NoLeader) && ctx.Err() == nil {
				u.errors[err.Error()]++
			}
		}
		u.mu.Unlock()
		pause := 6 * time.Millisecond
		if err != nil {
			pause = 100 * time.Millisecond
		}
		time.Sleep(pause)
	}
}

// note writes a note in the words of the machine's program.
func (n *simNode) note(ctx context.Context, key, text, by string) (string, error) {
	a := n.running.Load()
	var c room.Command = &oldWrite{note[older]{Key: key, Text: text}}
	if a.host.Self.Level > oldLevel {
		c = &newWrite{note: note[newer]{Key: key, Text: text, By: by}}
	}
	result, _, err := a.host.Door.Apply(ctx, c, room.Options{})
	said, _ := result.(string)
	return said, err
}

func (n *simNode) mark(text string) error {
	_, _, err := n.running.Load().host.Door.Apply(context.Background(), &mark{note[newer]{Key: "k", Text: text}}, room.Options{})
	return err
}

// replace stops a server and starts it with another program, from the same disk.
func (u *upgrade) replace(n *simNode, with []room.Room) {
	u.t.Helper()
	u.world.stop(n)
	n.rooms = with
	u.start(n)
	u.until(n.name+" has caught up", time.Minute, func() bool {
		l := u.leader()
		for _, one := range u.servers {
			if _, seen := n.host.Roster.Find(one.id); !seen {
				return false
			}
		}
		return l != nil && n.server.Counters()["index"]+100 > l.server.Counters()["index"]
	})
}

// lead moves leadership to a server.
func (u *upgrade) lead(to *simNode) {
	u.t.Helper()
	u.until(to.name+" leads", time.Minute, func() bool {
		l := u.awaitLeader()
		if l == to {
			return true
		}
		_ = l.server.Change(context.Background(), consensus.Change{Verb: consensus.Transfer, ID: to.id})
		return false
	})
}

// compared waits until every server's state was compared with the others' once more.
func (u *upgrade) compared() {
	u.t.Helper()
	before := map[*simNode]uint64{}
	for _, n := range u.servers {
		if n.up {
			before[n] = n.server.Counters()["compared_states"]
		}
	}
	took := u.until("a comparison of all states", 3*time.Minute, func() bool {
		u.sound()
		for n, count := range before {
			if n.server.Counters()["compared_states"] == count {
				return false
			}
		}
		return true
	})
	u.t.Logf("compared after %v", took)
}

// sound fails the test if a server that should be up has stopped.
func (u *upgrade) sound() {
	u.t.Helper()
	for _, n := range u.servers {
		if n.up && n.node.Failure() != nil {
			u.t.Fatalf("%s has stopped: %v", n.name, n.node.Failure())
		}
	}
}

// same stops the load and compares the states, byte for byte.
func (u *upgrade) same() {
	u.t.Helper()
	u.stop()
	u.agree()
	var first []byte
	for _, n := range u.servers {
		image, err := n.server.Machine().Capture()
		if err != nil {
			u.t.Fatal(err)
		}
		var b bytes.Buffer
		_, err = image.WriteTo(&b)
		image.Release()
		if err != nil {
			u.t.Fatal(err)
		}
		if first == nil {
			first = b.Bytes()
		} else if !bytes.Equal(first, b.Bytes()) {
			u.t.Errorf("the state of %s is another than that of %s", n.name, u.servers[0].name)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, text := range u.acknowledged {
		want, _ := (&note[newer]{Key: key, Text: text}).MarshalMsg(nil)
		if !bytes.Contains(first, want) {
			u.t.Errorf("the note %s is lost: %q", key, text)
		}
	}
	if len(u.errors) > 0 {
		u.t.Errorf("writers were refused: %v", slices.Collect(maps.Keys(u.errors)))
	}
	u.t.Logf("%d bytes of state on each server, %d notes acknowledged", len(first), len(u.acknowledged))
}

func refused(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v; it should say %q", what, err, w)
			return
		}
	}
}

// TestRollingUpgrade: one server after the other gets a newer program while everybody writes and leadership moves to and
// fro. What the older cannot do is refused until all can; nobody diverges. Then an older one has no place any more.
func TestRollingUpgrade(t *testing.T) {
	simulateUpgrade(t, 41, [3][]room.Room{oldProgram, oldProgram, oldProgram}, func(u *upgrade) {
		t, s := u.t, u.servers
		early := fmt.Sprintf(`"test.mark" needs rules of level %d, and those in use are of level %d`, newLevel, oldLevel)
		mixed := func() {
			t.Helper()
			for _, n := range u.nodes {
				if n.running.Load().host.Self.Level < newLevel {
					continue
				}
				if n.node != nil {
					refused(t, n.name, n.mark("early"), early, "server s", fmt.Sprintf("knows no others than those of level %d: upgrade it", oldLevel))
				} else {
					refused(t, n.name, n.mark("early"), early)
				}
				_, err := n.note(context.Background(), "authored", "text", "me")
				refused(t, n.name, err, fmt.Sprintf(`"test.note" cannot be run by rules of level %d`, oldLevel), "no author")
				if got, err := n.note(context.Background(), "mixed", "text", ""); err != nil || got != "text" {
					t.Errorf("%s writes %q: %v", n.name, got, err)
				}
			}
		}
		mixed()
		u.replace(s[0], newProgram)
		u.lead(s[0]) // newer than those who follow
		mixed()
		u.compared()
		u.lead(s[1]) // older than one who follows
		mixed()
		u.compared()
		u.replace(s[1], newProgram) // the leader itself
		mixed()
		u.lead(s[2]) // the last of the old leads
		mixed()
		u.compared()
		u.replace(s[2], newProgram)
		took := u.until("rules of level 2", 10*time.Second, func() bool { return u.servers[1].mark("late") == nil })
		t.Logf("the newer rules are in use %v after the last server came back", took)
		for _, n := range u.nodes {
			if got, err := n.note(context.Background(), "new", "text", ""); err != nil || got != "TEXT" {
				t.Errorf("%s writes %q: %v", n.name, got, err)
			}
		}
		if got, err := u.newAgent.note(context.Background(), "authored", "text", "me"); err != nil || got != "TEXT" {
			t.Errorf("an author: %q, %v", got, err)
		}
		if err := u.newAgent.mark("later"); err != nil {
			t.Error(err)
		}
		u.compared()
		u.tooOld(s[2])
		u.compared()
		u.same()
	})
}

// tooOld lets a server come back with the older program, and one come new: both stop, the others go on, and with the newer
// program the first is one of them again.
func (u *upgrade) tooOld(n *simNode) {
	u.t.Helper()
	u.world.stop(n)
	n.rooms = oldProgram
	err := u.tryStart(n)
	if err == nil {
		u.until("the end of it", time.Minute, func() bool { return closed(n.ended) })
		err = n.failure
		n.up = false
	}
	u.net.Host(n.ip).Kill()
	u.t.Logf("an older program on the disk of %s: %v", n.name, err)
	refused(u.t, "an older program on its disk", err, "upgrade this server")
	fresh := u.machine("dc1", 0, 7, 0)
	fresh.args = append(fresh.args, "-server", "-bootstrap-expect=3", "-node=s8")
	fresh.name, fresh.rooms = "s8", oldProgram
	u.start(fresh)
	u.nodes = append(u.nodes, fresh)
	u.until("the end of it", time.Minute, func() bool { return closed(fresh.ended) })
	u.t.Logf("an older program that joins: %v", fresh.failure)
	refused(u.t, "an older program that joins", fresh.failure, "upgrade this server")
	u.world.stop(fresh)
	n.rooms = newProgram
	u.start(n)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestTooNewAnEntry: what an older server does not know in the log stops it, and it alone. No newer program writes such an
// entry while an older one is there, but for the last, which was made by a mistake: a field without a version of its own.
func TestTooNewAnEntry(t *testing.T) {
	authored, err := (&note[newer]{Key: "k", Text: "t", By: "me"}).MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		name  string
		rules int
		text  string
	}{
		{"test.mark", 1, `the command "test.mark" with rules 1 is unknown to this version; upgrade this server`},
		{"test.note", 2, `the command "test.note" with rules 2 is unknown to this version; upgrade this server`},
		{"test.careless", 1, `holds a field or form that this version does not know; upgrade this server`},
	} {
		simulateUpgrade(t, uint64(50+i), [3][]room.Room{newProgram, newProgram, oldProgram}, func(u *upgrade) {
			t := u.t
			u.lead(u.servers[0])
			entry := append(msgp.AppendInt(msgp.AppendString(nil, c.name), c.rules), authored...)
			if _, err := u.servers[0].node.Propose(context.Background(), entry); err != nil {
				t.Fatal(err)
			}
			old := u.servers[2]
			u.until("the end of the older one", time.Minute, func() bool { return closed(old.ended) })
			refused(t, c.name, old.failure, "cannot apply log entry", c.text)
			old.up = false
			u.servers = u.servers[:2]
			if _, err := u.newAgent.note(context.Background(), "after", "text", ""); err != nil {
				t.Errorf("the others do not go on: %v", err)
			}
			u.same()
		})
	}
}
