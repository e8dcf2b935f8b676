package kv

import (
	"fmt"
	"net/http"
	"strconv"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// web serves /v1/kv/.
type web struct {
	door     room.Door
	maxValue int64
}

func (w web) routes() []httpd.Route {
	route := func(method string, serve func(*httpd.Request) (httpd.Reply, error)) httpd.Route {
		return httpd.Route{Method: method, Path: "/v1/kv/", Serve: serve, Read: true, SingleTenant: true}
	}
	return []httpd.Route{route("GET", w.get), route("PUT", w.put), route("DELETE", w.delete)}
}

var errNoKey = fault.New(fault.Invalid, "Missing key name")

// rawHeader keeps browsers from taking a value for a page.
var rawHeader = http.Header{"X-Content-Type-Options": {"nosniff"}, "Content-Security-Policy": {"sandbox"}}

func (w web) get(r *httpd.Request) (httpd.Reply, error) {
	switch {
	case r.HTTP.URL.RawQuery == "":
	case r.Has("keys"):
		return w.names(r)
	case r.Has("recurse"):
		return w.list(r)
	}
	if r.Arg == "" {
		return httpd.Reply{}, errNoKey
	}
	answer, meta, err := w.door.Read(r.Context(), KeyQuery{r.Arg}, room.OptionsOf(r))
	switch {
	case err != nil:
		return httpd.Reply{}, err
	case answer.Missing:
		return httpd.NotFound(&meta), nil
	case r.Has("raw"):
		return httpd.Reply{Meta: &meta, Raw: answer.Value.(Found).Value, ContentType: "text/plain", Header: rawHeader}, nil
	}
	return answer.Reply(meta), nil
}

func (w web) list(r *httpd.Request) (httpd.Reply, error) {
	answer, meta, err := w.door.Read(r.Context(), ListQuery{r.Arg}, room.OptionsOf(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	if len(answer.Value.(List)) == 0 {
		return httpd.NotFound(&meta), nil
	}
	return answer.Reply(meta), nil
}

func (w web) names(r *httpd.Request) (httpd.Reply, error) {
	separator := r.Query("seperator") // the historic spelling
	if r.Has("separator") {
		separator = r.Query("separator")
	}
	answer, meta, err := w.door.Read(r.Context(), NamesQuery{r.Arg, separator}, room.OptionsOf(r))
	if err != nil {
		return httpd.Reply{}, err
	}
	if len(answer.Value.(Names)) == 0 && r.Arg != "" {
		return httpd.NotFound(&meta), nil
	}
	return answer.Reply(meta), nil
}

func (w web) put(r *httpd.Request) (httpd.Reply, error) {
	if r.Arg == "" {
		return httpd.Reply{}, errNoKey
	}
	if err := conflicting(r, "cas", "acquire", "release"); err != nil {
		return httpd.Reply{}, err
	}
	c := &Put{Op{Verb: Set, Key: r.Arg}}
	if err := number(r, "flags", &c.Op.Flags); err != nil {
		return httpd.Reply{}, err
	}
	switch {
	case r.Has("cas"):
		c.Op.Verb = CAS
	case r.Has("acquire"):
		c.Op.Verb, c.Op.Session = Lock, r.Query("acquire")
	case r.Has("release"):
		c.Op.Verb, c.Op.Session = Unlock, r.Query("release")
	}
	err := number(r, "cas", &c.Op.Index)
	if err == nil {
		c.Op.Value, err = r.Body(w.maxValue, w.tooLarge)
	}
	if err != nil {
		return httpd.Reply{}, err
	}
	return w.apply(r, c)
}

// tooLarge holds both the text of today and the one that older clients look for.
func (w web) tooLarge(size int64) string {
	how := ""
	if size >= 0 {
		how = fmt.Sprintf("(%d bytes)", size)
	}
	return fmt.Sprintf("Request body%s too large, max size: %d bytes. See https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size."+
		" Value exceeds %d byte limit", how, w.maxValue, w.maxValue)
}

func (w web) delete(r *httpd.Request) (httpd.Reply, error) {
	if err := conflicting(r, "recurse", "cas"); err != nil {
		return httpd.Reply{}, err
	}
	c := &Delete{Op{Verb: DeleteKey, Key: r.Arg}}
	switch {
	case r.Has("recurse"):
		c.Op.Verb = DeleteTree
	case r.Arg == "":
		return httpd.Reply{}, errNoKey
	case r.Has("cas"):
		c.Op.Verb = DeleteCAS
		if err := number(r, "cas", &c.Op.Index); err != nil {
			return httpd.Reply{}, err
		}
	}
	return w.apply(r, c)
}

func (w web) apply(r *httpd.Request, c room.Command) (httpd.Reply, error) {
	o := room.Options{Token: r.Params.Token, Datacenter: r.Params.Datacenter}
	done, _, err := w.door.Apply(r.Context(), c, o)
	if err != nil {
		return httpd.Reply{}, err
	}
	return httpd.Reply{Value: done}, nil
}

// conflicting refuses more than one of the given parameters.
func conflicting(r *httpd.Request, params ...string) error {
	n := 0
	for _, p := range params {
		if r.Has(p) {
			n++
		}
	}
	if n < 2 {
		return nil
	}
	return fault.New(fault.Invalid, "Conflicting flags: %s\n", r.HTTP.URL.Query().Encode())
}

// number reads a parameter that is a number, if it is there.
func number(r *httpd.Request, param string, to *uint64) error {
	if !r.Has(param) {
		return nil
	}
	n, err := strconv.ParseUint(r.Query(param), 10, 64)
	if err != nil {
		return fault.New(fault.Internal, "%v", err)
	}
	*to = n
	return nil
}
