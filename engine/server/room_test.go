package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
	"go.uber.org/goleak"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// note is the row of the small feature that these tests run: a text under a name.
type note struct {
	Name, Text string
	Index      uint64 // of the Command that wrote it
}

func (n *note) MarshalMsg(b []byte) ([]byte, error) {
	b = msgp.AppendArrayHeader(b, 3)
	b = msgp.AppendString(msgp.AppendString(b, n.Name), n.Text)
	return msgp.AppendUint64(b, n.Index), nil
}

func (n *note) UnmarshalMsg(b []byte) (rest []byte, err error) {
	var size uint32
	if size, b, err = msgp.ReadArrayHeaderBytes(b); err != nil || size != 3 {
		return b, errors.Join(err, fmt.Errorf("an array of %d", size))
	}
	if n.Name, b, err = msgp.ReadStringBytes(b); err != nil {
		return b, err
	}
	if n.Text, b, err = msgp.ReadStringBytes(b); err != nil {
		return b, err
	}
	n.Index, b, err = msgp.ReadUint64Bytes(b)
	return b, err
}

func (n *note) Msgsize() int { return 32 + len(n.Name) + len(n.Text) }

var (
	notes    = store.NewTable[note]("notes", store.Schema[note]{Key: func(n *note) string { return n.Name }})
	noteGone = store.Subject{Kind: "note.gone"}
)

func subject(name string) store.Subject { return store.Subject{Kind: "note", Name: name} }

// write is the Command: it puts the note, or with the text "" removes it. What is so already moves nothing.
type write struct{ note }

func (w *write) Name() string                              { return "note.write" }
func (w *write) Allowed(store.Reader, authz.Decider) error { return nil }
func (w *write) Run(tx *store.Tx) (room.Result, error) {
	old := notes.Get(tx, w.note.Name)
	switch {
	case w.Text == "refuse":
		notes.Put(tx, &note{Name: w.note.Name, Text: "never seen"})
		return nil, fault.New(fault.Refused, "refused")
	case w.Text == "" && old == nil, old != nil && old.Text == w.Text:
	case w.Text == "":
		notes.Delete(tx, w.note.Name)
		tx.Touch(noteGone)
		tx.Forget(subject(w.note.Name))
	default:
		notes.Put(tx, &note{Name: w.note.Name, Text: w.Text, Index: tx.Index()})
		tx.Touch(subject(w.note.Name))
	}
	return tx.Index(), nil
}

// read is the Query for one note; its Value is a line.
type read struct {
	name string
	dull bool // what it says stays the same
}

type line string

func (l line) Equal(other any) bool { return l == other }

func (q read) Allowed(authz.Decider) error { return nil }

// runs counts evaluations of all reads, over all servers.
var runs atomic.Int64

func (q read) Subjects() []store.Subject { return []store.Subject{subject(q.name)} }
func (q read) Run(r store.Reader) room.Answer {
	runs.Add(1)
	n := notes.Get(r, q.name)
	if n == nil {
		return room.Answer{Value: line(""), Index: max(1, r.Touched(noteGone)), Missing: true}
	}
	if q.dull {
		return room.Answer{Value: line("dull"), Index: n.Index}
	}
	return room.Answer{Value: line(n.Text), Index: n.Index}
}

// point is the same for one reader alone.
type point struct{ read }

func (point) Point() {}

var testRoom = room.Room{Name: "note", Tables: []store.AnyTable{notes},
	Commands: []room.CommandType{{New: func() room.Command { return new(write) }, Rules: 1}}}

// bench is a running server.
type bench struct {
	*Server
	t    testing.TB
	stop func()
}

var lineages atomic.Int64

func start(t testing.TB, o Options, loops ...room.Loop) *bench {
	return startNode(t, o, true, loops...)
}

func startNode(t testing.TB, o Options, bootstrap bool, loops ...room.Loop) *bench {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	o.Datacenter, o.ID, o.Log, o.Dir = "here", "s1", quiet, t.TempDir()
	if o.Rooms == nil {
		o.Rooms = []room.Room{testRoom}
	}
	o.Lineage = func() string { return fmt.Sprint("lineage ", lineages.Add(1)) }
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n, err := consensus.Open(consensus.Options{ID: "s1", Address: "127.0.0.1:1", Bootstrap: bootstrap, Logger: quiet}, s.Machine())
	if err != nil {
		t.Fatal(err)
	}
	s.Attach(n, &room.Host{Door: s}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx, loops); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	b := &bench{Server: s, t: t}
	b.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		end, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		if err := n.Close(end); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

// bubble starts a server without a log, for tests in virtual time: its machine gets the entries from write itself.
// (consensus keeps goroutines waiting at a mutex, which stops a bubble's clock.)
func bubble(t testing.TB, o Options) *bench {
	t.Helper()
	o.Datacenter, o.Rooms = "here", []room.Room{testRoom}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.answers.run(ctx) })
	s.setReady(&term{1})
	begin, err := s.encode(&Begin{Lineage: "bubble"})
	if err != nil {
		t.Fatal(err)
	}
	s.Machine().Apply(consensus.Batch{Commands: [][]byte{begin}})
	return &bench{Server: s, t: t, stop: sync.OnceFunc(func() {
		cancel()
		running.Wait()
		close(s.ended)
	})}
}

// write returns the index of the Command.
func (b *bench) write(name, text string) uint64 {
	b.t.Helper()
	index, err := b.try(name, text)
	if err != nil {
		b.t.Fatalf("writing %s: %v", name, err)
	}
	return index
}

func (b *bench) try(name, text string) (index uint64, err error) {
	b.t.Helper()
	command, result := &write{note{Name: name, Text: text}}, room.Result(nil)
	if b.node != nil {
		result, _, err = b.Apply(context.Background(), command, room.Options{})
	} else {
		entry, broken := b.encode(command)
		if broken != nil {
			b.t.Fatal(broken)
		}
		out := b.Machine().Apply(consensus.Batch{Time: time.Now().UnixNano(), Commands: [][]byte{entry}})
		result, err = out[0].Value, out[0].Err
	}
	index, _ = result.(uint64)
	return index, err
}

func (b *bench) read(q room.Query, o room.Options) room.Answer {
	b.t.Helper()
	a, _, err := b.Read(context.Background(), q, o)
	if err != nil {
		b.t.Fatalf("reading %v: %v", q, err)
	}
	return a
}

// ask starts a read that may block.
func (b *bench) ask(q room.Query, o room.Options) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		a, _, err := b.Read(context.Background(), q, o)
		done <- outcome{a, err}
	}()
	return done
}

type outcome struct {
	room.Answer
	err error
}

// until waits for what is bound to come about.
func (b *bench) until(what string, is func() bool) {
	b.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(10 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			b.t.Fatalf("there never was %s", what)
		}
	}
}

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}
