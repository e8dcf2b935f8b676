package local

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/room"
	"rostra/feature/catalog"
)

// TestNewLeader: a word of a new leader brings the next comparison forward to a few seconds, a second word does not put it
// off, and without one it comes about a minute after the last.
func TestNewLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		a := l.start(defaults())
		a.put("service/register", `{"Name":"web","Port":80,"Tags":["v1"]}`)
		if got := a.k.Instances(); fmt.Sprint(got) != "map[web:[v1]]" {
			t.Errorf("instances %v", got)
		}
		time.Sleep(5 * time.Second)
		lose := func() time.Time {
			if _, _, err := l.door.Apply(t.Context(), &catalog.Deregister{Node: self.Node, ServiceID: "web"}, room.Options{}); err != nil {
				t.Fatal(err)
			}
			return time.Now()
		}
		back := func(since time.Time) time.Duration {
			for {
				if node, _ := l.remote(); node != nil && len(node.Services) == 1 {
					return time.Since(since)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		since := lose()
		a.k.Resync()
		time.Sleep(time.Second)
		a.k.Resync()
		if took := back(since); took < leaderPeriod || took > 2*leaderPeriod+200*time.Millisecond {
			t.Errorf("after a word of a new leader it took %v", took)
		}
		if took := back(lose()); took < 50*time.Second {
			t.Errorf("without a word it took %v", took)
		}
		a.stop()
	})
}
