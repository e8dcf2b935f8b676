package dns

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"rostra/engine/room"
)

// fakeRecursor knows a few names of the world; rcode, if it is not 0, is its answer to everything.
type fakeRecursor struct {
	addr  string
	rcode atomic.Int32
	asked atomic.Int64
	mu    sync.Mutex
	last  *mdns.Msg // guarded by mu, as over
	over  string
}

func newRecursor(t *testing.T) *fakeRecursor {
	t.Helper()
	f := &fakeRecursor{}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = tcp.Addr().String()
	udp, err := net.ListenPacket("udp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	for _, s := range []*mdns.Server{{Listener: tcp, Handler: f}, {PacketConn: udp, Handler: f}} {
		up := make(chan bool)
		s.NotifyStartedFunc = func() { close(up) }
		group.Go(func() { _ = s.ActivateAndServe() })
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return f
}

var world = []string{
	"db.example.com. 300 IN A 192.0.2.7", "host.example.com. 300 IN A 192.0.2.8", "host.example.com. 300 IN AAAA 2001:db8::8",
	"www.example.com. 60 IN CNAME host.example.com.", "example.com. 99 IN A 192.0.2.1", "example.com. 99 IN MX 5 mail.example.com.",
	"9.9.9.9.in-addr.arpa. 50 IN PTR nine.example.com.",
}

// got returns the last question and how it came.
func (f *fakeRecursor) got() (over string, last *mdns.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over, f.last
}

func (f *fakeRecursor) ServeDNS(w mdns.ResponseWriter, q *mdns.Msg) {
	f.asked.Add(1)
	f.mu.Lock()
	f.last, f.over = q.Copy(), w.LocalAddr().Network()
	f.mu.Unlock()
	m := new(mdns.Msg)
	m.SetReply(q)
	m.RecursionAvailable, m.AuthenticatedData = true, true
	name := q.Question[0].Name
	for _, text := range world {
		rr, _ := mdns.NewRR(text)
		if !strings.EqualFold(rr.Header().Name, name) {
			continue
		}
		alias, isAlias := rr.(*mdns.CNAME)
		if isAlias || rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
		if isAlias {
			name = alias.Target
			other, _ := mdns.NewRR(world[1])
			m.Answer = append(m.Answer, other)
		}
	}
	if strings.HasPrefix(name, "crowd.") {
		for i := range 9 {
			rr, _ := mdns.NewRR(fmt.Sprintf("%s 300 IN A 192.0.2.%d", name, 100+i))
			m.Answer = append(m.Answer, rr)
		}
	}
	if len(m.Answer) == 0 {
		m.Rcode = mdns.RcodeNameError
	}
	if r := int(f.rcode.Load()); r != 0 {
		m.Rcode, m.Answer = r, nil
	}
	_ = w.WriteMsg(m)
}

func withRecursors(addrs ...string) *Settings {
	s := settings()
	s.Recursors = addrs
	return s
}

// silent returns the address of a recursor that never answers.
func silent(t *testing.T) string {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().String()
}

// flags returns a reply's lines with its flag RA in front.
func flags(r *mdns.Msg) string {
	if r.RecursionAvailable {
		return "ra " + lines(r)
	}
	return lines(r)
}

// TestForward: spec dns.md §6, §3.8, §1.
func TestForward(t *testing.T) {
	up := newRecursor(t)
	s, _ := newServer(t, withRecursors(up.addr), example()...)
	addr := serve(t, s, "127.0.0.1:0")
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range []struct{ name, kind, want string }{
			{"example.com.", "A", "ra NOERROR\nexample.com. 99 IN A 192.0.2.1"},
			{"Example.COM.", "MX", "ra NOERROR\nexample.com. 99 IN MX 5 mail.example.com."},
			{"nope.example.com.", "A", "ra NXDOMAIN"},
			{".", "NS", "ra NXDOMAIN"},
			{"9.9.9.9.in-addr.arpa.", "PTR", "ra NOERROR\n9.9.9.9.in-addr.arpa. 50 IN PTR nine.example.com."},
			{"8.9.9.9.in-addr.arpa.", "PTR", "ra NXDOMAIN"},
			{"1.0.0.127.in-addr.arpa.", "PTR", "ra NOERROR aa\n1.0.0.127.in-addr.arpa. 0 IN PTR srv1.node.dc1.consul."},
			{"nope.service.consul.", "A", "ra NXDOMAIN aa\n" + soa},
			{"v1.2.v4only.service.consul.", "A", "ra NOERROR aa\nv1.2.v4only.service.consul. 5 IN A 127.0.0.1"},
		} {
			if got := flags(asks(t, network, addr, c.name, mdns.StringToType[c.kind], 1232)); got != c.want {
				t.Errorf("%s %s %s: got\n%s\nwant\n%s", network, c.name, c.kind, got, c.want)
			}
		}
		asks(t, network, addr, "example.com.", mdns.TypeA, 1400)
		if over, last := up.got(); over != network || last.IsEdns0() == nil || last.IsEdns0().UDPSize() != 1400 {
			t.Errorf("%s: asked over %s: %v", network, over, last)
		}
	}
	next := settings() // the zone . is served only with recursors
	s.Reload(next)
	if got := flags(asks(t, "udp", addr, "example.com.", mdns.TypeA, 0)); got != "REFUSED" {
		t.Errorf("without recursors: %s", got)
	}
}

