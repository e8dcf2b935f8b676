package catalog

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"rostra/kit/httpd"
	"rostra/kit/store"
)

//go:generate go tool msgp -file check.go -o check_gen.go -tests=false -io=false

// The statuses that mean something; catalog/register stores any text.
const (
	Passing  = "passing"
	Warning  = "warning"
	Critical = "critical"
)

// SerfHealth is the ID of the check that gossip keeps on every agent's node.
const SerfHealth = "serfHealth"

// Check is the state of one check, of a node (ServiceID "") or of an instance on it.
type Check struct {
	Node        string   `msg:"Node"`
	CheckID     string   `msg:"CheckID"`
	Name        string   `msg:"Name"`
	Status      string   `msg:"Status"`
	Notes       string   `msg:"Notes"`
	Output      string   `msg:"Output"`
	ServiceID   string   `msg:"ServiceID"`
	ServiceName string   `msg:"ServiceName"`
	ServiceTags []string `msg:"ServiceTags,allownil"`
	Type        string   `msg:"Type"`
	Interval    string   `msg:"Interval"` // as registered
	Timeout     string   `msg:"Timeout"`
	ExposedPort int      `msg:"ExposedPort"`
	Definition  []byte   `msg:"Definition,allownil"` // the JSON object shown; nil is {}
	CreateIndex uint64   `msg:"CreateIndex"`
	ModifyIndex uint64   `msg:"ModifyIndex"`

	json atomic.Pointer[[]byte] // the JSON shape, made at first read
}

// Checks is the table of checks by (lower-cased node, lower-cased check ID), filed by lower-cased service name, by instance (a
// node's own checks under the instance "") and by status.
var Checks = store.NewTable[Check]("checks", store.Schema[Check]{
	Key: func(c *Check) string { return Key(c.Node, c.CheckID) },
	Indexes: []store.Index[Check]{
		{Name: "service", Keys: func(c *Check) []string {
			if c.ServiceID == "" {
				return nil
			}
			return []string{strings.ToLower(c.ServiceName)}
		}},
		{Name: "instance", Keys: func(c *Check) []string { return []string{Key(c.Node, c.ServiceID)} }},
		{Name: "status", Keys: func(c *Check) []string { return []string{c.Status} }},
	},
})

// AppendJSON appends the check as encoding/json would write it.
func (c *Check) AppendJSON(b []byte) []byte {
	return append(b, cached(&c.json, c.encode)...)
}

func (c *Check) encode(b []byte) []byte {
	b = httpd.AppendString(append(b, `{"Node":`...), c.Node)
	b = httpd.AppendString(append(b, `,"CheckID":`...), c.CheckID)
	b = httpd.AppendString(append(b, `,"Name":`...), c.Name)
	b = httpd.AppendString(append(b, `,"Status":`...), c.Status)
	b = httpd.AppendString(append(b, `,"Notes":`...), c.Notes)
	b = httpd.AppendString(append(b, `,"Output":`...), c.Output)
	b = httpd.AppendString(append(b, `,"ServiceID":`...), c.ServiceID)
	b = httpd.AppendString(append(b, `,"ServiceName":`...), c.ServiceName)
	b = httpd.AppendStrings(append(b, `,"ServiceTags":`...), c.ServiceTags)
	b = httpd.AppendString(append(b, `,"Type":`...), c.Type)
	b = httpd.AppendString(append(b, `,"Interval":`...), c.Interval)
	b = httpd.AppendString(append(b, `,"Timeout":`...), c.Timeout)
	b = strconv.AppendInt(append(b, `,"ExposedPort":`...), int64(c.ExposedPort), 10)
	if b = append(b, `,"Definition":`...); c.Definition == nil {
		b = append(b, '{', '}')
	} else {
		b = append(b, c.Definition...)
	}
	return append(appendIndexes(b, c.CreateIndex, c.ModifyIndex), '}')
}

// Same reports whether both say the same, indexes apart.
func (c *Check) Same(o *Check) bool {
	return c.Node == o.Node && c.CheckID == o.CheckID && c.Name == o.Name && c.Status == o.Status &&
		c.Notes == o.Notes && c.Output == o.Output && c.ServiceID == o.ServiceID && c.ServiceName == o.ServiceName &&
		slices.Equal(c.ServiceTags, o.ServiceTags) && c.Type == o.Type && c.Interval == o.Interval &&
		c.Timeout == o.Timeout && c.ExposedPort == o.ExposedPort && string(c.Definition) == string(o.Definition)
}
