package roster

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Datacenters returns the names of all known datacenters: the own first, then by how far their servers are from this one, in
// the median; those of unknown distance come last. Equals are by name.
func (r *Roster) Datacenters() []string {
	servers := r.now.Load().servers
	var others []string
	for dc := range servers {
		if dc != r.dc {
			others = append(others, dc)
		}
	}
	return nearest(r.dc, others, func(dc string) time.Duration { return r.distance(servers[dc]) })
}

func nearest(own string, others []string, distance func(dc string) time.Duration) []string {
	far := map[string]time.Duration{}
	for _, dc := range others {
		far[dc] = distance(dc)
	}
	slices.SortFunc(others, func(a, b string) int { return cmp.Or(cmp.Compare(far[a], far[b]), cmp.Compare(a, b)) })
	return append([]string{own}, others...)
}

// unknown is farther than anything.
const unknown = time.Duration(math.MaxInt64)

// distance returns the median of the round-trip times to the servers whose place is known.
func (r *Roster) distance(servers []Server) time.Duration {
	if r.wan == nil {
		return unknown
	}
	here, err := r.wan.Coordinate()
	if err != nil {
		return unknown
	}
	var times []time.Duration
	for _, s := range servers {
		if at := r.wan.CoordinateOf(s.WAN()); at != nil {
			times = append(times, here.Distance(at))
		}
	}
	return median(times, unknown)
}

// median is the middle one, of an even number the mean of the two there.
func median(times []time.Duration, none time.Duration) time.Duration {
	if len(times) == 0 {
		return none
	}
	slices.Sort(times)
	low, high := times[(len(times)-1)/2], times[len(times)/2]
	return low + (high-low)/2
}

// WAN returns the server's name in the pool between datacenters.
func (s *Server) WAN() string { return s.Node + "." + s.Datacenter }
