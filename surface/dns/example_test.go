package dns

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
)

// lines writes a reply's sections as sorted lines, the SOA's serial as NOW.
func lines(r *mdns.Msg) string {
	out := []string{mdns.RcodeToString[r.Rcode]}
	if r.Authoritative {
		out[0] += " aa"
	}
	if r.Truncated {
		out[0] += " tc"
	}
	for _, s := range []struct {
		mark string
		list []mdns.RR
	}{{"", r.Answer}, {"NS ", r.Ns}, {"+ ", r.Extra}} {
		var part []string
		for _, rr := range s.list {
			if rr.Header().Rrtype != mdns.TypeOPT {
				part = append(part, s.mark+strings.Join(strings.Fields(rr.String()), " "))
			}
		}
		slices.Sort(part)
		out = append(out, part...)
	}
	return serial.ReplaceAllString(strings.Join(out, "\n"), "hostmaster.consul. NOW ")
}

var serial = regexp.MustCompile(`hostmaster\.consul\. \d{10} `)

var altSerial = regexp.MustCompile(`hostmaster\.alt\.test\. \d{10} `)

const soa = "NS consul. 4 IN SOA ns.consul. hostmaster.consul. NOW 3600 600 86400 4"

func weighs(name string, weight int) string {
	return fmt.Sprintf("NOERROR aa\n%s 5 IN SRV 1 %d 80 0a040404.addr.dc1.consul.\n+ 0a040404.addr.dc1.consul. 5 IN A 10.4.4.4\n"+
		"+ srv1.node.dc1.consul. 5 IN TXT \"os=linux\"", name, weight)
}

