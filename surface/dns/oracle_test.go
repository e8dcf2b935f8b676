package dns

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"rostra/engine/room"
	"rostra/feature/catalog"
)

// model is a catalog as the oracle sees it: instances of few services.
type model []*catalog.Register

func randomModel(r *rand.Rand) (model, []room.Command) {
	var m model
	var list []room.Command
	for i := range 60 {
		n := node(fmt.Sprintf("n%d", i/4), fmt.Sprintf("10.0.0.%d", i/4+1), "rack", fmt.Sprint(i/8), "zone", strings.Repeat("z", i/4*4))
		addr := []string{"", "", fmt.Sprintf("10.1.0.%d", r.IntN(40)+1), fmt.Sprintf("2001:db8::%x", r.IntN(40)+1), "name.example.com"}[r.IntN(5)]
		x := instance(n, fmt.Sprintf("s%d", r.IntN(5)), fmt.Sprint("i", i), addr, r.IntN(3)+8000, []string{"a", "b.c", "D"}[r.IntN(3)])
		m, list = append(m, x), append(list, x)
	}
	return m, list
}

// answers returns all records a complete answer has, worked out the slow way with another library.
func (m model) answers(t *testing.T, s *Settings, q, service, tag string, kind uint16) (answer, extra []string, exists bool) {
	rr := func(list *[]string, format string, args ...any) {
		r, err := mdns.NewRR(fmt.Sprintf(format, args...))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(*list, r.String()) {
			*list = append(*list, r.String())
		}
	}
	var names []string
	ttl := s.ServiceTTL["*"] / time.Second
	for _, x := range m {
		if x.Service.Service != service || tag != "" && !slices.ContainsFunc(x.Service.Tags, func(have string) bool { return strings.EqualFold(have, tag) }) {
			continue
		}
		exists = true
		addr, target := x.Service.Address, ""
		if addr == "" {
			addr, target = x.Row.Address, x.Row.Node+".node.dc1."+q[len(q)-len("consul."):]
		}
		ip := net.ParseIP(addr)
		v4 := ip.To4()
		switch {
		case kind == mdns.TypeSRV:
			if target == "" && ip == nil {
				target = addr + "."
			} else if target == "" && v4 != nil {
				target = fmt.Sprintf("%x.addr.dc1.%s", []byte(v4), q[len(q)-len("consul."):])
			} else if target == "" {
				target = fmt.Sprintf("%x.addr.dc1.%s", []byte(ip), q[len(q)-len("consul."):])
			}
			rr(&answer, "%s %d IN SRV 1 1 %d %s", q, ttl, x.Service.Port, target)
			if v4 != nil {
				rr(&extra, "%s %d IN A %s", target, ttl, addr)
			} else if ip != nil {
				rr(&extra, "%s %d IN AAAA %s", target, ttl, addr)
			}
			for _, p := range x.Row.Meta {
				rr(&extra, "%s.node.dc1.%s %d IN TXT \"%s=%s\"", x.Row.Node, q[len(q)-len("consul."):], ttl, p.Key, p.Value)
			}
		case ip == nil:
			names = append(names, addr)
		case v4 != nil && (kind == mdns.TypeA || kind == mdns.TypeANY):
			rr(&answer, "%s %d IN A %s", q, ttl, addr)
		case v4 == nil && (kind == mdns.TypeAAAA || kind == mdns.TypeANY):
			rr(&answer, "%s %d IN AAAA %s", q, ttl, addr)
		}
	}
	if len(answer) == 0 && len(names) > 0 && (kind == mdns.TypeA || kind == mdns.TypeAAAA || kind == mdns.TypeANY) {
		rr(&answer, "%s %d IN CNAME %s.", q, ttl, names[0])
	}
	return answer, extra, exists
}

func randomCase(r *rand.Rand, s string) string {
	b := []byte(s)
	for i := range b {
		if r.IntN(3) == 0 {
			b[i] = bytes.ToUpper(b[i : i+1])[0]
		}
	}
	return string(b)
}

