package operator

import (
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/store"
)

// configChanged is the subject of autopilot's configuration.
var configChanged = store.Subject{Kind: "autopilot"}

// Allowed asks for operator:read.
func (configQuery) Allowed(d authz.Decider) error {
	return authz.Require(d, authz.Operator, authz.Read, "")
}

// Subjects is the configuration's.
func (configQuery) Subjects() []store.Subject { return []store.Subject{configChanged} }

// Point: it is one row.
func (configQuery) Point() {}

// Run finds the configuration.
func (configQuery) Run(r store.Reader) room.Answer {
	c := configs.Get(r, "")
	return room.Answer{Value: c, Index: r.Touched(configChanged), Missing: c == nil}
}

// Allowed asks for operator:read.
func (usageQuery) Allowed(d authz.Decider) error {
	return authz.Require(d, authz.Operator, authz.Read, "")
}

// Subjects are the tables of services and nodes.
func (usageQuery) Subjects() []store.Subject { return catalog.EveryInstanceQuery{}.Subjects() }

// Run counts.
func (q usageQuery) Run(r store.Reader) room.Answer {
	u := usage{Nodes: catalog.Nodes.Len(r)}
	for range catalog.Services.Keys(r, "name") {
		u.Services++
	}
	for s := range catalog.Services.All(r) {
		u.Instances++
		switch s.Kind {
		case "":
			if !strings.EqualFold(s.Service, "consul") {
				u.Billable++
			}
		case "api-gateway":
			u.APIGateways++
		case "connect-proxy":
			u.Proxies++
		case "ingress-gateway":
			u.IngressGateways++
		case "mesh-gateway":
			u.MeshGateways++
		case "terminating-gateway":
			u.TerminatingGateways++
		}
	}
	index := uint64(0)
	for _, s := range q.Subjects() {
		index = max(index, r.Touched(s))
	}
	return room.Answer{Value: u, Index: index}
}
