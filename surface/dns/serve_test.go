package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"

	"rostra/feature/catalog"
)

// TestFresh changes the catalog between questions: every answer must show the newest state.
func TestFresh(t *testing.T) {
	s, d := newServer(t, settings(), example()...)
	addr := serve(t, s, "127.0.0.1:0")
	n := node("n1", "10.5.0.1")
	want := func(name string, kind uint16, rcode string, answers int) {
		t.Helper()
		if r := asks(t, "udp", addr, name, kind, 4096); mdns.RcodeToString[r.Rcode] != rcode || len(r.Answer) != answers {
			t.Fatalf("%s: got\n%s\nwant %s with %d answers", name, lines(r), rcode, answers)
		}
	}
	for range 3 {
		want("new.service.consul.", mdns.TypeA, "NXDOMAIN", 0)
		want("n1.node.consul.", mdns.TypeA, "NXDOMAIN", 0)
		d.do(t, instance(n, "new", "new", "", 80, "blue"))
		want("new.service.consul.", mdns.TypeA, "NOERROR", 1)
		want("n1.node.consul.", mdns.TypeA, "NOERROR", 1)
		want("red.new.service.consul.", mdns.TypeA, "NXDOMAIN", 0)
		d.do(t, instance(n, "new", "new2", "10.5.0.2", 80, "Red"))
		want("red.new.service.consul.", mdns.TypeSRV, "NOERROR", 1)
		want("new.service.consul.", mdns.TypeA, "NOERROR", 2)
		d.do(t, check(n, "c", "new2", "critical"))
		want("new.service.consul.", mdns.TypeA, "NOERROR", 1)
		want("red.new.service.consul.", mdns.TypeSRV, "NXDOMAIN", 0)
		d.do(t, &catalog.Deregister{Node: "n1"})
		want("new.service.consul.", mdns.TypeA, "NXDOMAIN", 0)
	}
}

func TestReload(t *testing.T) {
	s, d := newServer(t, settings(), example()...)
	addr := serve(t, s, "127.0.0.1:0")
	ask := func() string { return lines(asks(t, "udp", addr, "warm.service.consul.", mdns.TypeA, 0)) }
	ask()
	if next := settings(); true {
		next.Domain, next.ServiceTTL = "other.", map[string]time.Duration{"wa*": time.Minute}
		s.Reload(next)
	}
	if got, want := ask(), "NOERROR aa\nwarm.service.consul. 60 IN A 127.0.0.1"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	open := d.open.Load()
	if next := settings(); true {
		next.OnlyPassing, next.AllowStale = true, false
		s.Reload(next)
	}
	if d.open.Load() != 0 || open == 0 {
		t.Errorf("%d watches of %d survive a change of what they were opened with", d.open.Load(), open)
	}
	if got := ask(); !strings.HasPrefix(got, "NXDOMAIN") {
		t.Errorf("with only_passing: %s", got)
	}
}

// TestNoLeader: without a state to speak for, the answer is SERVFAIL, never absence; and it ends.
func TestNoLeader(t *testing.T) {
	s, d := newServer(t, settings(), example()...)
	addr := serve(t, s, "127.0.0.1:0")
	ask := func(name string) string { return lines(asks(t, "udp", addr, name, mdns.TypeA, 0)) }
	for range 2 {
		d.lose(false)
		if got := ask("web.service.consul."); !strings.HasPrefix(got, "NOERROR") {
			t.Fatalf("with a leader: %s", got)
		}
		d.lose(true)
		for _, name := range []string{"web.service.consul.", "nope.service.consul.", "srv1.node.consul.", "nope.node.consul.", "1.0.0.127.in-addr.arpa."} {
			if got := ask(name); got != "SERVFAIL aa" {
				t.Errorf("%s without a leader: %s", name, got)
			}
		}
	}
	if got := lines(asks(t, "udp", addr, "consul.", mdns.TypeSOA, 0)); got != "SERVFAIL aa" {
		t.Errorf("SOA without a leader: %s", got)
	}
}

// TestHold: questions that wait for a leader do not hold up others, and give up.
func TestHold(t *testing.T) {
	s, d := newServer(t, settings(), example()...)
	addr := serve(t, s, "127.0.0.1:0")
	asks(t, "udp", addr, "web.service.consul.", mdns.TypeA, 0)
	d.hold.Store(true)
	var group sync.WaitGroup
	for i := range 2 * pool {
		group.Go(func() {
			if r := asks(t, "udp", addr, "many.service.consul.", mdns.TypeA, 0); r.Rcode != mdns.RcodeServerFailure {
				t.Errorf("waiter %d: %s", i, lines(r))
			}
		})
	}
	start := time.Now()
	for range 100 {
		if r := asks(t, "udp", addr, "web.service.consul.", mdns.TypeA, 0); r.Rcode != mdns.RcodeSuccess {
			t.Fatalf("kept answer while others wait: %s", lines(r))
		}
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("100 kept answers took %v while others waited", took)
	}
	group.Wait()
}