func TestExamples(t *testing.T) {
	s, _ := newServer(t, settings(), example()...)
	addr := serve(t, s, "127.0.0.1:0")
	const (
		nothing = "NXDOMAIN aa\n" + soa
		noData  = "NOERROR aa\n" + soa
		empty   = "NOERROR aa"
	)
	zone := "NOERROR aa\nconsul. 4 IN SOA ns.consul. hostmaster.consul. NOW 3600 600 86400 4\n" +
		"NS consul. 3 IN NS srv1.node.dc1.consul.\n+ srv1.node.dc1.consul. 3 IN A 127.0.0.1"
	web := func(q string) string {
		return "NOERROR aa\n" + q + " 10 IN SRV 1 1 8080 srv1.node.dc1.consul.\n" +
			q + " 10 IN SRV 1 1 8082 20010db8000000000000000000000001.addr.dc1.consul.\n" +
			q + " 10 IN SRV 1 5 8081 0a010203.addr.dc1.consul.\n" +
			"+ 0a010203.addr.dc1.consul. 10 IN A 10.1.2.3\n" +
			"+ 20010db8000000000000000000000001.addr.dc1.consul. 10 IN AAAA 2001:db8::1\n" +
			"+ srv1.node.dc1.consul. 10 IN A 127.0.0.1\n" + "+ srv1.node.dc1.consul. 10 IN TXT \"os=linux\""
	}
	reverse6 := "1" + strings.Repeat(".0", 23) + ".8.b.d.0.1.0.0.2.ip6.arpa."
	tests := []struct {
		name string
		kind string
		want string
	}{
		{"web.service.consul.", "A", "NOERROR aa\nweb.service.consul. 10 IN A 10.1.2.3\nweb.service.consul. 10 IN A 127.0.0.1"},
		{"web.service.dc1.consul.", "AAAA", "NOERROR aa\nweb.service.dc1.consul. 10 IN AAAA 2001:db8::1"},
		{"web.service.dc1.dc.consul.", "AAAA", "NOERROR aa\nweb.service.dc1.dc.consul. 10 IN AAAA 2001:db8::1"},
		{"web.service.consul.", "ANY", "NOERROR aa\nweb.service.consul. 10 IN A 10.1.2.3\nweb.service.consul. 10 IN A 127.0.0.1\nweb.service.consul. 10 IN AAAA 2001:db8::1"},
		{"PRIMARY.web.service.CONSUL.", "A", "NOERROR aa\nPRIMARY.web.service.CONSUL. 10 IN A 127.0.0.1"},
		{"PRIMARY.web.service.CONSUL.", "SRV", "NOERROR aa\nPRIMARY.web.service.CONSUL. 10 IN SRV 1 1 8080 srv1.node.dc1.CONSUL.\n" +
			"+ srv1.node.dc1.CONSUL. 10 IN A 127.0.0.1\n+ srv1.node.dc1.CONSUL. 10 IN TXT \"os=linux\""},
		{"_web._v2.service.consul.", "SRV", "NOERROR aa\n_web._v2.service.consul. 10 IN SRV 1 5 8081 0a010203.addr.dc1.consul.\n" +
			"+ 0a010203.addr.dc1.consul. 10 IN A 10.1.2.3\n+ srv1.node.dc1.consul. 10 IN TXT \"os=linux\""},
		{"_web._v2.service.consul.", "A", "NOERROR aa\n_web._v2.service.consul. 10 IN A 10.1.2.3"},
		{"_web._tcp.consul.", "SRV", web("_web._tcp.consul.")},
		{"_web._tcp.dc1.consul.", "SRV", web("_web._tcp.dc1.consul.")},
		{"web.service.consul.", "SRV", web("web.service.consul.")},
		{"_web._udp.consul.", "SRV", nothing},
		{"_web._tcp.consul.", "A", nothing},
		{"v1.2.v4only.service.consul.", "A", "NOERROR aa\nv1.2.v4only.service.consul. 5 IN A 127.0.0.1"},
		{"db-main.service.consul.", "A", "NOERROR aa\ndb-main.service.consul. 7 IN CNAME db.example.com."},
		{"db-main.service.consul.", "AAAA", "NOERROR aa\ndb-main.service.consul. 7 IN CNAME db.example.com."},
		{"db-main.service.consul.", "SRV", "NOERROR aa\ndb-main.service.consul. 7 IN SRV 1 1 5432 db.example.com.\n+ srv1.node.dc1.consul. 7 IN TXT \"os=linux\""},
		{"self.service.consul.", "A", "NOERROR aa\nself.service.consul. 5 IN A 127.0.0.1"},
		{"mixed.service.consul.", "A", "NOERROR aa\nmixed.service.consul. 5 IN A 10.9.9.9"},
		{"tAG.mIXED.service.consul.", "A", "NOERROR aa\ntAG.mIXED.service.consul. 5 IN A 10.9.9.9"},
		{"warm.service.consul.", "A", "NOERROR aa\nwarm.service.consul. 5 IN A 127.0.0.1"},
		{"tepid.service.consul.", "SRV", weighs("tepid.service.consul.", 4)}, {"strange.service.consul.", "SRV", weighs("strange.service.consul.", 1)},
		{"sick.service.consul.", "A", nothing},
		{"sick.service.consul.", "MX", nothing},
		{"both.service.consul.", "A", "NOERROR aa\nboth.service.consul. 5 IN A 10.0.0.9"},
		{"both.service.consul.", "AAAA", "NOERROR aa\nboth.service.consul. 5 IN AAAA 2001:db8::9"},
		{"both.service.consul.", "ANY", "NOERROR aa\nboth.service.consul. 5 IN AAAA 2001:db8::9"},
		{"both.service.consul.", "SRV", "NOERROR aa\nboth.service.consul. 5 IN SRV 1 1 80 20010db8000000000000000000000009.addr.dc1.consul.\n" +
			"+ 20010db8000000000000000000000009.addr.dc1.consul. 5 IN AAAA 2001:db8::9"},
		{"dotted.service.consul.", "SRV", "NOERROR aa\ndotted.service.consul. 5 IN SRV 1 1 80 my.host.node.dc1.consul.\n" +
			"+ my.host.node.dc1.consul. 5 IN A 10.0.0.8\n+ my.host.node.dc1.consul. 5 IN TXT \"` k`=``=v``\"\n+ my.host.node.dc1.consul. 5 IN TXT \"plain\""},
		{"onname.service.consul.", "A", "NOERROR aa\nonname.service.consul. 5 IN CNAME host.example.com."},
		{"nope.service.consul.", "A", nothing},
		{"nope.web.service.consul.", "A", nothing},
		{"web.service.dc2.consul.", "A", nothing},
		{"web.service.a.b.consul.", "A", nothing},
		{"service.consul.", "A", nothing},
		{"web.consul.", "A", nothing},
		{"web.connect.consul.", "A", nothing},
		{"nope.virtual.consul.", "A", empty},
		{"pq.query.consul.", "A", nothing},
		{"consul.", "A", nothing},
		{"consul.", "ANY", nothing},
		{"v4only.service.consul.", "AAAA", noData},
		{"v4only.service.consul.", "MX", noData},
		{"v4only.service.consul.", "TXT", noData},
		{"v4only.service.CONSUL.", "AAAA", noData},
		{"srv1.node.dc1.consul.", "A", "NOERROR aa\nsrv1.node.dc1.consul. 3 IN A 127.0.0.1\n+ srv1.node.dc1.consul. 3 IN TXT \"os=linux\""},
		{"SRV1.node.consul.", "ANY", "NOERROR aa\nSRV1.node.consul. 3 IN A 127.0.0.1\nSRV1.node.consul. 3 IN TXT \"os=linux\""},
		{"srv1.node.consul.", "TXT", "NOERROR aa\nsrv1.node.consul. 3 IN TXT \"os=linux\""},
		{"srv1.node.consul.", "AAAA", "NOERROR aa\n+ srv1.node.consul. 3 IN TXT \"os=linux\""},
		{"srv1.node.consul.", "SRV", empty},
		{"nope.node.consul.", "SRV", empty},
		{"nope.node.consul.", "A", nothing},
		{"my.host.node.consul.", "A", "NOERROR aa\nmy.host.node.consul. 3 IN A 10.0.0.8\n" +
			"+ my.host.node.consul. 3 IN TXT \"` k`=``=v``\"\n+ my.host.node.consul. 3 IN TXT \"plain\""},
		{"named.node.consul.", "A", "NOERROR aa\nnamed.node.consul. 3 IN CNAME host.example.com."},
		{"dual.node.consul.", "AAAA", "NOERROR aa\ndual.node.consul. 3 IN AAAA 2001:db8::9"},
		{"dual.node.consul.", "ANY", "NOERROR aa\ndual.node.consul. 3 IN AAAA 2001:db8::9"},
		{"consul.", "SOA", zone},
		{"anything.at.all.consul.", "SOA", zone},
		{"consul.", "NS", "NOERROR aa\nconsul. 3 IN NS srv1.node.dc1.consul.\n+ srv1.node.dc1.consul. 3 IN A 127.0.0.1"},
		{"consul.", "AXFR", "NOTIMP aa"},
		{"1.0.0.127.in-addr.arpa.", "PTR", "NOERROR aa\n1.0.0.127.in-addr.arpa. 0 IN PTR srv1.node.dc1.consul."},
		{"3.2.1.10.in-addr.arpa.", "PTR", "NOERROR aa\n3.2.1.10.in-addr.arpa. 0 IN PTR web.service.dc1.consul."},
		{reverse6, "PTR", "NOERROR aa\n" + reverse6 + " 0 IN PTR web.service.dc1.consul."},
		{"9.9.9.9.in-addr.arpa.", "PTR", nothing},
		{"arpa.", "PTR", nothing},
		{"7f000001.addr.consul.", "A", "NOERROR aa\n7f000001.addr.consul. 3 IN A 127.0.0.1"},
		{"7f000001.addr.foo.bar.consul.", "ANY", "NOERROR aa\n7f000001.addr.foo.bar.consul. 3 IN A 127.0.0.1"},
		{"7f000001.addr.consul.", "AAAA", "NOERROR aa\n+ 7f000001.addr.consul. 3 IN A 127.0.0.1"},
		{"20010db8000000000000000000000001.addr.consul.", "AAAA", "NOERROR aa\n20010db8000000000000000000000001.addr.consul. 3 IN AAAA 2001:db8::1"},
		{"7f0000011.addr.consul.", "A", nothing},
		{"7g000001.addr.consul.", "A", nothing},
		{"a.7f000001.addr.consul.", "A", nothing},
		{"example.com.", "A", "REFUSED"},
		{".", "NS", "REFUSED"},
		{"xconsul.", "SOA", "REFUSED"},
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, test := range tests {
			if network == "tcp" && test.kind == "AXFR" {
				continue // the client library asks for transfers in its own way
			}
			t.Run(fmt.Sprint(network, " ", test.name, " ", test.kind), func(t *testing.T) {
				for range 2 { // unpacked, then packed
					if got := lines(asks(t, network, addr, test.name, mdns.StringToType[test.kind], 1232)); got != test.want {
						t.Fatalf("got\n%s\nwant\n%s", got, test.want)
					}
				}
			})
		}
	}
}

