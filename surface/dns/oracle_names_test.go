package dns

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"rostra/feature/catalog"
)

// others returns the answer to a question about a node, an address or the zone, worked out with the other library: its
// lines as of lines, with NONE in place of the negative answer's SOA.
func (m model) others(t *testing.T, name string, kind uint16) string {
	low := strings.ToLower(name)
	out := []string{"NOERROR aa"}
	rr := func(mark, format string, args ...any) {
		r, err := mdns.NewRR(fmt.Sprintf(format, args...))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, mark+strings.Join(strings.Fields(r.String()), " "))
	}
	const nothing = "NXDOMAIN aa\nNONE"
	if kind == mdns.TypeNS && strings.HasSuffix(low, "consul.") {
		return strings.Join(out, "\n") // the model has no servers
	}
	if mdns.IsSubDomain("arpa.", low) {
		for _, x := range m {
			if back, _ := mdns.ReverseAddr(x.Row.Address); back == low {
				rr("", "%s 0 IN PTR %s.node.dc1.consul.", name, x.Row.Node)
				return strings.Join(out, "\n")
			}
		}
		for _, x := range m {
			if back, err := mdns.ReverseAddr(x.Service.Address); err == nil && back == low {
				rr("", "%s 0 IN PTR SERVICE", name) // several may be there
				return strings.Join(out, "\n")
			}
		}
		return nothing
	}
	node, _, _ := strings.Cut(low, ".")
	i := slices.IndexFunc(m, func(x *catalog.Register) bool { return strings.EqualFold(x.Row.Node, node) })
	if kind == mdns.TypeSRV || kind == mdns.TypeMX {
		return out[0]
	}
	if i < 0 {
		return nothing
	}
	if kind == mdns.TypeA || kind == mdns.TypeANY {
		rr("", "%s 3 IN A %s", name, m[i].Row.Address)
	}
	mark := map[uint16]string{mdns.TypeA: "+ ", mdns.TypeAAAA: "+ "}[kind]
	for _, p := range m[i].Row.Meta {
		rr(mark, "%s 3 IN TXT \"%s=%s\"", name, p.Key, p.Value)
	}
	slices.SortStableFunc(out[1:], func(a, b string) int {
		if x, y := strings.HasPrefix(a, "+"), strings.HasPrefix(b, "+"); x != y {
			return map[bool]int{true: 1, false: -1}[x]
		}
		return strings.Compare(a, b)
	})
	return strings.Join(out, "\n")
}

// TestOracleNames is TestOracle for nodes (A, AAAA, TXT, ANY), reverse names (PTR) and the zone (NS).
func TestOracleNames(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	m, commands := randomModel(r)
	s, _ := newServer(t, settings(), commands...)
	w := s.worker(r.Uint64())
	for range 3000 {
		kind := []uint16{mdns.TypeA, mdns.TypeAAAA, mdns.TypeTXT, mdns.TypeANY, mdns.TypeSRV, mdns.TypeMX}[r.IntN(6)]
		name := fmt.Sprintf("n%d.node%s.consul.", r.IntN(18), []string{"", ".dc1", ".dc1.dc"}[r.IntN(3)])
		switch r.IntN(6) {
		case 0:
			kind = mdns.TypePTR
			name, _ = mdns.ReverseAddr(fmt.Sprintf("10.%d.0.%d", r.IntN(3), r.IntN(45)))
		case 1:
			kind = mdns.TypePTR
			name, _ = mdns.ReverseAddr(fmt.Sprintf("2001:db8::%x", r.IntN(45)))
		case 2:
			kind = mdns.TypeNS
		}
		name = randomCase(r, name)
		want := m.others(t, name, kind)
		out, _ := w.answer(t.Context(), packed1(t, name, kind, 65535), r.IntN(2) == 0, time.Now().Add(patience))
		var reply mdns.Msg
		if err := reply.Unpack(out[lead:]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := strings.ReplaceAll(lines(&reply), soa, "NONE")
		if i := strings.Index(got, "IN PTR s"); i > 0 && strings.HasSuffix(got, ".service.dc1.consul.") {
			got = got[:i] + "IN PTR SERVICE."
		}
		if got != want || reply.Question[0].Name != name {
			t.Fatalf("%s %s: got\n%s\nwant\n%s", name, mdns.TypeToString[kind], got, want)
		}
	}
}

// FuzzQuestion holds our reading of questions against the other library's: what that reads as a plain question, we must read
// alike, and what we take as one it must be able to read.
func FuzzQuestion(f *testing.F) {
	f.Add(packed1(f, "web.service.consul.", mdns.TypeSRV, 0))
	f.Add(packed1(f, "_web._tcp.Service.consul.", mdns.TypeTXT, 1232))
	f.Add(packed1(f, ".", mdns.TypeNS, 600))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m mdns.Msg
		var q query
		v, err := q.parse(b), m.Unpack(b)
		if v != good {
			plain := err == nil && !m.Response && m.Opcode == 0 && len(m.Question) == 1 &&
				bytes.Equal(b[6:header], make([]byte, 6)) // with other counts there must be records
			if again, e := m.Pack(); plain && e == nil && len(again) == len(b) {
				t.Fatalf("%x is a question, and refused as %d", b, v)
			}
			return
		}
		name, _, e := mdns.UnpackDomainName(q.section, 0)
		if e != nil || err == nil && (len(m.Question) != 1 || m.Question[0].Name != name || m.Question[0].Qtype != q.kind) {
			t.Fatalf("%x: read as %q %d (%v), by the other as %v", b, name, q.kind, e, m.Question)
		}
		if opt := m.IsEdns0(); err == nil && (opt != nil) != q.edns || opt != nil && err == nil && int(opt.UDPSize()) != q.size {
			t.Fatalf("%x: EDNS %v %d, by the other %v", b, q.edns, q.size, opt)
		}
	})
}
