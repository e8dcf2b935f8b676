package rate

import (
	"testing"
	"time"
)

func TestLimit(t *testing.T) {
	now := time.Unix(1000, 0)
	allowed := func(l *Limit, times int) (n int) {
		for range times {
			if l.Allow(now) {
				n++
			}
		}
		return n
	}
	var l Limit
	if allowed(&l, 1000) != 1000 {
		t.Error("the zero value forbids something")
	}
	l.Set(2, 5)
	if n := allowed(&l, 100); n != 5 {
		t.Errorf("%d at once, want the burst of 5", n)
	}
	now = now.Add(1500 * time.Millisecond)
	if n := allowed(&l, 100); n != 3 {
		t.Errorf("%d after 1.5 s at 2 a second, want 3", n)
	}
	now = now.Add(-time.Hour) // a clock that is set back gives nothing and takes nothing
	if n := allowed(&l, 100); n != 0 {
		t.Errorf("%d by a clock set back", n)
	}
	l.Set(2, 5) // the same again
	now = now.Add(time.Hour)
	if n := allowed(&l, 100); n != 0 {
		t.Errorf("%d: setting the same again forgets what was used", n)
	}
	now = now.Add(time.Hour)
	if n := allowed(&l, 100); n != 5 {
		t.Errorf("%d after a pause, want the burst of 5", n)
	}
	l.Set(100, 0)
	if n := allowed(&l, 100); n != 1 {
		t.Errorf("%d with a burst of 0, want 1", n)
	}
	l.Set(-1, 1)
	if n := allowed(&l, 100); n != 100 {
		t.Errorf("%d without a limit", n)
	}
}
