// Package check runs health checks: it starts a script, asks a web address, opens a TCP connection or waits for a
// service to report in time, and turns what it sees into a status and a text. The agent's local state makes one Runner
// for each registered check. The package knows neither services nor the catalog; who is told is a function handed in.
package check

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"rostra/kit/fault"
)

// Status is the health a check reports.
type Status string

// The three statuses a check can have.
const (
	Passing  Status = "passing"
	Warning  Status = "warning"
	Critical Status = "critical"
)

// valid reports whether s is one of the three statuses.
func (s Status) valid() bool { return s == Passing || s == Warning || s == Critical }

// Kind says how a check is run; it is the Type text of a check in JSON.
type Kind string

// The kinds of check this package runs.
const (
	Script Kind = "script"
	HTTP   Kind = "http"
	TCP    Kind = "tcp"
	TTL    Kind = "ttl"
)

// What applies where a Spec says nothing, and what it cannot go below.
const (
	defaultOutputMax     = 4096             // bytes of output kept
	defaultTimeout       = 10 * time.Second // http, tcp
	defaultScriptTimeout = 30 * time.Second
	minInterval          = time.Second
)

// Spec says what to run and how to judge it. It is plain data: the zero value of a member means its default, members of
// other kinds are ignored. Args and Header must not be changed once a Runner was made from them.
type Spec struct {
	Kind Kind

	Args  []string // script: program and its arguments, run without a shell
	Shell string   // script: a command line for $SHELL (or /bin/sh) -c; used if Args is empty

	HTTP             string // http: the address to ask
	Method           string // http: default GET
	Body             string // http: sent with the request
	Header           map[string][]string
	DisableRedirects bool // http: judge a redirect itself (critical) instead of following it

	TCP       string // tcp: host:port; every address of the host is tried
	TCPUseTLS bool   // tcp: healthy only after a TLS handshake

	TLSSkipVerify bool   // http, tcp: accept any certificate
	TLSServerName string // http, tcp: name asked for and expected; default the host dialled

	TTL       time.Duration // ttl: how long an update counts
	Remaining time.Duration // ttl: what is left of TTL at the start (a restored check); 0 or more than TTL: all of it
	Interval  time.Duration // the others: from the end of one run to the start of the next; below 1 s counts as 1 s
	Timeout   time.Duration // the others: of a whole run; default 30 s for script, 10 s for http and tcp

	OutputMaxSize int // bytes of output kept; 0 = 4096

	// How many results in a row it takes to change the status; 0 and 1 are the same. FailuresBeforeWarning 0 means
	// FailuresBeforeCritical, that is, no warning in between. The first result of a Runner always counts. Not for ttl.
	SuccessBeforePassing, FailuresBeforeWarning, FailuresBeforeCritical int
}

// Validate returns nil if the Spec can be run, else a fault.Invalid with Consul's text, which the API prefixes with
// "Invalid check: ".
func (s Spec) Validate() error {
	runs := s.Kind == Script || s.Kind == HTTP || s.Kind == TCP
	switch {
	case !runs && s.Kind != TTL && s.Kind != "":
		return fault.New(fault.Invalid, "Check type %q is not supported", string(s.Kind))
	case s.Interval > 0 && s.TTL > 0:
		return fault.New(fault.Invalid, "Interval and TTL cannot both be specified")
	case runs && s.Interval <= 0:
		return fault.New(fault.Invalid,
			"Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")
	case !runs && s.TTL <= 0: // a definition that says nothing at all counts as a TTL check
		return fault.New(fault.Invalid, "TTL must be > 0 for TTL checks")
	case s.OutputMaxSize < 0:
		return fault.New(fault.Invalid, "MaxOutputMaxSize must be positive")
	case s.FailuresBeforeWarning > s.FailuresBeforeCritical:
		return fault.New(fault.Invalid, "FailuresBeforeWarning can't be higher than FailuresBeforeCritical")
	case s.Kind == "":
		return fault.New(fault.Invalid, "Check type is missing")
	case s.Kind == Script && len(s.Args) == 0 && s.Shell == "",
		s.Kind == HTTP && s.HTTP == "", s.Kind == TCP && s.TCP == "":
		return fault.New(fault.Invalid, "Check of type %q does not say what to run", string(s.Kind))
	}
	return nil
}

// timeout returns how long a run may take.
func (s Spec) timeout() time.Duration {
	switch {
	case s.Timeout > 0:
		return s.Timeout
	case s.Kind == Script:
		return defaultScriptTimeout
	}
	return defaultTimeout
}

// outputMax returns how many bytes of output are kept.
func (s Spec) outputMax() int {
	if s.OutputMaxSize > 0 {
		return s.OutputMaxSize
	}
	return defaultOutputMax
}

// Result is what a check found.
type Result struct {
	Status Status
	Output string // bytes as the check gave them; may be cut inside a character
}

// Env is what a Runner takes from outside. The zero value works.
type Env struct {
	// Logger should carry the check's name; nil discards.
	Logger *slog.Logger
	// Rand spreads the first runs over the interval; it returns [0,1) and may be called from many goroutines.
	// nil: math/rand.
	Rand func() float64
	// Dial opens the connections of http and tcp checks and must obey ctx; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is the agent's own client configuration, used where the operator wants checks to present it
	// (enable_agent_tls_for_checks); it is cloned. nil: no certificate, the system's roots.
	TLS *tls.Config
}

// filled returns env with its defaults in place.
func (env Env) filled() Env {
	if env.Logger == nil {
		env.Logger = slog.New(slog.DiscardHandler)
	}
	if env.Rand == nil {
		env.Rand = rand.Float64
	}
	if env.Dial == nil {
		// These connections live for one request: keep-alive probes would be two system calls for nothing.
		env.Dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	return env
}

// tlsFor returns the TLS client configuration of one check.
func (env Env) tlsFor(spec Spec) *tls.Config {
	conf := &tls.Config{}
	if env.TLS != nil {
		conf = env.TLS.Clone()
	}
	conf.InsecureSkipVerify = spec.TLSSkipVerify
	if spec.TLSServerName != "" {
		conf.ServerName = spec.TLSServerName
	}
	return conf
}
