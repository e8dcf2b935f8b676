package dns

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"rostra/kit/wire"
)

// Records are kept without their owner's name: type, class, TTL, length and data. The owner is written when a message
// is composed, because only then its place is known.

// appendName appends a dotted name in wire form, without the root. nil: it cannot be written.
func appendName(b []byte, name string) []byte {
	start := len(b)
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return nil
		}
		b = append(append(b, byte(len(label))), label...)
	}
	if len(b)-start >= maxName {
		return nil
	}
	return b
}

// record returns a record of class IN.
func record(kind uint16, ttl uint32, data ...[]byte) []byte {
	n := 0
	for _, d := range data {
		n += len(d)
	}
	b := make([]byte, 10, 10+n)
	binary.BigEndian.PutUint16(b, kind)
	b[3] = 1
	binary.BigEndian.PutUint32(b[4:], ttl)
	binary.BigEndian.PutUint16(b[8:], uint16(n))
	for _, d := range data {
		b = append(b, d...)
	}
	return b
}

// addressRecord returns an A or AAAA record.
func addressRecord(a netip.Addr, ttl uint32) []byte {
	if a.Is4() {
		return record(typeA, ttl, a.AsSlice())
	}
	return record(typeAAAA, ttl, a.AsSlice())
}

func srvRecord(weight, port int, target []byte, ttl uint32) []byte {
	fixed := []byte{0, 1, byte(weight >> 8), byte(weight), byte(port >> 8), byte(port)}
	return record(typeSRV, ttl, fixed, target)
}

// txtRecords returns one record for each pair of metadata.
func txtRecords(meta wire.Pairs, ttl uint32) [][]byte {
	var list [][]byte
	for _, p := range meta {
		text := p.Value
		if len(p.Key) < 8 || !strings.EqualFold(p.Key[:8], "rfc1035-") {
			text = escapeKey(p.Key) + "=" + strings.ReplaceAll(p.Value, "`", "``")
		}
		list = append(list, record(typeTXT, ttl, strings255(text)))
	}
	return list
}

// escapeKey writes a key as RFC 1464 wants it: quoted are the grave accent, =, and blanks at both ends.
func escapeKey(key string) string {
	first, last := 0, len(key)
	for first < last && blank(key[first]) {
		first++
	}
	for last > first && blank(key[last-1]) {
		last--
	}
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; c == '`' || c == '=' || i < first || i >= last {
			b.WriteByte('`')
		}
		b.WriteByte(key[i])
	}
	return b.String()
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// strings255 writes a text as character strings, of which none may be longer than 255 bytes.
func strings255(text string) []byte {
	var b []byte
	for {
		n := min(len(text), 255)
		b = append(append(b, byte(n)), text[:n]...)
		if text = text[n:]; text == "" {
			return b
		}
	}
}

// parseIP reads an address; names, and addresses bound to an interface, are none.
func parseIP(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}
