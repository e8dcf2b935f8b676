package query

import (
	"net/http"
	"strconv"
	"strings"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/wire"
)

// web serves /v1/query.
type web struct{ host *room.Host }

func (w web) routes() []httpd.Route {
	return []httpd.Route{
		{Method: "GET", Path: "/v1/query", Serve: w.list, Read: true, Effective: true},
		{Method: "POST", Path: "/v1/query", Serve: w.create},
		{Path: "/v1/query/", Serve: w.one, Read: true, Effective: true},
	}
}

// one serves everything below /v1/query/: with methods and OPTIONS in Consul's own way there (spec http/conventions.md §2).
func (w web) one(r *httpd.Request) (httpd.Reply, error) {
	methods := map[string]func(*httpd.Request, string) (httpd.Reply, error){"GET": w.get, "PUT": w.update, "DELETE": w.remove}
	allow, what := "GET,PUT,DELETE", r.Arg
	if name, is := strings.CutSuffix(r.Arg, "/execute"); is {
		methods, allow, what = map[string]func(*httpd.Request, string) (httpd.Reply, error){"GET": w.execute}, "GET", name
	} else if name, is := strings.CutSuffix(r.Arg, "/explain"); is {
		methods, allow, what = map[string]func(*httpd.Request, string) (httpd.Reply, error){"GET": w.explain}, "GET", name
	}
	if serve := methods[r.HTTP.Method]; serve != nil {
		return serve(r, what)
	}
	if r.HTTP.Method == http.MethodOptions {
		return httpd.Reply{Value: struct{}{}, Header: http.Header{"Allow": {"OPTIONS," + allow}}}, nil
	}
	return httpd.Reply{Header: http.Header{"Allow": {allow}}}, fault.New(fault.Method, "method %s not allowed", r.HTTP.Method)
}

// created is the answer of a POST.
type created struct{ ID string }

