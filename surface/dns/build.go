package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/wire"
)

// packed is an answer ready to be copied into messages. It is immutable, and true as long as what it was made of is the
// latest: the shared answer and the settings.
type packed struct {
	// What every question reads comes first, so that it lies in as few lines of the processor's cache as can be.
	conf    *conf
	rcode   byte
	soa     bool // the zone's SOA goes into Authority
	foreign bool // not our zone: without AA
	scoped  bool // it depends on where the client is
	shuffle bool
	pick    bool // one of the items is enough: names stand for addresses only when there are none
	chase   bool // it holds names that must be followed to addresses first
	srv     bool
	limit   int    // of items; 0: none
	stride  int    // the size of an item in flat; 0: there is no flat
	flat    []byte // the same items with pointers to the question as owners, if all are of one size
	items   []item
	extra   [][]byte

	texts   []nodeTexts
	targets int // distinct ones
	shared  *room.Shared
}

// item is one answer record, and what goes to Additional with it.
type item struct {
	rec    []byte
	addr   []byte // address record owned by the SRV target; nil: none
	owner  *place // its name; nil: the question's
	chain  *chain // what an SRV target that is not ours leads to; nil: nothing
	target int32  // number of the target
	node   int32  // number in texts; -1: none
	own    bool   // the SRV target lies in our zone
	ofNode bool   // it is the node's name
}

// chain is what a name leads to: records with owners.
type chain struct{ items []item }

// nodeTexts is the metadata of a node, as TXT records, and the labels of its name, "srv1.node".
type nodeTexts struct {
	name []byte
	recs [][]byte
}

// bytes is about what the answer holds in memory.
func (p *packed) bytes() int64 {
	n := 256 + len(p.flat)
	for i := range p.items {
		n += 80 + len(p.items[i].rec) + len(p.items[i].addr)
	}
	for i := range p.texts {
		n += 64 + len(p.texts[i].name)
		for _, r := range p.texts[i].recs {
			n += 32 + len(r)
		}
	}
	for _, r := range p.extra {
		n += 32 + len(r)
	}
	return int64(n)
}

// builder makes the answer to a question about instances.
type builder struct {
	conf    *conf
	ask     *ask
	ttl     uint32
	p       *packed
	names   []item // CNAMEs, used only if there is no address at all
	seen    map[string]bool
	targets map[string]int32
	nodes   map[*catalog.Node]int32
}

// builder returns one whose answer has no items yet.
func (c *conf) builder(a *ask, ttl uint32) *builder {
	return &builder{conf: c, ask: a, ttl: ttl, seen: map[string]bool{}, targets: map[string]int32{},
		nodes: map[*catalog.Node]int32{}, p: &packed{conf: c, srv: a.kind == typeSRV}}
}

// buildService makes the answer from the instances of a service.
func (c *conf) buildService(a *ask, list health.EntryList) *packed {
	b := c.builder(a, c.serviceTTL(a.name))
	b.p.shuffle = true
	any := false
	for _, e := range list {
		if c.serves(e, a.tag) {
			any = true
			b.instance(e)
		}
	}
	if !any {
		return c.nothing.copy()
	}
	return b.answer()
}

// answer finishes the answer, of which the instances are there.
func (b *builder) answer() *packed {
	c := b.conf
	if !b.p.srv {
		b.p.limit = c.ARecordLimit
		if len(b.p.items) == 0 {
			b.p.items, b.p.pick = b.names, true
			b.p.chase = slices.ContainsFunc(b.names, func(it item) bool { return c.follows(it.alias()) })
		}
	}
	if len(b.p.items) == 0 {
		return c.noData.copy()
	}
	b.p.targets = len(b.targets)
	b.p.gather()
	b.p.flatten()
	return b.p
}

// gather lays the records side by side: among many answers, most of what one costs is to fetch it from memory.
func (p *packed) gather() {
	n := 0
	for i := range p.items {
		n += len(p.items[i].rec) + len(p.items[i].addr)
	}
	all := make([]byte, 0, n)
	move := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		all = append(all, b...)
		return all[len(all)-len(b) : len(all) : len(all)]
	}
	items := make([]item, len(p.items))
	for i, it := range p.items {
		it.rec, it.addr = move(it.rec), move(it.addr)
		items[i] = it
	}
	p.items = items
}

func (p *packed) copy() *packed {
	q := *p
	return &q
}

