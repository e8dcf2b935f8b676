package dns

import (
	"encoding/binary"
	"net/netip"
)

// Response codes, record types and EDNS option codes of the wire format.
const (
	formErr        = 1
	servFail       = 2
	nxDomain       = 3
	notImplemented = 4
	refused        = 5

	typeA     = 1
	typeNS    = 2
	typeCNAME = 5
	typeSOA   = 6
	typePTR   = 12
	typeTXT   = 16
	typeAAAA  = 28
	typeSRV   = 33
	typeOPT   = 41
	typeAXFR  = 252
	typeANY   = 255

	optionSubnet = 8
	header       = 12
	maxName      = 255
)

// query is a question as it came. Its slices lie in the packet.
type query struct {
	head    []byte // the packet's header
	section []byte // the question section, repeated in the answer
	name    []byte // its name in wire form, as spelled
	kind    uint16 // the type asked for
	edns    bool
	size    int        // UDP size the client takes; with edns only
	subnet  [20]byte   // the client subnet option as it is echoed, with scope 0
	subLen  int        // 0: none
	client  netip.Addr // the address in it; invalid: none
}

// verdict says what a packet is.
type verdict uint8

const (
	good    verdict = iota
	junk            // not to be answered: too short, or itself an answer
	malform         // answered with FORMERR
	strange         // an operation that is not ours: NOTIMP
)

// parse reads a packet: exactly one question, perhaps an OPT record. It never reads beyond b, and keeps slices of it.
func (q *query) parse(b []byte) verdict {
	if len(b) < header || b[2]&0x80 != 0 {
		return junk
	}
	q.head, q.edns, q.size, q.subLen, q.client = b[:header], false, 0, 0, netip.Addr{}
	if b[2]>>3&15 != 0 {
		return strange
	}
	counts := func(i int) int { return int(binary.BigEndian.Uint16(b[i:])) }
	if counts(4) != 1 || counts(6) > 1 || counts(8) > 1 || counts(10) > 2 {
		return malform
	}
	end := header
	for {
		if end >= len(b) || b[end] > 63 {
			return malform
		}
		if b[end] == 0 {
			end++
			break
		}
		end += 1 + int(b[end])
	}
	if end-header > maxName || end+4 > len(b) {
		return malform
	}
	q.name, q.section = b[header:end], b[header:end+4]
	q.kind = binary.BigEndian.Uint16(b[end:])
	at := end + 4
	for i := range counts(6) + counts(8) + counts(10) {
		var ok bool
		if at, ok = q.record(b, at, i >= counts(6)+counts(8)); !ok {
			return malform
		}
	}
	return good
}

// record steps over the record at the given place, and takes what it says if it is the OPT record.
func (q *query) record(b []byte, at int, additional bool) (next int, ok bool) {
	start := at
	for at < len(b) && b[at] != 0 && b[at] < 64 {
		at += 1 + int(b[at])
	}
	switch {
	case at >= len(b):
		return 0, false
	case b[at] >= 192:
		at++
	case b[at] != 0:
		return 0, false
	}
	at++
	if at+10 > len(b) {
		return 0, false
	}
	kind, size, n := binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:]), int(binary.BigEndian.Uint16(b[at+8:]))
	data := at + 10
	if data+n > len(b) {
		return 0, false
	}
	if kind == typeOPT && additional {
		if q.edns || at != start+1 {
			return 0, false // two of them, or one that is not the root's
		}
		q.edns, q.size = true, int(size)
		if !q.options(b[data : data+n]) {
			return 0, false
		}
	}
	return data + n, true
}

// options looks for the client's subnet.
func (q *query) options(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return false
		}
		if code == optionSubnet && q.subLen == 0 && !q.clientSubnet(b[4:4+n]) {
			return false
		}
		b = b[4+n:]
	}
	return true
}

// clientSubnet keeps the option for the answer: masked, and with scope 0, for most answers are the same for everyone.
func (q *query) clientSubnet(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	family, bits := binary.BigEndian.Uint16(b), int(b[2])
	var addr netip.Addr
	switch whole := [16]byte{}; family {
	case 0:
		if bits != 0 {
			return false
		}
	case 1:
		if copy(whole[:4], b[4:]); bits > 32 || len(b) > 8 {
			return false
		}
		addr = netip.AddrFrom4([4]byte(whole[:4]))
	case 2:
		if copy(whole[:], b[4:]); bits > 128 || len(b) > 20 {
			return false
		}
		addr = netip.AddrFrom16(whole)
	default:
		return false
	}
	copy(q.subnet[:4], b[:3])
	q.subnet[3], q.subLen = 0, 4
	if addr.IsValid() {
		masked, _ := addr.Prefix(bits)
		if bits > 0 {
			q.client = masked.Addr()
		}
		ip := masked.Addr().As16()
		from := ip[:]
		if addr.Is4() {
			from = ip[12:]
		}
		q.subLen += copy(q.subnet[4:], from[:(bits+7)/8])
	}
	return true
}

// lower appends a name in wire form to b, in lower case.
func lower(b, name []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' { // a length, at most 63, is never a letter
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}
