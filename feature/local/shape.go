package local

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/wire"
)

// agentService is the JSON shape of agent/services.
type agentService struct {
	Kind              string `json:",omitempty"`
	ID, Service       string
	Tags              []string
	Meta              wire.Pairs
	Port              int
	Address           string
	SocketPath        string                         `json:",omitempty"`
	TaggedAddresses   map[string]catalog.AddressView `json:",omitempty"`
	Weights           catalog.Weights
	EnableTagOverride bool
	ContentHash       string `json:",omitempty"`
	Datacenter        string
}

// AgentView is what a filter sees of a local service.
type AgentView struct {
	Kind, ID, Service, Address, SocketPath, Datacenter string
	Tags                                               []string
	Meta                                               wire.Pairs
	Port                                               int
	EnableTagOverride                                  bool
	Weights                                            catalog.Weights
	TaggedAddresses                                    map[string]catalog.AddressView
	Proxy                                              catalog.ProxyView
	Connect                                            struct{ Native bool }
}

func newAgentService(s *catalog.Service, datacenter string) *agentService {
	out := &agentService{Kind: s.Kind, ID: s.ID, Service: s.Service, Tags: s.Tags, Meta: s.Meta, Port: s.Port,
		Address: s.Address, SocketPath: s.SocketPath, Weights: s.Weights, EnableTagOverride: s.EnableTagOverride,
		Datacenter: datacenter}
	for _, t := range s.TaggedAddresses {
		if out.TaggedAddresses == nil {
			out.TaggedAddresses = map[string]catalog.AddressView{}
		}
		out.TaggedAddresses[t.Name] = catalog.AddressView{Address: t.Address, Port: t.Port}
	}
	return out
}

func (s *agentService) view() any {
	return &AgentView{Kind: s.Kind, ID: s.ID, Service: s.Service, Address: s.Address, SocketPath: s.SocketPath,
		Datacenter: s.Datacenter, Tags: s.Tags, Meta: s.Meta, Port: s.Port, EnableTagOverride: s.EnableTagOverride,
		Weights: s.Weights, TaggedAddresses: s.TaggedAddresses}
}

// hash is the content's fingerprint, for clients that wait until it changes.
func (s *agentService) hash() string {
	b, _ := json.Marshal(s) // strings and numbers always encode
	h := fnv.New64a()
	h.Write(b) // a hash does not fail
	return fmt.Sprintf("%016x", h.Sum64())
}

// The bounds of a hash-blocking request.
const (
	defaultHashWait = 5 * time.Minute
	maxHashWait     = 10 * time.Minute
)

// hashWait returns how long the request may wait for another hash.
func hashWait(r *httpd.Request) (time.Duration, error) {
	wait := defaultHashWait
	if v := r.Query("wait"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			return 0, fault.New(fault.Invalid, "Invalid wait time")
		}
		if d > 0 {
			wait = min(d, maxHashWait)
		}
	}
	return wait + rand.N(wait/16+1), nil
}

// checkMap is the answer of agent/checks: the checks by ID.
type checkMap map[string]*catalog.Check

// AppendJSON appends the object, its keys sorted.
func (m checkMap) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	for i, id := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = m[id].AppendJSON(append(httpd.AppendString(b, id), ':'))
	}
	return append(b, '}')
}
