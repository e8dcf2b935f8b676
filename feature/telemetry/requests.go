package telemetry

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"rostra/engine/room"
	"rostra/kit/metric"
)

// Requests returns what measures the answers of HTTP under Consul's names: how long each took by method and path, and
// how many there were of those about the catalog. path is that of the route, "" for none. It is called concurrently.
func Requests(h *room.Host) func(method, path string, status int, took time.Duration) {
	m := h.Metrics
	var known sync.Map // route to *requests: a look-up costs less than the registry's
	node := metric.Label{Name: "node", Value: h.Self.Node}
	return func(method, path string, status int, took time.Duration) {
		if path == "" {
			return
		}
		r := route{methodName(method), path}
		found, ok := known.Load(r)
		if !ok {
			one := &requests{took: m.Sample("api.http", metric.Label{Name: "method", Value: r.method},
				metric.Label{Name: "path", Value: strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "_")})}
			if name := catalogCalls[r]; name != "" {
				failed := "client.rpc.error." + name
				if name == "catalog_service_nodes" {
					failed = "client.api.error." + name // so it is in Consul
				}
				one.asked, one.done, one.failed = m.Counter("client.api."+name, node), m.Counter("client.api.success."+name, node), m.Counter(failed, node)
			}
			found, _ = known.LoadOrStore(r, one)
		}
		found.(*requests).note(status, took)
	}
}

type route struct{ method, path string }

// requests are the instruments of a route.
type requests struct {
	took                *metric.Sample
	asked, done, failed *metric.Counter // nil for routes that Consul does not count
}

func (r *requests) note(status int, took time.Duration) {
	r.took.Took(took)
	if r.asked == nil {
		return
	}
	r.asked.Inc()
	if status < http.StatusBadRequest {
		r.done.Inc()
	} else {
		r.failed.Inc()
	}
}

// methodName bounds what clients can make of the label.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodHead, http.MethodOptions, http.MethodPatch:
		return method
	}
	return "OTHER"
}

// catalogCalls are the names under which Consul counts requests about the catalog.
var catalogCalls = map[route]string{
	{"PUT", "/v1/catalog/register"}:       "catalog_register",
	{"PUT", "/v1/catalog/deregister"}:     "catalog_deregister",
	{"GET", "/v1/catalog/datacenters"}:    "catalog_datacenters",
	{"GET", "/v1/catalog/nodes"}:          "catalog_nodes",
	{"GET", "/v1/catalog/services"}:       "catalog_services",
	{"GET", "/v1/catalog/service/"}:       "catalog_service_nodes",
	{"GET", "/v1/catalog/node/"}:          "catalog_node_services",
	{"GET", "/v1/catalog/node-services/"}: "catalog_node_service_list",
}
