package gossip

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/serf/coordinate"
)

//go:generate go tool msgp -file coordinate.go -o coordinate_gen.go -tests=false -io=false

// Coordinate is a place in a space where distance is round-trip time in seconds (Vivaldi with a height, spec agent.md §19).
// Its JSON is Consul's.
type Coordinate struct {
	Vec        [8]float64 `msg:"Vec"`
	Error      float64    `msg:"Error"`
	Adjustment float64    `msg:"Adjustment"`
	Height     float64    `msg:"Height"`
}

// ErrNoCoordinate is returned where coordinates are switched off.
var ErrNoCoordinate = errors.New("coordinates are disabled")

// Coordinate returns where this member believes to be, or ErrNoCoordinate.
func (p *Pool) Coordinate() (*Coordinate, error) {
	at, err := p.serf.GetCoordinate()
	if err != nil {
		return nil, ErrNoCoordinate // Serf has no other reason
	}
	return toCoordinate(at)
}

// CoordinateOf returns where a member believed to be when it last answered a probe of this one; nil while that is not known.
func (p *Pool) CoordinateOf(name string) *Coordinate {
	at, ok := p.serf.GetCachedCoordinate(name)
	if !ok {
		return nil
	}
	c, err := toCoordinate(at)
	if err != nil || !c.Finite() {
		return nil
	}
	return c
}

func toCoordinate(at *coordinate.Coordinate) (*Coordinate, error) {
	c := &Coordinate{Error: at.Error, Adjustment: at.Adjustment, Height: at.Height}
	if len(at.Vec) != len(c.Vec) {
		return nil, fmt.Errorf("cannot read the coordinate: it has %d dimensions", len(at.Vec))
	}
	copy(c.Vec[:], at.Vec)
	return c, nil
}

// Finite reports whether all numbers are such that distances can be computed.
func (c *Coordinate) Finite() bool {
	sum := c.Error*0 + c.Adjustment*0 + c.Height*0 // 0, or not a number
	for _, v := range c.Vec {
		sum += v * 0
	}
	return sum == 0
}

// Distance estimates the round-trip time between two places. The adjustments count only where they leave it positive.
func (c *Coordinate) Distance(to *Coordinate) time.Duration {
	sum := 0.0
	for i := range c.Vec {
		d := c.Vec[i] - to.Vec[i]
		sum += d * d
	}
	distance := math.Sqrt(sum) + c.Height + to.Height
	if adjusted := distance + c.Adjustment + to.Adjustment; adjusted > 0 {
		distance = adjusted
	}
	if distance >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(distance * float64(time.Second))
}
