// Package fault holds the kinds of error that callers act on, so that a kind and its exact text survive from the place
// that found the error, over the wire, to the HTTP status a client sees. Everything that refuses a request uses it; an
// error without a fault is an internal one and becomes status 500 with its own text.
package fault

import (
	"errors"
	"fmt"
	"net/http"
)

// Kind says what a caller may do about an error. Kinds travel between machines: append, never renumber.
type Kind uint8

// The kinds. Internal is the zero value: nobody acts on it.
const (
	Internal    Kind = iota // a mistake or trouble of ours; HTTP 500
	Invalid                 // the request itself is wrong; HTTP 400
	Denied                  // the token lacks the right; HTTP 403
	NotFound                // the thing named does not exist; HTTP 404
	Method                  // the path exists, the method does not; HTTP 405
	Conflict                // the state forbids it (a transaction's operation failed); HTTP 409
	TooLarge                // a size limit bit; HTTP 413
	Busy                    // a rate or connection limit bit; HTTP 429
	Refused                 // a well-formed write that the state refuses, with Consul's status 500
	NotApplied              // a write that certainly did not happen; the door may retry it; HTTP 500
	Unknown                 // a write that may or may not have happened; never retried by us; HTTP 500
	NoLeader                // nobody can answer truthfully now; HTTP 500 "No cluster leader"
	Disabled                // the feature is switched off (ACL endpoints); HTTP 401
	Unavailable             // only the leader could do it and it is overloaded; HTTP 503
	Elsewhere               // this server's rate limit bit, another may have room; certainly not done; HTTP 429
)

// Error is a refusal with its kind and the exact text a client is shown.
type Error struct {
	Kind Kind
	Text string
}

// Error returns the text that goes to the client unchanged.
func (e *Error) Error() string { return e.Text }

// New returns an error of the given kind whose text is formatted like fmt.Sprintf.
func New(kind Kind, format string, args ...any) error {
	if len(args) == 0 {
		return &Error{kind, format}
	}
	return &Error{kind, fmt.Sprintf(format, args...)}
}

// ErrNoLeader is the answer while no server can speak for the cluster, or while this one's state is not whole.
var ErrNoLeader = New(NoLeader, "No cluster leader")

// ErrNoPath is the answer for a datacenter nobody knows.
var ErrNoPath = New(Internal, "No path to datacenter")

// KindOf returns the kind of the first fault in err's chain; Internal if there is none.
func KindOf(err error) Kind {
	var f *Error
	if errors.As(err, &f) {
		return f.Kind
	}
	return Internal
}

// Is reports whether err carries the given kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

var statuses = map[Kind]int{
	Invalid: http.StatusBadRequest, Denied: http.StatusForbidden, NotFound: http.StatusNotFound,
	Method: http.StatusMethodNotAllowed, Conflict: http.StatusConflict, TooLarge: http.StatusRequestEntityTooLarge,
	Busy: http.StatusTooManyRequests, Disabled: http.StatusUnauthorized, Elsewhere: http.StatusTooManyRequests,
	Unavailable: http.StatusServiceUnavailable,
}

// Status returns the HTTP status of err: the one table from kinds to statuses (spec http/conventions.md §4).
func Status(err error) int {
	if s, ok := statuses[KindOf(err)]; ok {
		return s
	}
	return http.StatusInternalServerError
}
