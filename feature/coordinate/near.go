package coordinate

import (
	"cmp"
	"context"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/httpd"
)

// sorter is the room.Sorter of an agent.
type sorter struct{ door room.Door }

// Near implements room.Sorter. A stale read will do: places move little, and every server has them.
func (s sorter) Near(ctx context.Context, o room.Options, node, address string, list room.Placed) []int {
	o = room.Options{Token: o.Token, Datacenter: o.Datacenter, Consistency: httpd.Stale}
	answer, _, err := s.door.Read(ctx, NodesQuery{}, o)
	if err != nil {
		return nil // an order is a favour: the list itself is there
	}
	known := answer.Value.(List)
	from := known.find(node)
	if node == "" {
		from = s.at(ctx, o, known, address)
	}
	if from == nil {
		return nil
	}
	distance := make([]time.Duration, list.Len())
	order := make([]int, list.Len())
	for i := range order {
		order[i], distance[i] = i, math.MaxInt64
		if at := known.find(list.NodeAt(i)); at != nil {
			distance[i] = from.Distance(at)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(distance[a], distance[b]) })
	return order
}

// at returns the place of the first node with an address whose place is known, nil if there is none.
func (s sorter) at(ctx context.Context, o room.Options, known List, address string) *gossip.Coordinate {
	if address == "" {
		return nil
	}
	answer, _, err := s.door.Read(ctx, catalog.NodesQuery{}, o)
	if err != nil {
		return nil
	}
	for _, n := range answer.Value.(catalog.NodeList) {
		if SameAddress(n.Address, address) {
			if at := known.find(n.Node); at != nil {
				return at
			}
		}
	}
	return nil
}

// SameAddress compares IP addresses, which have several spellings, by value.
func SameAddress(a, b string) bool {
	if a == b {
		return true
	}
	x, errA := netip.ParseAddr(a)
	y, errB := netip.ParseAddr(b)
	return errA == nil && errB == nil && x.Unmap() == y.Unmap()
}

// find returns the place of a node, nil if it is not known.
func (l List) find(node string) *gossip.Coordinate {
	i, found := slices.BinarySearchFunc(l, strings.ToLower(node), func(e *Entry, name string) int {
		return strings.Compare(strings.ToLower(e.Node), name)
	})
	if !found {
		return nil
	}
	return &l[i].Coord
}
