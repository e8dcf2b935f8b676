package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
	"go.uber.org/goleak"

	"rostra/engine/consensus"
	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/engine/rpc"
	"rostra/engine/server"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// word is the row, the answer and, as say and own, the Command of the small feature that these tests run.
type word struct{ Text string }

func (w *word) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendString(b, w.Text), nil }
func (w *word) UnmarshalMsg(b []byte) (rest []byte, err error) {
	w.Text, rest, err = msgp.ReadStringBytes(b)
	return rest, err
}
func (w *word) Msgsize() int { return 16 + len(w.Text) }

var (
	words   = store.NewTable[word]("words", store.Schema[word]{Key: func(*word) string { return "" }})
	changed = store.Subject{Kind: "words"}
)

type say struct{ word }

func (s *say) Name() string                              { return "test.say" }
func (s *say) Allowed(store.Reader, authz.Decider) error { return nil }
func (s *say) Run(tx *store.Tx) (room.Result, error) {
	if s.Text == "no" {
		return nil, fault.New(fault.Conflict, "never say no")
	}
	words.Put(tx, &word{s.Text})
	tx.Touch(changed)
	return "said " + s.Text, nil
}

type own struct{ say }

func (o *own) Name() string { return "test.own" }

type last struct{}

func (*last) MarshalMsg(b []byte) ([]byte, error)   { return msgp.AppendNil(b), nil }
func (*last) UnmarshalMsg(b []byte) ([]byte, error) { return msgp.ReadNilBytes(b) }
func (last) Allowed(authz.Decider) error            { return nil }
func (last) Subjects() []store.Subject              { return []store.Subject{changed} }
func (last) Run(r store.Reader) room.Answer {
	if w := words.Get(r, ""); w != nil {
		return room.Answer{Value: *w, Index: r.Touched(changed)}
	}
	return room.Answer{Value: word{}, Index: 1, Missing: true}
}

var rooms = []room.Room{{Name: "test", Tables: []store.AnyTable{words},
	Commands: []room.CommandType{{New: func() room.Command { return new(say) }, Rules: 1, Result: room.String},
		{New: func() room.Command { return new(own) }, Rules: 1, Result: room.String, Leaders: true}},
	Queries: []room.QueryType{room.QueryOf[last]("test.last", room.Packed[word]())}}}

// wire hands what a Client says to a Host at once.
type wire struct {
	host  *relay.Host
	work  sync.WaitGroup
	from  string              // the agent's address
	log   *bytes.Buffer       // of the Host
	says  func([]byte) []byte // what becomes of what an agent says on a stream; nil: it stays so
	hears func([]byte) []byte // and of what it hears; nil is lost
}

func (w *wire) Call(ctx context.Context, _ rpc.Target, method string, body []byte) ([]byte, error) {
	return w.host.Call(ctx, rpc.Peer{}, method, body)
}

func (w *wire) Stream(ctx context.Context, _ rpc.Target, method string) (rpc.Stream, error) {
	ctx, end := context.WithCancel(ctx)
	near, far := pipe(ctx)
	near.says, near.hears = w.says, w.hears
	from := w.from
	w.work.Go(func() {
		err := w.host.Stream(ctx, rpc.Peer{Address: from}, method, far)
		if err == nil {
			err = io.EOF
		}
		far.over <- err
		close(far.over)
		end()
	})
	return near, nil
}

// end is one end of a stream.
type end struct {
	ctx  context.Context
	in   <-chan []byte
	out  chan<- []byte
	over chan error // of the Host

	says, hears func([]byte) []byte
}

func pipe(ctx context.Context) (near, far *end) {
	a, b, over := make(chan []byte, 1), make(chan []byte, 1), make(chan error, 1)
	return &end{ctx: ctx, in: b, out: a, over: over}, &end{ctx: ctx, in: a, out: b, over: over}
}

func (e *end) Send(b []byte) error {
	if e.says != nil {
		b = e.says(b)
	}
	select {
	case e.out <- b:
		return nil
	case <-e.ctx.Done():
		return io.EOF
	}
}

func (e *end) Recv() ([]byte, error) {
	for {
		b, err := e.next()
		if err == nil && e.hears != nil {
			if b = e.hears(b); b == nil {
				continue
			}
		}
		return b, err
	}
}

func (e *end) next() ([]byte, error) {
	select {
	case b := <-e.in:
		return b, nil
	default:
	}
	select {
	case b := <-e.in:
		return b, nil
	case err := <-e.over:
		if err == nil {
			err = io.EOF
		}
		return nil, err
	case <-e.ctx.Done():
		select {
		case err := <-e.over:
			return nil, err
		default:
			return nil, io.EOF
		}
	}
}

// connected returns a Client of a lone server.
func connected(t testing.TB) (*relay.Client, *relay.Host) {
	t.Helper()
	c, w := wired(t)
	return c, w.host
}

func wired(t testing.TB) (*relay.Client, *wire) { return wiredFor(t, rooms) }