// TestAliases: what names lead to is in the answer (spec dns.md §3.4, §6, §9), with the service's TTL.
func TestAliases(t *testing.T) {
	up := newRecursor(t)
	more := append(example(),
		instance(node("n5", "10.5.0.5"), "crowded", "crowded", "crowd.example.com", 80),
		instance(node("n5", "10.5.0.5"), "www", "www", "www.example.com", 80),
		instance(node("n5", "10.5.0.5"), "inner", "inner", "V2.web.service.consul", 80),
		instance(node("n5", "10.5.0.5"), "gone", "gone", "nope.service.consul", 80),
		instance(node("n5", "10.5.0.5"), "lost", "lost", "nope.example.com", 80),
		instance(node("n5", "10.5.0.5"), "loop1", "loop1", "loop2.service.consul", 80),
		instance(node("n5", "10.5.0.5"), "loop2", "loop2", "loop1.service.consul", 80),
		instance(node("n5", "10.5.0.5"), "out", "out", "db-main.service.consul.", 80))
	s, _ := newServer(t, withRecursors(up.addr), more...)
	without, _ := newServer(t, settings(), more...)
	addr, plain := serve(t, s, "127.0.0.1:0"), serve(t, without, "127.0.0.1:0")
	crowd := func(n int) string {
		list := []string{"ra NOERROR aa", "crowded.service.consul. 5 IN CNAME crowd.example.com."}
		for i := range n {
			list = append(list, fmt.Sprintf("crowd.example.com. 5 IN A 192.0.2.%d", 100+i))
		}
		slices.Sort(list[1:])
		return strings.Join(list, "\n")
	}
	const inner = "NOERROR aa\nV2.web.service.consul. 5 IN A 10.1.2.3\ninner.service.consul. 5 IN CNAME V2.web.service.consul."
	for _, c := range []struct {
		addr, name, kind string
		size             int
		want             string
	}{
		{addr, "db-main.service.consul.", "A", 1232, "ra NOERROR aa\ndb-main.service.consul. 7 IN CNAME db.example.com.\ndb.example.com. 7 IN A 192.0.2.7"},
		{addr, "db-main.service.consul.", "AAAA", 1232, "ra NOERROR aa\ndb-main.service.consul. 7 IN CNAME db.example.com.\ndb.example.com. 7 IN A 192.0.2.7"},
		{addr, "db-main.service.consul.", "SRV", 1232, "ra NOERROR aa\ndb-main.service.consul. 7 IN SRV 1 1 5432 db.example.com.\n" +
			"+ db.example.com. 7 IN A 192.0.2.7\n+ srv1.node.dc1.consul. 7 IN TXT \"os=linux\""},
		{addr, "www.service.consul.", "A", 1232, "ra NOERROR aa\nhost.example.com. 5 IN A 192.0.2.8\nwww.example.com. 5 IN CNAME host.example.com.\nwww.service.consul. 5 IN CNAME www.example.com."},
		{addr, "named.node.consul.", "A", 1232, "ra NOERROR aa\nhost.example.com. 3 IN A 192.0.2.8\nnamed.node.consul. 3 IN CNAME host.example.com."},
		{addr, "crowded.service.consul.", "A", 4096, crowd(9)},
		{addr, "lost.service.consul.", "A", 0, "ra NOERROR aa\nlost.service.consul. 5 IN CNAME nope.example.com."},
		{addr, "inner.service.consul.", "A", 0, "ra " + inner},
		{plain, "inner.service.consul.", "A", 0, inner},
		{plain, "inner.service.consul.", "SRV", 0, "NOERROR aa\ninner.service.consul. 5 IN SRV 1 1 80 V2.web.service.consul.\n+ V2.web.service.consul. 5 IN A 10.1.2.3"},
		{plain, "db-main.service.consul.", "A", 0, "NOERROR aa\ndb-main.service.consul. 7 IN CNAME db.example.com."},
		{plain, "gone.service.consul.", "A", 0, "NOERROR aa\ngone.service.consul. 5 IN CNAME nope.service.consul."},
		{plain, "loop1.service.consul.", "A", 1232, "NOERROR aa\nloop1.service.consul. 5 IN CNAME loop2.service.consul.\nloop1.service.consul. 5 IN CNAME loop2.service.consul.\n" +
			"loop2.service.consul. 5 IN CNAME loop1.service.consul.\nloop2.service.consul. 5 IN CNAME loop1.service.consul."},
		{addr, "out.service.consul.", "A", 1232, "ra NOERROR aa\ndb-main.service.consul. 5 IN CNAME db.example.com.\ndb.example.com. 5 IN A 192.0.2.7\nout.service.consul. 5 IN CNAME db-main.service.consul."},
	} {
		for range 2 {
			if got := flags(asks(t, "udp", c.addr, c.name, mdns.StringToType[c.kind], c.size)); got != c.want {
				t.Errorf("%s %s: got\n%s\nwant\n%s", c.name, c.kind, got, c.want)
			}
		}
	}
	// Without EDNS at most five, of which UDP takes two beside the CNAME.
	for network, want := range map[string]int{"udp": 3, "tcp": 6} {
		if r := asks(t, network, addr, "crowded.service.consul.", mdns.TypeA, 0); len(r.Answer) != want || r.Answer[0].Header().Rrtype != mdns.TypeCNAME {
			t.Errorf("%s without EDNS: %s", network, lines(r))
		}
	}
	one := withRecursors(up.addr) // a_record_limit counts instances, and all that a name leads to belongs to one
	one.ARecordLimit = 1
	s.Reload(one)
	if got := flags(asks(t, "udp", addr, "crowded.service.consul.", mdns.TypeA, 4096)); got != crowd(9) {
		t.Errorf("with a_record_limit 1: got\n%s\nwant\n%s", got, crowd(9))
	}
	for _, plainNames := range []bool{false, true} { // a target followed must not make the message unreadable at any size
		for size := 100; size < 700; size += 7 {
			if next := withRecursors(up.addr); true {
				next.DisableCompress = plainNames
				s.Reload(next)
			}
			asks(t, "udp", addr, "crowded.service.consul.", mdns.TypeSRV, size)
			asks(t, "udp", addr, "www.service.consul.", mdns.TypeA, size)
		}
	}
}

