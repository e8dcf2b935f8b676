package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rostra/config"
	"rostra/engine/room"
	"rostra/engine/server"
)

// read reads the configuration as one agent would and says whether it could start with it, as far as that can be told
// without starting one. The error has one line for each thing that is wrong, with its place and key.
func read(features []room.Room, from config.Input) (*settings, *config.Loaded, error) {
	conf := newSettings(features)
	loaded, err := config.Load(from, conf.all()...)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return nil, nil, err // of the command line
	}
	var all []error
	for _, p := range problems {
		all = append(all, p.Err)
	}
	if !problems.Unread() { // else much would only seem to be missing
		for _, err := range check(conf, loaded) {
			if key := keyOf(err); key == "" || !problems.About(key) {
				all = append(all, placed(err, loaded))
			}
		}
	}
	if len(all) > 0 {
		return nil, loaded, errors.Join(all...)
	}
	return conf, loaded, nil
}

// check refuses configurations that no agent could start with. The errors begin with the key, if they are about one.
func check(conf *settings, loaded *config.Loaded) []error {
	s := conf.agent
	var all []error
	add := func(err error) { all = append(all, single(err)...) }
	if !loaded.Dev && s.DataDir == "" {
		add(errNoDir)
	}
	add(s.servers(loaded.Dev))
	if s.Zone != "" && s.Region == "" {
		add(errors.New("locality.zone: a zone lies in a region: set locality.region, too"))
	}
	add(s.ports(loaded.Origin))
	_, err := parseLevel(s.LogLevel)
	add(err)
	add(s.Outlets.check())
	_, _, err = s.TLS.conf()
	add(err)
	if _, _, err := s.TLS.https(); s.HTTPSPort > 0 {
		add(err)
	}
	_, err = s.Unix.owner()
	add(err)
	_, err = prefixes(s.WriteFrom)
	add(err)
	add(s.Limits.check())
	if s.RejoinAge < leastAge {
		add(fmt.Errorf("server_rejoin_age_max: %v is too short; use %v or more", s.RejoinAge, leastAge))
	}
	add(conf.ui.Check())
	_, err = nodeMeta(s)
	add(err)
	add(checkNodeID(s.NodeID))
	add(s.listens())
	_, err = identity(s, conf.dns.Domain, "", loaded.Dev)
	add(err)
	add(conf.dns.Check(s.Datacenter))
	for _, group := range conf.all() {
		add(noNegative(reflect.ValueOf(group).Elem()))
	}
	for _, group := range conf.rooms {
		if c, ok := group.(interface{ Check() error }); ok {
			add(c.Check())
		}
	}
	add(s.Gossip.check(s.Server))
	return slices.CompactFunc(all, func(a, b error) bool { return a.Error() == b.Error() })
}

// single takes joined errors apart.
func single(err error) (all []error) {
	list, joined := err.(interface{ Unwrap() []error })
	switch {
	case joined:
		for _, one := range list.Unwrap() {
			all = append(all, single(one)...)
		}
	case err != nil:
		all = []error{err}
	}
	return all
}

// errNoDir is about data_dir, which stands nowhere then.
var errNoDir = errors.New("data_dir cannot be empty; set -data-dir, or use -dev to keep everything in memory")

// servers refuses what no server, or no agent that is none, could obey.
func (s *Settings) servers(dev bool) error {
	var all []error
	refuse := func(wrong bool, text string) {
		if wrong {
			all = append(all, errors.New(text))
		}
	}
	refuse(s.Bootstrap && !s.Server, "bootstrap: 'bootstrap = true' requires 'server = true'")
	refuse(s.Expect > 0 && !s.Server, "bootstrap_expect: 'bootstrap_expect > 0' requires 'server = true'")
	refuse(s.Bootstrap && s.Expect > 0, "bootstrap_expect: 'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive")
	refuse(s.Expect > 0 && dev, "bootstrap_expect: 'bootstrap_expect > 0' does nothing with -dev, which is a cluster of its own")
	refuse(s.RaftMultiplier < 1 || s.RaftMultiplier > 10,
		fmt.Sprintf("performance.raft_multiplier: it must be between 1 and 10, not %d", s.RaftMultiplier))
	return errors.Join(all...)
}

