package consensus

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"rostra/kit/fault"
)

// wants fails unless err has this kind and text.
func wants(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("%v of kind %d; want kind %d with %q", err, fault.KindOf(err), kind, text)
	}
}

func (c *cluster) change(v Verb, id, address string) error {
	return c.leader(nil).Change(context.Background(), Change{v, id, address})
}

func (c *cluster) mustChange(v Verb, id, address string) {
	c.t.Helper()
	if err := c.change(v, id, address); err != nil {
		c.t.Fatalf("change %d of %s: %v", v, id, err)
	}
}

func TestServersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, func(o *Options) { o.Bootstrap = o.ID == "s1" })
		w := c.write(3)
		for _, id := range []string{"s2", "s3", "s4"} {
			if s := c.start(id); s.Begun() {
				t.Fatalf("%s has state before it was added", id)
			}
		}
		c.mustChange(AddVoter, "s2", "s2:1")
		c.mustChange(AddNonvoter, "s3", "s3:1")
		c.mustChange(AddVoter, "s3", "s3:1")
		c.mustChange(AddNonvoter, "s4", "s4:1")
		time.Sleep(time.Second)
		want := map[string]bool{"s1": true, "s2": true, "s3": true, "s4": false}
		for _, p := range c.members["s4"].Peers() {
			if v, there := want[p.ID]; !there || v != p.Voter || p.Leader != (p.ID == "s1") {
				t.Errorf("%+v", p)
			}
			delete(want, p.ID)
		}
		if len(want) != 0 {
			t.Errorf("missing: %v", want)
		}
		l := c.leader(nil)
		at := l.Progress().Configured
		if at <= 1 || at > l.Progress().Last || c.members["s4"].Progress().Configured != at {
			t.Errorf("the servers are those of entry %d of %d, by s4 of %d", at, l.Progress().Last, c.members["s4"].Progress().Configured)
		}
		c.mustChange(Remove, l.id, "")
		c.until("the removed leader gives up", func() bool { return l.State() == "Follower" })
		c.kill(l)
		c.mustChange(Demote, c.others(c.leader(nil))[0].id, "")
		w.done()
		// A server that was removed and comes back disturbs nobody.
		term := c.leader(nil).Term()
		back := c.start(l.id)
		time.Sleep(30 * time.Second)
		if now := c.leader(nil).Term(); now != term {
			t.Errorf("term %d became %d", term, now)
		}
		c.kill(back)
	})
}

func TestChangesThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := formed(t, 3, nil)
		l := c.leader(nil)
		f := c.others(l)[0]
		wants(t, f.Change(context.Background(), Change{Verb: Remove, ID: "s1"}), fault.NotApplied, "not the leader")
		for _, v := range []Verb{Demote, Remove, Transfer} {
			wants(t, c.change(v, "zzz", ""), fault.Refused, `id "zzz" was not found in the Raft configuration`)
		}
		wants(t, c.change(AddVoter, "s9", f.address), fault.Refused, "belongs to server "+f.id)
		wants(t, c.change(AddVoter, "", "x:1"), fault.Invalid, "needs an id and an address")
		wants(t, c.change(Verb(77), l.id, ""), fault.Invalid, "no change 77")
		c.mustChange(Demote, f.id, "")
		wants(t, c.change(Transfer, f.id, ""), fault.Refused, "has no vote")
		other := c.others(l)[1]
		c.kill(other)
		time.Sleep(100 * time.Millisecond)
		wants(t, c.change(Transfer, other.id, ""), fault.Refused, "does not answer")
		c.start(other.id)
		c.until("a lone voter again", func() bool { return c.change(Remove, other.id, "") == nil })
		wants(t, c.change(Transfer, "", ""), fault.Refused, "cannot find peer")
		for _, v := range []Verb{Demote, Remove} {
			wants(t, c.change(v, l.id, ""), fault.Refused, "no other server votes")
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.kill(f)
		if err := l.Change(ctx, Change{AddNonvoter, "s8", "s8:1"}); err != nil {
			t.Error(err)
		}
		mustPut(t, l.Node, "a=1")
	})
}

func TestTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := formed(t, 5, nil)
		w := c.write(6)
		for range 5 {
			l := c.leader(nil)
			to := c.others(l)[2]
			c.mustChange(Transfer, to.id, "")
			c.until("the chosen one leads", func() bool { return c.leader(nil) == to })
		}
		l := c.leader(nil)
		c.mustChange(Transfer, l.id, "")
		if c.leader(nil) != l {
			t.Error("a transfer to the leader itself moved leadership")
		}
		// The best is none that is dead, whatever Raft believes of its log.
		for _, s := range c.others(l)[:2] {
			c.kill(s)
		}
		time.Sleep(300 * time.Millisecond)
		at := time.Now()
		c.mustChange(Transfer, "", "")
		if next := c.leader(l); next.id == l.id || time.Since(at) > 500*time.Millisecond {
			t.Errorf("%s leads after %v", next.id, time.Since(at))
		}
		w.done()
	})
}

// TestNewAddresses: all servers come back where others were, and find each other by id.
func TestNewAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := formed(t, 3, nil)
		mustPut(t, c.leader(nil).Node, "a=1")
		c.same("a", "1")
		for _, s := range c.live() {
			c.kill(s)
		}
		for _, s := range []string{"s1", "s2", "s3"} {
			c.startAt(s, s+":2")
		}
		mustPut(t, c.leader(nil).Node, "b=2")
		c.same("b", "2")
		c.until("the new addresses are stored", func() bool {
			for _, p := range c.leader(nil).Peers() {
				if p.Address != p.ID+":2" {
					return false
				}
			}
			return true
		})
		// A follower moves while the leader stays: whoever notices tells the leader.
		l := c.leader(nil)
		f := c.others(l)[0]
		c.kill(f)
		c.startAt(f.id, f.id+":3")
		if err := l.CorrectAddresses(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, p := range l.Peers() {
			if p.ID == f.id && p.Address != f.id+":3" {
				t.Errorf("%+v", p)
			}
		}
		mustPut(t, l.Node, "c=3")
		c.same("c", "3")
		// Two that swapped: what is stored stays, what is resolved counts.
		for _, s := range c.live() {
			c.kill(s)
		}
		c.startAt("s1", "s2:2")
		c.startAt("s2", "s1:2")
		c.startAt("s3", "")
		mustPut(t, c.leader(nil).Node, "d=4")
		c.same("d", "4")
	})
}

// lines counts log lines by message.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// TestAServerThatIsDownIsToldOncePerMinute, whatever the traffic.
func TestAServerThatIsDownIsToldOncePerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		c := formed(t, 3, func(o *Options) {
			o.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})).With("on", o.ID)
		})
		l := c.leader(nil)
		mustPut(t, l.Node, "a=1")
		out.mu.Lock()
		out.b.Reset()
		out.mu.Unlock()
		c.kill(c.others(l)[0])
		for range 100 {
			mustPut(t, l.Node, "b=1")
			time.Sleep(3 * time.Second)
		}
		out.mu.Lock()
		defer out.mu.Unlock()
		n := strings.Count(out.b.String(), "\n")
		if n < 5 || n > 8 || strings.Count(out.b.String(), unreachable) < 5 {
			t.Errorf("%d lines in 5 minutes:\n%s", n, out.b.String())
		}
	})
}

// TestRaftsErrorsAreToldByServer: what is about different servers is not the same.
func TestRaftsErrorsAreToldByServer(t *testing.T) {
	var out bytes.Buffer
	h := hcLogger(slog.New(slog.NewTextHandler(&out, nil)))
	for range 3 {
		for i := range 2 {
			address := raft.ServerAddress(fmt.Sprint("a", i))
			h.Error("failed to heartbeat to", "peer", address)
			h.Error("failed to appendEntries to", "peer", raft.Server{ID: "x", Address: address})
			h.Warn("something new", "peer", address)
		}
	}
	h.Info("election won")
	if n := strings.Count(out.String(), "\n"); n != 4 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}
