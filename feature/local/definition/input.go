package definition

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"rostra/engine/check"
	"rostra/feature/catalog"
	"rostra/kit/fault"
	"rostra/kit/wire"
)

// serviceInput is a service as people define it: in files, in which keys are written with underscores, and over HTTP.
type serviceInput struct {
	Name, ID, Address, SocketPath, Token, Kind string
	Tags                                       []string
	Port                                       int
	TaggedAddresses                            map[string]catalog.AddressView
	Meta                                       wire.Pairs
	Weights                                    *catalog.Weights
	EnableTagOverride                          bool
	Check                                      struct{} // stands before those of Checks
	Checks                                     []*checkInput
	Namespace, Partition                       string
	Proxy, Connect, Locality                   json.RawMessage

	spelling
}

// checkInput is a check as people define it.
type checkInput struct {
	ID, CheckID, Name, Notes, Status, ServiceID, Token string
	Args                                               []string
	Script, Shell, DockerContainerID                   string
	HTTP, Method, Body                                 string
	Header                                             map[string][]string
	DisableRedirects                                   bool
	TCP, UDP, GRPC, H2PING, OSService                  string
	TCPUseTLS, GRPCUseTLS, TLSSkipVerify               bool
	H2PingUseTLS                                       *bool
	AliasService, AliasNode, TLSServerName             string
	TTL, Interval, Timeout                             wire.Duration
	DeregisterCriticalServiceAfter                     wire.Duration
	OutputMaxSize                                      int
	SuccessBeforePassing                               int
	FailuresBeforeWarning, FailuresBeforeCritical      int
	Namespace, Partition                               string

	spelling
	bare  []bare          // the durations without a unit
	raw   json.RawMessage // as it was written
	place string          // where in its service's definition: "check", "checks.1"
	first bool            // it is the one under check, which counts only if it says something
}

var (
	serviceMembers = membersOf(reflect.TypeFor[serviceInput](), nil)
	checkType      = reflect.TypeFor[checkInput]()
	durationType   = reflect.TypeFor[wire.Duration]()
	checkMembers   = membersOf(checkType, map[string]string{"scriptargs": "args"})
)

// row makes the catalog's record of the service, and says in Consul's words all that is wrong.
func (in *serviceInput) row(node string) (*catalog.Service, mistakes) {
	s := &catalog.Service{Node: node, Kind: in.Kind, ID: in.id(), Service: in.Name, Tags: in.Tags, Address: in.Address,
		Meta: in.Meta, Port: in.Port, SocketPath: in.SocketPath, Weights: catalog.Weights{Passing: 1, Warning: 1},
		EnableTagOverride: in.EnableTagOverride}
	if s.Tags == nil {
		s.Tags = []string{}
	}
	if s.Meta == nil {
		s.Meta = wire.Pairs{}
	}
	if in.Weights != nil {
		s.Weights = *in.Weights
	}
	tagged, wrong := in.tagged()
	s.SetTagged(tagged)
	return s, append(in.wrong(), wrong...)
}

// wrong finds what is wrong with the service, but for its tagged addresses and checks.
func (in *serviceInput) wrong() (all mistakes) {
	refuse := func(path, mend, text string, args ...any) {
		all = append(all, mistake{path, mended{fault.New(fault.Invalid, text, args...), mend}})
	}
	if in.Name == "" {
		refuse("", "add a name", "Missing service name")
	}
	if in.Address == "0.0.0.0" || in.Address == "::" || in.Address == "[::]" {
		refuse(in.key("Address"), fmt.Sprintf("nobody can reach %s; write the one to be found at, or leave it out for the agent's", in.Address), "Invalid service address")
	}
	if in.SocketPath != "" && (in.Address != "" || in.Port != 0) {
		refuse(in.key("SocketPath"), "keep one of them", "Validation failed: SocketPath cannot be set beside Address or Port")
	}
	if err := catalog.CheckMeta(in.Meta, false); err != nil {
		all = append(all, mistake{in.key("Meta"), fault.New(fault.Invalid, "Invalid Service Meta: %s", err)})
	}
	if in.Weights != nil {
		if err := checkWeights(*in.Weights); err != nil {
			all = append(all, mistake{in.key("Weights"), err})
		}
	}
	return all
}

func checkWeights(w catalog.Weights) error {
	switch {
	case w.Passing < 1:
		return fault.New(fault.Invalid, "Invalid Weights: Passing must be greater than 0")
	case w.Warning < 0:
		return fault.New(fault.Invalid, "Invalid Weights: Warning must be greater or equal than 0")
	case w.Passing > 65535 || w.Warning > 65535:
		return fault.New(fault.Invalid, "Invalid Weights: DNS Weight must be between 0 and 65535")
	}
	return nil
}

