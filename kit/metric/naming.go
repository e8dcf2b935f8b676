package metric

import (
	"fmt"
	"strings"
)

// Naming is how names are told, and which are.
type Naming struct {
	Prefix string // before every name; "" for none
	Host   string // between the prefix and the name of a gauge; "" for none
	Filter Filter
}

// Filter says by their beginning which metrics are told: the rule with the longest prefix that a name has decides. Names
// are compared with their prefix, and without the host. The zero Filter tells none of which no rule speaks.
type Filter struct {
	rules map[string]bool
	rest  bool
}

// NewFilter reads rules like "+consul.raft" and "-consul.raft.apply". rest is whether the others are told. The metrics
// in quiet are not told unless a rule names them.
func NewFilter(rules []string, rest bool, quiet ...string) (Filter, error) {
	f := Filter{rules: map[string]bool{}, rest: rest}
	for _, name := range quiet {
		f.rules[name] = false
	}
	for _, r := range rules {
		if len(r) < 2 || r[0] != '+' && r[0] != '-' {
			return Filter{}, fmt.Errorf("%q is no rule; write +PREFIX to tell the metrics that begin so, -PREFIX to leave them out", r)
		}
		f.rules[r[1:]] = r[0] == '+'
	}
	return f, nil
}

// tells says whether a metric is told. Of names that are its beginning the longest counts.
func (f *Filter) tells(name string) bool {
	for n := len(name); n > 0 && len(f.rules) > 0; n-- {
		if told, has := f.rules[name[:n]]; has {
			return told
		}
	}
	return f.rest
}

// Name sets how names are told from now on; until it is called they are told as they are.
func (r *Registry) Name(n Naming) { r.naming.Store(&n) }

// full returns the name of a series as it is told; false if it is not. host says whether gauges bear the host.
func (n *Naming) full(s *series, host bool) (string, bool) {
	name := s.name
	if own, absolute := strings.CutPrefix(name, "."); absolute {
		return own, n.tells(own)
	}
	if n.Prefix != "" {
		name = n.Prefix + "." + name
	}
	if !n.tells(name) {
		return "", false
	}
	if host && s.kind == kindGauge && n.Host != "" {
		name = n.Host + "." + s.name
		if n.Prefix != "" {
			name = n.Prefix + "." + name
		}
	}
	return name, true
}

// tells is the Filter's word; a Naming that was never set tells all.
func (n *Naming) tells(name string) bool {
	return n.Filter.rules == nil || n.Filter.tells(name)
}
