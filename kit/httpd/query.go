package httpd

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rostra/kit/fault"
)

// param is one pair of the query string. A few pairs in a slice cost less than the map of package url.
type param struct{ key, value string }

var errSemicolon = errors.New("invalid semicolon separator in query")

// parseQuery reads a query string by the rules of url.ParseQuery, but gives nothing back on any error.
func parseQuery(raw string) ([]param, error) {
	if raw == "" {
		return nil, nil
	}
	if strings.IndexByte(raw, ';') >= 0 {
		return nil, errSemicolon
	}
	pairs := make([]param, 0, 1+strings.Count(raw, "&"))
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		var err error
		if key, err = url.QueryUnescape(key); err != nil {
			return nil, err
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, err
		}
		pairs = append(pairs, param{key, value})
	}
	return pairs, nil
}

// first returns the first value that is not empty, of the first key that has one.
func (r *Request) first(keys ...string) string {
	for _, key := range keys {
		if v := r.Query(key); v != "" {
			return v
		}
	}
	return ""
}

// readParams fills r.Params, with the checks of conventions §5 and §7.
func (s *Server) readParams(r *Request) error {
	p := &r.Params
	p.Token = s.token(r)
	if len(r.query) > 0 {
		p.Pretty = r.Has("pretty")
		p.Datacenter = r.first("datacenter", "dc")
		p.Near = r.Query("near")
		p.Filter = r.Query("filter")
		p.NodeMeta = nodeMeta(r.QueryAll("node-meta"))
	}
	if r.route.SingleTenant {
		if err := singleTenant(r); err != nil {
			return err
		}
	}
	if !r.route.Read {
		return nil
	}
	if err := s.readConsistency(r); err != nil {
		return err
	}
	if p.Cached {
		cc, err := parseCacheControl(r.HTTP.Header["Cache-Control"])
		if err != nil {
			return err
		}
		p.CacheControl = cc
	}
	return s.readBlocking(r)
}

// token finds the caller's token in the order of conventions §6. Basic credentials are not one.
func (s *Server) token(r *Request) string {
	if t := r.Query("token"); t != "" {
		s.tokenWarning.warn(s.log, "a token was sent in the query string, use the header X-Consul-Token", "path", r.HTTP.URL.Path)
		return t
	}
	if h := r.HTTP.Header["X-Consul-Token"]; len(h) > 0 && h[0] != "" {
		return h[0]
	}
	if h := r.HTTP.Header["Authorization"]; len(h) > 0 {
		words := strings.Fields(h[0])
		if len(words) > 1 && strings.EqualFold(words[0], "bearer") {
			return words[1]
		}
	}
	if s.opts.DefaultToken != nil {
		return s.opts.DefaultToken()
	}
	return ""
}

func nodeMeta(pairs []string) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	meta := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, ":")
		meta[key] = value
	}
	return meta
}

// singleTenant refuses what only the enterprise edition understands.
func singleTenant(r *Request) error {
	for _, t := range [...]struct{ param, header, what string }{
		{"ns", "X-Consul-Namespace", "Namespaces are"},
		{"partition", "X-Consul-Partition", "Partitions are"},
	} {
		if r.Query(t.param) != "" {
			return fault.New(fault.Invalid, "Invalid query parameter: %q - %s a Consul Enterprise feature", t.param, t.what)
		}
		if h := r.HTTP.Header[t.header]; len(h) > 0 && h[0] != "" {
			return fault.New(fault.Invalid, "Invalid header: %q - %s a Consul Enterprise feature", t.header, t.what)
		}
	}
	return nil
}

// readConsistency reads stale, consistent, leader, max_stale and cached.
func (s *Server) readConsistency(r *Request) error {
	p := &r.Params
	var stale, consistent, leader bool
	if len(r.query) > 0 {
		stale, consistent, leader = r.Has("stale"), r.Has("consistent"), r.Has("leader")
		p.Cached = !s.opts.NoCache && r.Has("cached")
		if text := r.Query("max_stale"); text != "" {
			d, err := time.ParseDuration(text)
			if err != nil {
				return fault.New(fault.Invalid, "Invalid max_stale value %q", text)
			}
			if d > 0 {
				stale, p.MaxStale = true, d
			}
		}
	}
	if !stale && !consistent && !leader && r.route.Discovery && s.opts.DiscoveryMaxStale > 0 {
		stale, p.MaxStale = true, s.opts.DiscoveryMaxStale
	}
	switch {
	case stale && consistent:
		return fault.New(fault.Invalid, "Cannot specify ?stale with ?consistent, conflicting semantics.")
	case p.Cached && consistent:
		return fault.New(fault.Invalid, "Cannot specify ?cached with ?consistent, conflicting semantics.")
	case stale:
		p.Consistency = Stale
	case consistent:
		p.Consistency = Consistent
	}
	return nil
}

// readBlocking reads index and wait. Wait gets its default, its cap, and a sixteenth of itself at random, so that
// callers who began together do not return together.
func (s *Server) readBlocking(r *Request) error {
	p := &r.Params
	if len(r.query) > 0 {
		if text := r.Query("index"); text != "" {
			index, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return fault.New(fault.Invalid, "Invalid index")
			}
			p.Index = index
		}
		if text := r.Query("wait"); text != "" {
			wait, err := time.ParseDuration(text)
			if err != nil {
				return fault.New(fault.Invalid, "Invalid wait time")
			}
			p.Wait = wait
		}
	}
	if p.Wait <= 0 {
		p.Wait = s.opts.DefaultQueryTime
	}
	p.Wait = min(p.Wait, s.opts.MaxQueryTime)
	p.Wait += rand.N(p.Wait/16 + 1)
	return nil
}

var errCacheControl = fault.New(fault.Invalid, "Invalid Cache-Control header.")

// parseCacheControl reads the directives that apply to the agent's cache and ignores the others.
func parseCacheControl(headers []string) (CacheControl, error) {
	var cc CacheControl
	for _, header := range headers {
		for directive := range strings.SplitSeq(header, ",") {
			name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
			var target *time.Duration
			switch name {
			case "must-revalidate":
				cc.MustRevalidate = true
				continue
			case "max-age":
				target = &cc.MaxAge
			case "stale-if-error":
				target = &cc.StaleIfError
			default:
				continue
			}
			seconds, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return cc, errCacheControl
			}
			*target = time.Duration(seconds) * time.Second
			if name == "max-age" && seconds == 0 {
				cc.MustRevalidate = true
			}
		}
	}
	return cc, nil
}

// acceptsGzip reports whether the client takes gzip: listed, and not with a quality of zero.
func acceptsGzip(r *http.Request) bool {
	for _, header := range r.Header["Accept-Encoding"] {
		if header == "gzip" {
			return true
		}
		for coding := range strings.SplitSeq(header, ",") {
			name, params, _ := strings.Cut(coding, ";")
			if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
				continue
			}
			q, found := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q=")
			if weight, err := strconv.ParseFloat(q, 64); !found || err != nil || weight > 0 {
				return true
			}
		}
	}
	return false
}
