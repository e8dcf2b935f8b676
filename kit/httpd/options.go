package httpd

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the settings of a Server. The zero value of each field is usable and means what its comment says.
type Options struct {
	Logger *slog.Logger // nil: silent

	DefaultPolicy      string            // sent as X-Consul-Default-ACL-Policy; "" is "allow"
	ResponseHeaders    map[string]string // http_config.response_headers, added to every response but 307s and unprintable paths
	TranslateAddresses bool              // sends X-Consul-Translate-Addresses: true under /v1/
	AlwaysPretty       bool              // indent all JSON, as agents in -dev mode do

	DisableUnprintableFilter bool // disable_http_unprintable_char_filter

	Access

	MaxConnsPerClient int           // limits.http_max_conns_per_client; 0: no limit. Unix sockets are not limited
	MaxHeaderBytes    int           // http_config.max_header_bytes; 0: Go's 1 MiB
	HandshakeTimeout  time.Duration // limits.https_handshake_timeout; 0: 5 s
	Patience          time.Duration // for a request's headers, for more of its body, and for a client to take more of its answer; 0: 30 s
	DrainTimeout      time.Duration // how long Serve waits for requests under way when it ends; 0: 3 s

	DefaultQueryTime  time.Duration // ?wait when absent; 0: 300 s
	MaxQueryTime      time.Duration // cap of ?wait; 0: 600 s
	DiscoveryMaxStale time.Duration // discovery_max_stale, for Routes with Discovery; 0: off
	NoCache           bool          // http_config.use_cache=false: ?cached is ignored

	// DefaultToken gives the agent's own token for requests without one. nil: they are anonymous.
	DefaultToken func() string

	// Extra are handlers for paths outside the route table, like "/debug/pprof/" and "/ui/" (prefixes, as they end in
	// "/") or "/", which is only the root itself. They see the request unchanged.
	Extra map[string]http.Handler

	// Context gives the requests of a connection what their contexts are to carry. nil: nothing.
	Context func(ctx context.Context, from net.Addr) context.Context

	// OnRequest is called after each answer with the Path of the Route ("" for none). nil: nobody wants to know.
	OnRequest func(method, path string, status int, took time.Duration)
}

// Access says what clients may ask, whoever they are.
type Access struct {
	BlockEndpoints  []string       // http_config.block_endpoints: path prefixes answered with 403
	AllowWriteFrom  []netip.Prefix // http_config.allow_write_http_from; empty: everyone; unix sockets always may
	LegacyGetWrites bool           // rostra.legacy_get_writes: writes that Consul 0.6 took by GET, Route.Legacy, are taken so
}

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DefaultPolicy == "" {
		o.DefaultPolicy = "allow"
	}
	for _, d := range [...]struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.HandshakeTimeout, 5 * time.Second},
		{&o.Patience, 30 * time.Second},
		{&o.DrainTimeout, 3 * time.Second},
		{&o.DefaultQueryTime, 300 * time.Second},
		{&o.MaxQueryTime, 600 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
}

// seldom lets a warning through at most once a minute: clients cause it, so they must not be able to fill the log.
type seldom struct{ next atomic.Int64 }

func (s *seldom) warn(log *slog.Logger, message string, args ...any) {
	now, next := time.Now().Unix(), s.next.Load()
	if now >= next && s.next.CompareAndSwap(next, now+60) {
		log.Warn(message, args...)
	}
}

// failures lets the log tell of each kind of failure once a minute; at the level debug it has all requests. A datacenter that
// is gone, or a client that asks for nonsense, must not fill it.
type failures struct {
	mu   sync.Mutex // guards the rest
	next time.Time  // when everything is told again
	seen map[string]bool
}

// mostFailures bounds the kinds that are told apart; all others are one.
const mostFailures = 128

// first reports whether the failure is to be told.
func (f *failures) first(kind string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); !now.Before(f.next) {
		f.seen, f.next = map[string]bool{}, now.Add(time.Minute)
	}
	if !f.seen[kind] && len(f.seen) >= mostFailures {
		kind = ""
	}
	told := f.seen[kind]
	f.seen[kind] = true
	return !told
}
