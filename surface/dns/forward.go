package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"

	mdns "github.com/miekg/dns"
)

const (
	outsiders  = 512  // UDP questions that may be with recursors, or run prepared queries, at a time
	leastReply = 4096 // bytes of room for a reply, whatever the client takes
)

// errOutside is for questions that a recursor, or perhaps another datacenter, must be asked, from a worker that shall not
// wait for them.
var errOutside = errors.New("somebody else must be asked")

// forwarded asks the recursors the question as it came, over the client's own transport, and returns the first answer
// that decides: with any other response code the next one is asked (spec dns.md §6).
func (w *worker) forwarded(ctx context.Context, packet []byte, tcp bool) ([]byte, error) {
	if !w.outside {
		return nil, errOutside
	}
	c, network := w.srv.conf.Load(), "udp"
	if tcp {
		network = "tcp"
	}
	w.srv.stats.forwarded.Add(1)
	var all []error
	for _, addr := range c.recursors() {
		reply, err := c.exchange(ctx, network, addr, packet, w.q.limit(tcp))
		if err == nil {
			if rcode := reply[3] & 15; rcode == 0 || rcode == nxDomain {
				return append(binary.BigEndian.AppendUint16(w.m.b[:0], uint16(len(reply))), reply...), nil
			}
			err = fmt.Errorf("recursor %s answers with %s", addr, mdns.RcodeToString[int(reply[3]&15)])
		}
		all = append(all, err)
	}
	w.srv.stats.unforwarded.Add(1)
	w.srv.fail(fmt.Errorf("no recursor answers: %w", errors.Join(all...)))
	return w.compose(c.alone, tcp), nil
}

// recursors returns those of the settings in the order to ask them in.
func (c *conf) recursors() []string {
	if c.Strategy != "random" || len(c.forward) < 2 {
		return c.forward
	}
	list := slices.Clone(c.forward)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// exchange asks one recursor and returns its answer to this very question, of which the client takes size bytes. The question travels under an ID of our own:
// the client's may be one that others can guess.
func (c *conf) exchange(ctx context.Context, network, addr string, packet []byte, size int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.RecursorTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	id := binary.BigEndian.Uint16(packet)
	b := append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	binary.BigEndian.PutUint16(b[lead:], uint16(rand.Uint32()))
	if network == "udp" {
		b = b[lead:]
	}
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	asked, reply := b[len(b)-len(packet):], make([]byte, max(size, leastReply))
	for {
		if reply, err = receive(conn, network, reply); err != nil {
			return nil, fmt.Errorf("recursor %s: %w", addr, err)
		}
		if answers(reply, asked) {
			binary.BigEndian.PutUint16(reply, id)
			return reply, nil
		}
		reply = reply[:cap(reply)] // it may be forged, and the right one still come
	}
}

// receive reads one message into b, or a larger one in its place.
func receive(conn net.Conn, network string, b []byte) ([]byte, error) {
	if network == "udp" {
		n, err := conn.Read(b)
		return b[:n], err
	}
	if _, err := io.ReadFull(conn, b[:2]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(b))
	b = slices.Grow(b[:0], n)[:n]
	_, err := io.ReadFull(conn, b)
	return b, err
}

// answers reports whether a message is an answer to the packet: its ID and its question. Refusals may leave that out.
func answers(reply, packet []byte) bool {
	var q query
	if len(reply) < header || reply[2]&0x80 == 0 || !bytes.Equal(reply[:2], packet[:2]) || q.parse(packet) != good {
		return false
	}
	if reply[4] == 0 && reply[5] == 0 {
		return reply[3]&15 != 0
	}
	n := header + len(q.section)
	return len(reply) >= n && reply[4] == 0 && reply[5] == 1 && bytes.EqualFold(reply[header:n-4], q.name) &&
		bytes.Equal(reply[n-4:n], q.section[len(q.name):])
}

// resolved asks the recursors for the addresses of a name, and returns what the first of them that answers says, whatever
// that is.
func (c *conf) resolved(ctx context.Context, name []byte, ttl uint32) []item {
	packet := append(make([]byte, header, header+len(name)+4), name...)
	packet[2], packet[5] = 1, 1 // recursion desired, one question
	packet = append(packet, 0, typeA, 0, 1)
	for _, addr := range c.recursors() {
		if reply, err := c.exchange(ctx, "udp", addr, packet, plainUDP); err == nil {
			return addressesIn(reply, ttl)
		}
	}
	return nil
}

// addressesIn returns the addresses and aliases of a message's answer, with another TTL. What cannot be read is left out.
func addressesIn(reply []byte, ttl uint32) []item {
	var m mdns.Msg
	_ = m.Unpack(reply) // what came before an error counts
	var list []item
	for _, rr := range m.Answer {
		owner := wireName(rr.Header().Name)
		it := item{owner: &place{name: owner}, node: -1}
		switch rr := rr.(type) {
		case *mdns.A:
			if ip := rr.A.To4(); ip != nil {
				it.rec = record(typeA, ttl, ip)
			}
		case *mdns.AAAA:
			if ip := rr.AAAA.To16(); ip != nil {
				it.rec = record(typeAAAA, ttl, ip)
			}
		case *mdns.CNAME:
			if target := wireName(rr.Target); target != nil {
				it.rec = record(typeCNAME, ttl, target)
			}
		}
		if owner != nil && it.rec != nil {
			list = append(list, it)
		}
	}
	return list
}

// wireName returns a name of the other library's in wire form; nil if it is none.
func wireName(name string) []byte {
	b := make([]byte, maxName+1)
	n, err := mdns.PackDomainName(name, b, 0, nil, false)
	if err != nil {
		return nil
	}
	return b[:n:n]
}