// TestRandomNames: what does not exist leaves nothing behind.
func TestRandomNames(t *testing.T) {
	s, d := newServer(t, settings(), example()...)
	addr := serve(t, s, "127.0.0.1:0")
	for i := range 500 {
		for _, name := range []string{"x%d.service.consul.", "t%d.web.service.consul.", "x%d.node.consul.", "x%d.consul.", "x%d.arpa."} {
			asks(t, "udp", addr, fmt.Sprintf(name, i), mdns.TypeA, 0)
		}
	}
	if n := s.cache.count.Load(); n != 0 || d.open.Load() > 3 {
		t.Errorf("%d answers and %d watches are kept for names that do not exist", n, d.open.Load())
	}
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newServer(t, settings(), example()...)
		ctx, stop := context.WithCancel(t.Context())
		go s.tick(ctx, nil)
		w := s.worker(1)
		ask := func(name string) { w.answer(ctx, packed1(t, name, mdns.TypeA, 0), false, time.Now().Add(patience)) }
		ask("web.service.consul.")
		ask("srv1.node.consul.")
		for range 50 {
			time.Sleep(2 * time.Second)
			ask("web.service.consul.")
		}
		if n, open := s.cache.count.Load(), d.open.Load(); n != 1 || open != 1 {
			t.Errorf("after 100 s: %d answers, %d watches; want those in use, 1 and 1", n, open)
		}
		time.Sleep(100 * time.Second)
		if n, b, open := s.cache.count.Load(), s.cache.bytes.Load(), d.open.Load(); n != 0 || b != 0 || open != 0 {
			t.Errorf("after a pause: %d answers, %d bytes, %d watches", n, b, open)
		}
		stop()
	})
}

func TestEvict(t *testing.T) {
	s, d := newServer(t, settings(), example()...)
	src, _, err := s.present(t.Context(), &ask{subject: aboutService, name: "web"})
	if err != nil || src == nil {
		t.Fatal(src, err)
	}
	for i := range mostAnswer + 100 {
		s.clock.Store(int64(i))
		e := s.cache.add(fmt.Appendf(nil, "key %d", i), ask{subject: aboutService, name: "web", kind: typeA}, src)
		if _, err := e.current(s); err != nil {
			t.Fatal(err)
		}
	}
	n := s.cache.count.Load()
	if n > mostAnswer || n < mostAnswer*7/8 || src.users != int(n) {
		t.Errorf("%d answers are kept, the source counts %d", n, src.users)
	}
	if s.cache.find([]byte("key 1")) != nil || s.cache.find(fmt.Appendf(nil, "key %d", mostAnswer)) == nil {
		t.Error("the oldest stayed, or a young one went")
	}
	s.cache.clear()
	if s.cache.bytes.Load() != 0 || d.open.Load() != 0 {
		t.Errorf("%d bytes and %d watches left", s.cache.bytes.Load(), d.open.Load())
	}
}

// TestOutlived: an answer that outlived its watch is made anew from a live one, not served for ever.
func TestOutlived(t *testing.T) {
	s, d := newServer(t, settings(), example()...)
	w := s.worker(1)
	ask := func() []byte {
		out, _ := w.answer(t.Context(), packed1(t, "web.service.consul.", mdns.TypeA, 0), false, time.Now().Add(patience))
		return out
	}
	ask()
	s.cache.closeIf(func(*source) bool { return true }) // a reload that an add overtook leaves the entry behind
	d.do(t, instance(node("n9", "10.9.0.1"), "web", "web9", "", 80))
	var r mdns.Msg
	if err := r.Unpack(ask()[lead:]); err != nil || len(r.Answer) != 3 {
		t.Errorf("%v: got\n%s\nwant 3 answers", err, lines(&r))
	}
	if out, ok := w.quick(packed1(t, "web.service.consul.", mdns.TypeA, 0), false); !ok || out == nil || s.cache.count.Load() != 1 {
		t.Errorf("the new answer is not kept: %d are", s.cache.count.Load())
	}
	s.cache.clear()
}

