package dns

import (
	"bytes"
	"encoding/binary"
)

// The limits of messages (spec dns.md §7). The comparison leaves slack bytes.
const (
	plainUDP   = 512
	mostUDP    = 65467
	mostTCP    = 65523
	slack      = 8
	ceiling    = 8 // answers in a UDP reply without EDNS, whatever the settings
	answersTCP = 4096
	targetsTCP = 1024
)

// message is one answer being composed. It belongs to one worker and is used again and again.
type message struct {
	q      *query
	conf   *conf
	b      []byte // two bytes for TCP's length, then the message
	short  bool   // names are compressed
	zoneAt int    // where the zone's name lies in the question, if it is spelled as ours; 0: it does not
	order  []uint32
	at     []int    // where the target of each answer lies
	names  []place  // names that records of others' may have as owners
	marks  []uint32 // by target, then by node: written in this round
	round  uint32
	rng    uint64
	now    uint32 // Unix seconds: the SOA's serial
	counts [3]uint16
	thin   bool // an answer that was cut: Additional holds the targets' addresses alone
	scoped bool // it is good for the client's subnet alone
}

// place is where a name lies in a message.
type place struct {
	name []byte
	at   int
}

const (
	lead     = 2  // bytes before the message
	smallest = 14 // bytes of the shortest record there is
)

// compose writes the answer to q. The bytes, with TCP's length before them, are good until the next call.
func (m *message) compose(q *query, p *packed, tcp bool) []byte {
	m.q, m.conf, m.short, m.thin, m.scoped = q, p.conf, !p.conf.DisableCompress, false, p.scoped
	limit := q.limit(tcp)
	n, cut, full := m.take(p, tcp, limit)
	m.shuffle(p, n)
	most := n
	if cut {
		m.thin = true
	} else {
		if m.write(p, n); m.len() <= limit-slack || (n == 0 && len(p.extra) == 0) {
			return m.finish(p, false)
		}
		if n > 1 {
			cut, most = true, n-1
		}
		m.thin = true
	}
	k := m.fit(p, most, limit-slack, full)
	for m.write(p, k); m.len() > limit-slack && k > 1; m.write(p, k) {
		k -= max(1, k/16) // names too far for a pointer made it longer than reckoned
	}
	return m.finish(p, cut || k < most)
}

func (q *query) limit(tcp bool) int {
	switch {
	case tcp:
		return mostTCP
	case q.edns && q.size > plainUDP:
		return min(q.size, mostUDP)
	}
	return plainUDP
}

// take says how many items to send at most; full, that from then on lengths are reckoned without compression.
func (m *message) take(p *packed, tcp bool, limit int) (n int, cut, full bool) {
	n = len(p.items)
	if p.pick {
		n = min(n, 1)
	}
	if p.limit > 0 {
		n = min(n, p.limit)
	}
	most, full := answersTCP, false
	switch {
	case !tcp && limit == plainUDP:
		most, full = max(0, min(ceiling, m.conf.UDPAnswerLimit)), true
	case !tcp:
		most = limit / smallest
	case p.srv:
		most = targetsTCP
	}
	if n > most {
		return most, true, full
	}
	return n, false, false
}

// shuffle puts n items, chosen at random, first in the order.
func (m *message) shuffle(p *packed, n int) {
	all := len(p.items)
	if cap(m.order) < all {
		m.order = make([]uint32, all)
	}
	m.order = m.order[:all]
	for i := range m.order {
		m.order[i] = uint32(i)
	}
	if !p.shuffle {
		return
	}
	for i := range min(n, all-1) {
		// xorshift, and the high half of a product for a number below the rest
		m.rng ^= m.rng << 13
		m.rng ^= m.rng >> 7
		m.rng ^= m.rng << 17
		j := i + int((m.rng>>32)*uint64(all-i)>>32)
		m.order[i], m.order[j] = m.order[j], m.order[i]
	}
}

