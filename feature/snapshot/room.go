// Package snapshot saves the whole replicated state of a datacenter as one archive and restores it: the operator's
// backup. The archive's form is that of Consul's (spec http/snapshot.md), the state inside is Rostra's own.
package snapshot

import (
	"io"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// Room is the snapshot feature. It keeps nothing.
var Room = room.Room{Name: "snapshot", Verbs: Verbs(), Open: open}

func open(h *room.Host, _ any) (*room.Part, error) {
	a := handlers{h}
	return &room.Part{Routes: []httpd.Route{
		{Method: "GET", Path: "/v1/snapshot", Serve: a.save, Read: true, Stream: true},
		{Method: "PUT", Path: "/v1/snapshot", Serve: a.restore, Read: true},
	}}, nil
}

type handlers struct{ host *room.Host }

// save streams the archive. What goes wrong after the first byte shows as a truncated archive, which clients verify.
func (a handlers) save(r *httpd.Request) (httpd.Reply, error) {
	write, index, err := a.host.Cluster.Archive(r.Context(), room.OptionsOf(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	meta := room.Meta{Index: index, KnownLeader: true}
	return httpd.Reply{Meta: &meta, ContentType: "application/x-gzip", Gzip: true,
		Stream: func(w io.Writer, _ func()) error { return write(w) }}, nil
}

func (a handlers) restore(r *httpd.Request) (httpd.Reply, error) {
	if r.Params.Consistency == httpd.Stale {
		return httpd.Reply{}, fault.New(fault.Refused, "stale not allowed for restore")
	}
	return httpd.Reply{}, a.host.Cluster.Unarchive(r.Context(), r.HTTP.Body, room.OptionsOf(r))
}
