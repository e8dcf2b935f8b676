// Package httpd is the HTTP kit: it turns a table of routes into a server that behaves alike on every path. It cleans
// paths, answers 404, 405 and OPTIONS, reads the parameters that many endpoints share, writes headers, JSON, gzip and
// error texts, limits connections and ends in bounded time. It knows no feature, and a feature never sees a
// ResponseWriter: it returns a Reply or an error.
package httpd

// Route is one path and one method of it. Several Routes may share a Path; the order in which they are given to New is
// the order of the methods in Allow.
type Route struct {
	// Method is "GET", "PUT", …; "" sends every method except HEAD to Serve, which then answers OPTIONS and unsuited
	// methods itself. A Path with a Route without Method has no other Route.
	Method string

	// Path is exact ("/v1/agent/self"), or, when it ends in "/", a prefix ("/v1/kv/") whose decoded rest is
	// Request.Arg. The longest prefix wins, an exact Path before any prefix.
	Path string

	// Serve answers one request. It may block as long as the request's context lives. A Reply returned with an error
	// contributes its Meta and Header. Serve runs concurrently with itself.
	Serve func(*Request) (Reply, error)

	// Read makes httpd parse and check index, wait, stale, consistent, leader, max_stale, cached and Cache-Control
	// before Serve; bad values are answered with 400.
	Read bool

	// Effective sends X-Consul-Effective-Consistency with every Reply that has a Meta.
	Effective bool

	// SingleTenant refuses the enterprise parameters ns and partition and their headers with 400.
	SingleTenant bool

	// Discovery marks a read to which Options.DiscoveryMaxStale applies.
	Discovery bool

	// Stream allows Serve to set Reply.Stream.
	Stream bool

	// Legacy marks a PUT that Consul 0.6 did by whatever method: with Options.LegacyGetWrites a GET does it, too. The
	// path has no GET of its own.
	Legacy bool

	// Filter is a zero value of what List.Item returns (a struct or a pointer to one), or nil if ?filter= is ignored
	// here. The expression is checked against it before Serve and then applied to a Reply whose Value is a List; for
	// any other Value Serve applies Request.Filter itself.
	Filter any
}
