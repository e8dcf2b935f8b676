package httpd

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"rostra/kit/fault"
	"rostra/kit/filter"
)

// Server answers HTTP from a table of routes. Its methods may be called concurrently.
type Server struct {
	opts   Options
	log    *slog.Logger
	table  *table
	policy []string            // the value of X-Consul-Default-Acl-Policy
	fixed  map[string][]string // the configured headers, canonical
	conns  *conns

	hard     context.Context // ends when Serve gives up waiting for writes under way
	giveUp   context.CancelFunc
	inflight atomic.Int64

	tokenWarning, bodyWarning seldom
	failures                  failures
}

// New checks the routes and prepares a server. Two routes with the same path and method, or a route without a function,
// are errors.
func New(opts Options, routes []Route) (*Server, error) {
	opts.fill()
	t, err := newTable(routes, opts.Extra, opts.LegacyGetWrites)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, log: opts.Logger, table: t, policy: []string{opts.DefaultPolicy}, conns: newConns(&opts)}
	s.hard, s.giveUp = context.WithCancel(context.Background())
	s.fixed = make(map[string][]string, len(opts.ResponseHeaders))
	for key, value := range opts.ResponseHeaders {
		s.fixed[http.CanonicalHeaderKey(key)] = []string{value}
	}
	return s, nil
}

// Handler returns the server without its connections, for tests and for mounting elsewhere.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.handle) }

// handle answers one request and counts it. A parked request waits below it, so whatever needs a large frame is done in
// functions that have returned by then.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	s.inflight.Add(1)
	defer s.inflight.Add(-1)
	began := time.Now()
	w, answered := s.patient(w, r)
	defer answered()
	req, where, status := s.prepare(w, r)
	if req != nil {
		status = s.serve(w, req)
	}
	s.answered(r, where, status, time.Since(began))
}

func (s *Server) answered(r *http.Request, where string, status int, took time.Duration) {
	if s.opts.OnRequest != nil {
		s.opts.OnRequest(r.Method, where, status, took)
	}
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug("request answered", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr, "status", status, "took", took)
	}
}

// prepare finds who answers and reads the parameters. It returns nil if it has answered itself; where is the path of the
// table.
func (s *Server) prepare(w http.ResponseWriter, r *http.Request) (req *Request, where string, status int) {
	if !s.opts.DisableUnprintableFilter && unprintable(r.URL.Path) {
		w.WriteHeader(http.StatusBadRequest)
		return nil, "", http.StatusBadRequest
	}
	e, arg := s.table.find(r.URL.Path)
	if dirty(r.URL) || e != nil && e.redirect {
		redirect(w, r, e)
		return nil, "", http.StatusTemporaryRedirect
	}
	h := w.Header()
	for key, value := range s.fixed {
		h[key] = value
	}
	switch {
	case e == nil:
		return nil, "", writeText(w, http.StatusNotFound, unknownPath(r.URL.Path))
	case e.extra != nil:
		return nil, e.path, s.serveExtra(w, r, e)
	case e.legacy && r.Method == http.MethodGet:
		r.Method = http.MethodPut // and so it is a write to whoever asks from here on
	}
	h["X-Consul-Default-Acl-Policy"] = s.policy
	h["Vary"] = varyValue
	if s.opts.TranslateAddresses {
		h["X-Consul-Translate-Addresses"] = trueValue
	}
	req, status = s.request(w, r, e, arg)
	return req, e.path, status
}

// redirect sends the client to the path without needless segments, or with the final slash that a prefix has.
func redirect(w http.ResponseWriter, r *http.Request, e *endpoint) {
	if dirty(r.URL) {
		w.Header()["Location"] = []string{cleaned(r.URL)}
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	target := url.URL{Path: e.path, RawQuery: r.URL.RawQuery}
	http.Redirect(w, r, target.String(), http.StatusTemporaryRedirect)
}

// UnknownPath answers what an unknown path is answered with, for Extra handlers that are not always there.
func UnknownPath(w http.ResponseWriter, r *http.Request) {
	writeText(w, http.StatusNotFound, unknownPath(r.URL.Path))
}

func unknownPath(p string) string {
	if strings.Contains(p, "/v1/") {
		return "Invalid URL path: not a recognized HTTP API endpoint\n"
	}
	return "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
}

// request makes the Request for a route, or answers what no feature is asked about and returns nil.
func (s *Server) request(w http.ResponseWriter, r *http.Request, e *endpoint, arg string) (*Request, int) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return nil, http.StatusInternalServerError
	}
	if text := s.forbidden(r); text != "" {
		return nil, writeText(w, http.StatusForbidden, text)
	}
	if r.Method == http.MethodOptions && !e.any {
		w.Header()["Allow"] = e.allow
		return nil, http.StatusOK
	}
	req := &Request{HTTP: r, Arg: arg, route: e.route(r.Method), query: query}
	if req.route == nil {
		if !e.any {
			w.Header()["Allow"] = e.allow
		}
		return nil, writeText(w, http.StatusMethodNotAllowed, "method "+r.Method+" not allowed")
	}
	if err = s.readParams(req); err != nil {
		return nil, s.answer(w, req, &Reply{}, err)
	}
	if sample := req.route.Filter; sample != nil && req.Params.Filter != "" {
		if req.Filter, err = filter.Compile(req.Params.Filter, sample); err != nil {
			return nil, s.answer(w, req, &Reply{}, err)
		}
	}
	if r.Method == http.MethodGet && r.ContentLength > 0 {
		s.bodyWarning.warn(s.log, "the body of a GET request is ignored", "path", r.URL.Path)
	}
	return req, 0
}

