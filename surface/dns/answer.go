package dns

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/health"
)

// worker answers one question after the other. It belongs to one goroutine.
type worker struct {
	srv     *Server
	q       query
	m       message
	key     []byte
	outside bool       // it may wait for recursors and other datacenters
	from    netip.Addr // where the question came from; invalid: nobody knows
	junk    bool       // the last packet was no question

	meter
}

func (s *Server) worker(seed uint64) *worker {
	return &worker{srv: s, m: message{rng: seed | 1}}
}

// unkept is no type that has a class of its own.
const unkept = 0xFE

// classOf sorts the types asked for by the answers they get; unkept is never kept.
func classOf(kind uint16) byte {
	switch kind {
	case typeA, typeAAAA, typeTXT, typeSRV, typeANY:
		return byte(kind)
	case typeSOA, typeNS, typeAXFR:
		return unkept
	}
	return 0
}

// quick answers a packet without waiting for anything. ok false: the answer may take a while, see slow. The bytes have
// TCP's length before them and are good until the next call; nil: there is nothing to answer.
func (w *worker) quick(packet []byte, tcp bool) (out []byte, ok bool) {
	w.junk = false
	switch w.q.parse(packet) {
	case junk:
		w.junk = true
		return nil, true
	case malform:
		w.junk = true
		return w.m.refuse(packet[:header], formErr), true
	case strange:
		return w.m.refuse(packet[:header], notImplemented), true
	}
	w.key = append(lower(w.key[:0], w.q.name), classOf(w.q.kind))
	e := w.srv.cache.find(w.key)
	if e == nil {
		return nil, false
	}
	p, err := e.current(w.srv)
	if err != nil || p.chase {
		return nil, false
	}
	return w.compose(p, tcp), true
}

func (w *worker) compose(p *packed, tcp bool) []byte {
	w.m.now = uint32(w.srv.clock.Load())
	return w.m.compose(&w.q, p, tcp)
}

// still answers what needs no state, after quick had no answer.
func (w *worker) still(tcp bool) (out []byte, a ask, ok bool) {
	c := w.srv.conf.Load()
	a = c.understand(w.key[:len(w.key)-1], w.q.kind)
	c = c.of(&a)
	p := c.nothing
	switch a.subject {
	case aboutNothing:
	case aboutSilence:
		p = c.empty
	case aboutForeign:
		if p = c.foreign; len(c.forward) > 0 {
			return nil, a, false
		}
	case aboutUnable:
		p = c.unable
	case aboutAddress:
		p = c.buildAddress(&a)
	default:
		return nil, a, false
	}
	return w.compose(p, tcp), a, true
}

// slow answers what quick and still could not. It may wait for a leader, and outside for recursors, as long as questions
// do. over: a worker that may be outside must do it.
func (w *worker) slow(ctx context.Context, a ask, packet []byte, tcp bool) (out []byte, over bool) {
	out, err := w.resolve(ctx, &a, packet, tcp)
	switch {
	case errors.Is(err, errOutside):
		return nil, true
	case err != nil:
		w.srv.fail(err)
		return w.compose(w.srv.conf.Load().of(&a).failed, tcp), false
	}
	return out, false
}

func (w *worker) resolve(ctx context.Context, a *ask, packet []byte, tcp bool) ([]byte, error) {
	c := w.srv.conf.Load()
	var p *packed
	var err error
	switch {
	case a.subject == aboutForeign:
		return w.forwarded(ctx, packet, tcp)
	case a.subject == aboutZone:
		_, servers, err := w.srv.newest(ctx, health.ServiceQuery{Service: "consul"})
		if err != nil {
			return nil, err
		}
		c, w.m.now = c.of(a), uint32(w.srv.clock.Load())
		return w.m.zone(&w.q, c, a.kind, c.nameservers(servers.Value.(health.EntryList)), tcp), nil
	case a.subject == aboutReverse:
		if p, err = w.srv.reverse(ctx, c, a); err == nil && p == c.nothing && len(c.forward) > 0 {
			return w.forwarded(ctx, packet, tcp)
		}
	case a.subject == aboutQuery:
		p, err = w.executed(ctx, a)
	case a.dc != "":
		p, err = w.srv.abroad(ctx, a)
	default:
		if p, err = w.srv.lookup(ctx, w.key, a); errors.Is(err, errClosed) { // by a reload, just now
			p, err = w.srv.lookup(ctx, w.key, a)
		}
	}
	if err == nil {
		p, err = w.followed(ctx, p)
	}
	if err != nil {
		return nil, err
	}
	return w.compose(p, tcp), nil
}

