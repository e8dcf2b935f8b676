package httpd

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"rostra/kit/filter"
)

// Consistency is how fresh a read has to be.
type Consistency uint8

// The modes of a read: Default asks the leader, Consistent makes the leader confirm itself first, Stale asks anyone.
const (
	Default Consistency = iota
	Consistent
	Stale
)

// String returns the mode's name in X-Consul-Effective-Consistency: "leader", "consistent" or "stale".
func (c Consistency) String() string {
	switch c {
	case Consistent:
		return "consistent"
	case Stale:
		return "stale"
	}
	return "leader"
}

// Params are the parameters that many endpoints share. Those named in Route.Read are zero on other routes.
type Params struct {
	Token        string            // ?token=, X-Consul-Token, Authorization: Bearer, the agent's default; "" is anonymous
	Datacenter   string            // "" means the agent's own
	Index        uint64            // block until the answer is newer; 0 does not block
	Wait         time.Duration     // how long to block, default, cap and jitter applied: > 0 on Read routes
	Consistency  Consistency       // ?stale, ?consistent, ?max_stale or Options.DiscoveryMaxStale
	MaxStale     time.Duration     // with Stale: ask the leader instead if the answer's LastContact is longer; 0 is no bound
	Cached       bool              // ?cached, unless Options.NoCache
	CacheControl CacheControl      // of the Cache-Control header, only with Cached
	Near         string            // ?near=
	Filter       string            // ?filter= as sent; see Request.Filter
	NodeMeta     map[string]string // ?node-meta=k:v, nil when absent
	Pretty       bool              // ?pretty
}

// CacheControl are the directives of the Cache-Control header that a cached answer obeys.
type CacheControl struct {
	MaxAge         time.Duration // fetch again when older; 0 is no bound (max-age=0 sets MustRevalidate)
	StaleIfError   time.Duration // an older answer is allowed this long if fetching fails
	MustRevalidate bool          // fetch again always
}

// Request is one request as a feature sees it. It is used by one goroutine.
type Request struct {
	HTTP   *http.Request  // the request itself; its Body may be read through Body, Decode or directly, once
	Arg    string         // the decoded path after a prefix Route's Path; "" on exact Routes
	Params Params         // the shared parameters
	Filter *filter.Filter // ?filter= compiled against Route.Filter; nil if there is none

	ctx   context.Context // of a write; nil means HTTP's
	route *Route
	query []param
}

// Context ends when the work is not wanted any more. For a GET that is when the client goes away or the server stops; any
// other method goes on without its client, and when the server stops until Options.DrainTimeout has passed.
func (r *Request) Context() context.Context {
	if r.ctx != nil {
		return r.ctx
	}
	return r.HTTP.Context()
}

// Query returns the first value of a query parameter, "" if it is absent.
func (r *Request) Query(key string) string {
	for i := range r.query {
		if r.query[i].key == key {
			return r.query[i].value
		}
	}
	return ""
}

// QueryAll returns all values of a query parameter in the order sent, nil if it is absent.
func (r *Request) QueryAll(key string) []string {
	var all []string
	for i := range r.query {
		if r.query[i].key == key {
			all = append(all, r.query[i].value)
		}
	}
	return all
}

// Has reports whether a query parameter is present, even without a value.
func (r *Request) Has(key string) bool {
	for i := range r.query {
		if r.query[i].key == key {
			return true
		}
	}
	return false
}

// From returns the IP address that the request came from: the first that proxies have forwarded it for, if it is one, or its
// peer's; "" if that has none.
func (r *Request) From() string {
	first, _, _ := strings.Cut(r.HTTP.Header.Get("X-Forwarded-For"), ",")
	if ip, err := netip.ParseAddr(strings.TrimSpace(first)); err == nil {
		return ip.String()
	}
	host, _, err := net.SplitHostPort(r.HTTP.RemoteAddr)
	if err != nil {
		return "" // a unix socket
	}
	return host
}