// serve asks the feature and writes what it says.
func (s *Server) serve(w http.ResponseWriter, req *Request) int {
	if req.HTTP.Method != http.MethodGet {
		req.ctx = detached{s.hard, req.HTTP.Context()}
	}
	reply, err := s.call(req)
	return s.answer(w, req, &reply, err)
}

// detached is the context of a write: it goes on when its client has left, and is not cut short when the agent stops, but
// for a bounded time. It ends with the first and has the values of both.
type detached struct {
	context.Context
	request context.Context
}

// Value asks the context that ends first, which must be found to be the one that cancels.
func (d detached) Value(key any) any {
	if v := d.Context.Value(key); v != nil {
		return v
	}
	return d.request.Value(key)
}

// call runs the route's function. A panic there costs only this request.
func (s *Server) call(req *Request) (reply Reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked(req, p)
			reply, err = Reply{}, errPanic
		}
	}()
	return req.route.Serve(req)
}

func (s *Server) panicked(req *Request, p any) {
	s.log.Error("a request panicked", "path", req.HTTP.URL.Path, "panic", p, "stack", string(debug.Stack()))
}

var (
	errPanic    = errors.New("internal error, see the agent's log")
	errStopping = errors.New("the agent is stopping")
)

// forbidden applies block_endpoints and allow_write_http_from; "" means go on.
func (s *Server) forbidden(r *http.Request) string {
	for _, prefix := range s.opts.BlockEndpoints {
		if strings.HasPrefix(r.URL.Path, prefix) {
			return "Endpoint is blocked by agent configuration"
		}
	}
	if len(s.opts.AllowWriteFrom) == 0 {
		return ""
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return ""
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "" // a unix socket: the file's mode decides who may
	}
	for _, p := range s.opts.AllowWriteFrom {
		if p.Contains(from.Addr().Unmap().WithZone("")) {
			return ""
		}
	}
	return "Access is restricted"
}

// answer writes the reply or the error.
func (s *Server) answer(w http.ResponseWriter, r *Request, reply *Reply, err error) int {
	h := w.Header()
	if reply.Meta != nil {
		writeMeta(h, reply.Meta, r)
	}
	for key, values := range reply.Header {
		h[key] = values
	}
	if err == nil {
		var status int
		if status, err = s.write(w, r, reply); err == nil {
			return status
		}
	}
	if errors.Is(err, context.Canceled) && s.conns.stopping.Load() {
		err = errStopping
	}
	status := statusOf(err)
	if status == http.StatusRequestEntityTooLarge {
		s.conns.tell(tooLarge, r.HTTP.RemoteAddr, err.Error())
	}
	if status >= 500 && r.HTTP.Context().Err() == nil && s.failures.first(err.Error()) {
		s.log.Warn("request failed; more of the kind within a minute are not told", "method", r.HTTP.Method, "path", r.HTTP.URL.Path, "from", r.HTTP.RemoteAddr, "error", err)
	}
	return writeText(w, status, err.Error())
}

// statusOf is the table of conventions §4: texts first, because an error that came over the wire may be only a text.
func statusOf(err error) int {
	text := err.Error()
	switch {
	case strings.Contains(text, "Permission denied"), strings.Contains(text, "ACL not found"):
		return http.StatusForbidden
	case strings.Contains(text, "RPC rate limit exceeded"), text == "Rate limit reached, try again later",
		strings.Contains(text, "rate limit exceeded, try again later or against a different server"):
		return http.StatusTooManyRequests
	case strings.Contains(text, "rate limit exceeded for operation that can only be performed by the leader, try again later"):
		return http.StatusServiceUnavailable
	}
	return fault.Status(err)
}

// unprintable reports whether a decoded path holds a character that is not printable.
func unprintable(p string) bool {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c < ' ' || c == 0x7f {
			return true
		}
		if c >= utf8.RuneSelf {
			return strings.ContainsFunc(p[i:], func(r rune) bool { return !unicode.IsPrint(r) })
		}
	}
	return false
}

// dirty reports whether the path as sent has empty, "." or ".." segments. Those spelled with %2F or %2E do not count.
func dirty(u *url.URL) bool {
	p := u.RawPath
	if p == "" {
		p = u.Path
	}
	for i := 0; i+1 < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		rest := p[i+1:]
		if rest[0] == '/' || rest[0] == '.' && (rest == "." || rest == ".." || strings.HasPrefix(rest, "./") || strings.HasPrefix(rest, "../")) {
			return true
		}
	}
	return false
}

// cleaned returns the path without such segments, still escaped, and the query.
func cleaned(u *url.URL) string {
	was := u.EscapedPath()
	p := path.Clean("/" + was)
	if p != "/" && (strings.HasSuffix(was, "/") || strings.HasSuffix(was, "/.") || strings.HasSuffix(was, "/..")) {
		p += "/"
	}
	if u.RawQuery != "" {
		p += "?" + u.RawQuery
	}
	return p
}