// lookup makes the answer to a question about a service or node, and keeps it if there is such a thing.
func (s *Server) lookup(ctx context.Context, key []byte, a *ask) (*packed, error) {
	src, latest, err := s.present(ctx, a)
	if err != nil {
		return nil, err
	}
	c := s.conf.Load().of(a)
	if src == nil {
		return c.nothing, nil
	}
	if src.watch == nil {
		return c.build(a, src, latest), nil
	}
	p, err := s.cache.add(key, *a, src).current(s)
	if err != nil {
		s.cache.forget(src)
	}
	return p, err
}

// present returns the answer that a question is answered from, with what it is now; nil if what it asks about does not
// exist. Names that do not exist leave no trace.
func (s *Server) present(ctx context.Context, a *ask) (*source, room.Answer, error) {
	if a.subject == aboutNode {
		src, latest, err := s.newest(ctx, catalog.NodesQuery{})
		if err != nil || view(src, latest, indexNodes).byName[a.name] == nil {
			return nil, latest, err
		}
		return src, latest, nil
	}
	src, latest, err := s.newest(ctx, catalog.ServicesQuery{})
	if err != nil {
		return nil, latest, err
	}
	if _, known := view(src, latest, lowerNames)[a.name]; !known {
		return nil, latest, nil
	}
	if src, latest, err = s.newest(ctx, health.ServiceQuery{Service: a.name}); err != nil {
		return nil, latest, err
	}
	if _, known := view(src, latest, tagsOf)[a.tag]; !known {
		return nil, latest, nil
	}
	return src, latest, nil
}

func lowerNames(t catalog.ServiceTags) map[string]struct{} {
	names := make(map[string]struct{}, len(t))
	for name := range t {
		names[strings.ToLower(name)] = struct{}{}
	}
	return names
}

// tagsOf returns all tags of a service's instances, in lower case, and "", which is every instance's.
func tagsOf(list health.EntryList) map[string]struct{} {
	tags := map[string]struct{}{"": {}}
	for _, e := range list {
		for _, t := range e.Service.Tags {
			tags[strings.ToLower(t)] = struct{}{}
		}
	}
	return tags
}

// build makes the answer to a question that is kept.
func (c *conf) build(a *ask, src *source, latest room.Answer) *packed {
	if a.subject == aboutService {
		return c.buildService(a, latest.Value.(health.EntryList))
	}
	if n := view(src, latest, indexNodes).byName[a.name]; n != nil {
		return c.buildNode(a, n)
	}
	return c.nothing.copy()
}

// reverse finds the name of an address: a node's, or else a service's.
func (s *Server) reverse(ctx context.Context, c *conf, a *ask) (*packed, error) {
	_, nodes, err := derive(ctx, s, catalog.NodesQuery{}, indexNodes)
	if err != nil {
		return nil, err
	}
	var labels []byte
	if n := nodes.byAddr[a.addr]; n != nil {
		labels = nodeLabels(n.Node)
	} else {
		_, services, err := derive(ctx, s, catalog.EveryInstanceQuery{}, indexServices)
		if err != nil {
			return nil, err
		}
		if name := services[a.addr]; name != "" {
			labels = appendName(nil, name+".service")
		}
	}
	if labels == nil || len(labels)+len(c.local) > maxName {
		return c.nothing, nil
	}
	return c.buildName(a, labels), nil
}

// newest returns the latest answer to a Query, and keeps watching it if it may be used the next time.
func (s *Server) newest(ctx context.Context, q room.Query) (*source, room.Answer, error) {
	if s.strict() {
		return s.asked(ctx, q)
	}
	src, err := s.cache.open(ctx, q)
	if err != nil {
		return nil, room.Answer{}, err
	}
	a, err := src.watch.Latest()
	if err != nil {
		s.cache.forget(src)
	}
	return src, a, err
}

// derive returns what is made of the newest answer to a Query, once per change; always the same for one Query.
func derive[T, V any](ctx context.Context, s *Server, q room.Query, from func(T) V) (*source, V, error) {
	src, a, err := s.newest(ctx, q)
	if err != nil {
		var none V
		return nil, none, err
	}
	return src, view(src, a, from), nil
}
