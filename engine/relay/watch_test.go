package relay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/kit/fault"
)

// follows is a subscription to the one long text of these tests.
type follows struct {
	*testing.T
	c    *relay.Client
	subs *relay.Subscriptions
	id   uint64
	all  []string
}

func newFollows(t *testing.T, c *relay.Client) *follows {
	t.Helper()
	f := &follows{T: t, c: c}
	for i := range 4000 {
		f.all = append(f.all, fmt.Sprintf("line %d is not like line %d", i, i*i))
	}
	f.say()
	var err error
	if f.subs, err = c.Watch(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.subs.Close)
	if f.id, err = f.subs.Subscribe(last{}, room.Options{}, 0, ""); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *follows) text() string { return strings.Join(f.all, "\n") }

func (f *follows) say() {
	f.Helper()
	if _, err := send(f.T, f.c, &say{word{f.text()}}, false); err != nil {
		f.Fatal(err)
	}
}

// until reads until the newest text comes.
func (f *follows) until() {
	f.Helper()
	for index := uint64(0); ; {
		n, err := f.subs.Next()
		if err != nil || n.Err != nil {
			f.Fatal(err, n.Err)
		}
		if n.ID != f.id {
			continue
		}
		if n.Answer.Index <= index {
			f.Fatalf("the index went from %d to %d", index, n.Answer.Index)
		}
		index = n.Answer.Index
		if n.Answer.Value == (word{f.text()}) {
			return
		}
	}
}

// TestChanges: of a long answer that changes the changes are sent, however many steps are skipped; an agent that does not
// know changes gets the whole.
func TestChanges(t *testing.T) {
	for _, aware := range []bool{true, false} {
		c, w := wired(t)
		if !aware {
			w.says = relay.Unaware
		}
		f := newFollows(t, c)
		f.until()
		r := rand.New(rand.NewPCG(5, 5))
		for range 60 {
			for range 1 + r.IntN(4) {
				f.all[r.IntN(len(f.all))] = fmt.Sprint("changed to ", r.IntN(1000))
				f.say()
			}
			f.until()
		}
		n := w.host.Counters()
		if aware && (n["watches.whole"] != 1 || n["watches.changes"] < 60 || n["watches.bytes"] > uint64(2*len(f.text()))) ||
			!aware && (n["watches.changes"] != 0 || n["watches.whole"] < 61) {
			t.Errorf("knowing changes: %t; counted %v", aware, n)
		}
	}
}

// TestLostChange: when a change is lost or damaged, the next answer is asked for whole, once, and changes go on after it.
func TestLostChange(t *testing.T) {
	c, w := wired(t)
	var f *follows
	change := func(i int) {
		f.all[i] = fmt.Sprint("mark ", i)
		f.say()
	}
	lose, damage := 0, false
	w.hears = func(b []byte) []byte {
		_, is, _ := relay.FrameOf(b)
		switch {
		case is && lose > 0:
			change(lose) // what shows the loss
			lose = 0
			return nil
		case is && damage:
			damage = false
			return []byte(strings.Replace(string(b), "mark", "spot", 1))
		}
		return b
	}
	f = newFollows(t, c)
	f.until()
	for i := range 3 {
		wholes := w.host.Counters()["watches.whole"]
		lose = 101 + 10*i
		change(100 + 10*i)
		f.until()
		if n := w.host.Counters()["watches.whole"]; n != wholes+1 || lose > 0 {
			t.Errorf("after a loss %d answers were sent whole", n-wholes)
		}
		damage = true
		change(102 + 10*i)
		f.until()
		if n := w.host.Counters()["watches.whole"]; n != wholes+2 || damage {
			t.Errorf("after damage %d answers were sent whole", n-wholes-1)
		}
		change(103 + 10*i)
		f.until()
		if n := w.host.Counters()["watches.whole"]; n != wholes+2 {
			t.Error("changes do not go on")
		}
	}
}

// TestUnsent: while an agent does not read, no more of its answers are begun than the limit allows, and all come in the end.
func TestUnsent(t *testing.T) {
	c, w := wired(t)
	w.host.Limit(1, 0, 0, 0)
	begun, most, seen := map[uint64]bool{}, 0, map[uint64]bool{}
	w.hears = func(b []byte) []byte {
		if id, _, more := relay.FrameOf(b); more {
			begun[id] = true
			most = max(most, len(begun))
		} else {
			delete(begun, id)
		}
		return b
	}
	f := newFollows(t, c)
	for range 9 {
		if _, err := f.subs.Subscribe(last{}, room.Options{}, 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	for len(seen) < 10 {
		n, err := f.subs.Next()
		if err != nil || n.Err != nil {
			t.Fatal(err, n.Err)
		}
		if n.ID != 0 {
			seen[n.ID] = true
		}
	}
	if most != 1 {
		t.Errorf("%d answers were under way at a time", most)
	}
}

// TestLimits: what is above a limit is refused with 429 and its name, and counted; what was given back can be taken again.
func TestLimits(t *testing.T) {
	c, w := wired(t)
	w.host.Limit(0, 2, 3, 4)
	if _, err := send(t, c, &say{word{"something"}}, false); err != nil {
		t.Fatal(err) // before that nothing can be watched
	}
	open := func() *relay.Subscriptions {
		t.Helper()
		s, err := c.Watch(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	// want returns what the first answer to a subscription is.
	want := func(s *relay.Subscriptions, token string) (uint64, error) {
		t.Helper()
		id, err := s.Subscribe(last{}, room.Options{Token: token}, 0, "")
		for err == nil {
			var n relay.News
			if n, err = s.Next(); err == nil && n.ID == id {
				return id, n.Err
			}
		}
		return 0, err
	}
	granted := func(s *relay.Subscriptions, token string) uint64 {
		t.Helper()
		id, err := want(s, token)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	refused := func(s *relay.Subscriptions, token, text string) {
		t.Helper()
		if _, err := want(s, token); fault.Status(err) != http.StatusTooManyRequests || !strings.Contains(err.Error(), text) {
			t.Errorf("refused with %v; want %q", err, text)
		}
	}
	one := open()
	first := granted(one, "t")
	more := open()
	granted(more, "t")
	refused(open(), "t", "2 streams of watches to a server, the limit")
	granted(one, "u")
	refused(more, "u", "3 queries at a server, the limit of its connection")
	w.from = "another agent"
	other := open()
	granted(other, "t")
	granted(other, "t")
	refused(other, "t", "4 queries at a server, the limit of a token")
	if err := one.Drop(first); err != nil {
		t.Fatal(err)
	}
	granted(one, "u") // in the place of the first
	granted(other, "t")
	n := w.host.Counters()
	if n["watches"] != 6 || n["watches.refused.streams"] != 1 || n["watches.refused.connection"] != 1 || n["watches.refused.token"] != 1 {
		t.Errorf("counted %v", n)
	}
	if text := w.log.String(); strings.Count(text, "refused a watch") != 3 || strings.Contains(text, "token=t") {
		t.Errorf("the log: %s", text)
	}
	w.from = "an agent"
	one.Close()
	more.Close()
	for w.host.Counters()["watches"] > 3 { // until both streams have ended
		runtime.Gosched()
	}
}
