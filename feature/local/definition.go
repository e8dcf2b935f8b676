package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
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
	Check                                      *checkInput
	Checks                                     []*checkInput
	Namespace, Partition                       string
	Proxy, Connect, Locality                   json.RawMessage
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
}

// The spellings of members: lower-cased and without underscores on the left. What is not here is unknown.
var serviceMembers = members("Name ID Address SocketPath Token Kind Tags Port TaggedAddresses Meta Weights "+
	"EnableTagOverride Check Checks Namespace Partition Proxy Connect Locality", nil)

var checkMembers = members("ID CheckID Name Notes Status ServiceID Token Args Script Shell DockerContainerID HTTP "+
	"Method Body Header DisableRedirects TCP UDP GRPC H2PING OSService TCPUseTLS GRPCUseTLS TLSSkipVerify "+
	"H2PingUseTLS AliasService AliasNode TLSServerName TTL Interval Timeout DeregisterCriticalServiceAfter "+
	"OutputMaxSize SuccessBeforePassing FailuresBeforeWarning FailuresBeforeCritical Namespace Partition",
	map[string]string{"scriptargs": "Args"})

func members(names string, aliases map[string]string) map[string]string {
	m := map[string]string{}
	for _, n := range strings.Fields(names) {
		m[strings.ToLower(n)] = n
	}
	for from, to := range aliases {
		m[from] = to
	}
	return m
}

// unknownMember is the error of a member nobody knows; callers put their own words around it.
type unknownMember string

func (u unknownMember) Error() string { return fmt.Sprintf("json: unknown field %q", string(u)) }

// readService decodes a service: a JSON object whose members may be spelled as in files or as over HTTP.
func readService(b []byte) (*serviceInput, error) {
	obj, err := rename(b, serviceMembers)
	if err != nil {
		return nil, err
	}
	if raw, ok := obj["Check"]; ok {
		if obj["Check"], err = renamed(raw, checkMembers); err != nil {
			return nil, inside("check", err)
		}
	}
	if raw, ok := obj["Checks"]; ok && string(raw) != "null" {
		if raw[0] == '{' { // in HCL one block is a list of one
			raw = append(append([]byte{'['}, raw...), ']')
		}
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		for i := range list {
			if list[i], err = renamed(list[i], checkMembers); err != nil {
				return nil, inside("checks", err)
			}
		}
		if obj["Checks"], err = json.Marshal(list); err != nil {
			return nil, err
		}
	}
	in := new(serviceInput)
	return in, decodeInto(obj, in)
}

// inside names the object in which an unknown member stands.
func inside(outer string, err error) error {
	if u, ok := err.(unknownMember); ok && u != "" {
		return u
	}
	return fmt.Errorf("%s: %w", outer, err)
}

func readCheck(b []byte) (*checkInput, error) {
	obj, err := rename(b, checkMembers)
	if err != nil {
		return nil, err
	}
	in := new(checkInput)
	return in, decodeInto(obj, in)
}

func decodeInto(obj map[string]json.RawMessage, v any) error {
	b, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// rename gives the members of a JSON object their Go names.
func rename(b []byte, names map[string]string) (map[string]json.RawMessage, error) {
	var in map[string]json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&in); err != nil {
		return nil, err
	}
	out := make(map[string]json.RawMessage, len(in))
	for k, v := range in {
		name, ok := names[strings.ReplaceAll(strings.ToLower(k), "_", "")]
		if !ok {
			return nil, unknownMember(k)
		}
		out[name] = v
	}
	return out, nil
}

func renamed(b []byte, names map[string]string) (json.RawMessage, error) {
	if string(b) == "null" {
		return b, nil
	}
	obj, err := rename(b, names)
	if err != nil {
		return nil, err
	}
	return json.Marshal(obj)
}

