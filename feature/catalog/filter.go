package catalog

import "rostra/kit/wire"

// The types below are what ?filter= expressions see of the catalog's records: the selectors of spec
// http/conventions.md §11.

// NodeView is what a filter sees of a node.
type NodeView struct {
	ID, Node, Address, Datacenter string
	TaggedAddresses, Meta         wire.Pairs
	PeerName                      string
}

// ServiceView is what a filter sees of an instance in its nested shape.
type ServiceView struct {
	Kind, ID, Service, Address, SocketPath, PeerName string
	Tags                                             []string
	Meta                                             wire.Pairs
	Port                                             int
	EnableTagOverride                                bool
	Weights                                          Weights
	TaggedAddresses                                  map[string]AddressView
	Connect                                          struct{ Native bool }
	Proxy                                            ProxyView
}

// AddressView is what a filter sees of a tagged address.
type AddressView struct {
	Address string
	Port    int
}

// ProxyView has the mesh selectors that old expressions may name; they are always empty.
type ProxyView struct {
	DestinationServiceName, DestinationServiceID, LocalServiceAddress, Mode string
	LocalServicePort                                                        int
}

// instanceView is what a filter sees of an instance in its flat shape.
type instanceView struct {
	ID, Node, Address, Datacenter                       string
	TaggedAddresses, NodeMeta                           wire.Pairs
	ServiceKind, ServiceID, ServiceName, ServiceAddress string
	ServiceSocketPath                                   string
	ServiceTags                                         []string
	ServiceMeta                                         wire.Pairs
	ServicePort                                         int
	ServiceEnableTagOverride                            bool
	ServiceWeights                                      Weights
	ServiceTaggedAddresses                              map[string]AddressView
	ServiceConnect                                      struct{ Native bool }
	ServiceProxy                                        ProxyView
	PeerName                                            string
}

// CheckView is what a filter sees of a check.
type CheckView struct {
	Node, CheckID, Name, Status, Notes, Output, ServiceID, ServiceName string
	Type, Interval, Timeout, PeerName                                  string
	ServiceTags                                                        []string
	ExposedPort                                                        int
}

func nodeView(n *Node) *NodeView {
	return &NodeView{ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, Meta: n.Meta}
}

// View returns what a filter sees of the node.
func (n *Node) View() *NodeView { return nodeView(n) }

// View returns what a filter sees of the instance.
func (s *Service) View() *ServiceView {
	return &ServiceView{Kind: s.Kind, ID: s.ID, Service: s.Service, Address: s.Address, SocketPath: s.SocketPath,
		Tags: s.Tags, Meta: s.Meta, Port: s.Port, EnableTagOverride: s.EnableTagOverride, Weights: s.Weights,
		TaggedAddresses: s.addressViews()}
}

func (s *Service) addressViews() map[string]AddressView {
	m := make(map[string]AddressView, len(s.TaggedAddresses))
	for _, t := range s.TaggedAddresses {
		m[t.Name] = AddressView{t.Address, t.Port}
	}
	return m
}

// View returns what a filter sees of the check.
func (c *Check) View() *CheckView {
	return &CheckView{Node: c.Node, CheckID: c.CheckID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output,
		ServiceID: c.ServiceID, ServiceName: c.ServiceName, Type: c.Type, Interval: c.Interval, Timeout: c.Timeout,
		ServiceTags: c.ServiceTags, ExposedPort: c.ExposedPort}
}

func viewOf(x instance) *instanceView {
	n, s := x.Node, x.Service
	return &instanceView{ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta, ServiceKind: s.Kind, ServiceID: s.ID,
		ServiceName: s.Service, ServiceAddress: s.Address, ServiceSocketPath: s.SocketPath, ServiceTags: s.Tags,
		ServiceMeta: s.Meta, ServicePort: s.Port, ServiceEnableTagOverride: s.EnableTagOverride,
		ServiceWeights: s.Weights, ServiceTaggedAddresses: s.addressViews()}
}
