// Package check runs health checks: it starts a script, here or in a container, asks an address in one of several
// protocols, asks systemd for a unit, copies another service's health or waits for a service to report in time, and turns
// what it sees into a status and a text. The agent's local state makes one Runner for each registered check. The package
// knows neither services nor the catalog; who is told is a function handed in.
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
	Script    Kind = "script"
	HTTP      Kind = "http"
	TCP       Kind = "tcp"
	UDP       Kind = "udp"
	GRPC      Kind = "grpc"
	H2Ping    Kind = "h2ping"
	Docker    Kind = "docker"
	OSService Kind = "os_service"
	TTL       Kind = "ttl"
	Alias     Kind = "alias"
)

// kinds says of each kind how it is made and what its Spec needs.
var kinds = map[Kind]struct {
	probe   func(Spec, Env) func(context.Context) Result // makes what one run calls; nil: it does not run at intervals
	target  bool                                         // it needs a Target
	command bool                                         // it needs Args or Command
}{
	Script:    {newScript, false, true},
	HTTP:      {newHTTP, true, false},
	TCP:       {newTCP, true, false},
	UDP:       {newUDP, true, false},
	GRPC:      {newGRPC, true, false},
	H2Ping:    {newH2Ping, true, false},
	Docker:    {newDocker, true, true},
	OSService: {newOSService, true, false},
	TTL:       {},
	Alias:     {},
}

// What applies where a Spec says nothing, and what it cannot go below.
const (
	defaultOutputMax = 4096             // bytes of output kept
	defaultTimeout   = 10 * time.Second // of what asks over a network
	localTimeout     = 30 * time.Second // script, os_service
	minInterval      = time.Second
)

// Spec says what to run and how to judge it. It is plain data: the zero value of a member means its default, members of
// other kinds are ignored. Args and Header must not be changed once a Runner was made from them.
type Spec struct {
	Kind Kind

	// Target is what is asked: http: an address (URL); tcp, udp, h2ping: host:port, every address of the host is tried;
	// grpc: host:port or host:port/service; docker: a container's ID or name; os_service: a systemd unit, ".service" may
	// be left out.
	Target string
	UseTLS bool // tcp, grpc, h2ping: speak TLS

	Args    []string // script, docker: program and its arguments, run without a shell
	Command string   // script, docker: a command line for the shell; used if Args is empty
	Shell   string   // the shell of Command; default for script $SHELL or /bin/sh, for docker the container's /bin/sh

	Method           string // http: default GET
	Body             string // http: sent with the request
	Header           map[string][]string
	DisableRedirects bool // http: judge a redirect itself (critical) instead of following it

	TLSSkipVerify bool   // http, tcp, grpc, h2ping: accept any certificate
	TLSServerName string // http, tcp, grpc, h2ping: name asked for and expected; default the host dialled

	TTL       time.Duration // ttl: how long an update counts
	Remaining time.Duration // ttl: what is left of TTL at the start (a restored check); 0 or more than TTL: all of it
	Interval  time.Duration // what runs: from the end of one run to the start of the next; below 1 s counts as 1 s
	Timeout   time.Duration // what runs: of a whole run; default 30 s for script and os_service, none for docker, else 10 s

	OutputMaxSize int // bytes of output kept; 0 = 4096

	// How many results in a row it takes to change the status; 0 and 1 are the same. FailuresBeforeWarning 0 means
	// FailuresBeforeCritical, that is, no warning in between. The first result of a Runner always counts. Not for ttl
	// and alias.
	SuccessBeforePassing, FailuresBeforeWarning, FailuresBeforeCritical int
}

