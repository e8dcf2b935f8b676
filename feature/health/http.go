package health

import (
	"strconv"
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// handlers serve /v1/health/.
type handlers struct{ host *room.Host }

func (a handlers) routes() []httpd.Route {
	read := func(path string, filter any, serve func(*httpd.Request) (httpd.Reply, error)) httpd.Route {
		return httpd.Route{Method: "GET", Path: path, Serve: serve, Read: true, Effective: true, SingleTenant: true,
			Discovery: true, Filter: filter}
	}
	return []httpd.Route{
		read("/v1/health/node/", catalog.CheckView{}, a.node),
		read("/v1/health/checks/", catalog.CheckView{}, a.checks),
		read("/v1/health/state/", catalog.CheckView{}, a.state),
		read("/v1/health/service/", EntryView{}, a.service),
	}
}

func (a handlers) node(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing node name")
	}
	return catalog.Read(r, a.host, NodeChecksQuery{Node: strings.ToLower(r.Arg)}, false)
}

func (a handlers) checks(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing service name")
	}
	return catalog.Read(r, a.host, ServiceChecksQuery{Service: strings.ToLower(r.Arg),
		Meta: catalog.WordsOf(r.Params.NodeMeta)}, false)
}

func (a handlers) state(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing check state")
	}
	return catalog.Read(r, a.host, StateQuery{State: r.Arg, Meta: catalog.WordsOf(r.Params.NodeMeta)}, false)
}

func (a handlers) service(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing service name")
	}
	passing := r.Has("passing")
	if v := r.Query("passing"); v != "" {
		var err error
		if passing, err = strconv.ParseBool(v); err != nil {
			return httpd.Reply{}, fault.New(fault.Invalid, "Invalid value for ?passing")
		}
	}
	q := ServiceQuery{Service: strings.ToLower(r.Arg), Passing: passing}
	if r.HTTP.URL.RawQuery != "" {
		if r.Query("peer") != "" && (r.Query("sg") != "" || r.Query("sameness-group") != "") {
			return httpd.Reply{}, fault.New(fault.Invalid, "peer-name and sameness-group are mutually exclusive")
		}
		q.Tags, q.Meta = catalog.WordsOf(r.QueryAll("tag")), catalog.WordsOf(r.Params.NodeMeta)
	}
	return catalog.Read(r, a.host, q, true)
}
