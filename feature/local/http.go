package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"rostra/engine/check"
	"rostra/feature/catalog"
	"rostra/feature/local/definition"
	"rostra/kit/fault"
	"rostra/kit/filter"
	"rostra/kit/httpd"
)

// handlers serve the part of /v1/agent/ that is about local services and checks.
type handlers struct{ k *keeper }

func (a handlers) routes() []httpd.Route {
	put := func(path string, serve func(*httpd.Request) (httpd.Reply, error)) httpd.Route {
		return httpd.Route{Method: "PUT", Path: "/v1/agent/" + path, Serve: serve, SingleTenant: true}
	}
	old := func(path string, serve func(*httpd.Request) (httpd.Reply, error)) httpd.Route {
		r := put(path, serve)
		r.Legacy = true
		return r
	}
	return []httpd.Route{
		old("service/register", a.registerService),
		old("service/deregister/", a.deregisterService),
		put("service/maintenance/", a.serviceMaintenance),
		put("maintenance", a.nodeMaintenance),
		old("check/register", a.registerCheck),
		old("check/deregister/", a.deregisterCheck),
		old("check/pass/", a.ttl(check.Passing)),
		old("check/warn/", a.ttl(check.Warning)),
		old("check/fail/", a.ttl(check.Critical)),
		put("check/update/", a.updateCheck),
		{Method: "GET", Path: "/v1/agent/services", Serve: a.services, SingleTenant: true, Filter: AgentView{}},
		{Method: "GET", Path: "/v1/agent/service/", Serve: a.service, SingleTenant: true},
		{Method: "GET", Path: "/v1/agent/health/service/id/", Serve: a.healthByID, SingleTenant: true},
		{Method: "GET", Path: "/v1/agent/health/service/name/", Serve: a.healthByName, SingleTenant: true},
		{Method: "GET", Path: "/v1/agent/checks", Serve: a.checks, SingleTenant: true},
	}
}

// bodyLimit bounds a registration; Consul has no limit here, and no honest one comes near.
const bodyLimit = 1 << 20

// body returns the definition a request brings.
func body(r *httpd.Request) (json.RawMessage, error) {
	b, err := r.Body(bodyLimit, func(int64) string {
		return "Request body too large, max size: " + strconv.Itoa(bodyLimit) + " bytes"
	})
	if err != nil {
		return nil, err
	}
	raw, err := firstValue(b)
	if err != nil {
		return nil, undecodable(err)
	}
	return raw, nil
}

// firstValue returns the first JSON value of a body; what follows it is ignored (spec http/conventions.md §5).
func firstValue(body []byte) (json.RawMessage, error) {
	var raw json.RawMessage
	err := json.NewDecoder(bytes.NewReader(body)).Decode(&raw)
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return raw, err
}

func undecodable(err error) error { return fault.New(fault.Invalid, "Request decode failed: %s", err) }

func (a handlers) registerService(r *httpd.Request) (httpd.Reply, error) {
	raw, err := body(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	text, err := definition.ReadService(raw)
	if err != nil {
		return httpd.Reply{}, undecodable(err)
	}
	d, err := a.k.rules().Service(text, "")
	if err != nil {
		return httpd.Reply{}, err
	}
	reg := newRegistration(d, fromHTTP)
	reg.useToken(r.Params.Token) // the definition's own is ignored
	v := r.Query("replace-existing-checks")
	reg.replace = r.Has("replace-existing-checks") && (v == "" || v == "true")
	if err := a.k.register(reg); err != nil {
		return httpd.Reply{}, err
	}
	a.k.sendNow(r.Context(), item{id: d.Row.ID})
	if notice := d.Notice(); notice != "" {
		return httpd.Reply{Header: http.Header{"X-Rostra-Warning": {notice}}}, nil
	}
	return httpd.Reply{}, nil
}

func (a handlers) deregisterService(r *httpd.Request) (httpd.Reply, error) {
	if err := a.k.deregister(r.Arg, nil); err != nil {
		return httpd.Reply{}, err
	}
	a.k.sendNow(r.Context(), item{id: r.Arg})
	return httpd.Reply{}, nil
}

func (a handlers) registerCheck(r *httpd.Request) (httpd.Reply, error) {
	raw, err := body(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	text, err := definition.ReadCheck(raw)
	if err != nil {
		return httpd.Reply{}, undecodable(err)
	}
	d, err := a.k.rules().Check(text, "")
	if err != nil {
		return httpd.Reply{}, err
	}
	c := newChecked(d, fromHTTP, nil)
	c.token = r.Params.Token
	id := c.row.CheckID
	if err := a.k.registerCheck(c); err != nil {
		return httpd.Reply{}, err
	}
	a.k.sendNow(r.Context(), item{true, id})
	return httpd.Reply{}, nil
}

func (a handlers) deregisterCheck(r *httpd.Request) (httpd.Reply, error) {
	if err := a.k.deregisterCheck(r.Arg, nil); err != nil {
		return httpd.Reply{}, err
	}
	a.k.sendNow(r.Context(), item{true, r.Arg})
	return httpd.Reply{}, nil
}

func (a handlers) ttl(status check.Status) func(*httpd.Request) (httpd.Reply, error) {
	return func(r *httpd.Request) (httpd.Reply, error) {
		return httpd.Reply{}, a.update(r, status, r.Query("note"))
	}
}

func (a handlers) updateCheck(r *httpd.Request) (httpd.Reply, error) {
	var in struct{ Status, Output string }
	if err := r.Decode(&in, true); err != nil {
		return httpd.Reply{}, err
	}
	switch in.Status {
	case catalog.Passing, catalog.Warning, catalog.Critical:
		return httpd.Reply{}, a.update(r, check.Status(in.Status), in.Output)
	}
	return httpd.Reply{}, fault.New(fault.Invalid, "Invalid check status: '%s'", in.Status)
}

// update sets a TTL check and returns when the catalog has a new status. An update that meets a registration of the same
// check counts for the new one.
func (a handlers) update(r *httpd.Request, status check.Status, output string) error {
	for {
		a.k.mu.Lock()
		c := a.k.checks[r.Arg]
		var runner *check.Runner
		timed := false
		if c != nil {
			runner, timed = c.runner, c.row.Type == string(check.TTL)
		}
		a.k.mu.Unlock()
		if c == nil {
			return unknownCheck(r.Arg)
		}
		if !timed {
			return fault.New(fault.Refused, "CheckID %q does not have associated TTL", r.Arg)
		}
		if runner != nil && runner.Update(status, output) == nil {
			a.k.renew(c)
			break
		}
		if !a.k.replaced(c) {
			return fault.New(fault.Internal, "the agent is stopping")
		}
	}
	a.k.sendNow(r.Context(), item{true, r.Arg})
	return nil
}

// renew notes that a TTL check was updated.
func (k *keeper) renew(c *checked) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c.expires = time.Now().Add(c.ttl())
	k.files.noteTTL(c.row.CheckID)
}

// replaced reports whether another check has taken c's place, or none; it waits for a registration under way.
func (k *keeper) replaced(c *checked) bool {
	id := c.row.CheckID
	defer k.claim("", id)()
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.checks[id]
	return now != c || now.runner != nil && !k.crew.Closed()
}

// mode reads the parameters of a maintenance request.
func mode(r *httpd.Request) (bool, error) {
	v := r.Query("enable")
	if v == "" {
		return false, fault.New(fault.Invalid, "Missing value for enable")
	}
	on, err := strconv.ParseBool(v)
	if err != nil {
		return false, fault.New(fault.Invalid, "Invalid value for enable: %q", v)
	}
	return on, nil
}

func (a handlers) serviceMaintenance(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing service ID")
	}
	return a.maintenance(r)
}