// tagged adds the addresses that follow from an IP address to those that were given.
func (in *serviceInput) tagged() (_ map[string]catalog.AddressView, wrong mistakes) {
	m := map[string]catalog.AddressView{}
	if ip, err := netip.ParseAddr(in.Address); err == nil {
		family := "ipv6"
		if ip.Unmap().Is4() {
			family = "ipv4"
		}
		m["lan_"+family] = catalog.AddressView{Address: in.Address, Port: in.Port}
		m["wan_"+family] = catalog.AddressView{Address: in.Address, Port: in.Port}
	}
	for _, name := range slices.Sorted(maps.Keys(in.TaggedAddresses)) {
		a := in.TaggedAddresses[name]
		ip, err := netip.ParseAddr(a.Address)
		for _, family := range []string{"ipv4", "ipv6"} {
			if strings.HasSuffix(name, "_"+family) && (err != nil || ip.Unmap().Is4() != (family == "ipv4")) {
				wrong = append(wrong, mistake{in.key("TaggedAddresses") + "." + name,
					fault.New(fault.Refused, "Service tagged address %q must be a valid %s address", name, family)})
			}
		}
		m[name] = a
	}
	return m, wrong
}

// id is the service's ID: its name, if none is given.
func (in *serviceInput) id() string {
	if in.ID != "" {
		return in.ID
	}
	return in.Name
}

// mesh reports whether the definition asks for a part in the service mesh, which this version does not have.
func (in *serviceInput) mesh() bool {
	return in.Kind != "" || wire.Says(in.Proxy) || wire.Says(in.Connect) || wire.Says(in.Locality)
}

// empty reports whether the check says nothing at all.
func (in *checkInput) empty() bool {
	bare := *in
	bare.raw, bare.place, bare.first, bare.spelling = nil, "", false, nil
	if len(bare.Args) == 0 {
		bare.Args = nil
	}
	if len(bare.Header) == 0 {
		bare.Header = nil
	}
	return reflect.ValueOf(bare).IsZero()
}

// script returns the member that says which program the check runs, as it was spelled; "" if it runs none.
func (in *checkInput) script() string {
	switch {
	case len(in.Args) > 0:
		return in.key("Args")
	case in.Script != "":
		return in.key("Script")
	}
	return ""
}

// kind returns how the check is run and what it asks. If a definition has members of several kinds, the order is that of
// spec http/agent.md.
func (in *checkInput) kind() (kind check.Kind, target string, useTLS bool) {
	switch alias := in.AliasNode != "" || in.AliasService != ""; {
	case in.GRPC != "":
		return check.GRPC, in.GRPC, in.GRPCUseTLS
	case in.HTTP != "":
		return check.HTTP, in.HTTP, false
	case in.TTL > 0 && !alias: // both is an error, not a choice
		return check.TTL, "", false
	case in.TCP != "":
		return check.TCP, in.TCP, in.TCPUseTLS
	case in.UDP != "":
		return check.UDP, in.UDP, false
	case alias:
		return check.Alias, "", false
	case in.DockerContainerID != "":
		return check.Docker, in.DockerContainerID, false
	case in.script() != "":
		return check.Script, "", false
	case in.H2PING != "":
		return check.H2Ping, in.H2PING, in.H2PingUseTLS == nil || *in.H2PingUseTLS
	case in.OSService != "":
		return check.OSService, in.OSService, false
	}
	return "", "", false
}

// spec makes what the runner needs.
func (in *checkInput) spec() (check.Spec, error) {
	kind, target, useTLS := in.kind()
	s := check.Spec{Kind: kind, Target: target, UseTLS: useTLS, Args: in.Args, Command: in.Script, Shell: in.Shell,
		Method: in.Method, Body: in.Body, Header: in.Header, DisableRedirects: in.DisableRedirects,
		TLSSkipVerify: in.TLSSkipVerify, TLSServerName: in.TLSServerName, TTL: dur(in.TTL), Interval: dur(in.Interval),
		Timeout: dur(in.Timeout), OutputMaxSize: in.OutputMaxSize, SuccessBeforePassing: in.SuccessBeforePassing,
		FailuresBeforeWarning: in.FailuresBeforeWarning, FailuresBeforeCritical: in.FailuresBeforeCritical}
	if s.FailuresBeforeWarning == 0 {
		s.FailuresBeforeWarning = s.FailuresBeforeCritical
	}
	if err := s.Validate(); err != nil {
		return s, fault.New(fault.Invalid, "Invalid check: %s", err)
	}
	return s, nil
}