// TestShuffle: each instance comes first about as often as any other, also when the answer is cut.
func TestShuffle(t *testing.T) {
	s, _ := newServer(t, settings(), example()...)
	w := s.worker(7)
	for _, size := range []int{0, 4096} {
		first, seen := map[string]int{}, map[string]int{}
		for range 30000 {
			out, _ := w.answer(t.Context(), packed1(t, "many.service.consul.", mdns.TypeA, size), false, time.Now().Add(patience))
			var r mdns.Msg
			if err := r.Unpack(out[lead:]); err != nil {
				t.Fatal(err)
			}
			first[r.Answer[0].String()]++
			for _, a := range r.Answer {
				seen[a.String()]++
			}
		}
		if len(first) != 30 || len(seen) != 30 {
			t.Fatalf("size %d: %d instances came first, %d at all", size, len(first), len(seen))
		}
		for a, n := range first {
			if n < 800 || n > 1200 {
				t.Errorf("size %d: %s came first %d times of 30000, want about 1000", size, a, n)
			}
		}
	}
}

func TestJunk(t *testing.T) {
	s, _ := newServer(t, settings(), example()...)
	lines := make(logged, 64)
	s.log = slog.New(slog.NewTextHandler(lines, nil))
	addr := serve(t, s, "127.0.0.1:0")
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := packed1(t, "web.service.consul.", mdns.TypeA, 4096)
	edit := func(f func(b []byte)) []byte { b := append([]byte(nil), q...); f(b); return b }
	tests := []struct {
		name  string
		b     []byte
		rcode int // -1: no answer
	}{
		{"empty", nil, -1},
		{"short", q[:11], -1},
		{"an answer", edit(func(b []byte) { b[2] |= 0x80 }), -1},
		{"update", edit(func(b []byte) { b[2] |= 5 << 3 }), mdns.RcodeNotImplemented},
		{"no question", edit(func(b []byte) { b[5] = 0 }), mdns.RcodeFormatError},
		{"two questions", edit(func(b []byte) { b[5] = 2 }), mdns.RcodeFormatError},
		{"header alone", q[:12], mdns.RcodeFormatError},
		{"cut name", q[:20], mdns.RcodeFormatError},
		{"cut type", q[:33], mdns.RcodeFormatError},
		{"cut OPT", q[:len(q)-1], mdns.RcodeFormatError},
		{"label of 64", edit(func(b []byte) { b[12] = 64 }), mdns.RcodeFormatError},
		{"pointer", edit(func(b []byte) { b[12] = 0xC0 }), mdns.RcodeFormatError},
		{"three additionals", edit(func(b []byte) { b[11] = 3 }), mdns.RcodeFormatError},
	}
	b := make([]byte, 512)
	for _, test := range tests {
		if _, err := c.Write(test.b); err != nil {
			t.Fatal(err)
		}
		if test.rcode < 0 { // what comes next must be the answer to a good question
			if _, err := c.Write(q); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got := int(b[3] & 15); got != max(test.rcode, 0) || n < 12 || b[2]&0x80 == 0 || (test.rcode > 0) != (n == 12) {
			t.Errorf("%s: answered by %x", test.name, b[:n])
		}
	}
	over, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer over.Close()
	_ = over.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := over.Write([]byte{0, 3, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(over); len(got) != 0 || err != nil {
		t.Errorf("over TCP it was answered by %x, %v", got, err)
	}
	if n := s.Counters()["dns.junk"]; n != uint64(len(tests)) {
		t.Errorf("%d counted as junk, want %d", n, len(tests))
	}
	if n := len(lines); n != 1 {
		t.Fatalf("%d lines in the log", n)
	}
	if line := <-lines; !strings.Contains(line, "level=WARN") || !strings.Contains(line, "peer=127.0.0.1 counter=dns.junk") {
		t.Error(line)
	}
}

// logged holds what was logged.
type logged chan string

func (l logged) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func TestEcho(t *testing.T) {
	s, _ := newServer(t, settings(), example()...)
	addr := serve(t, s, "127.0.0.1:0")
	for _, name := range []string{"web.service.consul.", "nope.service.consul.", "example.com.", "consul."} {
		m := new(mdns.Msg)
		m.SetQuestion(name, mdns.TypeA)
		m.CheckingDisabled, m.RecursionDesired = true, false
		m.Question[0].Qclass = mdns.ClassCHAOS
		m.SetEdns0(1400, true)
		m.Extra[0].(*mdns.OPT).Option = []mdns.EDNS0{
			&mdns.EDNS0_COOKIE{Code: mdns.EDNS0COOKIE, Cookie: "0011223344556677"},
			&mdns.EDNS0_SUBNET{Code: mdns.EDNS0SUBNET, Family: 1, SourceNetmask: 12, SourceScope: 0, Address: net.IP{10, 31, 0, 0}},
		}
		r := sends(t, "udp", addr, m)
		opt := r.IsEdns0()
		if r.Id != m.Id || r.RecursionDesired || !r.CheckingDisabled || r.RecursionAvailable || r.Question[0] != m.Question[0] {
			t.Errorf("%s: header %v", name, r)
		}
		if opt == nil || opt.UDPSize() != 1400 || opt.Do() || len(opt.Option) != 1 || opt.Option[0].String() != "10.16.0.0/12/0" {
			t.Errorf("%s: OPT %v", name, opt)
		}
	}
}

// TestConnection sends several questions at once, and a half one before the end.
func TestConnection(t *testing.T) {
	s, _ := newServer(t, settings(), example()...)
	c, err := net.Dial("tcp", serve(t, s, "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b []byte
	for i := range 100 {
		q := packed1(t, "many.service.consul.", mdns.TypeSRV, 0)
		binary.BigEndian.PutUint16(q, uint16(i))
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(q))), q...)
	}
	if _, err := c.Write(append(b, 0, 40, 1)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	for i := range 100 {
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			t.Fatal(err)
		}
		reply := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(c, reply); err != nil {
			t.Fatal(err)
		}
		var r mdns.Msg
		if err := r.Unpack(reply); err != nil || r.Id != uint16(i) || len(r.Answer) != 30 {
			t.Fatalf("answer %d: %v %v", i, err, r.MsgHdr)
		}
	}
}

func TestListen(t *testing.T) {
	udp, tcp, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := tcp.Addr().String()
	if _, _, err := Listen(addr); err == nil || !strings.Contains(err.Error(), "the address is in use") || !strings.Contains(err.Error(), addr) {
		t.Errorf("a second agent got %v", err)
	}
	_ = tcp.Close()
	if _, _, err := Listen(addr); err == nil || !strings.Contains(err.Error(), "the address is in use") {
		t.Errorf("with UDP taken: %v", err)
	}
	closeAll(udp, nil)
	udp, tcp, err = Listen(addr)
	if err != nil {
		t.Errorf("after all is closed: %v", err)
	}
	closeAll(udp, tcp)
	if _, _, err := Listen("unix:///run/x"); err == nil {
		t.Error("a Unix socket was taken")
	}
}

// TestLost: what comes faster than it is read is lost, in favour of what came before, and counted.
func TestLost(t *testing.T) {
	udp, tcp, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(udp, tcp)
	c, err := net.Dial("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const sent = 2000
	for range sent {
		if _, err := c.Write(packed1(t, "web.service.consul.", mdns.TypeA, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if n := lostOf(udp); n < sent/2 || n > sent-100 {
		t.Errorf("%d of %d are counted as lost: a socket that nobody reads holds some hundreds", n, sent)
	}
}

// TestWildcard: an answer leaves from the address the question came to.
func TestWildcard(t *testing.T) {
	for _, wild := range []string{"0.0.0.0:0", "[::]:0"} {
		s, _ := newServer(t, settings(), example()...)
		_, port, _ := net.SplitHostPort(serve(t, s, wild))
		for range 2 {
			if r := asks(t, "udp", "127.0.0.77:"+port, "web.service.consul.", mdns.TypeA, 0); len(r.Answer) != 2 {
				t.Errorf("%s: %s", wild, lines(r))
			}
		}
	}
}

// TestDig asks with the tool that users have.
func TestDig(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		t.Skip("dig is not here: install the package dnsutils (bind-utils)")
	}
	s, _ := newServer(t, settings(), example()...)
	host, port, _ := net.SplitHostPort(serve(t, s, "127.0.0.1:0"))
	for args, want := range map[string]string{
		"+short PRIMARY.web.service.consul SRV":              "1 1 8080 srv1.node.dc1.consul.\n",
		"+short +tcp _web._v2.service.consul SRV":            "1 5 8081 0a010203.addr.dc1.consul.\n",
		"+short -x 10.1.2.3":                                 "web.service.dc1.consul.\n",
		"+short +subnet=10.0.0.0/8 db-main.service.consul A": "db.example.com.\n",
	} {
		out, err := exec.CommandContext(t.Context(), dig, append([]string{"@" + host, "-p", port}, strings.Fields(args)...)...).CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("dig %s: %v\n%s\nwant\n%s", args, err, out, want)
		}
	}
}

// packed1 returns a question as bytes.
func packed1(t testing.TB, name string, kind uint16, size int) []byte {
	m := new(mdns.Msg)
	m.SetQuestion(name, kind)
	if size > 0 {
		m.SetEdns0(uint16(size), false)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
