package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"rostra/engine/room"
	"rostra/kit/httpd"
)

// conf is the settings in the form that answers need, for one zone. It is immutable; a new one makes every packed answer
// stale.
type conf struct {
	Settings
	suffix  []byte // the zone in wire form, lower-case, with the root
	local   []byte // "<datacenter>.<zone>" likewise
	dc      string
	wan     bool // the datacenter is another one, and its nodes are reached at their addresses for that
	nodeTTL uint32
	options room.Options
	main    *conf    // the first zone's, perhaps itself
	alt     *conf    // the second zone's; nil: there is none, or this is it
	forward []string // recursors, "host:port"

	nothing, noData, empty, failed, foreign, unable, alone *packed // answers without records
}

func newConf(s *Settings, self room.Identity) *conf {
	domain := s.Domain
	if domain == "" {
		domain = self.Domain
	}
	c := zoneConf(s, self, domain)
	c.main = c
	if s.AltDomain != "" {
		c.alt = zoneConf(s, self, s.AltDomain)
		c.alt.main = c
	}
	return c
}

// zoneConf returns the settings for names of one zone.
func zoneConf(s *Settings, self room.Identity, domain string) *conf {
	c := &conf{Settings: *s, dc: strings.ToLower(self.Datacenter), nodeTTL: seconds(s.NodeTTL)}
	c.Domain = strings.ToLower(strings.Trim(domain, ".")) + "."
	if c.suffix = appendName(nil, strings.TrimSuffix(c.Domain, ".")); c.suffix == nil {
		c.Domain, c.suffix = "consul.", appendName(nil, "consul")
	}
	c.suffix = append(c.suffix, 0)
	c.local = append(appendName(nil, c.dc), c.suffix...)
	for _, n := range []*int{&c.SOARefresh, &c.SOARetry, &c.SOAExpire, &c.SOAMinTTL} {
		*n = min(max(0, *n), 1<<31-1)
	}
	if s.AllowStale {
		c.options.Consistency, c.options.MaxStale = httpd.Stale, s.MaxStale
	}
	for _, r := range s.Recursors {
		if addr, err := recursorAddr(r); err == nil && !slices.Contains(c.forward, addr) {
			c.forward = append(c.forward, addr)
		}
	}
	c.nothing = &packed{conf: c, rcode: nxDomain, soa: true}
	c.noData = &packed{conf: c, soa: true}
	c.empty = &packed{conf: c}
	c.failed = &packed{conf: c, rcode: servFail}
	c.foreign = &packed{conf: c, rcode: refused, foreign: true}
	c.unable = &packed{conf: c, rcode: notImplemented}
	c.alone = &packed{conf: c, rcode: servFail, foreign: true}
	return c
}

// of returns the settings of the zone that the question is about.
func (c *conf) of(a *ask) *conf {
	if a.alt && c.alt != nil {
		return c.alt
	}
	return c
}

// Check returns what is wrong with the settings of an agent in the datacenter, but for domain, which is more than DNS's:
// errors that begin with the key.
func (s *Settings) Check(datacenter string) error {
	var all []error
	if name := strings.Trim(s.AltDomain, "."); name != "" && appendName(nil, name) == nil {
		all = append(all, fmt.Errorf("alt_domain: %q is no domain name", s.AltDomain))
	}
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimLeft(s.AltDomain, ".")), ".")
	if first != "" && (keywords[first] && first != "ingress" && first != "virtual" || first == strings.ToLower(datacenter)) {
		all = append(all, fmt.Errorf("alt_domain: %q cannot begin with %q, which names in every domain may begin with: choose another one", s.AltDomain, first+"."))
	}
	for _, r := range s.Recursors {
		if _, err := recursorAddr(r); err != nil {
			all = append(all, err)
		}
	}
	switch s.Strategy {
	case "", "sequential", "random":
	default:
		all = append(all, fmt.Errorf("dns_config.recursor_strategy: %q is none; use sequential or random", s.Strategy))
	}
	return errors.Join(all...)
}

// recursorAddr reads an address of the setting recursors: a host, perhaps with a port.
func recursorAddr(text string) (string, error) {
	host, port := text, "53"
	if _, err := netip.ParseAddr(text); err != nil {
		if h, p, err := net.SplitHostPort(text); err == nil {
			host, port = h, p
		} else {
			host = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	ip, notIP := netip.ParseAddr(host)
	switch {
	case strings.HasPrefix(text, "unix:"), err != nil, n == 0, notIP != nil && strings.Trim(host, ".0123456789") == "",
		notIP != nil && (strings.ContainsAny(host, ":/ ") || appendName(nil, strings.TrimSuffix(host, ".")) == nil):
		return "", fmt.Errorf("recursors: %q is no address of a DNS server; write one like 192.0.2.1 or [2001:db8::1]:53", text)
	case notIP == nil && ip.IsUnspecified():
		return "", fmt.Errorf("recursors: %q is every address and none; write that of a DNS server", text)
	}
	return net.JoinHostPort(host, port), nil
}

func seconds(d time.Duration) uint32 {
	return uint32(min(max(0, d/time.Second), 1<<31-1))
}

// serviceTTL finds the TTL of a service by its lower-case label as asked: the exact name, the longest prefix*, then *.
func (c *conf) serviceTTL(service string) uint32 {
	if d, ok := c.ServiceTTL[service]; ok {
		return seconds(d)
	}
	best, found := -1, time.Duration(0)
	for k, d := range c.ServiceTTL {
		prefix, wild := strings.CutSuffix(k, "*")
		if wild && len(prefix) > best && strings.HasPrefix(service, prefix) {
			best, found = len(prefix), d
		}
	}
	return seconds(found)
}