// TestRecursors: the next one is asked when one refuses, fails or is silent; in turn, or at random.
func TestRecursors(t *testing.T) {
	one, two := newRecursor(t), newRecursor(t)
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	set := withRecursors(gone.LocalAddr().String(), silent(t), one.addr, two.addr, one.addr)
	set.RecursorTimeout = 50 * time.Millisecond
	s, _ := newServer(t, set, example()...)
	addr := serve(t, s, "127.0.0.1:0")
	ask := func() string { return flags(asks(t, "udp", addr, "example.com.", mdns.TypeA, 0)) }
	const good = "ra NOERROR\nexample.com. 99 IN A 192.0.2.1"
	if got := ask(); got != good || one.asked.Load() != 1 || two.asked.Load() != 0 {
		t.Errorf("two that are not there, then one that is: %s; asked %d and %d times", got, one.asked.Load(), two.asked.Load())
	}
	for _, rcode := range []int{mdns.RcodeRefused, mdns.RcodeServerFailure, mdns.RcodeFormatError} {
		one.rcode.Store(int32(rcode))
		if got := ask(); got != good {
			t.Errorf("after %s: %s", mdns.RcodeToString[rcode], got)
		}
	}
	if got := flags(asks(t, "udp", addr, "db-main.service.consul.", mdns.TypeA, 1232)); got != "ra NOERROR aa\ndb-main.service.consul. 7 IN CNAME db.example.com." {
		t.Errorf("a name is followed by whoever answers first, whatever it says: %s", got)
	}
	two.rcode.Store(mdns.RcodeRefused)
	if got := ask(); got != "ra SERVFAIL" || s.Counters()["dns.forwarded.failed"] != 1 {
		t.Errorf("when all fail: %s", got)
	}
	one.rcode.Store(0)
	two.rcode.Store(0)
	both := withRecursors(one.addr, two.addr)
	for strategy, spread := range map[string]bool{"sequential": false, "random": true} {
		both.Strategy = strategy
		s.Reload(both)
		before := two.asked.Load()
		for range 40 {
			ask()
		}
		if n := two.asked.Load() - before; (n > 0) != spread || n == 40 {
			t.Errorf("%s: the second was asked %d of 40 times", strategy, n)
		}
	}
}