// Validate returns nil if the Spec can be run, else a fault.Invalid with Consul's text, which the API prefixes with
// "Invalid check: ".
func (s Spec) Validate() error {
	kind, known := kinds[s.Kind]
	switch {
	case !known && s.Kind != "":
		return fault.New(fault.Invalid, "Check type %q is not supported", string(s.Kind))
	case s.Kind == Alias && s.Interval != 0:
		return fault.New(fault.Invalid, "Interval cannot be set for Alias checks")
	case s.Kind == Alias && s.TTL != 0:
		return fault.New(fault.Invalid, "TTL must be not be set for Alias checks")
	case s.Interval > 0 && s.TTL > 0:
		return fault.New(fault.Invalid, "Interval and TTL cannot both be specified")
	case kind.probe != nil && s.Interval <= 0:
		return fault.New(fault.Invalid,
			"Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")
	case kind.probe == nil && s.Kind != Alias && s.TTL <= 0: // a definition that says nothing at all counts as a TTL check
		return fault.New(fault.Invalid, "TTL must be > 0 for TTL checks")
	case s.OutputMaxSize < 0:
		return fault.New(fault.Invalid, "MaxOutputMaxSize must be positive")
	case s.FailuresBeforeWarning > s.FailuresBeforeCritical:
		return fault.New(fault.Invalid, "FailuresBeforeWarning can't be higher than FailuresBeforeCritical")
	case s.Kind == "":
		return fault.New(fault.Invalid, "Check type is missing")
	case kind.command && len(s.Args) == 0 && s.Command == "", kind.target && s.Target == "":
		return fault.New(fault.Invalid, "Check of type %q does not say what to run", string(s.Kind))
	}
	return nil
}

// timeout returns how long a run may take; 0: as long as it likes.
func (s Spec) timeout() time.Duration {
	switch {
	case s.Timeout > 0:
		return s.Timeout
	case s.Kind == Docker:
		return 0
	case s.Kind == Script || s.Kind == OSService:
		return localTimeout
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

// program returns what a script or docker check runs; shell is the default one.
func (s Spec) program(shell string) []string {
	if len(s.Args) > 0 {
		return s.Args
	}
	if s.Shell != "" {
		shell = s.Shell
	}
	return []string{shell, "-c", s.Command}
}

// Result is what a check found.
type Result struct {
	Status Status
	Output string // bytes as the check gave them; may be cut inside a character
}

// Env is what a Runner takes from outside. The zero value works, but for alias.
type Env struct {
	// Logger should carry the check's name; nil discards.
	Logger *slog.Logger
	// Rand spreads the first runs over the interval; it returns [0,1) and may be called from many goroutines.
	// nil: math/rand.
	Rand func() float64
	// Dial opens the connections of all kinds but os_service and must obey ctx; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS returns the agent's own client configuration, used where the operator wants checks to present it
	// (enable_agent_tls_for_checks). It is asked at every run, and what it returns is cloned; the same pointer means that
	// nothing has changed. nil: no certificate, the system's roots.
	TLS func() *tls.Config
	// Follow is an alias check: it tells every result it finds, one at a time, until ctx ends, and then returns.
	Follow func(ctx context.Context, tell func(Result))
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
	if env.TLS == nil {
		env.TLS = func() *tls.Config { return nil }
	}
	return env
}

// tlsFor returns the TLS client configuration of one check, made of base, which may be nil.
func tlsFor(base *tls.Config, spec Spec) *tls.Config {
	conf := &tls.Config{}
	if base != nil {
		conf = base.Clone()
	}
	conf.InsecureSkipVerify = spec.TLSSkipVerify
	if spec.TLSServerName != "" {
		conf.ServerName = spec.TLSServerName
	}
	return conf
}

// tlsTo is tlsFor a connection to host:port.
func (env Env) tlsTo(address string, spec Spec) *tls.Config {
	conf := tlsFor(env.TLS(), spec)
	if host, _, err := net.SplitHostPort(address); err == nil && conf.ServerName == "" {
		conf.ServerName = host
	}
	return conf
}

// limited bounds a run by the Spec's timeout.
func (s Spec) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if d := s.timeout(); d > 0 {
		return context.WithTimeout(ctx, d)
	}
	return context.WithCancel(ctx)
}
