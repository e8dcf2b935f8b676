package server

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

func command(name string, rules int, payload []byte) []byte {
	return append(msgp.AppendInt(msgp.AppendString(nil, name), rules), payload...)
}

// What this version does not know stops the server before it counts, and the state can still be read and saved.
func TestAnUndecodableEntryStopsTheServer(t *testing.T) {
	good, err := (&write{note{Name: "a", Text: "2"}}).MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		what  string
		entry []byte
		text  string
	}{
		{"no command", []byte{0xc1}, "cannot decode a command"},
		{"an unknown one", command("kv.shred", 1, nil), `the command "kv.shred" with rules 1 is unknown to this version; upgrade this server`},
		{"newer rules", command("note.write", 2, good), `the command "note.write" with rules 2`},
		{"no rules", command("note.write", 0, good), `with rules 0`},
		{"a strange form", command("note.write", 1, []byte{0x80}), `cannot decode the command "note.write"`},
		{"bytes too many", command("note.write", 1, append(bytes.Clone(good), 0)), "1 bytes too many"},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			b := start(t, Options{Hold: 50 * time.Millisecond})
			b.until("a leader", func() bool { return b.ready.Load() != nil })
			b.write("a", "1")
			if _, err := b.node.Propose(context.Background(), c.entry); !fault.Is(err, fault.Unknown) {
				t.Errorf("its proposer gets %v", err)
			}
			receive(t, b.node.Failed())
			if err := b.node.Failure(); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("stopped with %v", err)
			}
			b.until("an end of leading", func() bool { return b.ready.Load() == nil })
			if _, err := b.try("a", "3"); !errors.Is(err, fault.ErrNoLeader) {
				t.Errorf("a later write: %v", err)
			}
			if _, _, err := b.Read(context.Background(), read{name: "a"}, room.Options{}); !errors.Is(err, fault.ErrNoLeader) {
				t.Errorf("a later read: %v", err)
			}
			if a := b.read(read{name: "a"}, room.Options{Consistency: httpd.Stale}); a.Value != line("1") {
				t.Errorf("a later stale read: %v", a.Value)
			}
			var state bytes.Buffer
			v := b.store.View()
			defer v.Release()
			if _, err := v.WriteTo(&state); err != nil {
				t.Error(err)
			} else if err := b.store.Verify(&state); err != nil { // needs the writer's lock
				t.Error(err)
			}
		})
	}
}

// Of an entry that holds an unknown command nothing runs, not even what came before it.
func TestNothingOfAnUndecodableEntryRuns(t *testing.T) {
	b := bubble(t, Options{})
	defer b.stop()
	entry, err := b.encode(&write{note{Name: "a", Text: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it is taken")
			}
		}()
		b.Machine().Apply(consensus.Batch{Commands: [][]byte{entry, command("kv.shred", 1, nil)}})
	}()
	if index := b.write("b", "1"); index != 2 {
		t.Errorf("the next write is at %d", index)
	}
	if a := b.read(read{name: "a"}, room.Options{}); !a.Missing {
		t.Errorf("there is %v", a.Value)
	}
}

// Each command of an entry has its own index, result and fate.
func TestCommandsOfOneEntry(t *testing.T) {
	b := bubble(t, Options{})
	defer b.stop()
	var entry [][]byte
	for _, w := range []note{{Name: "a", Text: "1"}, {Name: "b", Text: "refuse"}, {Name: "a", Text: "1"}, {Name: "c", Text: "1"}} {
		one, err := b.encode(&write{w})
		if err != nil {
			t.Fatal(err)
		}
		entry = append(entry, one)
	}
	out := b.Machine().Apply(consensus.Batch{Commands: entry})
	if out[0].Value != uint64(2) || !fault.Is(out[1].Err, fault.Refused) || out[2].Err != nil || out[3].Value != uint64(3) {
		t.Errorf("%+v", out)
	}
	if b.store.Index() != 3 || !b.read(read{name: "b"}, room.Options{}).Missing {
		t.Errorf("the index is %d", b.store.Index())
	}
}

