package local

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"rostra/engine/check"
	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// handlers serve the part of /v1/agent/ that is about local services and checks.
type handlers struct{ k *keeper }

func (a handlers) routes() []httpd.Route {
	put := func(path string, serve func(*httpd.Request) (httpd.Reply, error)) httpd.Route {
		return httpd.Route{Method: "PUT", Path: "/v1/agent/" + path, Serve: serve, SingleTenant: true}
	}
	return []httpd.Route{
		put("service/register", a.registerService),
		put("service/deregister/", a.deregisterService),
		put("service/maintenance/", a.serviceMaintenance),
		put("maintenance", a.nodeMaintenance),
		put("check/register", a.registerCheck),
		put("check/deregister/", a.deregisterCheck),
		put("check/pass/", a.ttl(check.Passing)),
		put("check/warn/", a.ttl(check.Warning)),
		put("check/fail/", a.ttl(check.Critical)),
		put("check/update/", a.updateCheck),
		{Method: "GET", Path: "/v1/agent/services", Serve: a.services, SingleTenant: true, Filter: AgentView{}},
		{Method: "GET", Path: "/v1/agent/service/", Serve: a.service, SingleTenant: true},
		{Method: "GET", Path: "/v1/agent/checks", Serve: a.checks, SingleTenant: true, Filter: catalog.CheckView{}},
	}
}

// bodyLimit bounds a registration; Consul has no limit here, and no honest one comes near.
const bodyLimit = 1 << 20

func body(r *httpd.Request) ([]byte, error) {
	return r.Body(bodyLimit, func(int64) string {
		return "Request body too large, max size: " + strconv.Itoa(bodyLimit) + " bytes"
	})
}

func undecodable(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return fault.New(fault.Invalid, "Request decode failed: %s", err)
}

func (a handlers) registerService(r *httpd.Request) (httpd.Reply, error) {
	b, err := body(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	in, err := readService(b)
	if err != nil {
		return httpd.Reply{}, undecodable(err)
	}
	in.Token = ""
	reg, err := a.k.prepare(in, fromHTTP, "")
	if err != nil {
		return httpd.Reply{}, err
	}
	if v := r.Query("replace-existing-checks"); r.Has("replace-existing-checks") && (v == "" || v == "true") {
		reg.replace = true
	}
	reg.service.token = r.Params.Token
	for _, c := range reg.checks {
		c.token = r.Params.Token
	}
	if err := a.k.files.saveService(reg.service); err != nil {
		return httpd.Reply{}, err
	}
	for _, id := range a.k.putService(reg) {
		if err := a.k.files.remove(checksDir, id); err != nil {
			return httpd.Reply{}, err
		}
	}
	a.send(r.Context(), item{id: reg.service.row.ID})
	return httpd.Reply{}, nil
}

// send writes the change to the catalog before the client is answered. If that fails the log says so, and anti-entropy
// repeats it: the registration itself has happened.
func (a handlers) send(ctx context.Context, i item) { _ = a.k.push(ctx, i) }

func (a handlers) deregisterService(r *httpd.Request) (httpd.Reply, error) {
	return httpd.Reply{}, a.k.deregister(r.Context(), r.Arg)
}

// deregister removes a service, its checks and their files, and writes that to the catalog.
func (k *keeper) deregister(ctx context.Context, id string) error {
	checks, err := k.removeService(id)
	if err != nil {
		return err
	}
	if err := k.files.remove(servicesDir, id); err != nil {
		return err
	}
	for _, c := range checks {
		if err := k.files.remove(checksDir, c); err != nil {
			return err
		}
	}
	handlers{k}.send(ctx, item{id: id})
	return nil
}

func (a handlers) registerCheck(r *httpd.Request) (httpd.Reply, error) {
	b, err := body(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	in, err := readCheck(b)
	if err != nil {
		return httpd.Reply{}, undecodable(err)
	}
	in.Token = ""
	c, err := a.k.prepareSingle(in, fromHTTP, "")
	if err != nil {
		return httpd.Reply{}, err
	}
	c.token = r.Params.Token
	if err := a.k.putCheck(c); err != nil {
		return httpd.Reply{}, err
	}
	if err := a.k.files.saveCheck(c); err != nil {
		return httpd.Reply{}, err
	}
	a.send(r.Context(), item{true, c.row.CheckID})
	return httpd.Reply{}, nil
}

func (a handlers) deregisterCheck(r *httpd.Request) (httpd.Reply, error) {
	if err := a.k.removeCheck(r.Arg); err != nil {
		return httpd.Reply{}, err
	}
	if err := a.k.files.remove(checksDir, r.Arg); err != nil {
		return httpd.Reply{}, err
	}
	a.send(r.Context(), item{true, r.Arg})
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

func (a handlers) update(r *httpd.Request, status check.Status, output string) error {
	a.k.mu.Lock()
	c := a.k.checks[r.Arg]
	var runner *check.Runner
	if c != nil {
		runner = c.runner
	}
	a.k.mu.Unlock()
	if c == nil {
		return unknownCheck(r.Arg)
	}
	if c.input == nil || c.input.TTL == 0 || runner == nil {
		return fault.New(fault.Refused, "CheckID %q does not have associated TTL", r.Arg)
	}
	if err := runner.Update(status, output); err != nil {
		return err
	}
	a.send(r.Context(), item{true, r.Arg})
	return nil
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
	on, err := mode(r)
	if err == nil {
		err = a.k.maintain(r.Arg, on, r.Query("reason"))
	}
	if err == nil {
		a.send(r.Context(), item{true, serviceMaintenance + r.Arg})
	}
	return httpd.Reply{}, err
}

func (a handlers) nodeMaintenance(r *httpd.Request) (httpd.Reply, error) {
	on, err := mode(r)
	if err == nil {
		err = a.k.maintain("", on, r.Query("reason"))
	}
	if err == nil {
		a.send(r.Context(), item{true, nodeMaintenance})
	}
	return httpd.Reply{}, err
}

func (a handlers) services(r *httpd.Request) (httpd.Reply, error) {
	a.k.mu.Lock()
	out := make(map[string]*agentService, len(a.k.services))
	for id, s := range a.k.services {
		out[id] = newAgentService(s.row, a.k.host.Self.Datacenter)
	}
	a.k.mu.Unlock()
	for id, s := range out {
		if ok, err := keep(r, s.view()); err != nil {
			return httpd.Reply{}, err
		} else if !ok {
			delete(out, id)
		}
	}
	return httpd.Reply{Value: out}, nil
}

func keep(r *httpd.Request, view any) (bool, error) {
	if r.Filter == nil {
		return true, nil
	}
	return r.Filter.Match(view)
}

func (a handlers) checks(r *httpd.Request) (httpd.Reply, error) {
	a.k.mu.Lock()
	rows := make(map[string]*catalog.Check, len(a.k.checks))
	for id, c := range a.k.checks {
		rows[id] = c.row
	}
	a.k.mu.Unlock()
	for id, c := range rows {
		if ok, err := keep(r, c.View()); err != nil {
			return httpd.Reply{}, err
		} else if !ok {
			delete(rows, id)
		}
	}
	return httpd.Reply{Value: checkMap(rows)}, nil
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
		s, changed := a.k.services[r.Arg], a.k.changed
		a.k.mu.Unlock()
		if s == nil {
			return httpd.Reply{}, fault.New(fault.NotFound, "unknown service ID: %s", strings.TrimSpace(r.Arg))
		}
		out := newAgentService(s.row, a.k.host.Self.Datacenter)
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