// begin starts a message with its header and the question.
func (m *message) begin() {
	q := m.q
	m.b = append(append(m.b[:0], 0, 0), q.head...)
	m.b = append(m.b, q.section...)
	m.counts, m.zoneAt, m.names = [3]uint16{}, 0, m.names[:0]
	if at := len(q.name) - len(m.conf.suffix); at >= 0 && m.short && bytes.Equal(q.name[at:], m.conf.suffix) {
		m.zoneAt = header + at
	}
}

func (m *message) len() int { return len(m.b) - lead }

// pointer appends a name that was written at the given place; in full if it is too far away or names are not compressed.
func (m *message) pointer(at int, full []byte) {
	if m.short && at > 0 && at < 0x4000 {
		m.b = append(m.b, 0xC0|byte(at>>8), byte(at))
		return
	}
	m.b = append(m.b, full...)
}

// write composes the message with the first n items of the order.
func (m *message) write(p *packed, n int) {
	m.begin()
	m.counts[0] = uint16(n)
	if p.stride > 0 && m.short {
		for _, i := range m.order[:n] {
			at := int(i) * p.stride
			m.b = append(m.b, p.flat[at:at+p.stride]...)
		}
	} else {
		m.answers(p, n)
	}
	if p.soa {
		m.soa()
		m.counts[1]++
	}
	if !m.thin {
		for _, r := range p.extra {
			m.pointer(header, m.q.name)
			m.b = append(m.b, r...)
		}
		m.counts[2] += uint16(len(p.extra))
	}
	if p.srv {
		m.additional(p, n)
	}
	if m.q.edns {
		m.opt()
	}
}

func (m *message) answers(p *packed, n int) {
	m.at = m.at[:0]
	for _, i := range m.order[:n] {
		it := &p.items[i]
		m.owned(it.owner)
		m.at = append(m.at, m.len()+16) // after type, class, TTL, length, priority, weight and port
		if it.kind() == typeCNAME {
			m.names = append(m.names, place{it.alias(), m.len() + 10})
		}
		m.b = append(m.b, it.rec...)
		if it.own {
			copy(m.b[len(m.b)-len(m.conf.suffix):], m.spelled())
		}
	}
}

// owned writes the owner of a record; nil is the question's name.
func (m *message) owned(owner *place) {
	if owner == nil {
		m.pointer(header, m.q.name)
		return
	}
	name := owner.name
	for _, p := range m.names {
		if bytes.Equal(p.name, name) {
			m.pointer(p.at, name)
			return
		}
	}
	m.names = append(m.names, place{name, m.len()})
	m.b = append(m.b, name...)
}

// spelled returns the zone as the question spells it.
func (m *message) spelled() []byte { return m.q.name[len(m.q.name)-len(m.conf.suffix):] }

// additional writes what goes with SRV records: each target's address, and each node's metadata, once.
func (m *message) additional(p *packed, n int) {
	m.mark(p.targets + len(p.texts))
	for k, i := range m.order[:n] {
		it, at := &p.items[i], m.at[k]
		target := it.rec[16:]
		end := at + len(target)
		if (it.addr != nil || it.chain != nil) && m.first(int(it.target)) {
			m.reached(it, at, end)
		}
		if !m.thin && it.node >= 0 && m.first(p.targets+int(it.node)) {
			m.texts(it, &p.texts[it.node], at, end)
		}
	}
}

// reached writes the address of an SRV target, which lies between at and end, or what else it leads to.
func (m *message) reached(it *item, at, end int) {
	if it.addr != nil {
		m.pointer(at, m.b[lead+at:lead+end])
		m.b = append(m.b, it.addr...)
		m.counts[2]++
	}
	if it.chain != nil {
		m.names = append(m.names, place{it.alias(), at})
	}
	for _, next := range it.chain.list() {
		m.owned(next.owner)
		if next.kind() == typeCNAME {
			m.names = append(m.names, place{next.alias(), m.len() + 10})
		}
		m.b = append(m.b, next.rec...)
		m.counts[2]++
	}
}

