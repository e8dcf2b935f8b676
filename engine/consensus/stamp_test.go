package consensus

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestStamps: the log's clock goes on by what has passed, whatever happens to the machines', and follows them slowly.
func TestStamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var off time.Duration
		clock := func() time.Time { return time.Now().Add(off) }
		leader, next := &stamper{wall: clock}, &stamper{wall: clock}
		if at := leader.stamp(); at != time.Now().UnixNano() {
			t.Errorf("the first entry is of %d, the clock says %d", at, time.Now().UnixNano())
		}
		for _, jump := range []time.Duration{0, time.Hour, -time.Hour, 24 * time.Hour} {
			off = jump
			from := leader.stamp()
			time.Sleep(16 * time.Second)
			passed := time.Duration(leader.stamp() - from)
			want := 16 * time.Second
			switch {
			case jump > 0:
				want += time.Second
			case jump < 0:
				want -= time.Second
			}
			if (passed - want).Abs() > time.Microsecond { // no two entries are of one moment
				t.Errorf("with the clock off by %v the log's went on by %v in 16 s, want %v", jump, passed, want)
			}
		}
		// another server that is ahead by a day goes on from the newest entry that it has applied
		last := leader.stamp()
		next.saw(last)
		next.saw(last - 5) // an older one tells nothing
		time.Sleep(8 * time.Second)
		if passed := time.Duration(next.stamp() - last); passed < 7*time.Second || passed > 9*time.Second {
			t.Errorf("after 8 s of another leader the log's clock went on by %v", passed)
		}
		if a, b := next.stamp(), next.stamp(); b <= a {
			t.Errorf("two entries of one moment are of %d and %d", a, b)
		}
	})
}