// row makes the catalog's record of the service, or says in Consul's words what is wrong.
func (in *serviceInput) row(node string) (*catalog.Service, error) {
	if in.Name == "" {
		return nil, fault.New(fault.Invalid, "Missing service name")
	}
	if in.Address == "0.0.0.0" || in.Address == "::" || in.Address == "[::]" {
		return nil, fault.New(fault.Invalid, "Invalid service address")
	}
	if err := catalog.CheckMeta(in.Meta, false); err != nil {
		return nil, fault.New(fault.Invalid, "Invalid Service Meta: %s", err)
	}
	s := &catalog.Service{Node: node, Kind: in.Kind, ID: in.ID, Service: in.Name, Tags: in.Tags, Address: in.Address,
		Meta: in.Meta, Port: in.Port, SocketPath: in.SocketPath, Weights: catalog.Weights{Passing: 1, Warning: 1},
		EnableTagOverride: in.EnableTagOverride}
	if s.ID == "" {
		s.ID = s.Service
	}
	if s.Tags == nil {
		s.Tags = []string{}
	}
	if s.Meta == nil {
		s.Meta = wire.Pairs{}
	}
	if in.Weights != nil {
		if err := checkWeights(*in.Weights); err != nil {
			return nil, err
		}
		s.Weights = *in.Weights
	}
	tagged, err := in.tagged()
	s.TaggedAddresses = catalog.TaggedOf(tagged)
	return s, err
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
func (in *serviceInput) tagged() (map[string]catalog.AddressView, error) {
	m := map[string]catalog.AddressView{}
	if ip, err := netip.ParseAddr(in.Address); err == nil {
		family := "ipv6"
		if ip.Unmap().Is4() {
			family = "ipv4"
		}
		m["lan_"+family] = catalog.AddressView{Address: in.Address, Port: in.Port}
		m["wan_"+family] = catalog.AddressView{Address: in.Address, Port: in.Port}
	}
	for name, a := range in.TaggedAddresses {
		ip, err := netip.ParseAddr(a.Address)
		for _, family := range []string{"ipv4", "ipv6"} {
			if strings.HasSuffix(name, "_"+family) && (err != nil || ip.Unmap().Is4() != (family == "ipv4")) {
				return nil, fault.New(fault.Refused, "Service tagged address %q must be a valid %s address", name, family)
			}
		}
		m[name] = a
	}
	return m, nil
}

// all returns the service's checks: Check, if it says anything, and then Checks.
func (in *serviceInput) all() []*checkInput {
	var list []*checkInput
	if in.Check != nil && !in.Check.empty() {
		list = append(list, in.Check)
	}
	for _, c := range in.Checks {
		if c != nil {
			list = append(list, c)
		}
	}
	return list
}

func (in *checkInput) empty() bool {
	b, err := json.Marshal(in)
	zero, _ := json.Marshal(&checkInput{})
	return err == nil && bytes.Equal(b, zero)
}

// spec makes what the runner needs. Kinds of check that this version does not run are refused by name.
func (in *checkInput) spec() (check.Spec, error) {
	for _, unbuilt := range []struct {
		set  bool
		kind string
	}{
		{in.GRPC != "", "grpc"}, {in.UDP != "", "udp"}, {in.AliasNode != "" || in.AliasService != "", "alias"},
		{in.DockerContainerID != "", "docker"}, {in.H2PING != "", "h2ping"}, {in.OSService != "", "os_service"},
	} {
		if unbuilt.set {
			return check.Spec{}, fault.New(fault.Invalid, "Invalid check: checks of type %s are not supported by this version of Rostra yet; use http, tcp, script or ttl", unbuilt.kind)
		}
	}
	s := check.Spec{Args: in.Args, Shell: in.Script, HTTP: in.HTTP, Method: in.Method, Body: in.Body, Header: in.Header,
		DisableRedirects: in.DisableRedirects, TCP: in.TCP, TCPUseTLS: in.TCPUseTLS, TLSSkipVerify: in.TLSSkipVerify,
		TLSServerName: in.TLSServerName, TTL: dur(in.TTL), Interval: dur(in.Interval), Timeout: dur(in.Timeout),
		OutputMaxSize: in.OutputMaxSize, SuccessBeforePassing: in.SuccessBeforePassing,
		FailuresBeforeWarning: in.FailuresBeforeWarning, FailuresBeforeCritical: in.FailuresBeforeCritical}
	if s.FailuresBeforeWarning == 0 {
		s.FailuresBeforeWarning = s.FailuresBeforeCritical
	}
	switch {
	case in.HTTP != "":
		s.Kind = check.HTTP
	case in.TTL > 0:
		s.Kind = check.TTL
	case in.TCP != "":
		s.Kind = check.TCP
	case len(in.Args) > 0 || in.Script != "":
		s.Kind = check.Script
	}
	if err := s.Validate(); err != nil {
		return s, fault.New(fault.Invalid, "Invalid check: %s", err)
	}
	return s, nil
}