// serves reports whether the instance is fit and has the tag.
func (c *conf) serves(e *health.Entry, tag string) bool {
	if tag != "" && !e.Service.HasTags([]string{tag}) {
		return false
	}
	status := e.Status()
	return status == catalog.Passing || status != catalog.Critical && !c.OnlyPassing
}

// instance adds what one instance contributes (spec dns.md §3.2).
func (b *builder) instance(e *health.Entry) {
	if b.ask.kind == 0 {
		return
	}
	at, self := e.Service.Address, b.conf.pick(serviceTags(e.Service), e.Service.Address, b.ask.kind)
	ip, isIP := parseIP(self)
	if self != "" && !isIP && strings.EqualFold(strings.TrimSuffix(self, "."), b.ask.full) {
		self = "" // it points at its own name; the node's address is meant
		if _, ok := parseIP(b.conf.pick(nodeTags(e.Node), e.Node.Address, b.ask.kind)); !ok {
			self = at
		}
	}
	ofNode := false
	if self == "" {
		self = b.conf.pick(nodeTags(e.Node), e.Node.Address, b.ask.kind)
		ip, isIP = parseIP(self)
		ofNode = self == b.conf.plain(nodeTags(e.Node), e.Node.Address)
	}
	switch {
	case self == "":
	case b.ask.kind == typeSRV:
		key := fmt.Sprintf("%s\x00%s\x00%d", e.Node.Node, e.Service.Address, e.Service.Port)
		if !b.seen[key] {
			b.seen[key] = true
			b.target(e, self, ip, isIP, ofNode)
		}
	case isIP && fits(ip, b.ask.kind):
		b.add(item{rec: addressRecord(ip, b.ttl), node: -1})
	case !isIP:
		if name := absolute(self); name != nil {
			b.names = append(b.names, item{rec: record(typeCNAME, b.ttl, name), node: -1})
		}
	}
}

// add adds the item, unless one like it is there.
func (b *builder) add(it item) {
	if key := string(it.rec); !b.seen[key] {
		b.seen[key] = true
		b.p.items = append(b.p.items, it)
	}
}

// target adds an SRV record with its target's address and the node's metadata.
func (b *builder) target(e *health.Entry, self string, ip netip.Addr, isIP, ofNode bool) {
	it := item{node: -1, own: true}
	var name []byte
	switch labels := nodeLabels(e.Node.Node); {
	case !isIP:
		if name, it.own = absolute(self), false; name != nil && b.conf.follows(name) {
			b.p.chase = true
		}
	case ofNode && labels != nil && len(labels)+len(b.conf.local) <= maxName:
		name, it.ofNode = append(labels, b.conf.local...), true
	default:
		name = appendName(nil, fmt.Sprintf("%x.addr", ip.AsSlice()))
		name = append(name, b.conf.local...)
	}
	if name == nil || len(name) > maxName {
		return
	}
	if isIP {
		it.addr = addressRecord(ip, b.ttl)
	}
	it.rec = srvRecord(weight(e), b.conf.port(e.Service), name, b.ttl)
	var known bool
	if it.target, known = b.targets[string(name)]; !known {
		it.target = int32(len(b.targets))
		b.targets[string(name)] = it.target
	}
	if b.conf.NodeMetaTXT && len(e.Node.Meta) > 0 {
		it.node = b.texts(e.Node)
	}
	b.p.items = append(b.p.items, it)
}

// weight is the weight of an instance by its checks.
func weight(e *health.Entry) int {
	switch e.Status() {
	case catalog.Passing:
		return e.Service.Weights.Passing
	case catalog.Critical: // only a query that ignores checks finds it
		return 0
	}
	for _, c := range e.Checks {
		if c.Status != catalog.Passing && c.Status != catalog.Warning {
			return 1 // a status of somebody else's own
		}
	}
	return e.Service.Weights.Warning
}

// texts returns the number of the node's metadata; -1 if its name cannot be written.
func (b *builder) texts(n *catalog.Node) int32 {
	if i, ok := b.nodes[n]; ok {
		return i
	}
	i, name := int32(-1), nodeLabels(n.Node)
	if name != nil && len(name)+len(b.conf.local) <= maxName {
		i = int32(len(b.p.texts))
		b.p.texts = append(b.p.texts, nodeTexts{name, txtRecords(n.Meta, b.ttl)})
	}
	b.nodes[n] = i
	return i
}