// ports refuses numbers that are no ports, and addresses that two are to listen at; then the key is one that somebody set, if
// one of the two is, as origin says.
func (s *Settings) ports(origin func(key string) string) error {
	var all []error
	own, lan, wan := s.BindAddr, orElse(s.Gossip.LANBind, s.BindAddr), orElse(s.Gossip.WANBind, s.BindAddr)
	type listener struct{ key, name string }
	taken := map[string]listener{}
	for _, p := range []struct {
		key, name, at string
		port          int
		needed        bool
	}{
		{"ports.dns", "DNS", orElse(s.DNSAddr, s.ClientAddr), s.DNSPort, false},
		{"ports.http", "HTTP", orElse(s.HTTPAddr, s.ClientAddr), s.HTTPPort, false},
		{"ports.https", "HTTPS", orElse(s.HTTPSAddr, s.ClientAddr), s.HTTPSPort, false},
		{"ports.server", "Server RPC", own, s.ServerPort, s.Server},
		{"ports.serf_lan", "Serf LAN", lan, s.SerfLANPort, true},
		{"ports.serf_wan", "Serf WAN", wan, s.SerfWANPort, false},
	} {
		switch {
		case p.port > 65535:
			all = append(all, fmt.Errorf("%s: %d is no port; use one up to 65535", p.key, p.port))
		case p.port <= 0 && p.needed:
			all = append(all, fmt.Errorf("%s: %d is no port, and there must be one; use one up to 65535", p.key, p.port))
		}
		if p.port <= 0 || !s.Server && (p.key == "ports.server" || p.key == "ports.serf_wan") {
			continue
		}
		for _, ip := range addresses(p.at) {
			at := net.JoinHostPort(ip, strconv.Itoa(p.port))
			if first, twice := taken[at]; twice && !strings.HasPrefix(ip, "unix:") {
				key := p.key
				if origin(key) == "default" {
					key = first.key
				}
				all = append(all, fmt.Errorf("%s: %s address %s already configured for %s; give one of them another port or address", key, p.name, at, first.name))
			}
			taken[at] = listener{p.key, p.name}
		}
	}
	return errors.Join(all...)
}

// listens refuses addresses that nobody can listen at.
func (s *Settings) listens() error {
	var all []error
	for _, l := range []struct{ key, list string }{{"client_addr", s.ClientAddr}, {"addresses.dns", s.DNSAddr}, {"addresses.http", s.HTTPAddr}, {"addresses.https", s.HTTPSAddr}} {
		for _, at := range addresses(l.list) {
			path, unix := strings.CutPrefix(at, "unix://")
			switch {
			case unix && path != "" && l.key != "addresses.dns":
			case unix && path != "":
				all = append(all, noUnixDNS(at))
			default:
				if _, err := netip.ParseAddr(at); err != nil {
					all = append(all, fmt.Errorf("%s: %q is neither an IP address nor unix:///path; host names are not looked up", l.key, at))
				}
			}
		}
	}
	if unix := "unix://"; s.DNSPort > 0 && s.DNSAddr == "" && strings.Contains(s.ClientAddr, unix) {
		all = append(all, noUnixDNS(s.ClientAddr))
	}
	return errors.Join(all...)
}

func noUnixDNS(at string) error {
	return fmt.Errorf("addresses.dns: DNS address cannot be a unix socket (%s): set it to IP addresses, or ports.dns to -1", at)
}

// prefixes reads the networks that may write over HTTP.
func prefixes(list []string) (all []netip.Prefix, err error) {
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("http_config.allow_write_http_from: %q is no network; write one like 10.0.0.0/8", text)
		}
		all = append(all, p)
	}
	return all, nil
}

// noNegative refuses numbers and durations below zero in a settings struct: they mean something for ports
// and for fields tagged as signed alone.
func noNegative(group reflect.Value) error {
	var all []error
	for i := range group.NumField() {
		key, field := group.Type().Field(i).Tag.Get("key"), group.Field(i)
		if key == "" && field.Kind() == reflect.Struct {
			all = append(all, noNegative(field))
		}
		if field.CanInt() && field.Int() < 0 && !strings.HasPrefix(key, "ports.") && group.Type().Field(i).Tag.Get("signed") == "" {
			all = append(all, fmt.Errorf("%s: %v cannot be negative; leave it out for the default", key, field))
		}
		if ttls, ok := field.Interface().(map[string]time.Duration); ok {
			for name, ttl := range ttls {
				if ttl < 0 {
					all = append(all, fmt.Errorf("%s: %v of %q cannot be negative", key, ttl, name))
				}
			}
		}
	}
	return errors.Join(all...)
}

