package dns

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"rostra/feature/catalog"
	"rostra/feature/health"
)

// nameserver is a server of the datacenter, as the zone's NS set shows it.
type nameserver struct {
	name []byte // "<node>.node", lower-case
	glue []byte
}

// nameservers picks up to three healthy servers at random. Names that are no host names are left out.
func (c *conf) nameservers(list health.EntryList) []nameserver {
	var out []nameserver
	for _, i := range rand.Perm(len(list)) {
		e := list[i]
		ip, ok := parseIP(c.pick(nodeTags(e.Node), e.Node.Address, typeANY))
		name := nodeLabels(strings.ToLower(e.Node.Node))
		if !ok || !c.serves(e, "") || !hostName(e.Node.Node) || name == nil || len(name)+len(c.local) > maxName {
			continue
		}
		again := slices.ContainsFunc(out, func(n nameserver) bool { return string(n.name) == string(name) })
		if out = append(out, nameserver{name, addressRecord(ip, c.nodeTTL)}); again {
			out = out[:len(out)-1]
		}
		if len(out) == 3 {
			break
		}
	}
	return out
}

func hostName(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

// zone answers a question for the zone's SOA or NS. Servers that do not fit are left out.
func (m *message) zone(q *query, c *conf, kind uint16, servers []nameserver, tcp bool) []byte {
	m.q, m.conf, m.short, m.thin, m.scoped = q, c, !c.DisableCompress, false, false
	for n := len(servers); ; n-- {
		m.begin()
		section := 0
		if kind == typeSOA {
			m.soa()
			m.counts[0], section = 1, 1
		}
		places := make([]int, n)
		for i, s := range servers[:n] {
			places[i] = m.ns(s)
			m.counts[section]++
		}
		for i, s := range servers[:n] {
			m.pointer(places[i], slices.Concat(s.name, c.local))
			m.b = append(m.b, s.glue...)
			m.counts[2]++
		}
		if q.edns {
			m.opt()
		}
		if n == 0 || m.len() <= q.limit(tcp)-slack {
			return m.finish(&packed{conf: c}, n < len(servers))
		}
	}
}

// owner writes the zone's name, and returns where it can be pointed at; 0: nowhere.
func (m *message) owner() int {
	if m.zoneAt > 0 {
		m.pointer(m.zoneAt, nil)
		return m.zoneAt
	}
	at := m.len()
	m.b = append(m.b, m.conf.suffix...)
	if !m.short {
		at = 0
	}
	return at
}

// ns writes an NS record, and returns where its target lies.
func (m *message) ns(s nameserver) int {
	zone := m.owner()
	m.b = append(m.b, record(typeNS, m.conf.nodeTTL)...)
	at := m.len()
	m.b = append(m.b, s.name...)
	m.b = append(m.b, m.conf.local[:len(m.conf.local)-len(m.conf.suffix)]...)
	m.pointer(zone, m.conf.suffix)
	m.size(at)
	return at
}

// soa writes the zone's SOA record; its serial is the time.
func (m *message) soa() {
	c := m.conf
	zone := m.owner()
	var head [10]byte
	head[1], head[3] = typeSOA, 1
	binary.BigEndian.PutUint32(head[4:], uint32(c.SOAMinTTL))
	m.b = append(m.b, head[:]...)
	at := m.len()
	m.b = append(m.b, "\x02ns"...)
	m.pointer(zone, c.suffix)
	m.b = append(m.b, "\x0ahostmaster"...)
	m.pointer(zone, c.suffix)
	for _, n := range [...]uint32{m.now, uint32(c.SOARefresh), uint32(c.SOARetry), uint32(c.SOAExpire), uint32(c.SOAMinTTL)} {
		m.b = binary.BigEndian.AppendUint32(m.b, n)
	}
	m.size(at)
}

// size fills in the length of the data that began at the place.
func (m *message) size(at int) {
	binary.BigEndian.PutUint16(m.b[lead+at-2:], uint16(m.len()-at))
}

// nodeIndex is what is made of the list of nodes, once per change.
type nodeIndex struct {
	byName map[string]*catalog.Node
	byAddr map[netip.Addr]*catalog.Node // the first by name
}

func indexNodes(list catalog.NodeList) *nodeIndex {
	x := &nodeIndex{make(map[string]*catalog.Node, len(list)), make(map[netip.Addr]*catalog.Node, len(list))}
	for _, n := range list {
		x.byName[strings.ToLower(n.Node)] = n
		if ip, ok := parseIP(n.Address); ok && x.byAddr[ip] == nil {
			x.byAddr[ip] = n
		}
	}
	return x
}

// indexServices maps the addresses of instances to the name of the first service there.
func indexServices(list catalog.InstanceList) map[netip.Addr]string {
	x := map[netip.Addr]string{}
	for _, i := range list {
		if ip, ok := parseIP(i.Service.Address); ok && x[ip] == "" {
			x[ip] = i.Service.Service
		}
	}
	return x
}
