package agent

import "testing"

// TestWasteful: garbage and memory that is held for nothing are given back when they are worth it.
func TestWasteful(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		objects, live, free uint64
		want                bool
	}{
		{10 * mib, 10 * mib, 0, false},
		{13 * mib, 10 * mib, 0, false},
		{15 * mib, 10 * mib, 0, true},
		{11 * mib, 10 * mib, 5 * mib, true},
		{246 * mib, 240 * mib, 10 * mib, false},
		{246 * mib, 240 * mib, 120 * mib, true}, // after a restore
		{8 * mib, 10 * mib, 1 * mib, false},     // collected a moment ago
	} {
		if got := wasteful(c.objects, c.live, c.free); got != c.want {
			t.Errorf("%d MiB of objects, %d live, %d free: %v", c.objects/mib, c.live/mib, c.free/mib, got)
		}
	}
}