// flatten lays items of one size side by side: those are most answers, and the quickest to copy.
func (p *packed) flatten() {
	size := len(p.items[0].rec)
	for i := range p.items {
		if p.srv || len(p.items[i].rec) != size {
			return
		}
	}
	for i := range p.items {
		p.flat = append(append(p.flat, 0xC0, header), p.items[i].rec...)
	}
	p.stride = size + 2
}

// buildNode makes the answer about a node (spec dns.md §3.1).
func (c *conf) buildNode(a *ask, n *catalog.Node) *packed {
	p := &packed{conf: c}
	text := txtRecords(n.Meta, c.nodeTTL)
	if a.kind != typeTXT {
		self := c.pick(nodeTags(n), n.Address, a.kind)
		if ip, ok := parseIP(self); ok && fits(ip, a.kind) {
			p.items = append(p.items, item{rec: addressRecord(ip, c.nodeTTL), node: -1})
		} else if name := absolute(self); !ok && name != nil {
			p.items = append(p.items, item{rec: record(typeCNAME, c.nodeTTL, name), node: -1})
			p.chase = c.follows(name)
		}
	}
	if a.kind == typeTXT || a.kind == typeANY {
		for _, r := range text {
			p.items = append(p.items, item{rec: r, node: -1})
		}
	} else if c.NodeMetaTXT {
		p.extra = text
	}
	return p
}

// buildAddress makes the answer about a literal address: to questions of the wrong type it goes to Additional.
func (c *conf) buildAddress(a *ask) *packed {
	rec := addressRecord(a.addr, c.nodeTTL)
	if fits(a.addr, a.kind) && a.kind != typeSRV {
		return &packed{conf: c, items: []item{{rec: rec, node: -1}}}
	}
	return &packed{conf: c, extra: [][]byte{rec}}
}

// buildName makes the answer about the name of an address: the labels are those before the datacenter.
func (c *conf) buildName(a *ask, labels []byte) *packed {
	rec := record(typePTR, 0, labels, c.local)
	return &packed{conf: c, soa: a.kind == typeSOA, items: []item{{rec: rec, node: -1}}}
}

// fits reports whether an address makes a record for a question of the type.
func fits(a netip.Addr, kind uint16) bool {
	switch kind {
	case typeA:
		return a.Is4()
	case typeAAAA:
		return a.Is6()
	case typeANY, typeSRV:
		return true
	}
	return false
}

// pick selects among an address and its tagged ones by the type asked for (spec dns.md §3.5).
func (c *conf) pick(tagged func(name string) string, address string, kind uint16) string {
	v4, v6 := "lan_ipv4", "lan_ipv6"
	if c.wan && tagged("wan_ipv4") != "" {
		v4 = "wan_ipv4"
	}
	if c.wan && tagged("wan_ipv6") != "" {
		v6 = "wan_ipv6"
	}
	if kind != typeA {
		if a := tagged(v6); a != "" {
			return a
		}
	}
	if kind != typeAAAA {
		if a := tagged(v4); a != "" {
			return a
		}
	}
	return c.plain(tagged, address)
}

// plain is the address itself, or what stands for it to other datacenters.
func (c *conf) plain(tagged func(name string) string, address string) string {
	if a := tagged("wan"); c.wan && a != "" {
		return a
	}
	return address
}

// port is where an instance is reached at.
func (c *conf) port(s *catalog.Service) int {
	if c.wan {
		return s.WANPort()
	}
	return s.Port
}

func nodeTags(n *catalog.Node) func(string) string {
	return func(name string) string { return value(n.TaggedAddresses, name) }
}

func value(p wire.Pairs, key string) string {
	v, _ := p.Get(key)
	return v
}

func serviceTags(s *catalog.Service) func(string) string {
	return func(name string) string {
		for _, t := range s.TaggedAddresses {
			if t.Name == name {
				return t.Address
			}
		}
		return ""
	}
}

// nodeLabels returns the labels "<node>.node"; nil if the name cannot be written.
func nodeLabels(node string) []byte {
	b := appendName(nil, node)
	if b == nil {
		return nil
	}
	return append(b, 4, 'n', 'o', 'd', 'e')
}

// absolute returns a name in wire form; nil if it cannot be written.
func absolute(name string) []byte {
	b := appendName(nil, strings.TrimSuffix(name, "."))
	if b == nil {
		return nil
	}
	return append(b, 0)
}