// warnings returns what somebody should look at, one line each.
func warnings(conf *settings, loaded *config.Loaded) []string {
	list := slices.Clone(loaded.Warnings)
	s := conf.agent
	note := func(key, text string, args ...any) {
		list = append(list, loaded.Origin(key)+": "+key+": "+fmt.Sprintf(text, args...))
	}
	if name := strings.TrimSpace(s.NodeName); strings.ContainsFunc(name, notInNames) || len(name) > maxLabel {
		note("node_name", "%q cannot be asked for over DNS: use letters, digits and dashes, %d at most", name, maxLabel)
	}
	if strings.ContainsFunc(s.Datacenter, notInNames) || len(s.Datacenter) > maxLabel {
		note("datacenter", "%q cannot be asked for over DNS: use letters, digits and dashes, %d at most", s.Datacenter, maxLabel)
	}
	if s.ClientAddr == "" {
		note("client_addr", "it is empty: HTTP and DNS are only there where addresses.* names an address")
	}
	switch {
	case s.Server && s.Limits.Rate > 0:
		note("limits.rpc_rate", "it bounds what client agents ask; a server is bounded by limits.request_limits")
	case !s.Server && s.Limits.Mode != server.LimitsDisabled:
		note("limits.request_limits.mode", "it bounds what servers do; a client agent is bounded by limits.rpc_rate")
	}
	switch {
	case s.Expect == 1:
		note("bootstrap_expect", "1 is the same as bootstrap = true: a cluster of one server, which nobody replaces when it fails")
	case s.Expect == 2:
		note("bootstrap_expect", "a cluster of 2 servers stands still as soon as one fails: take 3")
	case s.Expect > 0 && s.Expect%2 == 0:
		note("bootstrap_expect", "a cluster of %d servers may lose no more of them than one of %d", s.Expect, s.Expect-1)
	}
	if conf.ui.Enabled {
		list = append(list, loaded.Origin("ui_config.enabled")+": ui_config.enabled: this version of Rostra has no web pages of its own; name a directory of some in ui_config.dir")
	}
	if conf.agent.uncertified() {
		list = append(list, loaded.Origin("ports.https")+": ports.https: HTTPS needs a certificate, tls.https.cert_file and key_file; the port is not opened")
	}
	return list
}

// doubts returns what would be said, or would go wrong, when an agent starts here with a configuration that is valid, one
// line each: its files may be meant for another machine.
func doubts(conf *settings, loaded *config.Loaded) (list []string) {
	_, err := conf.agent.TLS.load()
	if conf.agent.HTTPSPort > 0 && !conf.agent.uncertified() {
		_, https := conf.agent.TLS.loadHTTPS()
		err = errors.Join(err, https)
	}
	for _, err := range single(err) {
		list = append(list, fmt.Sprintf("%v: no agent starts with that here", placed(err, loaded)))
	}
	list = slices.Compact(list)
	for _, group := range conf.rooms {
		if w, ok := group.(interface{ Warnings() []string }); ok {
			list = append(list, w.Warnings()...)
		}
	}
	return list
}

// maxLabel is the length of the longest label of a DNS name.
const maxLabel = 63

func notInNames(r rune) bool {
	return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// keyed is the beginning of an error about a setting.
var keyed = regexp.MustCompile(`^([a-z][a-z0-9_.]*): `)

// keyOf returns the setting that an error is about, "" if it does not say.
func keyOf(err error) string {
	if m := keyed.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	if err == errNoDir {
		return "data_dir"
	}
	return ""
}

// placed puts before an error about a setting where that was set. loaded is nil if nothing could be loaded.
func placed(err error, loaded *config.Loaded) error {
	if key := keyOf(err); key != "" && loaded != nil && loaded.Origin(key) != "default" {
		return fmt.Errorf("%s: %w", loaded.Origin(key), err)
	}
	return err
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
