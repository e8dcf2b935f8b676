package query

import (
	"encoding/json"
	"strings"
	"time"

	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/store"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file definition.go -o definition_gen.go -tests=false -io=false

// Definition is a prepared query: the row, the payload of Set and the JSON of the API, in whose order its fields are.
type Definition struct {
	ID          string   `msg:"ID"`      // a lower-case UUID
	Name        string   `msg:"Name"`    // of a template: the prefix of the names that it is for; may be ""
	Session     string   `msg:"Session"` // it goes with that session; "" for none
	Token       string   `msg:"Token"`   // a secret: it is executed with the rights of this token instead of the caller's
	Template    Template `msg:"Template"`
	Service     Service  `msg:"Service"`
	DNS         DNS      `msg:"DNS"`
	CreateIndex uint64   `msg:"CreateIndex"`
	ModifyIndex uint64   `msg:"ModifyIndex"`
}

// Template says how the strings of the Service are made of the name that is looked up. It is one if it has a Type.
type Template struct {
	Type            string `msg:"Type"`            // "" or PrefixMatch
	Regexp          string `msg:"Regexp"`          // what ${match(N)} refers to
	RemoveEmptyTags bool   `msg:"RemoveEmptyTags"` // drop the tags that came to nothing
}

// PrefixMatch is the one type of templates there is.
const PrefixMatch = "name_prefix_match"

// Service says which instances a query finds.
type Service struct {
	Service        string     `msg:"Service"`
	SamenessGroup  string     `msg:"SamenessGroup"` // always ""
	Failover       Failover   `msg:"Failover"`
	OnlyPassing    bool       `msg:"OnlyPassing"` // warnings count as critical checks do
	IgnoreCheckIDs []string   `msg:"IgnoreCheckIDs"`
	Near           string     `msg:"Near"` // a node, "_agent" or "_ip": the instances are sorted by the distance from it
	Tags           []string   `msg:"Tags"` // all of them; after "!" none of them
	NodeMeta       wire.Pairs `msg:"NodeMeta"`
	ServiceMeta    wire.Pairs `msg:"ServiceMeta"`
	Connect        bool       `msg:"Connect"` // always false
	Peer           string     `msg:"Peer"`    // always ""
}

// Failover says where to look when there is no instance here: in Targets, or in the nearest and the named datacenters.
type Failover struct {
	NearestN    int      `msg:"NearestN"`
	Datacenters []string `msg:"Datacenters"`
	Targets     []Target `msg:"Targets"`
}

// Target is a datacenter to fail over to.
type Target struct {
	Peer       string `msg:"Peer"` // always ""
	Datacenter string `msg:"Datacenter"`
}

// DNS are the settings of answers by DNS.
type DNS struct {
	TTL string `msg:"TTL"` // as the client wrote it; "" leaves it to the settings of the service
}

// List is the Value of ListQuery and GetQuery, by ID.
//
//msgp:ignore List
type List []*Definition

var queries = store.NewTable[Definition]("queries", store.Schema[Definition]{
	Key: func(d *Definition) string { return d.ID },
	Indexes: []store.Index[Definition]{
		{Name: "name", Keys: func(d *Definition) []string { return some(strings.ToLower(d.Name)) }},
		{Name: "session", Keys: func(d *Definition) []string { return some(strings.ToLower(d.Session)) }},
		{Name: "template", Keys: func(d *Definition) []string { return some(d.Template.Type) }},
	},
})

// some is the list of a key, if there is one.
func some(key string) []string {
	if key == "" {
		return nil
	}
	return []string{key}
}

// template reports whether the definition is one.
func (d *Definition) template() bool { return d.Template.Type != "" }

// settle makes empty lists nil: an equal definition has equal bytes, and reads as null.
func (d *Definition) settle() {
	for _, list := range []*[]string{&d.Service.IgnoreCheckIDs, &d.Service.Tags, &d.Service.Failover.Datacenters} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if len(d.Service.Failover.Targets) == 0 {
		d.Service.Failover.Targets = nil
	}
	for _, pairs := range []*wire.Pairs{&d.Service.NodeMeta, &d.Service.ServiceMeta} {
		if len(*pairs) == 0 {
			*pairs = nil
		}
	}
}

// hidden is what a token reads as for those who may not see it.
const hidden = "<hidden>"

// check returns what is wrong with the definition in itself, in Consul's words where Consul has any.
func (d *Definition) check() error {
	invalid := func(format string, args ...any) error {
		return fault.New(fault.Refused, "Invalid prepared query: "+format, args...)
	}
	s, f := &d.Service, &d.Service.Failover
	switch {
	case d.Name == "" && !d.template() && d.Session == "":
		return invalid("Must be bound to a session")
	case d.Token == hidden:
		return invalid("Bad Token '%s', it looks like a query definition with a redacted token was submitted", hidden)
	case s.Service == "":
		return invalid("Must provide a Service name to query")
	case f.NearestN < 0:
		return invalid("Bad NearestN '%d', must be >= 0", f.NearestN)
	case len(f.Targets) > 0 && (f.NearestN > 0 || len(f.Datacenters) > 0):
		return invalid("Targets cannot be populated with NearestN or Datacenters")
	}
	if err := catalog.CheckMeta(s.NodeMeta, true); err != nil {
		return invalid("Invalid NodeMeta filter: %s", err)
	}
	switch ttl, err := time.ParseDuration(d.DNS.TTL); {
	case d.DNS.TTL == "":
	case err != nil:
		return invalid("Bad DNS TTL '%s': %s", d.DNS.TTL, err)
	case ttl < 0:
		return invalid("DNS TTL '%d', must be >=0", int64(ttl))
	}
	switch {
	case s.SamenessGroup != "":
		return invalid("Service.SamenessGroup is for Consul Enterprise: name datacenters in Service.Failover")
	case s.Peer != "":
		return invalid("Service.Peer '%s': there is no cluster peering, leave it out", s.Peer)
	case s.Connect:
		return invalid("Service.Connect: there is no service mesh, leave it out")
	}
	for i, t := range f.Targets {
		switch {
		case t.Peer != "":
			return invalid("Service.Failover.Targets[%d].Peer '%s': there is no cluster peering, name a Datacenter", i, t.Peer)
		case t.Datacenter == "":
			return invalid("Service.Failover.Targets[%d] must name a Datacenter", i)
		}
	}
	if err := d.checkTemplate(); err != nil {
		return refuse("failed compiling template: %s", err)
	}
	return nil
}

// AppendJSON appends the shape of spec http/prepared-query.md.
func (d *Definition) AppendJSON(b []byte) []byte {
	text, err := json.Marshal(d)
	if err != nil {
		panic("cannot encode a prepared query: " + err.Error()) // it is texts and numbers
	}
	return append(b, text...)
}

// AppendJSON appends the array; [] if there is none.
func (l List) AppendJSON(b []byte) []byte { return httpd.AppendArray(b, l) }

// MarshalMsg appends the list.
func (l List) MarshalMsg(b []byte) ([]byte, error) { return wire.AppendList(b, l) }

// UnmarshalMsg reads the list.
func (l *List) UnmarshalMsg(b []byte) (rest []byte, err error) {
	*l, rest, err = wire.ReadList[Definition](b)
	return rest, err
}
