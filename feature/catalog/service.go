package catalog

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"rostra/kit/httpd"
	"rostra/kit/store"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file service.go -o service_gen.go -tests=false -io=false -unexported

// Service is an instance of a service on a node.
type Service struct {
	Node              string          `msg:"Node"` // the node's name
	Kind              string          `msg:"Kind"`
	ID                string          `msg:"ID"`
	Service           string          `msg:"Service"` // the service's name
	Tags              []string        `msg:"Tags,allownil"`
	Address           string          `msg:"Address"`
	TaggedAddresses   []taggedAddress `msg:"TaggedAddresses,allownil"` // by name
	Meta              wire.Pairs      `msg:"Meta"`
	Port              int             `msg:"Port"`
	SocketPath        string          `msg:"SocketPath"`
	Weights           Weights         `msg:"Weights"`
	EnableTagOverride bool            `msg:"EnableTagOverride"`
	CreateIndex       uint64          `msg:"CreateIndex"`
	ModifyIndex       uint64          `msg:"ModifyIndex"`

	json atomic.Pointer[[]byte] `msg:"-"` // the nested shape, made at first read
}

// taggedAddress is a further address of an instance, under a name such as "lan_ipv4".
type taggedAddress struct {
	Name    string `msg:"Name"`
	Address string `msg:"Address"`
	Port    int    `msg:"Port"`
}

// Weights are the instance's SRV weights while passing and while warning.
type Weights struct {
	Passing int `json:"Passing" msg:"Passing"`
	Warning int `json:"Warning" msg:"Warning"`
}

// Services is the table of instances by (lower-cased node, lower-cased ID), filed by lower-cased name.
var Services = store.NewTable[Service]("services", store.Schema[Service]{
	Key:     func(s *Service) string { return Key(s.Node, s.ID) },
	Indexes: []store.Index[Service]{{Name: "name", Keys: func(s *Service) []string { return []string{strings.ToLower(s.Service)} }}},
})

// Key is the primary key of something that belongs to a node, an instance or a check: names and IDs that differ in case
// only are the same.
func Key(node, id string) string { return strings.ToLower(node) + "\x00" + strings.ToLower(id) }

// sameName reports whether two names or IDs are the same key.
func sameName(a, b string) bool { return Key(a, "") == Key(b, "") }

// AppendJSON appends the nested shape: that of catalog/node, of health entries and of transactions.
func (s *Service) AppendJSON(b []byte) []byte {
	return append(b, cached(&s.json, s.encode)...)
}

const meshJSON = `"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{}`

func (s *Service) encode(b []byte) []byte {
	b = append(b, '{')
	if s.Kind != "" {
		b = append(httpd.AppendString(append(b, `"Kind":`...), s.Kind), ',')
	}
	b = httpd.AppendString(append(b, `"ID":`...), s.ID)
	b = httpd.AppendString(append(b, `,"Service":`...), s.Service)
	b = httpd.AppendStrings(append(b, `,"Tags":`...), s.Tags)
	b = httpd.AppendString(append(b, `,"Address":`...), s.Address)
	if len(s.TaggedAddresses) > 0 {
		b = s.AppendTagged(append(b, `,"TaggedAddresses":`...))
	}
	b = appendPairs(append(b, `,"Meta":`...), s.Meta)
	if s.Port != 0 {
		b = strconv.AppendInt(append(b, `,"Port":`...), int64(s.Port), 10)
	}
	if s.SocketPath != "" {
		b = httpd.AppendString(append(b, `,"SocketPath":`...), s.SocketPath)
	}
	b = s.Weights.append(append(b, `,"Weights":`...))
	b = strconv.AppendBool(append(b, `,"EnableTagOverride":`...), s.EnableTagOverride)
	b = append(append(b, ','), meshJSON...)
	b = append(b, `,"PeerName":""`...)
	return append(appendIndexes(b, s.CreateIndex, s.ModifyIndex), '}')
}

// AppendTagged appends the tagged addresses as a JSON object.
func (s *Service) AppendTagged(b []byte) []byte {
	b = append(b, '{')
	for i, t := range s.TaggedAddresses {
		if i > 0 {
			b = append(b, ',')
		}
		b = httpd.AppendString(append(httpd.AppendString(b, t.Name), `:{"Address":`...), t.Address)
		b = append(strconv.AppendInt(append(b, `,"Port":`...), int64(t.Port), 10), '}')
	}
	return append(b, '}')
}

func (w Weights) append(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"Passing":`...), int64(w.Passing), 10)
	return append(strconv.AppendInt(append(b, `,"Warning":`...), int64(w.Warning), 10), '}')
}

// WANPort is the port for other datacenters.
func (s *Service) WANPort() int {
	for _, t := range s.TaggedAddresses {
		if t.Name == wanAddress && t.Port != 0 {
			return t.Port
		}
	}
	return s.Port
}

// HasTags reports whether the instance has every tag, whatever their case.
func (s *Service) HasTags(tags []string) bool {
	for _, want := range tags {
		if !slices.ContainsFunc(s.Tags, func(t string) bool { return strings.EqualFold(t, want) }) {
			return false
		}
	}
	return true
}

// Same reports whether both say the same, indexes apart.
func (s *Service) Same(o *Service) bool {
	return s.Node == o.Node && s.Kind == o.Kind && s.ID == o.ID && s.Service == o.Service &&
		slices.Equal(s.Tags, o.Tags) && s.Address == o.Address && slices.Equal(s.TaggedAddresses, o.TaggedAddresses) &&
		s.Meta.Equal(o.Meta) && s.Port == o.Port && s.SocketPath == o.SocketPath && s.Weights == o.Weights &&
		s.EnableTagOverride == o.EnableTagOverride
}
