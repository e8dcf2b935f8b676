package dns

import (
	"context"
	"errors"
	"strings"
	"time"

	"rostra/engine/room"
	prepared "rostra/feature/query"
	"rostra/kit/fault"
)

// executed makes the answer to a question about a prepared query (spec dns.md §3.3). A query is run for each question: what it
// finds may depend on who asks, and may lie in another datacenter.
func (w *worker) executed(ctx context.Context, a *ask) (*packed, error) {
	if a.dc == "" {
		if leads, err := w.srv.leads(ctx, a.name); err != nil {
			return nil, err
		} else if !leads {
			return w.srv.conf.Load().of(a).nothing, nil
		}
	}
	if !w.outside {
		return nil, errOutside
	}
	from := w.from
	if w.q.client.IsValid() {
		from = w.q.client
	}
	if !from.IsValid() {
		return w.srv.execute(ctx, a, "")
	}
	return w.srv.execute(ctx, a, from.String())
}

// leads reports whether a name may lead to a query of this datacenter. Names that do not leave no trace.
func (s *Server) leads(ctx context.Context, name string) (bool, error) {
	_, known, err := derive(ctx, s, prepared.NamesQuery{}, indexQueries)
	if err != nil {
		return false, err
	}
	if known.exact[name] {
		return true, nil
	}
	for _, prefix := range known.prefixes {
		if strings.HasPrefix(name, prefix) {
			return true, nil
		}
	}
	return false, nil
}

// queryIndex is what is made of the names of queries, once per change.
type queryIndex struct {
	exact    map[string]bool
	prefixes []string
}

func indexQueries(names prepared.Names) *queryIndex {
	x := &queryIndex{make(map[string]bool, len(names.Exact)), names.Prefixes}
	for _, name := range names.Exact {
		x.exact[name] = true
	}
	return x
}

// execute runs a query for somebody at the address, "" if it is not known.
func (s *Server) execute(ctx context.Context, a *ask, from string) (*packed, error) {
	c := s.conf.Load().of(a)
	o := c.options
	if s.strict() {
		o = room.Options{}
	}
	o.Datacenter = a.dc
	run := &prepared.Execute{Query: a.name, Agent: s.self.Node, AgentDC: s.self.Datacenter, Address: from}
	found, _, err := run.Run(ctx, s.door, o)
	switch {
	case errors.Is(err, fault.ErrNoPath), fault.Is(err, fault.NotFound):
		return c.nothing, nil
	case err != nil:
		return nil, err
	}
	return c.in(strings.ToLower(found.Datacenter)).buildQuery(a, found), nil
}

// buildQuery makes the answer of what a query has found, in its order.
func (c *conf) buildQuery(a *ask, found *prepared.Outcome) *packed {
	if len(found.Nodes) == 0 {
		return c.nothing
	}
	ttl := c.serviceTTL(strings.ToLower(found.Service))
	if d, err := time.ParseDuration(found.TTL); err == nil {
		ttl = seconds(d)
	}
	b := c.builder(a, ttl)
	for _, e := range found.Nodes {
		b.instance(e)
	}
	p := b.answer()
	p.scoped = true
	return p
}