func TestACommandIsDeclaredOnce(t *testing.T) {
	if _, err := New(Options{Rooms: []room.Room{testRoom, {Name: "again", Commands: testRoom.Commands}}}); err == nil {
		t.Error("twice is taken")
	}
}

// The leader's loops run while it leads, start again after a pause, and end with the server.
func TestLoops(t *testing.T) {
	var starts, ends atomic.Int64
	b := start(t, Options{}, room.Loop{Name: "steady", Run: func(ctx context.Context) error {
		starts.Add(1)
		<-ctx.Done()
		ends.Add(1)
		return ctx.Err()
	}})
	b.until("a running loop", func() bool { return starts.Load() == 1 })
	b.stop()
	if ends.Load() != 1 || starts.Load() != 1 {
		t.Errorf("%d starts, %d ends", starts.Load(), ends.Load())
	}
}

func TestAFailedLoopStartsAgain(t *testing.T) {
	b := bubble(t, Options{})
	defer b.stop()
	ctx, cancel := context.WithCancel(context.Background())
	var tries atomic.Int64
	var running sync.WaitGroup
	running.Go(func() {
		b.loop(ctx, room.Loop{Name: "shaky", Run: func(context.Context) error {
			if tries.Add(1) == 2 {
				cancel()
			}
			return context.Canceled // of something of its own
		}})
	})
	began := time.Now()
	running.Wait()
	if took := time.Since(began); took < loopPause || tries.Load() != 2 {
		t.Errorf("%d tries in %v", tries.Load(), took)
	}
}

// A loop that is slow to notice the end of the term does not keep the server answering as a leader.
func TestTheEndOfATermIsSeenAtOnce(t *testing.T) {
	b := bubble(t, Options{})
	defer b.stop()
	b.opts.Lineage = func() string { return "x" }
	ctx, cancel := context.WithCancel(context.Background())
	running, free := make(chan struct{}), make(chan struct{})
	var term sync.WaitGroup
	term.Go(func() {
		_ = b.lead(ctx, 7, []room.Loop{{Name: "slow", Run: func(context.Context) error {
			close(running)
			<-free
			return nil
		}}})
	})
	receive(t, running)
	cancel()
	b.until("an end of leading", func() bool { return b.ready.Load() == nil })
	close(free)
	term.Wait()
	b.setReady(&term0)
}

var term0 = term{1}

func TestStatus(t *testing.T) {
	b := start(t, Options{})
	b.write("a", "1")
	if leader, all := b.Peers(); leader != "s1" || len(all) != 1 {
		t.Errorf("leader %q, servers %v", leader, all)
	}
	if c := b.Counters(); c["index"] != b.store.Index() || c["applied_commands"] < 2 || c["blocking_queries"] != 0 {
		t.Errorf("%v", c)
	}
	if s := b.Stats()["consul"]; s["leader"] != "true" || s["leader_addr"] != "127.0.0.1:1" || s["server"] != "true" {
		t.Errorf("%v", s)
	}
}

// asked is a procedure that reads through the door.
type asked struct{}

func (asked) Name() string                          { return "note.asked" }
func (asked) Allowed(authz.Decider) error           { return nil }
func (asked) MarshalMsg(b []byte) ([]byte, error)   { return b, nil }
func (asked) UnmarshalMsg(b []byte) ([]byte, error) { return b, nil }
func (asked) Call(ctx context.Context, h *room.Host) (room.Result, error) {
	a, _, err := h.Door.Read(ctx, read{name: "a"}, room.Options{})
	return a.Value, err
}

func TestCall(t *testing.T) {
	b := start(t, Options{})
	b.write("a", "1")
	if got, _, err := b.Call(context.Background(), asked{}, room.Options{}); err != nil || got != line("1") {
		t.Errorf("%v, %v", got, err)
	}
	if _, _, err := b.Call(context.Background(), asked{}, room.Options{Datacenter: "there"}); !errors.Is(err, fault.ErrNoPath) {
		t.Errorf("elsewhere: %v", err)
	}
}
