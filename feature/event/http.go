package event

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/wire"
)

// maxWait is how long event/list blocks, if it is not told to wait less.
const maxWait = 10 * time.Minute

// maxBody bounds what is read of a payload, in bytes. Gossip's own limit, 512 with the name and the filters, comes after it
// and has Consul's text.
const maxBody = 1 << 20

// handlers serve /v1/event/.
type handlers struct {
	host *room.Host
	ring *ring
}

func (a handlers) fire(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, fault.New(fault.Invalid, "Missing name")
	}
	e := event{ID: wire.NewID(), Name: r.Arg, NodeFilter: r.Query("node"), ServiceFilter: r.Query("service"),
		TagFilter: r.Query("tag"), Version: version}
	if err := e.check(); err != nil {
		return httpd.Reply{}, err
	}
	if r.HTTP.ContentLength > 0 {
		body, err := r.Body(maxBody, nil)
		if err != nil {
			return httpd.Reply{}, err
		}
		e.Payload = body
	}
	o := room.Options{Token: r.Params.Token, Datacenter: r.Params.Datacenter, Consistency: httpd.Stale} // any server will do
	if _, _, err := a.host.Door.Call(r.Context(), &Fire{e}, o); err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: e}, nil
}

// check refuses filters that no agent could obey.
func (e *event) check() error {
	if e.TagFilter != "" && e.ServiceFilter == "" {
		return fault.New(fault.Refused, "Cannot provide tag filter without service filter")
	}
	for _, f := range []struct{ name, text string }{{"node", e.NodeFilter}, {"service", e.ServiceFilter}, {"tag", e.TagFilter}} {
		if _, err := regexp.Compile(f.text); err != nil {
			return fault.New(fault.Refused, "Invalid %s filter: %v", f.name, err)
		}
	}
	return nil
}

// list blocks while the index is the given one: it stands for the last event and does not grow.
func (a handlers) list(r *httpd.Request) (httpd.Reply, error) {
	seen, wait := uint64(0), maxWait
	var err error
	if text := r.Query("index"); text != "" {
		if seen, err = strconv.ParseUint(text, 10, 64); err != nil {
			return httpd.Reply{}, fault.New(fault.Invalid, "Invalid index")
		}
	}
	if text := r.Query("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return httpd.Reply{}, fault.New(fault.Invalid, "Invalid wait time")
		}
		if d > 0 {
			wait = min(d, maxWait)
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for over := false; ; {
		list, changed := a.ring.list(r.Query("name"))
		index := uint64(1)
		if len(list) > 0 {
			index, _ = indexOf(list[len(list)-1].ID) // decode has seen that it is a UUID
		}
		if seen == 0 || index != seen || over {
			return httpd.Reply{Value: list, Header: http.Header{"X-Consul-Index": {strconv.FormatUint(index, 10)}}}, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			over = true
		case <-r.Context().Done():
			return httpd.Reply{}, r.Context().Err()
		}
	}
}

// Name is the Procedure's name on the wire.
func (p *Fire) Name() string { return "event.fire" }

// Changes tells the door that this may change something. An event that is fired twice is delivered once: its ID is the same.
func (p *Fire) Changes() bool { return true }

// Allowed asks event:write on the name. Consul says no more than that it is denied.
func (p *Fire) Allowed(d authz.Decider) error {
	if authz.Require(d, authz.Event, authz.Write, p.Event.Name) != nil {
		return fault.New(fault.Denied, "Permission denied")
	}
	return nil
}

// Call hands the event to gossip.
func (p *Fire) Call(_ context.Context, h *room.Host) (room.Result, error) {
	e := p.Event
	b, err := e.MarshalMsg(nil)
	if err != nil {
		return nil, err
	}
	if _, err := decode(b); err != nil {
		return nil, fault.New(fault.Refused, "error broadcasting event: %v", err)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	if h.LAN == nil {
		return nil, fault.New(fault.Internal, "error broadcasting event: this agent is in no gossip pool")
	}
	if err := h.LAN.Send(prefix+e.Name, b); err != nil {
		return nil, fault.New(fault.Refused, "error broadcasting event: %v", err)
	}
	return nil, nil
}