// texts writes a node's metadata; the target of its SRV record lies between at and end.
func (m *message) texts(it *item, t *nodeTexts, at, end int) {
	owner := 0 // where the node's name lies; 0: nowhere yet
	if it.ofNode {
		owner = at
	}
	for _, r := range t.recs {
		if owner > 0 && owner < 0x4000 && m.short {
			m.pointer(owner, nil)
		} else {
			owner = m.len()
			m.b = append(m.b, t.name...)
			if from := end - len(m.conf.local); it.own && m.short && from < 0x4000 {
				m.pointer(from, nil)
			} else {
				m.b = append(m.b, m.conf.local...)
				copy(m.b[len(m.b)-len(m.conf.suffix):], m.spelled())
			}
		}
		m.b = append(m.b, r...)
		m.counts[2]++
	}
}

func (m *message) mark(n int) {
	if cap(m.marks) < n {
		m.marks, m.round = make([]uint32, n), 0
	}
	m.marks = m.marks[:cap(m.marks)]
	if m.round++; m.round == 0 {
		clear(m.marks)
		m.round = 1
	}
}

func (m *message) first(i int) bool {
	if m.marks[i] == m.round {
		return false
	}
	m.marks[i] = m.round
	return true
}

// fit returns how many of the first n items fit, at least one if there is any, with the addresses of their targets.
func (m *message) fit(p *packed, n, limit int, full bool) int {
	full = full || !m.short
	size := header + len(m.q.section)
	if m.q.edns {
		size += 11
		if m.q.subLen > 0 {
			size += 4 + m.q.subLen
		}
	}
	owner := 2
	if full {
		owner = len(m.q.name)
	}
	m.mark(p.targets)
	for k, i := range m.order[:n] {
		it := &p.items[i]
		size += owner + len(it.rec)
		if it.owner != nil {
			size += len(it.owner.name)
		}
		if (it.addr != nil || it.chain != nil) && m.first(int(it.target)) {
			size += it.reach(full)
		}
		if size > limit && k > 0 {
			return k
		}
	}
	return n
}

// reach is the size of what goes to Additional for the target of an SRV record.
func (it *item) reach(full bool) int {
	size := 0
	if it.addr != nil {
		size = len(it.addr) + 2
		if full {
			size += len(it.rec) - 16 - 2
		}
	}
	for _, next := range it.chain.list() {
		size += len(next.owner.name) + len(next.rec)
	}
	return size
}

// finish fills in the header, and TCP's length.
func (m *message) finish(p *packed, cut bool) []byte {
	h := m.b[lead:]
	h[2] = 0x80 | h[2]&0x79 // QR; opcode and RD are the question's
	if !p.foreign {
		h[2] |= 0x04
	}
	if cut && m.conf.EnableTruncate {
		h[2] |= 0x02
	}
	h[3] = h[3]&0x10 | p.rcode // CD is the question's
	if len(m.conf.forward) > 0 {
		h[3] |= 0x80 // RA
	}
	return m.end()
}

func (m *message) end() []byte {
	h := m.b[lead:]
	for i, n := range m.counts {
		binary.BigEndian.PutUint16(h[6+2*i:], n)
	}
	binary.BigEndian.PutUint16(m.b, uint16(len(h)))
	return m.b
}

// refuse answers a packet that holds no question for us: a header alone.
func (m *message) refuse(head []byte, rcode byte) []byte {
	m.b = append(append(m.b[:0], 0, 0), head...)
	h := m.b[lead:]
	clear(h[4:])
	h[2] = 0x80 | h[2]&0x79
	h[3] = rcode
	m.counts = [3]uint16{}
	return m.end()
}

// opt appends the OPT record: the client's own size, and its subnet, with its own size as scope if the answer is scoped.
func (m *message) opt() {
	n := 0
	if m.q.subLen > 0 {
		n = 4 + m.q.subLen
	}
	m.b = append(m.b, 0, 0, typeOPT, byte(m.q.size>>8), byte(m.q.size), 0, 0, 0, 0, 0, byte(n))
	if n > 0 {
		m.b = append(m.b, 0, optionSubnet, 0, byte(m.q.subLen))
		m.b = append(m.b, m.q.subnet[:m.q.subLen]...)
		if scope := len(m.b) - m.q.subLen + 3; m.scoped {
			m.b[scope] = m.b[scope-1]
		}
	}
	m.counts[2]++
}
