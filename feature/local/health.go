package local

import (
	"net/http"
	"slices"
	"strings"

	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// serviceHealth is a local service with the checks that count for it: its own and the node's.
type serviceHealth struct {
	AggregatedStatus string
	Service          *agentService
	Checks           healthChecks
}

// healthChecks are checks in the shape that these answers alone have (spec http/agent.md).
type healthChecks []*catalog.Check

// MarshalJSON writes null for nil.
func (l healthChecks) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("null"), nil
	}
	b := []byte{'['}
	for i, c := range l {
		if i > 0 {
			b = append(b, ',')
		}
		for k, member := range [...]struct{ name, value string }{{"Node", c.Node}, {"CheckID", c.CheckID}, {"Name", c.Name},
			{"Status", c.Status}, {"Notes", c.Notes}, {"Output", c.Output}, {"ServiceID", c.ServiceID}, {"ServiceName", c.ServiceName}} {
			sep := byte(',')
			if k == 0 {
				sep = '{'
			}
			b = httpd.AppendString(append(httpd.AppendString(append(b, sep), member.name), ':'), member.value)
		}
		b = httpd.AppendStrings(append(b, `,"ServiceTags":`...), c.ServiceTags)
		b = append(b, `,"Type":"","ExposedPort":0,"Definition":`+bareDefinition+`,"CreateIndex":0,"ModifyIndex":0}`...)
	}
	return append(b, ']'), nil
}

// bareDefinition is the definition of every check of an agent in this shape.
const bareDefinition = `{"Interval":"0s","Timeout":"0s","DeregisterCriticalServiceAfter":"0s","HTTP":"","Header":null,"Method":"",` +
	`"Body":"","TLSServerName":"","TLSSkipVerify":false,"TCP":"","TCPUseTLS":false,"UDP":"","GRPC":"","OSService":"","GRPCUseTLS":false}`

// health gathers the health of the services that are wanted, by ID.
func (k *keeper) health(wanted func(*catalog.Service) bool) []serviceHealth {
	list := []serviceHealth{}
	k.mu.Lock()
	defer k.mu.Unlock()
	node := healthChecks{}
	for _, c := range k.checks {
		if c.row.ServiceID == "" {
			node = append(node, c.row)
		}
	}
	for id, s := range k.services {
		if !wanted(s.row) {
			continue
		}
		h := serviceHealth{Service: newAgentService(s.row, k.host.Self.Datacenter), Checks: slices.Clone(node)}
		for _, c := range k.bound[id] {
			h.Checks = append(h.Checks, c.row)
		}
		slices.SortFunc(h.Checks, func(a, b *catalog.Check) int { return strings.Compare(a.CheckID, b.CheckID) })
		h.AggregatedStatus = h.Checks.status()
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b serviceHealth) int { return strings.Compare(a.Service.ID, b.Service.ID) })
	return list
}

// status returns the aggregate of the checks.
func (l healthChecks) status() string {
	worst := catalog.Passing
	for _, c := range l {
		status := c.Status
		if c.CheckID == nodeMaintenance || strings.HasPrefix(c.CheckID, serviceMaintenance) {
			status = maintenance
		}
		worst = worse(worst, status)
	}
	return worst
}

// healthCodes are the statuses from best to worst, and what HTTP says for them.
var healthCodes = []struct {
	status string
	code   int
}{
	{catalog.Passing, http.StatusOK},
	{catalog.Warning, http.StatusTooManyRequests},
	{catalog.Critical, http.StatusServiceUnavailable},
	{maintenance, http.StatusServiceUnavailable},
}

func rank(status string) int {
	for i, h := range healthCodes {
		if h.status == status {
			return i
		}
	}
	return 0
}

// worse returns the worse of two statuses.
func worse(a, b string) string {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

func (a handlers) healthByID(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Internal, "Missing serviceID")
	}
	for _, h := range a.k.health(func(s *catalog.Service) bool { return s.ID == r.Arg }) {
		return healthReply(r, h, h.AggregatedStatus, healthCodes[rank(h.AggregatedStatus)].code), nil
	}
	return healthReply(r, serviceHealth{AggregatedStatus: catalog.Critical}, "ServiceId "+r.Arg+" not found", http.StatusNotFound), nil
}

func (a handlers) healthByName(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Internal, "Missing service Name")
	}
	list := a.k.health(func(s *catalog.Service) bool { return s.Service == r.Arg })
	if len(list) == 0 {
		return healthReply(r, list, "ServiceName "+r.Arg+" Not Found", http.StatusNotFound), nil
	}
	worst := catalog.Passing
	for _, h := range list {
		worst = worse(worst, h.AggregatedStatus)
	}
	return healthReply(r, list, worst, healthCodes[rank(worst)].code), nil
}

// healthReply answers with the value or, for load balancers that ask for text, with the reason alone. Either way the
// status says how the service is.
func healthReply(r *httpd.Request, value any, reason string, status int) httpd.Reply {
	reply := httpd.Reply{Status: status, Header: http.Header{"X-Consul-Reason": {reason}}}
	if strings.HasPrefix(r.HTTP.Header.Get("Accept"), "text/plain") || r.Query("format") == "text" {
		reply.ContentType, reply.Raw = "text/plain", []byte(reason)
	} else {
		reply.Value = value
	}
	return reply
}