func TestLimits(t *testing.T) {
	tests := []struct {
		change  func(*Settings)
		network string
		kind    string
		size    int
		answers int
		tc      bool
	}{
		{nil, "udp", "A", 0, 3, false},
		{nil, "udp", "A", 512, 3, false},
		{nil, "udp", "A", 4096, 30, false},
		{nil, "tcp", "A", 0, 30, false},
		{nil, "udp", "A", 520, 29, false}, // 37 + 29×16 + 11 = 512
		{func(s *Settings) { s.EnableTruncate = true }, "udp", "A", 0, 3, true},
		{func(s *Settings) { s.EnableTruncate = true }, "udp", "A", 519, 28, true},
		{func(s *Settings) { s.UDPAnswerLimit = 100 }, "udp", "A", 0, 8, false},
		{func(s *Settings) { s.UDPAnswerLimit = 0 }, "udp", "A", 0, 0, false},
		{func(s *Settings) { s.ARecordLimit = 7 }, "udp", "A", 4096, 7, false},
		{func(s *Settings) { s.ARecordLimit = 7 }, "tcp", "A", 0, 7, false},
		{func(s *Settings) { s.ARecordLimit = 7 }, "tcp", "SRV", 0, 30, false},
		{func(s *Settings) { s.DisableCompress = true }, "udp", "A", 4096, 30, false},
		{func(s *Settings) { s.DisableCompress = true }, "udp", "A", 600, 15, false},
		{nil, "udp", "SRV", 0, 3, false},
		{nil, "udp", "SRV", 65535, 30, false},
	}
	for _, test := range tests {
		set := settings()
		if test.change != nil {
			test.change(set)
		}
		s, _ := newServer(t, set, example()...)
		r := asks(t, test.network, serve(t, s, "127.0.0.1:0"), "many.service.consul.", mdns.StringToType[test.kind], test.size)
		if len(r.Answer) != test.answers || r.Truncated != test.tc {
			t.Errorf("%+v: got %d answers, tc %v", test, len(r.Answer), r.Truncated)
		}
		if opt := r.IsEdns0(); (opt != nil) != (test.size > 0) || opt != nil && int(opt.UDPSize()) != test.size {
			t.Errorf("%+v: got OPT %v", test, opt)
		}
		if test.kind == "SRV" {
			for _, a := range r.Answer {
				target := a.(*mdns.SRV).Target
				if !slices.ContainsFunc(r.Extra, func(x mdns.RR) bool { return x.Header().Name == target && x.Header().Rrtype == mdns.TypeA }) {
					t.Errorf("%+v: no address for %s", test, target)
				}
			}
		}
	}
}