func wiredFor(t testing.TB, rooms []room.Room) (*relay.Client, *wire) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s, err := server.New(server.Options{Datacenter: "dc1", ID: "s1", Hold: time.Second, Rooms: rooms, Log: quiet,
		Lineage: func() string { return "test" }, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	node, err := consensus.Open(consensus.Options{ID: "s1", Address: "127.0.0.1:1", Bootstrap: true, Logger: quiet}, s.Machine())
	if err != nil {
		t.Fatal(err)
	}
	s.Attach(node, &room.Host{Door: s}, nil)
	var log bytes.Buffer // the Host logs one refusal at a time
	w := &wire{host: relay.NewHost(s.Types(), s, slog.New(slog.NewTextHandler(&log, nil))), from: "an agent", log: &log}
	clients := relay.NewClients(s.Types(), w, time.Second)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx, nil) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		w.work.Wait()
		clients.Close()
		_ = node.Close(context.Background())
	})
	return clients.To(rpc.Target{}), w
}

func send(t testing.TB, c *relay.Client, cmd room.Command, final bool) (room.Result, error) {
	t.Helper()
	types, err := server.NewTypes(rooms)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := types.Command(cmd, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := c.Apply(context.Background(), cmd.Name(), raw, final, room.Options{})
	return r, err
}

// TestApply: each of many callers gets its own outcome, with kind and text; the leader's own Commands are refused to agents.
func TestApply(t *testing.T) {
	c, _ := connected(t)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if r, err := send(t, c, &say{word{"yes"}}, false); r != "said yes" || err != nil {
				t.Error(r, err)
			}
			if r, err := send(t, c, &say{word{"no"}}, true); r != nil || !fault.Is(err, fault.Conflict) || err.Error() != "never say no" {
				t.Error(r, err)
			}
		})
	}
	all.Wait()
	if _, err := send(t, c, &own{say{word{"mine"}}}, false); !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "leader's own") {
		t.Errorf("an agent sent what only leaders propose: %v", err)
	}
	if r, err := send(t, c, &own{say{word{"mine"}}}, true); r != "said mine" || err != nil {
		t.Error(r, err)
	}
}

