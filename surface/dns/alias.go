package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Names that stand for addresses are followed to the addresses (spec dns.md §3.4, §6): those in our zones here, others by
// the recursors, if there are any.
const (
	mostAliases = 3 // names of ours that lead to each other
	mostFound   = 5 // records, for clients without EDNS
	atOnce      = 8 // names followed at the same time for one question
)

// follows reports whether a name in wire form can be followed to an address.
func (c *conf) follows(name []byte) bool {
	if len(c.forward) > 0 {
		return true
	}
	_, zone := c.main.labels(lower(nil, name))
	return zone != nil
}

// followed returns the answer with what its names lead to.
func (w *worker) followed(ctx context.Context, p *packed) (*packed, error) {
	if !p.chase {
		return p, nil
	}
	if !w.outside && len(p.conf.forward) > 0 {
		return nil, errOutside
	}
	next := p.copy()
	next.items, next.flat, next.stride, next.chase, next.pick = slices.Clone(p.items), nil, 0, false, false
	if p.srv {
		w.followTargets(ctx, next)
		return next, nil
	}
	if p.pick {
		i := 0
		if p.shuffle {
			i = rand.IntN(len(next.items))
		}
		next.items = next.items[i : i+1]
	}
	next.shuffle, next.limit = false, 0 // a limit counts instances, and all of this belongs to one
	it := next.items[0]
	found := w.found(w.srv.chain(ctx, it.alias(), ttlOf(it.rec), 0))
	next.items = slices.Insert(next.items, 1, found...)
	return next, nil
}

// followTargets adds to SRV records the addresses of targets that are not ours.
func (w *worker) followTargets(ctx context.Context, p *packed) {
	chains := make([][]item, p.targets)
	group := new(errgroup.Group)
	group.SetLimit(atOnce)
	begun := make([]bool, p.targets)
	for i := range p.items {
		it := &p.items[i]
		if it.own || begun[it.target] {
			continue
		}
		begun[it.target] = true
		group.Go(func() error {
			chains[it.target] = w.found(w.srv.chain(ctx, it.alias(), ttlOf(it.rec), 0))
			return nil
		})
	}
	_ = group.Wait() // none returns an error
	for i := range p.items {
		if it := &p.items[i]; !it.own && len(chains[it.target]) > 0 {
			it.chain = &chain{chains[it.target]}
		}
	}
}

// found cuts what a name led to for clients that take short answers.
func (w *worker) found(list []item) []item {
	if !w.q.edns && len(list) > mostFound {
		return list[:mostFound]
	}
	return list
}

// alias is the name that a CNAME or SRV record points to.
func (it *item) alias() []byte {
	if it.kind() == typeSRV {
		return it.rec[16:]
	}
	return it.rec[10:]
}

func (c *chain) list() []item {
	if c == nil {
		return nil
	}
	return c.items
}

func (it *item) kind() uint16 { return binary.BigEndian.Uint16(it.rec) }

func ttlOf(rec []byte) uint32 { return binary.BigEndian.Uint32(rec[4:]) }

// timed returns a record with another TTL.
func timed(rec []byte, ttl uint32) []byte {
	rec = bytes.Clone(rec)
	binary.BigEndian.PutUint32(rec[4:], ttl)
	return rec
}

// chain returns the records that a name leads to, with their owners. A loop ends quietly.
func (s *Server) chain(ctx context.Context, name []byte, ttl uint32, depth int) []item {
	c := s.conf.Load()
	low := lower(nil, name)
	if _, zone := c.labels(low); zone == nil {
		return c.resolved(ctx, name, ttl)
	}
	if depth == mostAliases {
		s.log.Debug("a name of ours leads to too many others", "name", printable(name))
		return nil
	}
	a := c.understand(low, typeANY)
	p, err := s.addresses(ctx, c, low, &a)
	if err != nil || p == nil {
		return nil
	}
	items := slices.Clone(p.items)
	if p.shuffle {
		rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	}
	if p.pick {
		items = items[:min(1, len(items))]
	} else if p.limit > 0 {
		items = items[:min(p.limit, len(items))]
	}
	var list []item
	for _, it := range items {
		switch it.kind() {
		case typeA, typeAAAA:
			list = append(list, item{owner: &place{name: name}, rec: timed(it.rec, ttl), node: -1})
		case typeCNAME:
			list = append(list, item{owner: &place{name: name}, rec: timed(it.rec, ttl), node: -1})
			list = append(list, s.chain(ctx, it.alias(), ttl, depth+1)...)
		}
	}
	return list
}

// addresses makes the answer to a question of our own about a name of ours; nil: there is none.
func (s *Server) addresses(ctx context.Context, c *conf, low []byte, a *ask) (*packed, error) {
	switch a.subject {
	case aboutAddress:
		return c.of(a).buildAddress(a), nil
	case aboutService, aboutNode:
		if a.dc != "" {
			return s.abroad(ctx, a)
		}
		return s.lookup(ctx, append(low, typeANY), a)
	case aboutQuery:
		return s.execute(ctx, a, "")
	}
	return nil, nil
}

// printable writes a name in wire form with dots.
func printable(name []byte) string {
	var b []byte
	for at := 0; at < len(name) && name[at] != 0; at += 1 + int(name[at]) {
		b = append(append(b, name[at+1:at+1+int(name[at])]...), '.')
	}
	return string(b)
}
