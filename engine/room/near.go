package room

import (
	"context"

	"rostra/engine/shelf"
	"rostra/kit/httpd"
)

// Placed is a list whose elements are on nodes, so that they can be sorted by distance.
type Placed interface {
	httpd.List
	NodeAt(i int) string // the name of the node that element i is on
}

// abroad is a list whose elements other datacenters may reach at other addresses. Abroad returns it with those.
type abroad interface{ Abroad() any }

// Translates reports whether answers about a datacenter, "" for the agent's own, are to hold the addresses for others.
func (h *Host) Translates(datacenter string) bool {
	return h.Translate && datacenter != "" && datacenter != h.Self.Datacenter
}

// Sorter orders lists by round-trip time. The coordinates it needs are a feature that stands above those whose lists it
// sorts, so it lies on the Shelf; while there is none, nothing is sorted.
type Sorter interface {
	// Near returns the elements of the list in ascending round-trip time from a node, equals in their order, those of
	// unknown distance last. The node is the one of the name or, if that is "", the one of the address. nil: the place of
	// the node itself is not known, or nothing could be read.
	Near(ctx context.Context, o Options, node, address string, list Placed) []int
}

// Words that stand for a node in ?near.
const (
	agentItself  = "_agent" // the node of the agent that was asked
	clientItself = "_ip"    // the node that the question came from
)

// originOf reads ?near, which is not empty: the name or the address of the node that distances are measured from.
func originOf(r *httpd.Request, h *Host) (node, address string) {
	switch near := r.Params.Near; near {
	case agentItself:
		return h.Self.Node, ""
	case clientItself:
		return "", r.From()
	default:
		return near, ""
	}
}

// ReplyNear is Reply with the elements of a Placed list in the order that ?near asks for. It is a step after sharing: the
// shared answer stays as it is, and the index is that of the answer. Coordinates of different datacenters cannot be compared,
// so answers of another one are not sorted. With translate_wan_addrs they show how that is reached from here.
func (a Answer) ReplyNear(r *httpd.Request, h *Host, m Meta) httpd.Reply {
	p := &r.Params
	if l, ok := a.Value.(abroad); ok && h.Translates(p.Datacenter) {
		return httpd.Reply{Value: l.Abroad(), Meta: &m}
	}
	list, ok := a.Value.(Placed)
	if p.Near == "" || !ok || list.Len() < 2 || p.Datacenter != "" && p.Datacenter != h.Self.Datacenter {
		return a.Reply(m)
	}
	sorter, ok := shelf.Find[Sorter](h.Shelf)
	if !ok {
		return a.Reply(m)
	}
	node, address := originOf(r, h)
	order := sorter.Near(r.Context(), Options{Token: p.Token}, node, address, list)
	if order == nil {
		return a.Reply(m)
	}
	return httpd.Reply{Value: ordered{list, order}, Meta: &m}
}

// ordered is a list in another order.
type ordered struct {
	Placed
	order []int
}

// Item returns what a filter sees of element i.
func (l ordered) Item(i int) any { return l.Placed.Item(l.order[i]) }

// AppendItem appends element i.
func (l ordered) AppendItem(b []byte, i int) []byte { return l.Placed.AppendItem(b, l.order[i]) }

// NodeAt returns the node of element i.
func (l ordered) NodeAt(i int) string { return l.Placed.NodeAt(l.order[i]) }
