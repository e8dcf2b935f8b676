package catalog

import (
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"rostra/kit/httpd"
)

// NodeList is the answer of catalog/nodes.
type NodeList []*Node

// instance is one instance with its node: an element of catalog/service.
type instance struct {
	Node    *Node
	Service *Service
}

// InstanceList is the answer of catalog/service.
type InstanceList []instance

// NodeServices is a node with its instances, by ID.
type NodeServices struct {
	Node     *Node
	Services []*Service
}

// ServiceTags maps the names of services to the union of their instances' tags.
type ServiceTags map[string][]string

// Len, Item and AppendItem make a NodeList filterable.
func (l NodeList) Len() int                          { return len(l) }
func (l NodeList) Item(i int) any                    { return nodeView(l[i]) }
func (l NodeList) AppendItem(b []byte, i int) []byte { return l[i].AppendJSON(b) }

// NodeAt makes it sortable by distance.
func (l NodeList) NodeAt(i int) string { return l[i].Node }

// AppendJSON appends the array.
func (l NodeList) AppendJSON(b []byte) []byte { return appendList(b, l) }

// Equal reports whether both lists hold the very same records.
func (l NodeList) Equal(other any) bool {
	o, ok := other.(NodeList)
	return ok && slices.Equal(l, o)
}

func (l InstanceList) Len() int                          { return len(l) }
func (l InstanceList) Item(i int) any                    { return viewOf(l[i]) }
func (l InstanceList) AppendItem(b []byte, i int) []byte { return l[i].AppendJSON(b) }

// NodeAt makes it sortable by distance.
func (l InstanceList) NodeAt(i int) string { return l[i].Node.Node }

// AppendJSON appends the array.
func (l InstanceList) AppendJSON(b []byte) []byte { return appendList(b, l) }

// Equal reports whether both lists hold the very same records.
func (l InstanceList) Equal(other any) bool {
	o, ok := other.(InstanceList)
	return ok && slices.Equal(l, o)
}

func appendList(b []byte, l httpd.List) []byte {
	b = append(b, '[')
	for i := range l.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = l.AppendItem(b, i)
	}
	return append(b, ']')
}

// tagsOf gathers the tags of each service's instances, sorted; of names that differ in case the first counts.
func tagsOf(list InstanceList) ServiceTags {
	tags, spelling := ServiceTags{}, map[string]string{}
	for _, x := range list {
		low := strings.ToLower(x.Service.Service)
		name, known := spelling[low]
		if !known {
			name = x.Service.Service
			spelling[low], tags[name] = name, []string{}
		}
		tags[name] = append(tags[name], x.Service.Tags...)
	}
	for name, all := range tags {
		sort.Strings(all)
		tags[name] = slices.Compact(all)
	}
	return tags
}

// AppendJSON appends an object with sorted names.
func (t ServiceTags) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(t)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = httpd.AppendStrings(append(httpd.AppendString(b, name), ':'), t[name])
	}
	return append(b, '}')
}

// Equal reports whether both name the same services and tags.
func (t ServiceTags) Equal(other any) bool {
	o, ok := other.(ServiceTags)
	return ok && maps.EqualFunc(t, o, slices.Equal)
}

// AppendJSON appends the flat shape of catalog/service. The node's meta is NodeMeta here, and the indexes the instance's.
func (x instance) AppendJSON(b []byte) []byte {
	n, s := x.Node, x.Service
	b = httpd.AppendString(append(b, `{"ID":`...), n.ID)
	b = httpd.AppendString(append(b, `,"Node":`...), n.Node)
	b = httpd.AppendString(append(b, `,"Address":`...), n.Address)
	b = httpd.AppendString(append(b, `,"Datacenter":`...), n.Datacenter)
	b = appendPairs(append(b, `,"TaggedAddresses":`...), n.TaggedAddresses)
	b = appendPairs(append(b, `,"NodeMeta":`...), n.Meta)
	b = httpd.AppendString(append(b, `,"ServiceKind":`...), s.Kind)
	b = httpd.AppendString(append(b, `,"ServiceID":`...), s.ID)
	b = httpd.AppendString(append(b, `,"ServiceName":`...), s.Service)
	b = httpd.AppendStrings(append(b, `,"ServiceTags":`...), s.Tags)
	b = httpd.AppendString(append(b, `,"ServiceAddress":`...), s.Address)
	if len(s.TaggedAddresses) > 0 {
		b = s.AppendTagged(append(b, `,"ServiceTaggedAddresses":`...))
	}
	b = s.Weights.append(append(b, `,"ServiceWeights":`...))
	if b = append(b, `,"ServiceMeta":`...); s.Meta == nil {
		b = append(b, '{', '}')
	} else {
		b = appendPairs(b, s.Meta)
	}
	b = strconv.AppendInt(append(b, `,"ServicePort":`...), int64(s.Port), 10)
	b = httpd.AppendString(append(b, `,"ServiceSocketPath":`...), s.SocketPath)
	b = strconv.AppendBool(append(b, `,"ServiceEnableTagOverride":`...), s.EnableTagOverride)
	b = append(b, `,"ServiceProxy":{"Mode":"","MeshGateway":{},"Expose":{}},"ServiceConnect":{},"ServiceLocality":null`...)
	return append(appendIndexes(b, s.CreateIndex, s.ModifyIndex), '}')
}

// AppendJSON appends {"Node":…,"Services":{id: …}}, or null for no node.
func (ns *NodeServices) AppendJSON(b []byte) []byte {
	if ns == nil {
		return append(b, "null"...)
	}
	b = append(ns.Node.AppendJSON(append(b, `{"Node":`...)), `,"Services":{`...)
	byID := slices.SortedFunc(slices.Values(ns.Services), func(a, b *Service) int { return strings.Compare(a.ID, b.ID) })
	for i, s := range byID {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.AppendJSON(append(httpd.AppendString(b, s.ID), ':'))
	}
	return append(b, '}', '}')
}

// serviceList is the same with an array of services: the shape of catalog/node-services.
type serviceList struct{ *NodeServices }

// AppendJSON appends {"Node":…,"Services":[…]}, both null for no node.
func (l serviceList) AppendJSON(b []byte) []byte {
	if l.NodeServices == nil {
		return append(b, `{"Node":null,"Services":null}`...)
	}
	b = append(l.Node.AppendJSON(append(b, `{"Node":`...)), `,"Services":[`...)
	for i, s := range l.Services {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.AppendJSON(b)
	}
	return append(b, ']', '}')
}
