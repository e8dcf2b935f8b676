package catalog

import (
	"cmp"
	"encoding/json"
	"regexp"
	"strings"

	"rostra/kit/fault"
	"rostra/kit/wire"
)

// registration is the body of catalog/register. Members that Consul's own clients send but that mean nothing here are
// known, so that they are not refused.
type registration struct {
	Datacenter, ID, Node, Address string
	TaggedAddresses               wire.Pairs
	NodeMeta                      wire.Pairs
	Service                       *serviceInput
	Check                         *checkInput
	Checks                        []*checkInput
	SkipNodeUpdate                bool
	PeerName, Partition           string
	Locality                      json.RawMessage
}

type serviceInput struct {
	Kind, ID, Service, Address, SocketPath string
	Tags                                   []string
	TaggedAddresses                        map[string]AddressView
	Meta                                   wire.Pairs
	Port                                   int
	Weights                                *Weights
	EnableTagOverride                      bool
	CreateIndex, ModifyIndex               uint64
	ContentHash, Datacenter                string
	Namespace, Partition, PeerName         string
	Proxy, Connect, Locality, Ports, AI    json.RawMessage // sent by newer clients: accepted, not kept
}

type checkInput struct {
	Node, CheckID, Name, Status, Notes, Output, ServiceID, ServiceName string
	ServiceTags                                                        []string
	Type                                                               string
	Interval, Timeout                                                  string
	ExposedPort                                                        int
	Definition                                                         definition
	CreateIndex, ModifyIndex                                           uint64
	Namespace, Partition, PeerName                                     string
}

// deregistration is the body of catalog/deregister.
type deregistration struct {
	Datacenter, Node, Address, ServiceID, CheckID, Namespace, Partition, PeerName string
}

func refuse(format string, args ...any) error { return fault.New(fault.Refused, format, args...) }

// command turns the body into the Command, or says what is wrong with it in Consul's words.
func (in *registration) command(own string) (*Register, error) {
	switch {
	case in.PeerName != "":
		return nil, refuse("cannot register requests with PeerName in them")
	case in.Node == "":
		return nil, refuse("Must provide node")
	case in.Address == "" && !in.SkipNodeUpdate:
		return nil, refuse("Must provide address if SkipNodeUpdate is not set")
	}
	if err := checkID(in.ID); err != nil {
		return nil, err
	}
	c := &Register{SkipNode: in.SkipNodeUpdate, Row: &Node{ID: strings.ToLower(in.ID), Node: in.Node, Address: in.Address,
		Datacenter: cmp.Or(in.Datacenter, own), TaggedAddresses: in.TaggedAddresses, Meta: in.NodeMeta}}
	if in.Service != nil {
		s, err := in.Service.service(in.Node)
		if err != nil {
			return nil, err
		}
		c.Service = s
	}
	if in.Check != nil {
		in.Checks = append(in.Checks, in.Check)
	}
	for _, k := range in.Checks {
		if k == nil {
			continue // a null in the list
		}
		check := k.check()
		if check.Node == "" {
			check.Node = in.Node
		}
		c.Checks = append(c.Checks, check)
	}
	return c, nil
}

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func checkID(id string) error {
	switch {
	case id == "" || uuid.MatchString(id):
		return nil
	case len(id) != 36:
		return refuse("Bad node ID: uuid string is wrong length")
	}
	return refuse("Bad node ID: uuid is improperly formatted")
}

func (in *serviceInput) service(node string) (*Service, error) {
	switch {
	case in.Service == "" && in.ID == "":
		return nil, refuse("Must provide service name (Service.Service)")
	case in.Service == "":
		return nil, refuse("Must provide service name (Service.Service) when service ID is provided")
	case in.Address == "0.0.0.0" || in.Address == "::" || in.Address == "[::]":
		return nil, refuse("Invalid service address")
	}
	s := &Service{Node: node, Kind: in.Kind, ID: in.ID, Service: in.Service, Tags: in.Tags, Address: in.Address,
		SocketPath: in.SocketPath, Meta: in.Meta, Port: in.Port, EnableTagOverride: in.EnableTagOverride,
		TaggedAddresses: TaggedOf(in.TaggedAddresses), Weights: Weights{1, 1}}
	if s.ID == "" {
		s.ID = s.Service
	}
	if err := CheckMeta(in.Meta, true); err != nil {
		return nil, refuse("Invalid Service Meta for node %s and serviceID %s: %s", node, s.ID, err)
	}
	if in.Weights != nil {
		s.Weights = *in.Weights
	}
	return s, nil
}

// TaggedOf makes the stored form of tagged addresses: sorted by name.
func TaggedOf(m map[string]AddressView) []taggedAddress {
	names := wire.Pairs{}
	for name := range m {
		names = append(names, wire.Pair{Key: name})
	}
	var list []taggedAddress
	for _, p := range wire.PairsOf(names.Map()) {
		list = append(list, taggedAddress{p.Key, m[p.Key].Address, m[p.Key].Port})
	}
	return list
}

func (in *checkInput) check() *Check {
	kind := in.Type
	if kind == "" {
		kind = in.Definition.kind()
	}
	return &Check{Node: in.Node, CheckID: in.CheckID, Name: in.Name, Status: in.Status, Notes: in.Notes,
		Output: in.Output, ServiceID: in.ServiceID, Type: kind, Interval: in.Interval, Timeout: in.Timeout,
		ExposedPort: in.ExposedPort, Definition: in.Definition.encode()}
}

var metaKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// CheckMeta holds meta of nodes and services to Consul's limits: 64 pairs, keys of 128 characters, values of 512. Keys
// that start with "consul-" are reserved unless internal says that they come from an agent itself.
func CheckMeta(meta wire.Pairs, internal bool) error {
	if len(meta) > 64 {
		return fault.New(fault.Invalid, "Node metadata cannot contain more than 64 key/value pairs")
	}
	for _, p := range meta {
		reason := ""
		switch {
		case p.Key == "":
			reason = "Key cannot be blank"
		case !metaKey.MatchString(p.Key):
			reason = "Key contains invalid characters"
		case len(p.Key) > 128:
			reason = "Key is too long (limit: 128 characters)"
		case strings.HasPrefix(p.Key, "consul-") && !internal:
			reason = "Key prefix 'consul-' is reserved for internal use"
		case len(p.Value) > 512:
			reason = "Value is too long (limit: 512 characters)"
		default:
			continue
		}
		return fault.New(fault.Invalid, "Couldn't load metadata pair ('%s', '%s'): %s", p.Key, p.Value, reason)
	}
	return nil
}