func (w web) create(r *httpd.Request) (httpd.Reply, error) {
	d, err := read(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	if d.ID != "" {
		return httpd.Reply{}, fault.New(fault.Refused, "ID must be empty when creating a new prepared query")
	}
	if err := d.check(); err != nil {
		return httpd.Reply{}, err
	}
	d.ID = wire.NewID()
	return httpd.Reply{Value: created{d.ID}}, w.apply(r, &Set{Definition: d, New: true})
}

// read returns the definition of a body; without one the empty definition.
func read(r *httpd.Request) (Definition, error) {
	var d Definition
	if r.HTTP.ContentLength > 0 {
		if err := r.Decode(&d, true); err != nil {
			return d, err
		}
	}
	d.CreateIndex, d.ModifyIndex = 0, 0
	d.settle()
	return d, nil
}

func (w web) apply(r *httpd.Request, c room.Command) error {
	_, _, err := w.host.Door.Apply(r.Context(), c, room.Options{Token: r.Params.Token, Datacenter: r.Params.Datacenter})
	return err
}

func (w web) update(r *httpd.Request, id string) (httpd.Reply, error) {
	d, err := read(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	d.ID = id
	if err := d.check(); err != nil {
		return httpd.Reply{}, w.firstly(r, id, err)
	}
	return httpd.Reply{}, w.apply(r, &Set{Definition: d})
}

// firstly returns what is told of a definition with a flaw: that there is no such query comes first.
func (w web) firstly(r *httpd.Request, id string, flaw error) error {
	o := room.Options{Token: r.Params.Token, Datacenter: r.Params.Datacenter}
	answer, _, err := w.host.Door.Read(r.Context(), GetQuery{ID: strings.ToLower(id)}, o)
	switch {
	case err != nil:
		return err
	case len(answer.Value.(List)) == 0:
		return missing(id)
	}
	return flaw
}

func (w web) remove(r *httpd.Request, id string) (httpd.Reply, error) {
	return httpd.Reply{}, w.apply(r, &Delete{ID: id})
}

func (w web) list(r *httpd.Request) (httpd.Reply, error) {
	answer, meta, err := w.host.Door.Read(r.Context(), ListQuery{}, room.OptionsOf(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	return answer.Reply(meta), nil
}

// get answers about a query that is not there at once, also to who would wait for a change of it.
func (w web) get(r *httpd.Request, id string) (httpd.Reply, error) {
	if len(id) != 36 {
		return httpd.Reply{}, fault.New(fault.Refused, "failed prepared query lookup: index error: UUID must be 36 characters")
	}
	q, o := GetQuery{ID: strings.ToLower(id)}, room.OptionsOf(r)
	now := o
	now.Index = 0
	answer, meta, err := w.host.Door.Read(r.Context(), q, now)
	if err == nil && o.Index > 0 && len(answer.Value.(List)) > 0 {
		answer, meta, err = w.host.Door.Read(r.Context(), q, o)
	}
	if err != nil {
		return httpd.Reply{}, err
	}
	if len(answer.Value.(List)) == 0 {
		return httpd.Reply{Meta: &meta}, ErrUnknown
	}
	return answer.Reply(meta), nil
}

func (w web) explain(r *httpd.Request, name string) (httpd.Reply, error) {
	o := room.OptionsOf(r)
	o.Index = 0
	d, meta, err := resolve(r.Context(), w.host.Door, name, o)
	meta.Index = 1
	return httpd.Reply{Value: explanation{d, tail(meta)}, Meta: &meta}, err
}

func (w web) execute(r *httpd.Request, name string) (httpd.Reply, error) {
	limit, err := limitOf(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	if err := withoutConnect(r); err != nil {
		return httpd.Reply{}, err
	}
	o := room.OptionsOf(r)
	if o.Cached {
		o.Consistency = httpd.Stale
	}
	c := &Execute{Query: name, Limit: limit, Near: r.Params.Near, Agent: w.host.Self.Node, AgentDC: w.host.Self.Datacenter,
		Address: r.From()}
	found, meta, err := c.Run(r.Context(), w.host.Door, o)
	if err != nil {
		return httpd.Reply{}, err
	}
	if w.host.Translates(found.Datacenter) {
		there := *found
		there.Nodes, found = found.Nodes.Reached(), &there
	}
	if o.Cached {
		meta.CacheHit = new(bool) // it is found anew, which is as good as any age that was allowed
	}
	return httpd.Reply{Value: execution{found, tail(meta)}, Meta: &meta}, nil
}

func limitOf(r *httpd.Request) (int, error) {
	text := r.Query("limit")
	if text == "" {
		return 0, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil {
		return 0, fault.New(fault.Refused, "Bad limit: %s", err)
	}
	return limit, nil
}

// withoutConnect refuses the question for instances in a service mesh.
func withoutConnect(r *httpd.Request) error {
	text := r.Query("connect")
	if text == "" {
		return nil
	}
	wanted, err := strconv.ParseBool(text)
	if err != nil {
		return fault.New(fault.Refused, "Error parsing 'connect' value: %s", err)
	}
	if wanted {
		return fault.New(fault.Invalid, "?connect=%s: there is no service mesh, leave it out", text)
	}
	return nil
}

// tail is what Consul says of how an answer was come by, behind the answer itself.
type tail httpd.Meta

func (t tail) appendJSON(b []byte) []byte {
	b = strconv.AppendUint(append(b, `,"Index":`...), t.Index, 10)
	b = strconv.AppendInt(append(b, `,"LastContact":`...), int64(t.LastContact), 10)
	b = strconv.AppendBool(append(b, `,"KnownLeader":`...), t.KnownLeader)
	b = httpd.AppendString(append(b, `,"ConsistencyLevel":`...), t.Consistency.String())
	b = append(b, `,"NotModified":false,"Backend":0,"ResultsFilteredByACLs":`...)
	return append(strconv.AppendBool(b, t.Filtered), '}')
}

// explanation is the answer of explain.
type explanation struct {
	definition *Definition
	tail       tail
}

// AppendJSON appends the object.
func (e explanation) AppendJSON(b []byte) []byte {
	return e.tail.appendJSON(e.definition.AppendJSON(append(b, `{"Query":`...)))
}

// execution is the answer of execute.
type execution struct {
	*Outcome
	tail tail
}

// AppendJSON appends the object.
func (e execution) AppendJSON(b []byte) []byte {
	b = httpd.AppendString(append(b, `{"Service":`...), e.Service)
	b = e.Nodes.AppendJSON(append(b, `,"Nodes":`...))
	b = append(httpd.AppendString(append(b, `,"DNS":{"TTL":`...), e.TTL), '}')
	b = httpd.AppendString(append(b, `,"Datacenter":`...), e.Datacenter)
	b = strconv.AppendInt(append(b, `,"PeerName":"","Failovers":`...), int64(e.Failovers), 10)
	return e.tail.appendJSON(b)
}