// TestReadAndWatch: an answer arrives with its index, a long one in frames, and the next when it changes.
func TestReadAndWatch(t *testing.T) {
	c, _ := connected(t)
	long := strings.Repeat("long ", 100_000)
	if _, err := send(t, c, &say{word{long}}, false); err != nil {
		t.Fatal(err)
	}
	a, meta, err := c.Read(context.Background(), last{}, room.Options{})
	if err != nil || a.Value != (word{long}) || a.Index < 2 || !meta.KnownLeader {
		t.Fatal(len(a.Value.(word).Text), meta, err)
	}
	subs, err := c.Watch(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer subs.Close()
	id, err := subs.Subscribe(last{}, room.Options{}, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	next := func() relay.News {
		t.Helper()
		for {
			n, err := subs.Next()
			if err != nil {
				t.Fatal(err)
			}
			if n.ID == id {
				return n
			}
			if n.ID != 0 || n.Lineage != "test" || !n.Fresh.KnownLeader {
				t.Errorf("unexpected news %+v", n)
			}
		}
	}
	first := next()
	if first.Answer.Value != (word{long}) || first.Answer.Index != a.Index || first.At < a.Index {
		t.Errorf("the first answer: index %d at %d", first.Answer.Index, first.At)
	}
	if _, err := send(t, c, &say{word{"short"}}, false); err != nil {
		t.Fatal(err)
	}
	if n := next(); n.Answer.Value != (word{"short"}) || n.Answer.Index <= first.Answer.Index {
		t.Errorf("the next answer: %+v", n.Answer)
	}
	if err := subs.Drop(id); err != nil {
		t.Error(err)
	}
	if _, err := subs.Subscribe(strange{}, room.Options{}, 0, ""); err == nil || !strings.Contains(err.Error(), "does not travel") {
		t.Errorf("a query that does not travel: %v", err)
	}
}

// strange is a Query without a form on the wire.
type strange struct{ last }

// TestArchive: an archive comes over the wire whole, and goes back; a cut or foreign one is refused.
func TestArchive(t *testing.T) {
	c, _ := connected(t)
	if _, err := send(t, c, &say{word{"kept"}}, false); err != nil {
		t.Fatal(err)
	}
	write, index, err := c.Archive(context.Background(), room.Options{})
	if err != nil || index == 0 {
		t.Fatal(index, err)
	}
	var archive bytes.Buffer
	if err := write(&archive); err != nil {
		t.Fatal(err)
	}
	if _, err := send(t, c, &say{word{"lost"}}, false); err != nil {
		t.Fatal(err)
	}
	if err := c.Unarchive(context.Background(), strings.NewReader("rubbish"), room.Options{}); !fault.Is(err, fault.Refused) {
		t.Errorf("rubbish: %v", err)
	}
	if err := c.Unarchive(context.Background(), &broken{archive.Bytes()[:archive.Len()/2]}, room.Options{}); err == nil {
		t.Error("half an archive was taken")
	}
	if a, _, err := c.Read(context.Background(), last{}, room.Options{}); err != nil || a.Value != (word{"lost"}) {
		t.Errorf("after refused ones: %v, %v", a.Value, err)
	}
	if err := c.Unarchive(context.Background(), &archive, room.Options{}); err != nil {
		t.Fatal(err)
	}
	if a, _, err := c.Read(context.Background(), last{}, room.Options{}); err != nil || a.Value != (word{"kept"}) {
		t.Errorf("after the restore: %v, %v", a.Value, err)
	}
}

// broken is a reader that fails at its end.
type broken struct{ left []byte }

func (b *broken) Read(p []byte) (int, error) {
	if len(b.left) == 0 {
		return 0, errors.New("the line went dead")
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// FuzzHost: whatever bytes arrive, they are answered or refused, and the server goes on.
func FuzzHost(f *testing.F) {
	methods := []string{"apply", "read", "call", "confirm", "reach", "forming", "nonsense"}
	for i := range methods {
		f.Add(uint8(i), []byte{0x80})
		f.Add(uint8(i), []byte{0x81, 0xa4, 'L', 'i', 's', 't', 0xdd, 0xff, 0xff, 0xff, 0xff})
	}
	_, host := connected(f)
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		ctx, end := context.WithTimeout(context.Background(), time.Second)
		defer end()
		_, _ = host.Call(ctx, rpc.Peer{}, methods[int(which)%len(methods)], body)
	})
}

// FuzzWatch: the same for the frames of a watch stream.
func FuzzWatch(f *testing.F) {
	f.Add([]byte{0x80})
	f.Add([]byte{0x82, 0xa2, 'I', 'D', 1, 0xa5, 'Q', 'u', 'e', 'r', 'y', 0xc4, 1, 0xc0})
	_, host := connected(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		ctx, end := context.WithCancel(context.Background())
		near, far := pipe(ctx)
		done := make(chan struct{})
		go func() { defer close(done); _ = host.Stream(ctx, rpc.Peer{}, "watch", far) }()
		_ = near.Send(body)
		_, _ = near.Recv() // the server says how fresh it is, or why it ends
		end()
		<-done
	})
}

// versions is a Command with two versions of its rules, of the levels 1 and 3; late is one of level 2.
type versions struct {
	say
	rules int
}

func (*versions) Name() string { return "test.versions" }
func (v *versions) Under(rules int) error {
	if v.rules = rules; rules < 2 && v.Text == "new" {
		return errors.New("no new words")
	}
	return nil
}

type late struct{ say }

func (*late) Name() string { return "test.late" }

// TestVersions: a Command is encoded by the rules of a level, or refused, and is decoded with the rules it was encoded by.
func TestVersions(t *testing.T) {
	rooms := []room.Room{{Name: "test", Commands: []room.CommandType{
		{New: func() room.Command { return new(versions) }, Rules: 2, Since: []int{1, 3}},
		{New: func() room.Command { return new(late) }, Rules: 1, Since: []int{2}}}}}
	types, err := relay.NewTypes(rooms)
	if err != nil {
		t.Fatal(err)
	}
	if level := room.Level(rooms); level != 3 {
		t.Errorf("the level is %d", level)
	}
	for _, c := range []struct {
		command room.Command
		level   int
		rules   int // 0: refused
		err     string
	}{
		{&versions{say: say{word{"old"}}}, 1, 1, ""},
		{&versions{say: say{word{"old"}}}, 2, 1, ""},
		{&versions{say: say{word{"old"}}}, 3, 2, ""},
		{&versions{say: say{word{"new"}}}, 3, 2, ""},
		{&versions{say: say{word{"new"}}}, 2, 0, `the command "test.versions" cannot be run by rules of level 2, which are in use: no new words`},
		{&late{}, 1, 0, `the command "test.late" needs rules of level 2, and those in use are of level 1`},
		{&late{}, 2, 1, ""},
	} {
		b, err := types.Command(c.command, c.level)
		if c.rules == 0 {
			if !fault.Is(err, fault.Refused) || err.Error() != c.err {
				t.Errorf("%s at level %d: %v", c.command.Name(), c.level, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		read, err := types.ReadCommand(b)
		if err != nil {
			t.Fatal(err)
		}
		if v, is := read.(*versions); is && v.rules != c.rules {
			t.Errorf("%s at level %d is read with rules %d", c.command.Name(), c.level, v.rules)
		}
	}
	for what, c := range map[string]room.CommandType{
		"no version":            {New: func() room.Command { return new(say) }},
		"levels of one":         {New: func() room.Command { return new(versions) }, Rules: 2, Since: []int{1}},
		"no levels":             {New: func() room.Command { return new(versions) }, Rules: 2},
		"levels that fall":      {New: func() room.Command { return new(versions) }, Rules: 2, Since: []int{3, 1}},
		"nothing tells the run": {New: func() room.Command { return new(say) }, Rules: 2, Since: []int{1, 2}},
	} {
		if _, err := relay.NewTypes([]room.Room{{Commands: []room.CommandType{c}}}); err == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
}
