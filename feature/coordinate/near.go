package coordinate

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/kit/httpd"
)

// sorter is the room.Sorter of an agent.
type sorter struct{ door room.Door }

// Near implements room.Sorter. A stale read will do: places move little, and every server has them.
func (s sorter) Near(ctx context.Context, o room.Options, node string, list room.Placed) []int {
	answer, _, err := s.door.Read(ctx, NodesQuery{}, room.Options{Token: o.Token, Datacenter: o.Datacenter, Consistency: httpd.Stale})
	if err != nil {
		return nil // an order is a favour: the list itself is there
	}
	known := answer.Value.(List)
	from := known.find(node)
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
