package connect

import (
	"strconv"
	"sync/atomic"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// web serves the roots under /v1/connect/ and /v1/agent/connect/.
type web struct {
	door    room.Door
	enabled bool
	asked   atomic.Bool // whether the agent's answer was asked for before
}

func (w *web) routes() []httpd.Route {
	return []httpd.Route{
		{Method: "GET", Path: "/v1/connect/ca/roots", Serve: w.roots, Read: true},
		{Method: "GET", Path: "/v1/agent/connect/ca/roots", Serve: w.agentRoots, Read: true},
	}
}

var (
	errDisabled = fault.New(fault.Internal, "Connect must be enabled in order to use this endpoint")
	errNoRoot   = fault.New(fault.NoLeader, "cannot answer: the mesh's root certificate has not been made yet")
	errPEM      = fault.New(fault.Invalid, "The 'pem' query parameter must be a boolean value")
)

func (w *web) roots(r *httpd.Request) (httpd.Reply, error) {
	asPEM := false
	if text := r.Query("pem"); text != "" {
		var err error
		if asPEM, err = strconv.ParseBool(text); err != nil {
			return httpd.Reply{}, errPEM
		}
	}
	found, meta, err := w.find(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	if asPEM {
		cert := found.Value.(answer).root.Cert
		return httpd.Reply{Meta: &meta, Raw: []byte(cert), ContentType: "application/pem-certificate-chain"}, nil
	}
	return found.Reply(meta), nil
}

// agentRoots answers as from the agent's cache: the first answer is fetched, later ones are at hand and kept current.
func (w *web) agentRoots(r *httpd.Request) (httpd.Reply, error) {
	found, meta, err := w.find(r)
	if err != nil {
		return httpd.Reply{}, err
	}
	hit := w.asked.Swap(true)
	meta.CacheHit = &hit
	return found.Reply(meta), nil
}

func (w *web) find(r *httpd.Request) (room.Answer, room.Meta, error) {
	if !w.enabled {
		return room.Answer{}, room.Meta{}, errDisabled
	}
	found, meta, err := w.door.Read(r.Context(), rootsQuery{}, room.OptionsOf(r))
	if err == nil && found.Missing {
		err = errNoRoot
	}
	return found, meta, err
}
