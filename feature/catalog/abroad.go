package catalog

import "rostra/kit/httpd"

// wanAddress is the name of the address at which nodes and instances are reached from other datacenters.
const wanAddress = "wan"

// Abroad returns the node as other datacenters reach it, and itself if that is no other address (spec http/conventions.md
// §7, translate_wan_addrs).
func (n *Node) Abroad() *Node {
	address, ok := n.TaggedAddresses.Get(wanAddress)
	if !ok || address == "" || address == n.Address {
		return n
	}
	c := n.copy()
	c.Address, c.CreateIndex, c.ModifyIndex = address, n.CreateIndex, n.ModifyIndex
	return c
}

// Abroad returns the instance as other datacenters reach it, and itself if it is reached alike.
func (s *Service) Abroad() *Service {
	address, port := s.Address, s.WANPort()
	for _, t := range s.TaggedAddresses {
		if t.Name == wanAddress && t.Address != "" {
			address = t.Address
		}
	}
	if address == s.Address && port == s.Port {
		return s
	}
	c := s.Copy()
	c.Address, c.Port, c.CreateIndex, c.ModifyIndex = address, port, s.CreateIndex, s.ModifyIndex
	return c
}

// Abroad is the list as other datacenters reach its nodes.
func (l NodeList) Abroad() any {
	told := make(NodeList, len(l))
	for i, n := range l {
		told[i] = n.Abroad()
	}
	return httpd.ShownAs(l, told)
}

// Abroad is the list as other datacenters reach its instances.
func (l InstanceList) Abroad() any {
	told := make(InstanceList, len(l))
	for i, x := range l {
		told[i] = instance{x.Node.Abroad(), x.Service.Abroad()}
	}
	return httpd.ShownAs(l, told)
}

// abroad is the node with its instances as other datacenters reach them.
func (ns *NodeServices) abroad() *NodeServices {
	told := &NodeServices{Node: ns.Node.Abroad()}
	for _, s := range ns.Services {
		told.Services = append(told.Services, s.Abroad())
	}
	return told
}
