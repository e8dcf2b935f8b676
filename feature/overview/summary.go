package overview

import (
	"slices"
	"strconv"

	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/httpd"
)

//go:generate go tool msgp -file summary.go -o summary_gen.go -tests=false -io=false -unexported

// summary is a line about a service.
type summary struct {
	Kind       string   `msg:"Kind"`
	Name       string   `msg:"Name"`
	Datacenter string   `msg:"Datacenter"`
	Tags       []string `msg:"Tags,allownil"`
	Nodes      []string `msg:"Nodes"`            // one for each instance, by name
	Sources    []string `msg:"Sources,allownil"` // who registered instances, if they say so
	Instances  int      `msg:"Instances"`
	Checks     count    `msg:"Checks"` // each check once, though several instances on a node have it
}

// count tells how many things there are, and how they do.
type count struct {
	Name     string `json:",omitempty" msg:"Name"`
	Total    int    `msg:"Total"`
	Passing  int    `msg:"Passing"`
	Warning  int    `msg:"Warning"`
	Critical int    `msg:"Critical"`
}

// totals are what there is in the catalog.
type totals struct {
	Nodes    []count `msg:"Nodes,allownil"` // one
	Services []count `msg:"Services,allownil"`
	Checks   []count `msg:"Checks,allownil"`
}

func (c *count) add(status string) {
	c.Total++
	switch status {
	case catalog.Passing:
		c.Passing++
	case catalog.Warning:
		c.Warning++
	case catalog.Critical:
		c.Critical++
	}
}

// sourceKey is the meta of instances that names who registered them.
const sourceKey = "external-source"

// add adds an instance; those of one node come one after the other.
func (s *summary) add(e *health.Entry) {
	again := len(s.Nodes) > 0 && s.Nodes[len(s.Nodes)-1] == e.Node.Node
	s.Kind, s.Datacenter = e.Service.Kind, e.Node.Datacenter
	s.Nodes = append(s.Nodes, e.Node.Node)
	s.Instances++
	for _, tag := range e.Service.Tags {
		s.Tags = addOnce(s.Tags, tag)
	}
	for _, p := range e.Service.Meta {
		if p.Key == sourceKey && p.Value != "" {
			s.Sources = addOnce(s.Sources, p.Value)
		}
	}
	for _, c := range e.Checks {
		if c.ServiceID != "" || !again {
			s.Checks.add(c.Status)
		}
	}
}

func addOnce(list []string, word string) []string {
	if slices.Contains(list, word) {
		return list
	}
	return append(list, word)
}

// AppendJSON appends the line. What is said of the service mesh is what holds without one.
func (s *summary) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	if s.Kind != "" {
		b = append(httpd.AppendString(append(b, `"Kind":`...), s.Kind), ',')
	}
	b = httpd.AppendString(append(b, `"Name":`...), s.Name)
	b = httpd.AppendString(append(b, `,"Datacenter":`...), s.Datacenter)
	b = appendWords(append(b, `,"Tags":`...), s.Tags)
	b = appendWords(append(b, `,"Nodes":`...), s.Nodes)
	b = appendWords(append(b, `,"ExternalSources":`...), s.Sources)
	b = strconv.AppendInt(append(b, `,"InstanceCount":`...), int64(s.Instances), 10)
	b = strconv.AppendInt(append(b, `,"ChecksPassing":`...), int64(s.Checks.Passing), 10)
	b = strconv.AppendInt(append(b, `,"ChecksWarning":`...), int64(s.Checks.Warning), 10)
	b = strconv.AppendInt(append(b, `,"ChecksCritical":`...), int64(s.Checks.Critical), 10)
	return append(b, `,"GatewayConfig":{},"TransparentProxy":false,"ConnectNative":false,"ConnectedWithProxy":false,"ConnectedWithGateway":false}`...)
}

// appendWords appends an array, null for none.
func appendWords(b []byte, list []string) []byte {
	if len(list) == 0 {
		return append(b, "null"...)
	}
	return httpd.AppendStrings(b, list)
}