func (a handlers) nodeMaintenance(r *httpd.Request) (httpd.Reply, error) { return a.maintenance(r) }

func (a handlers) maintenance(r *httpd.Request) (httpd.Reply, error) {
	on, err := mode(r)
	if err == nil {
		err = a.k.maintain(r.Context(), r.Arg, on, r.Query("reason"), r.Params.Token)
	}
	return httpd.Reply{}, err
}

func (a handlers) services(r *httpd.Request) (httpd.Reply, error) {
	a.k.mu.Lock()
	rows := make([]*catalog.Service, 0, len(a.k.services))
	for _, s := range a.k.services {
		rows = append(rows, s.row)
	}
	a.k.mu.Unlock()
	out := make(map[string]*agentService, len(rows))
	for _, row := range rows {
		s := newAgentService(row, a.k.host.Self.Datacenter)
		if ok, err := keep(r.Filter, s.view); err != nil {
			return httpd.Reply{}, err
		} else if ok {
			out[row.ID] = s
		}
	}
	return httpd.Reply{Value: out}, nil
}

func keep(f *filter.Filter, view func() any) (bool, error) {
	if f == nil {
		return true, nil
	}
	return f.Match(view())
}

// checks compiles the filter itself, because here Consul words an error without its usual beginning (spec
// http/conventions.md §11).
func (a handlers) checks(r *httpd.Request) (httpd.Reply, error) {
	var f *filter.Filter
	if r.Params.Filter != "" {
		var err error
		if f, err = filter.Compile(r.Params.Filter, catalog.CheckView{}); err != nil {
			var wrong *filter.Error
			if errors.As(err, &wrong) {
				err = wrong.Unwrap()
			}
			return httpd.Reply{}, err
		}
	}
	a.k.mu.Lock()
	rows := make(checkMap, len(a.k.checks))
	for id, c := range a.k.checks {
		rows[id] = c.row
	}
	a.k.mu.Unlock()
	for id, c := range rows {
		if ok, err := keep(f, func() any { return c.View() }); err != nil {
			return httpd.Reply{}, err
		} else if !ok {
			delete(rows, id)
		}
	}
	return httpd.Reply{Value: rows}, nil
}

// service answers for one service, and with ?hash waits until it differs from what the client knows.
func (a handlers) service(r *httpd.Request) (httpd.Reply, error) {
	wait, err := hashWait(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	for {
		a.k.mu.Lock()
		s := a.k.services[r.Arg]
		if s == nil {
			a.k.mu.Unlock()
			return httpd.Reply{}, fault.New(fault.NotFound, "unknown service ID: %s", r.Arg)
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		row, changed := s.row, s.changed
		a.k.mu.Unlock()
		out := newAgentService(row, a.k.host.Self.Datacenter)
		out.ContentHash = out.hash()
		if want := r.Query("hash"); want == "" || want != out.ContentHash || ctx.Err() != nil {
			return httpd.Reply{Value: out, Header: http.Header{"X-Consul-Contenthash": {out.ContentHash}}}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}