// TestForged: only the answer to the very question counts.
func TestForged(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan bool)
	go func() {
		defer close(done)
		b := make([]byte, 512)
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		q := new(mdns.Msg)
		_ = q.Unpack(b[:n])
		send := func(change func(m *mdns.Msg)) {
			m := new(mdns.Msg)
			m.SetReply(q)
			change(m)
			out, _ := m.Pack()
			_, _ = c.WriteTo(out, from)
		}
		_, _ = c.WriteTo([]byte("x"), from)
		send(func(m *mdns.Msg) { m.Id++ })
		send(func(m *mdns.Msg) { m.Response = false })
		send(func(m *mdns.Msg) { m.Question[0].Name = "example.org." })
		send(func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeMX })
		send(func(m *mdns.Msg) { m.Question = nil })
		send(func(m *mdns.Msg) { m.Question[0].Name = "EXAMPLE.com."; m.AuthenticatedData = true })
	}()
	s, _ := newServer(t, withRecursors(c.LocalAddr().String()), example()...)
	r := asks(t, "udp", serve(t, s, "127.0.0.1:0"), "example.com.", mdns.TypeA, 0)
	if <-done; !r.AuthenticatedData || r.Rcode != 0 {
		t.Errorf("got %v", r)
	}
}

// TestSilentRecursor: questions that wait for one hold up none about our own names.
func TestSilentRecursor(t *testing.T) {
	s, _ := newServer(t, withRecursors(silent(t)), example()...)
	addr := serve(t, s, "127.0.0.1:0")
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 * pool {
		for _, name := range []string{"example.com.", "9.9.9.9.in-addr.arpa.", "db-main.service.consul."} {
			if _, err := c.Write(packed1(t, name, mdns.TypeA, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := time.Now()
	for _, name := range []string{"web.service.consul.", "srv1.node.consul.", "1.0.0.127.in-addr.arpa.", "consul."} {
		if r := asks(t, "udp", addr, name, mdns.TypeSOA, 0); r.Rcode != mdns.RcodeSuccess {
			t.Errorf("%s: %s", name, lines(r))
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("questions about our names took %v beside those to a silent recursor", took)
	}
}

// TestAltDomain: names of either domain are answered with names of the same one (spec dns.md §5, §9).
func TestAltDomain(t *testing.T) {
	set := settings()
	set.AltDomain = "Alt.test."
	s, _ := newServer(t, set, example()...)
	addr := serve(t, s, "127.0.0.1:0")
	alt := func(text string) string { return strings.ReplaceAll(text, "consul.", "alt.test.") }
	negative := alt(strings.ReplaceAll(soa, "NOW", "*"))
	for _, c := range []struct{ name, kind, want string }{
		{"v1.web.service.alt.test.", "SRV", "NOERROR aa\nv1.web.service.alt.test. 10 IN SRV 1 1 8080 srv1.node.dc1.alt.test.\n" +
			"+ srv1.node.dc1.alt.test. 10 IN A 127.0.0.1\n+ srv1.node.dc1.alt.test. 10 IN TXT \"os=linux\""},
		{"v2.web.service.ALT.test.", "SRV", "NOERROR aa\nv2.web.service.ALT.test. 10 IN SRV 1 5 8081 0a010203.addr.dc1.ALT.test.\n" +
			"+ 0a010203.addr.dc1.ALT.test. 10 IN A 10.1.2.3\n+ srv1.node.dc1.ALT.test. 10 IN TXT \"os=linux\""},
		{"v1.web.service.consul.", "SRV", "NOERROR aa\nv1.web.service.consul. 10 IN SRV 1 1 8080 srv1.node.dc1.consul.\n" +
			"+ srv1.node.dc1.consul. 10 IN A 127.0.0.1\n+ srv1.node.dc1.consul. 10 IN TXT \"os=linux\""},
		{"srv1.node.dc1.alt.test.", "A", "NOERROR aa\nsrv1.node.dc1.alt.test. 3 IN A 127.0.0.1\n+ srv1.node.dc1.alt.test. 3 IN TXT \"os=linux\""},
		{"7f000001.addr.alt.test.", "A", "NOERROR aa\n7f000001.addr.alt.test. 3 IN A 127.0.0.1"},
		{"nope.service.alt.test.", "A", "NXDOMAIN aa\n" + negative},
		{"v4only.service.alt.test.", "AAAA", "NOERROR aa\n" + negative},
		{"alt.test.", "A", "NXDOMAIN aa\n" + negative},
		{"alt.test.", "NS", "NOERROR aa\nalt.test. 3 IN NS srv1.node.dc1.alt.test.\n+ srv1.node.dc1.alt.test. 3 IN A 127.0.0.1"},
		{"1.0.0.127.in-addr.arpa.", "PTR", "NOERROR aa\n1.0.0.127.in-addr.arpa. 0 IN PTR srv1.node.dc1.consul."},
		{"test.", "A", "REFUSED"},
	} {
		for range 2 {
			got := altSerial.ReplaceAllString(lines(asks(t, "udp", addr, c.name, mdns.StringToType[c.kind], 1232)), "hostmaster.alt.test. * ")
			if got != c.want {
				t.Errorf("%s %s: got\n%s\nwant\n%s", c.name, c.kind, got, c.want)
			}
		}
	}
	for _, names := range [][2]string{{"consul", "deep.consul"}, {"deep.consul", "consul"}} { // the longer one counts
		set.Domain, set.AltDomain = names[0], names[1]
		s, _ := newServer(t, set, example()...)
		addr := serve(t, s, "127.0.0.1:0")
		for _, zone := range names {
			if r := asks(t, "udp", addr, "v1.web.service."+zone+".", mdns.TypeSRV, 1232); len(r.Answer) != 1 || r.Answer[0].(*mdns.SRV).Target != "srv1.node.dc1."+zone+"." {
				t.Errorf("%v: %s: %s", names, zone, lines(r))
			}
		}
	}
}

// TestCheck: what cannot be is refused with its key in front.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		change func(*Settings)
		want   string // "": it is right
	}{
		{func(s *Settings) {
			s.Recursors = []string{"8.8.8.8", "8.8.8.8:5353", "[2001:db8::1]:53", "2001:db8::1", "dns.example.com"}
		}, ""},
		{func(s *Settings) { s.Recursors = []string{"0.0.0.0"} }, `recursors: "0.0.0.0"`},
		{func(s *Settings) { s.Recursors = []string{"[::]:53"} }, `recursors: "[::]:53"`},
		{func(s *Settings) { s.Recursors = []string{"unix:///x"} }, `recursors: "unix:///x"`},
		{func(s *Settings) { s.Recursors = []string{"8.8.8"} }, `recursors: "8.8.8"`},
		{func(s *Settings) { s.Recursors = []string{"8.8.8.8:0"} }, `recursors: "8.8.8.8:0"`},
		{func(s *Settings) { s.Recursors = []string{""} }, `recursors: ""`},
		{func(s *Settings) { s.Strategy = "random" }, ""},
		{func(s *Settings) { s.Strategy = "fastest" }, `dns_config.recursor_strategy: "fastest" is none; use sequential or random`},
		{func(s *Settings) { s.AltDomain = "alt.test" }, ""},
		{func(s *Settings) { s.AltDomain = "service.test" }, `alt_domain: "service.test" cannot begin with "service."`},
		{func(s *Settings) { s.AltDomain = "addr.test" }, `alt_domain: "addr.test" cannot begin with`},
		{func(s *Settings) { s.AltDomain = "DC1.test" }, `alt_domain: "DC1.test" cannot begin with "dc1."`},
		{func(s *Settings) { s.AltDomain = "a..b" }, `alt_domain: "a..b" is no domain name`},
	} {
		s := settings()
		c.change(s)
		err := s.Check("dc1")
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v %q %q: got %v, want %s", s.Recursors, s.Strategy, s.AltDomain, err, c.want)
		}
	}
	c := newConf(withRecursors("8.8.8.8", "::1", "[::1]:53", "8.8.8.8:53", "8.8.8.8:54"), room.Identity{Datacenter: "dc1"})
	if want := []string{"8.8.8.8:53", "[::1]:53", "8.8.8.8:54"}; !slices.Equal(c.forward, want) {
		t.Errorf("recursors %v, want %v", c.forward, want)
	}
}

// FuzzAddressesIn feeds what a recursor may send.
func FuzzAddressesIn(f *testing.F) {
	m := new(mdns.Msg)
	m.SetQuestion("www.example.com.", mdns.TypeA)
	for _, text := range world {
		rr, _ := mdns.NewRR(text)
		m.Answer = append(m.Answer, rr)
	}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	s, _ := newServer(f, withRecursors("192.0.2.1"), instance(node("n", "10.0.0.1"), "db", "db", "db.example.com", 1))
	w, q := s.worker(1), new(query)
	f.Fuzz(func(t *testing.T, b []byte) {
		list := addressesIn(b, 5)
		for _, kind := range []uint16{typeA, typeSRV} {
			a := ask{subject: aboutService, name: "db", kind: kind}
			p, err := s.lookup(t.Context(), append([]byte("db"), byte(kind)), &a)
			if err != nil || q.parse(packed1(t, "db.service.consul.", kind, 512)) != good {
				t.Fatal(err)
			}
			if p = p.copy(); kind == typeSRV {
				p.items = []item{p.items[0]}
				p.items[0].chain = &chain{list}
			} else {
				p.items, p.flat, p.stride, p.pick = append([]item{p.items[0]}, list...), nil, 0, false
			}
			var r mdns.Msg
			if err := r.Unpack(w.m.compose(q, p, false)[lead:]); err != nil {
				t.Fatalf("%x makes an answer that cannot be read: %v", b, err)
			}
		}
	})
}
