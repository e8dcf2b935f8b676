package catalog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
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
	Locality                      *struct{ Region, Zone string }
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

// command turns the body into the Command, or says what is wrong with it in Consul's words.
func (in *registration) command(own string) (*Register, error) {
	c := &Register{SkipNode: in.SkipNodeUpdate, Row: &Node{ID: strings.ToLower(in.ID), Node: in.Node, Address: in.Address,
		Datacenter: cmp.Or(in.Datacenter, own), TaggedAddresses: in.TaggedAddresses, Meta: in.NodeMeta}}
	if in.Locality != nil {
		c.Row.Region, c.Row.Zone = in.Locality.Region, in.Locality.Zone
	}
	switch err := c.Row.check(); {
	case in.PeerName != "":
		return nil, refuse("cannot register requests with PeerName in them")
	case in.Node != "" && in.Address == "" && !in.SkipNodeUpdate:
		return nil, refuse("Must provide address if SkipNodeUpdate is not set")
	case err != nil:
		return nil, err
	}
	if in.Service != nil {
		c.Service = in.Service.service(in.Node)
		if err := c.Service.check(); err != nil {
			return nil, err
		}
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

// notKept is what is told of a registration with members that mean something to Consul alone.
const notKept = "Proxy, Connect, Locality, Ports and AI of services have no effect and are not kept: there is no service mesh"

// loses reports whether something was sent that is not kept. Members that say nothing, as clients write them back that
// have read a service, are no loss.
func (in *registration) loses() bool {
	s := in.Service
	return s != nil && slices.ContainsFunc([]json.RawMessage{s.Proxy, s.Connect, s.Locality, s.Ports, s.AI}, wire.Says)
}

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// check refuses a node without a name or with an ID that is none.
func (n *Node) check() error {
	switch {
	case n.Node == "":
		return refuse("Must provide node")
	case n.ID == "" || uuid.MatchString(n.ID):
		return nil
	case len(n.ID) != 36:
		return refuse("Bad node ID: uuid string is wrong length")
	}
	return refuse("Bad node ID: uuid is improperly formatted")
}

// service makes an instance on a node of what was sent; its ID is the name if none is given.
func (in *serviceInput) service(node string) *Service {
	s := &Service{Node: node, Kind: in.Kind, ID: in.ID, Service: in.Service, Tags: in.Tags, Address: in.Address,
		SocketPath: in.SocketPath, Meta: in.Meta, Port: in.Port, EnableTagOverride: in.EnableTagOverride,
		Weights: Weights{1, 1}}
	s.SetTagged(in.TaggedAddresses)
	s.ID = s.id()
	if in.Weights != nil {
		s.Weights = *in.Weights
	}
	return s
}

// check refuses an instance without a name, with an address that is none, or with meta beyond the limits.
func (s *Service) check() error {
	switch {
	case s.Service == "" && s.ID == "":
		return refuse("Must provide service name (Service.Service)")
	case s.Service == "":
		return refuse("Must provide service name (Service.Service) when service ID is provided")
	case s.Address == "0.0.0.0" || s.Address == "::" || s.Address == "[::]":
		return refuse("Invalid service address")
	}
	if err := CheckMeta(s.Meta, true); err != nil {
		return refuse("Invalid Service Meta for node %s and serviceID %s: %s", s.Node, s.ID, err)
	}
	return nil
}

// SetTagged gives the instance tagged addresses, whose stored form is sorted by name.
func (s *Service) SetTagged(m map[string]AddressView) {
	names := wire.Pairs{}
	for name := range m {
		names = append(names, wire.Pair{Key: name})
	}
	s.TaggedAddresses = nil
	for _, p := range wire.PairsOf(names.Map()) {
		s.TaggedAddresses = append(s.TaggedAddresses, taggedAddress{p.Key, m[p.Key].Address, m[p.Key].Port})
	}
}

// operation is an operation of a transaction as a body has it: at most one member is set.
type operation struct {
	Node *struct {
		Verb string
		Node nodeInput
	}
	Service *struct {
		Verb, Node string
		Service    serviceInput
	}
	Check *struct {
		Verb  string
		Check checkInput
	}
}

type nodeInput struct {
	ID, Node, Address, Datacenter, Partition, PeerName string
	TaggedAddresses, Meta                              wire.Pairs
	CreateIndex, ModifyIndex                           uint64
	Locality                                           json.RawMessage
}

// ReadJSON makes the operation that a body has under one of three members, the first that is neither absent nor null.
// datacenter is that of nodes for which the body names none. false: there is no operation.
func (o *Op) ReadJSON(node, service, check json.RawMessage, datacenter string) (bool, error) {
	var in operation
	for _, member := range [...]struct {
		raw json.RawMessage
		to  any
	}{{node, &in.Node}, {service, &in.Service}, {check, &in.Check}} {
		if member.raw == nil {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(member.raw))
		d.DisallowUnknownFields()
		if err := d.Decode(member.to); err != nil {
			return false, err
		}
	}
	*o = in.op(datacenter)
	return o.Record != Record{}, nil
}

func (in *operation) op(datacenter string) Op {
	switch {
	case in.Node != nil:
		n := in.Node.Node
		return Op{Verb: in.Node.Verb, Record: Record{Node: &Node{ID: strings.ToLower(n.ID), Node: n.Node, Address: n.Address,
			Datacenter: cmp.Or(n.Datacenter, datacenter), TaggedAddresses: n.TaggedAddresses, Meta: n.Meta, ModifyIndex: n.ModifyIndex}}}
	case in.Service != nil:
		s := in.Service.Service.service(in.Service.Node)
		s.ModifyIndex = in.Service.Service.ModifyIndex
		return Op{Verb: in.Service.Verb, Record: Record{Service: s}}
	case in.Check != nil:
		c := in.Check.Check.check()
		c.ModifyIndex = in.Check.Check.ModifyIndex
		return Op{Verb: in.Check.Verb, Record: Record{Check: c}}
	}
	return Op{}
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
