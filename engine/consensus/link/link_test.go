package link

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is Streams over pipes: what one dials, it accepts itself.
type wire struct {
	calls  chan net.Conn
	closed chan struct{}
}

func (w wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.calls:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w wire) Close() error   { close(w.closed); return nil }
func (w wire) Addr() net.Addr { return named("somewhere else") }

func (w wire) Dial(string, time.Duration) (net.Conn, error) {
	a, b := net.Pipe()
	w.calls <- b
	return a, nil
}

func open(resolve func(string) (string, bool)) *Transport {
	return New(Options{ID: "s1", Address: "a:1", Streams: wire{make(chan net.Conn, 9), make(chan struct{})}, Resolve: resolve,
		Heartbeat: 500 * time.Millisecond, Most: 8, Logger: hclog.NewNullLogger()})
}

func TestAddresses(t *testing.T) {
	tr := open(func(id string) (string, bool) { return "now:" + id, id == "s2" })
	defer tr.Close()
	for _, c := range []struct {
		id     raft.ServerID
		stored raft.ServerAddress
		want   raft.ServerAddress
	}{{"s1", "old:1", "a:1"}, {"s2", "old:2", "now:s2"}, {"s3", "old:3", "old:3"}} {
		if got := tr.DecodePeer(tr.EncodePeer(c.id, c.stored)); got != c.want || tr.address(c.id, c.stored) != c.want {
			t.Errorf("%s: %s, want %s", c.id, got, c.want)
		}
	}
	if string(tr.EncodePeer("x", "a")) == string(tr.EncodePeer("y", "a")) {
		t.Error("two servers at one address are one candidate")
	}
	if tr.LocalAddr() != "a:1" || tr.net.Addr().String() != "a:1" {
		t.Error("the address bound is told to others")
	}
}

// TestAMessageThatStops: the rest of one that has begun is waited for only so long; between two, for ever.
func TestAMessageThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := open(nil)
		defer tr.Close()
		c, err := tr.net.Streams.Dial("", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(time.Hour)
		if _, err := c.Write([]byte{0}); err != nil { // an append begins
			t.Fatal(err)
		}
		at := time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(at) != stall {
			t.Fatalf("%v after %v", err, time.Since(at))
		}
	})
}

// TestSilenceCutsWhatDoesNotMove, and only that.
func TestSilenceCutsWhatDoesNotMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams(wire{make(chan net.Conn, 9), make(chan struct{})}, "a:1")
		defer s.Close()
		s.dialing = time.Second
		still, _ := s.Dial("b:1", 0)
		other, _ := s.Dial("c:1", 0)
		time.Sleep(time.Second)
		moving, _ := s.Dial("b:1", 0)
		s.cut("b:1", time.Now().Add(-time.Millisecond))
		for name, c := range map[string]struct {
			net.Conn
			alive bool
		}{"still": {still, false}, "to another": {other, true}, "moving": {moving, true}} {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.ErrClosedPipe) == c.alive {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestFillIsBounded in bytes and entries, and leaves a request that is not full alone.
func TestFillIsBounded(t *testing.T) {
	for _, c := range []struct{ have, size, stored, want int }{
		{7, 10, 100, 7}, {8, 10, 100, 100}, {8, 10, 5000, catchUpEntries}, {8, 100 << 10, 100, 10}, {8, 1 << 20, 100, 8},
	} {
		tr := &Transport{most: 8, entry: func(i uint64, l *raft.Log) error {
			if i > uint64(c.stored) {
				return raft.ErrLogNotFound
			}
			l.Index, l.Data = i, make([]byte, c.size)
			return nil
		}}
		req := &raft.AppendEntriesRequest{}
		for i := range c.have {
			req.Entries = append(req.Entries, &raft.Log{Index: uint64(i + 1), Data: make([]byte, c.size)})
		}
		tr.fill(req)
		if got := len(req.Entries); got != c.want || req.Entries[got-1].Index != uint64(got) {
			t.Errorf("%+v: %d entries", c, got)
		}
	}
}

// TestFreshAsksAgain only when a connection had ended, and not for ever.
func TestFreshAsksAgain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{{nil, 1}, {errors.New("no"), 1}, {io.EOF, poolSize + 1}} {
		asked := 0
		if err := fresh(func() error { asked++; return c.err }); !errors.Is(err, c.err) || asked != c.want {
			t.Errorf("%v: asked %d times, %v", c.err, asked, err)
		}
	}
}
