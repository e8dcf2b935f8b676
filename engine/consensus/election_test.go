package consensus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestThreeServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := formed(t, 3, nil)
		l := c.leader(nil)
		mustPut(t, l.Node, "a=1")
		c.same("a", "1")
		f := c.others(l)[0]
		if id, address := f.Leader(); id != l.id || address != l.address {
			t.Fatalf("the leader is %s at %s, a follower says %s at %s", l.id, l.address, id, address)
		}
		if p := f.Progress(); p.LastContact < 0 || p.LastContact > 150*time.Millisecond || p.Last != l.Progress().Last || p.LastTerm != l.Term() {
			t.Fatalf("%+v", p)
		}
		if p := l.Progress(); p.LastContact != 0 || p.Commit != p.Last {
			t.Fatalf("%+v", p)
		}
		time.Sleep(5 * time.Minute)
		if _, ready := l.Leading(); !ready {
			t.Fatal("five idle minutes and it leads no more")
		}
		c.kill(l)
		l2 := c.leader(l)
		mustPut(t, l2.Node, "b=2")
		back := c.start(l.id)
		c.same("b", "2")
		c.same("a", "1")
		if err := back.Change(context.Background(), Change{Verb: Transfer}); err == nil {
			t.Fatal("a follower made a change")
		}
	})
}
