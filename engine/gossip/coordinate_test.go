package gossip

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"rostra/kit/simnet"
)

func TestDistance(t *testing.T) {
	origin := &Coordinate{}
	for _, c := range []struct {
		name string
		a, b *Coordinate
		want time.Duration
	}{
		{"the same", origin, origin, 0},
		{"the vectors", &Coordinate{Vec: [8]float64{0.003}}, &Coordinate{Vec: [8]float64{0, 0.004}}, 5 * time.Millisecond},
		{"every dimension", &Coordinate{Vec: [8]float64{1, 1, 1, 1, 1, 1, 1, 1}}, &Coordinate{Vec: [8]float64{2, 2, 2, 2}}, 2828427124},
		{"the heights", &Coordinate{Height: 0.001}, &Coordinate{Height: 0.002}, 3 * time.Millisecond},
		{"adjustments", &Coordinate{Height: 0.003, Adjustment: -0.001}, &Coordinate{Adjustment: 0.002}, 4 * time.Millisecond},
		{"adjustments that leave nothing", &Coordinate{Height: 0.003, Adjustment: -0.003}, origin, 3 * time.Millisecond},
		{"farther than time", &Coordinate{Vec: [8]float64{1e30}}, origin, math.MaxInt64},
		{"farther than numbers", &Coordinate{Vec: [8]float64{1e200}}, origin, math.MaxInt64},
	} {
		if got, back := c.a.Distance(c.b), c.b.Distance(c.a); got != c.want || back != got {
			t.Errorf("%s: %v and back %v, want %v", c.name, got, back, c.want)
		}
	}
}

func TestFinite(t *testing.T) {
	for _, c := range []struct {
		at   Coordinate
		want bool
	}{
		{Coordinate{}, true},
		{Coordinate{Vec: [8]float64{1e308, -1e308}, Height: -1}, true},
		{Coordinate{Vec: [8]float64{7: math.NaN()}}, false},
		{Coordinate{Error: math.Inf(1)}, false},
		{Coordinate{Adjustment: math.Inf(-1)}, false},
		{Coordinate{Height: math.NaN()}, false},
	} {
		if got := c.at.Finite(); got != c.want {
			t.Errorf("%+v: %v", c.at, got)
		}
	}
}

// TestCoordinateOf: a member knows where the others are once they have answered its probes, and the distance comes to be the
// round-trip time.
func TestCoordinateOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.Default(simnet.Link{Delay: 10 * time.Millisecond})
		a, b := inBubble(t, "a", n.Host("10.0.0.1"), nil), inBubble(t, "b", n.Host("10.0.0.2"), nil)
		off := inBubble(t, "off", n.Host("10.0.0.3"), func(o *Options) { o.DisableCoordinates = true })
		if at := a.CoordinateOf("b"); at != nil {
			t.Errorf("before they met: %v", at)
		}
		if _, err := b.Join(t.Context(), []string{"10.0.0.1"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		there, here := a.CoordinateOf("b"), a.CoordinateOf("a")
		if there == nil || here == nil {
			t.Fatalf("after five minutes of probes: b is at %v, a at %v", there, here)
		}
		if d := here.Distance(there); d < 18*time.Millisecond || d > 22*time.Millisecond {
			t.Errorf("20 ms are estimated as %v", d)
		}
		if off.CoordinateOf("off") != nil {
			t.Error("a coordinate although they are off")
		}
		for _, p := range []*Pool{a, b, off} {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