func subset(t *testing.T, what string, got []mdns.RR, want []string) int {
	t.Helper()
	n := 0
	for _, rr := range got {
		if rr.Header().Rrtype == mdns.TypeOPT {
			continue
		}
		n++
		if !slices.Contains(want, rr.String()) {
			t.Errorf("%s: %s is none of\n%s", what, rr, strings.Join(want, "\n"))
		}
	}
	return n
}

// TestOracle compares answers to random questions with those of the oracle, up to order and what limits cut.
func TestOracle(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	m, commands := randomModel(r)
	for _, plain := range []bool{false, true} {
		set := settings()
		set.DisableCompress, set.EnableTruncate = plain, true
		s, _ := newServer(t, set, commands...)
		w := s.worker(r.Uint64())
		for range 5000 {
			service, tag := fmt.Sprintf("s%d", r.IntN(6)), []string{"", "", "a", "b.c", "d", "zzz"}[r.IntN(6)]
			name := service + ".service.consul."
			if tag != "" {
				name = tag + "." + name
			}
			kind := []uint16{mdns.TypeA, mdns.TypeAAAA, mdns.TypeSRV, mdns.TypeANY, mdns.TypeMX}[r.IntN(5)]
			size := []int{0, 100, 512, 513, 700, 1232, 4096, 65535}[r.IntN(8)]
			tcp := r.IntN(4) == 0
			checkAnswer(t, w, m, set, randomCase(r, name), service, tag, kind, size, tcp)
			if t.Failed() {
				t.FailNow()
			}
		}
	}
}

func checkAnswer(t *testing.T, w *worker, m model, set *Settings, name, service, tag string, kind uint16, size int, tcp bool) {
	what := fmt.Sprintf("%s %s size %d tcp %v", name, mdns.TypeToString[kind], size, tcp)
	out, _ := w.answer(t.Context(), packed1(t, name, kind, size), tcp, time.Now().Add(patience))
	var got mdns.Msg
	if err := got.Unpack(out[lead:]); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	answer, extra, exists := m.answers(t, set, name, service, tag, kind)
	n, more := subset(t, what, got.Answer, answer), subset(t, what, got.Extra, extra)
	limit := 512
	if tcp {
		limit = 65535
	} else if size > 512 {
		limit = size
	}
	switch {
	case got.Question[0].Name != name:
		t.Errorf("%s: question %v", what, got.Question)
	case (got.Rcode == mdns.RcodeNameError) == exists, len(answer) == 0 && len(got.Ns) != 1, len(answer) > 0 && (n == 0 || len(got.Ns) > 0):
		t.Errorf("%s: exists %v\n%s", what, exists, lines(&got))
	case n > 1 && len(out)-lead > limit:
		t.Errorf("%s: %d bytes", what, len(out)-lead)
	case !got.Truncated && (n < len(answer) || more < len(extra)) && !(got.Answer[0].Header().Rrtype == mdns.TypeCNAME):
		t.Errorf("%s: %d of %d answers, %d of %d more, without TC", what, n, len(answer), more, len(extra))
	case got.Truncated && n == len(answer) && kind != mdns.TypeSRV:
		t.Errorf("%s: TC with all answers", what)
	case got.Truncated && limit == 512 && n > 3:
		t.Errorf("%s: %d answers", what, n)
	}
	for _, a := range got.Answer {
		srv, ok := a.(*mdns.SRV)
		if ok && srv.Target != "name.example.com." && !slices.ContainsFunc(got.Extra, func(x mdns.RR) bool { return x.Header().Name == srv.Target && x.Header().Rrtype != mdns.TypeTXT }) {
			t.Errorf("%s: no address for %s", what, srv.Target)
		}
	}
	if got.Compress = !set.DisableCompress; !got.Truncated && len(out)-lead > got.Len()+8*len(got.Extra) {
		t.Errorf("%s: %d bytes, the oracle needs %d", what, len(out)-lead, got.Len())
	}
}
