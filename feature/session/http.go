package session

import (
	"strings"
	"time"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/wire"
)

// ttlMax is the longest TTL, as in Consul.
const ttlMax = 24 * time.Hour

// web serves /v1/session/.
type web struct {
	door   room.Door
	self   *room.Identity // this agent
	ttlMin time.Duration
}

func (w web) routes() []httpd.Route {
	put := func(path string, serve func(*httpd.Request) (httpd.Reply, error)) httpd.Route {
		return httpd.Route{Method: "PUT", Path: path, Serve: serve, SingleTenant: true}
	}
	get := func(path string, serve func(*httpd.Request) (httpd.Reply, error)) httpd.Route {
		return httpd.Route{Method: "GET", Path: path, Serve: serve, Read: true, SingleTenant: true}
	}
	return []httpd.Route{
		put("/v1/session/create", w.create),
		put("/v1/session/destroy/", w.destroy),
		put("/v1/session/renew/", w.renew),
		get("/v1/session/info/", w.info),
		get("/v1/session/node/", w.ofNode),
		get("/v1/session/list", w.list),
	}
}

// request is the body of session/create. Unknown members are ignored.
type request struct {
	Node, Name    string
	LockDelay     wire.Duration
	TTL           string
	Behavior      string
	Checks        []string
	NodeChecks    []string
	ServiceChecks []ServiceCheck
}

// created is the answer of session/create.
type created struct{ ID string }

// errFar refuses what could not work: the agent's node, which a session belongs to, is not in the other datacenter.
var errFar = fault.New(fault.Refused, "cross datacenter lock must be created at server agent")

func (w web) create(r *httpd.Request) (httpd.Reply, error) {
	if dc := r.Params.Datacenter; dc != "" && dc != w.self.Datacenter && !w.self.Server {
		return httpd.Reply{}, errFar
	}
	in := request{Node: w.self.Node, LockDelay: wire.Duration(15 * time.Second), Behavior: Release,
		Checks: []string{catalog.SerfHealth}, NodeChecks: []string{catalog.SerfHealth}}
	if r.HTTP.ContentLength > 0 {
		if err := r.Decode(&in, false); err != nil {
			return httpd.Reply{}, err
		}
		in.settle()
	} else {
		in.Checks = nil
	}
	s, err := in.session(w.ttlMin)
	if err != nil {
		return httpd.Reply{}, err
	}
	s.ID = wire.NewID()
	if _, _, err := w.door.Apply(r.Context(), &Create{Session: s}, writeOptions(r)); err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: created{s.ID}}, nil
}

// settle applies the rule of spec http/session.md on which checks are bound, and the one on the lock-delay's unit.
func (in *request) settle() {
	switch {
	case len(in.Checks) == 0:
		in.NodeChecks = nil
	case len(in.Checks) == 1 && in.Checks[0] == catalog.SerfHealth:
		in.Checks = nil
	case len(in.NodeChecks) == 0:
		in.Checks = nil
	}
	if in.LockDelay < 1000 {
		in.LockDelay *= wire.Duration(time.Second)
	}
}

// session checks the request and makes a session of it.
func (in *request) session(ttlMin time.Duration) (Session, error) {
	s := Session{Node: in.Node, Name: in.Name, LockDelay: in.LockDelay, TTL: in.TTL, Behavior: in.Behavior,
		Checks: in.Checks, NodeChecks: in.NodeChecks, ServiceChecks: in.ServiceChecks}
	switch in.Behavior {
	case Release, Delete:
	case "":
		s.Behavior = Release
	default:
		return s, fault.New(fault.Refused, "Invalid Behavior setting '%s'", in.Behavior)
	}
	if in.Node == "" {
		return s, fault.New(fault.Refused, "Must provide Node")
	}
	if in.TTL == "" {
		return s, nil
	}
	ttl, err := time.ParseDuration(in.TTL)
	if err != nil {
		return s, fault.New(fault.Refused, "Session TTL '%s' invalid: %v", in.TTL, err)
	}
	if ttl != 0 && (ttl < ttlMin || ttl > ttlMax) {
		return s, fault.New(fault.Refused, "Invalid Session TTL '%d', must be between [%v=%v]", int64(ttl), ttlMin, ttlMax)
	}
	s.Life = wire.Duration(ttl)
	return s, nil
}

func writeOptions(r *httpd.Request) room.Options {
	return room.Options{Token: r.Params.Token, Datacenter: r.Params.Datacenter}
}

var errNoID = fault.New(fault.Invalid, "Missing session")

func (w web) destroy(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, errNoID
	}
	done, _, err := w.door.Apply(r.Context(), &Destroy{ID: r.Arg}, writeOptions(r))
	return httpd.Reply{Value: done}, err
}

func (w web) renew(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, errNoID
	}
	s, _, err := w.door.Apply(r.Context(), &Renew{ID: r.Arg}, writeOptions(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: List{s.(*Session)}}, nil
}

func (w web) info(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, errNoID
	}
	return w.read(r, InfoQuery{ID: strings.ToLower(r.Arg)})
}

func (w web) ofNode(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing node name")
	}
	return w.read(r, NodeQuery{Node: strings.ToLower(r.Arg)})
}

func (w web) list(r *httpd.Request) (httpd.Reply, error) { return w.read(r, ListQuery{}) }

func (w web) read(r *httpd.Request, q room.Query) (httpd.Reply, error) {
	answer, meta, err := w.door.Read(r.Context(), q, room.OptionsOf(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	return answer.Reply(meta), nil
}
