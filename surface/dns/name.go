package dns

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
)

// subject is what a name is about.
type subject uint8

const (
	aboutNothing subject = iota // nothing there can be: NXDOMAIN
	aboutSilence                // something, but no record: NOERROR without SOA
	aboutForeign                // not our zone
	aboutUnable                 // a transfer
	aboutZone                   // the zone's SOA or NS
	aboutAddress                // a literal address
	aboutReverse                // an address's name
	aboutService
	aboutNode
	aboutQuery // a prepared query
)

// ask is a question understood.
type ask struct {
	subject subject
	kind    uint16 // the type asked for; 0 for one that no service or node has
	alt     bool   // the name lies in the second zone
	dc      string // the datacenter asked about; "" is our own
	name    string // of the service, node or query, lower-case
	tag     string // lower-case; "": any
	full    string // the question's name, lower-case, without the last dot
	addr    netip.Addr
}

// keywords end the part of a name that belongs to something.
var keywords = map[string]bool{"service": true, "connect": true, "virtual": true, "ingress": true, "node": true, "query": true, "addr": true}

// arpa is the zone of reverse names.
const arpa = "arpa"

// understand reads a lower-case name in wire form.
func (c *conf) understand(name []byte, kind uint16) ask {
	labels, zone := c.labels(name)
	within := zone != nil
	reverse := len(labels) > 0 && labels[len(labels)-1] == arpa
	switch {
	case !within && !reverse:
		return ask{subject: aboutForeign, kind: kind}
	case kind == typeAXFR:
		return ask{subject: aboutUnable}
	case !within:
		return reversed(labels[:len(labels)-1], kind)
	case kind == typeSOA, kind == typeNS:
		return ask{subject: aboutZone, kind: kind, alt: zone != c}
	}
	a := zone.dispatch(labels, kind)
	a.alt, a.full = zone != c, strings.Join(labels, ".")+"."+strings.TrimSuffix(zone.Domain, ".")
	return a
}

// dispatch walks from the right to the first keyword; in an SRV question _web._tcp needs none.
func (c *conf) dispatch(labels []string, kind uint16) ask {
	for i := len(labels) - 1; i >= 0; i-- {
		if keywords[labels[i]] {
			return c.keyword(labels[i], labels[:i], labels[i+1:], kind)
		}
		if kind == typeSRV && labels[i][0] == '_' {
			return c.service(labels[:i+1], labels[i+1:], kind)
		}
	}
	return ask{}
}

// labels cuts a name into labels; if it lies in a zone of ours, that is returned, too, and cut off: the longer one, if
// one lies in the other.
func (c *conf) labels(name []byte) (labels []string, zone *conf) {
	for at := 0; name[at] != 0; {
		switch {
		case bytes.Equal(name[at:], c.suffix):
			return labels, c
		case c.alt != nil && bytes.Equal(name[at:], c.alt.suffix):
			return labels, c.alt
		}
		n := int(name[at])
		labels = append(labels, string(name[at+1:at+1+n]))
		at += 1 + n
	}
	return labels, nil
}

func (c *conf) keyword(word string, parts, place []string, kind uint16) ask {
	if len(parts) == 0 {
		return ask{}
	}
	switch word {
	case "service":
		return c.service(parts, place, kind)
	case "node":
		return c.node(parts, place, kind)
	case "query":
		return c.query(parts, place, kind)
	case "addr":
		return literal(parts, kind)
	case "virtual":
		return ask{subject: aboutSilence}
	}
	return ask{} // connect, ingress: no such thing is there
}

// place reads the labels after a keyword: they name a datacenter, "" for the agent's own, or are wrong.
func (c *conf) place(labels []string) (dc string, ok bool) {
	switch {
	case len(labels) == 0:
		return "", true
	case len(labels) == 2 && labels[1] != "dc", len(labels) > 2:
		return "", false
	case labels[0] == c.dc:
		return "", true
	}
	return labels[0], true
}

func (c *conf) service(parts, place []string, kind uint16) ask {
	dc, ok := c.place(place)
	if !ok {
		return ask{}
	}
	a := ask{subject: aboutService, kind: recordKind(kind), dc: dc}
	last := len(parts) - 1
	if len(parts) == 2 && parts[0][0] == '_' && parts[1][0] == '_' {
		if a.name, a.tag = parts[0][1:], parts[1][1:]; a.tag == "tcp" {
			a.tag = ""
		}
	} else {
		a.name, a.tag = parts[last], strings.Join(parts[:last], ".")
	}
	return a
}

// recordKind returns the type asked for, 0 if no instance has records of it.
func recordKind(kind uint16) uint16 {
	switch kind {
	case typeA, typeAAAA, typeSRV, typeANY:
		return kind
	}
	return 0
}

// query reads the name of a prepared query, which may have dots; in the form of RFC 2782 the last label is for show.
func (c *conf) query(parts, place []string, kind uint16) ask {
	dc, ok := c.place(place)
	if !ok || len(place) > 1 {
		return ask{}
	}
	if last := len(parts) - 1; last > 0 && parts[0][0] == '_' && parts[last][0] == '_' {
		parts = append([]string{parts[0][1:]}, parts[1:last]...)
	}
	return ask{subject: aboutQuery, kind: recordKind(kind), dc: dc, name: strings.Join(parts, ".")}
}

func (c *conf) node(parts, place []string, kind uint16) ask {
	dc, ok := c.place(place)
	if !ok {
		return ask{}
	}
	switch kind {
	case typeA, typeAAAA, typeANY, typeTXT:
		return ask{subject: aboutNode, kind: kind, dc: dc, name: strings.Join(parts, ".")}
	}
	return ask{subject: aboutSilence}
}

// literal reads 8 or 32 hex digits as an address.
func literal(parts []string, kind uint16) ask {
	if len(parts) != 1 {
		return ask{}
	}
	b, err := hex.DecodeString(parts[0])
	addr, ok := netip.AddrFromSlice(b)
	if err != nil || !ok {
		return ask{}
	}
	return ask{subject: aboutAddress, kind: kind, addr: addr}
}

// reversed reads the labels before arpa.
func reversed(labels []string, kind uint16) ask {
	n := len(labels) - 1
	if n < 0 {
		return ask{}
	}
	digits := slices.Clone(labels[:n])
	slices.Reverse(digits)
	var text string
	switch {
	case labels[n] == "in-addr" && n == 4:
		text = strings.Join(digits, ".")
	case labels[n] == "ip6" && n == 32:
		var b strings.Builder
		for i, d := range digits {
			if len(d) != 1 {
				return ask{}
			}
			if i > 0 && i%4 == 0 {
				b.WriteByte(':')
			}
			b.WriteString(d)
		}
		text = b.String()
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return ask{}
	}
	return ask{subject: aboutReverse, kind: kind, addr: addr.Unmap()}
}
