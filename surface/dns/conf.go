package dns

import (
	"strings"
	"time"

	"rostra/engine/room"
	"rostra/kit/httpd"
)

// conf is the settings in the form that answers need. It is immutable; a new one makes every packed answer stale.
type conf struct {
	Settings
	suffix  []byte // the zone in wire form, lower-case, with the root
	local   []byte // "<datacenter>.<zone>" likewise
	dc      string
	nodeTTL uint32
	options room.Options

	nothing, noData, empty, failed, foreign, unable *packed // answers without records
}

func newConf(s *Settings, self room.Identity) *conf {
	c := &conf{Settings: *s, dc: strings.ToLower(self.Datacenter), nodeTTL: seconds(s.NodeTTL)}
	if c.Domain == "" {
		c.Domain = self.Domain
	}
	c.Domain = strings.ToLower(strings.Trim(c.Domain, ".")) + "."
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
	c.nothing = &packed{conf: c, rcode: nxDomain, soa: true}
	c.noData = &packed{conf: c, soa: true}
	c.empty = &packed{conf: c}
	c.failed = &packed{conf: c, rcode: servFail}
	c.foreign = &packed{conf: c, rcode: refused, foreign: true}
	c.unable = &packed{conf: c, rcode: notImplemented}
	return c
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
