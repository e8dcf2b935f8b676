package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"rostra/engine/room"
	prepared "rostra/feature/query"
)

const pqID = "11111111-2222-3333-4444-555555555555"

// set stores a prepared query of a service.
func set(id, name, service string, more func(d *prepared.Definition)) *prepared.Set {
	d := prepared.Definition{ID: id, Name: name, Service: prepared.Service{Service: service}}
	if more != nil {
		more(&d)
	}
	return &prepared.Set{Definition: d, New: true}
}

// newQueries returns a server with prepared queries in two datacenters.
func newQueries(t *testing.T) (*Server, *fakeDoor) {
	s, d := newPair(t)
	template := func(d *prepared.Definition) {
		d.Template = prepared.Template{Type: prepared.PrefixMatch}
		d.Service.Failover.Datacenters = []string{"dc2"}
	}
	n5 := node("n5", "10.0.0.5")
	d.do(t, instance(n5, "pq-service", "pq", "", 80), instance(node("sick", "10.0.0.6"), "pq-sick", "ill", "", 80), check(node("sick", "10.0.0.6"), "c", "ill", "critical"),
		set(pqID, "PQ", "pq-service", func(d *prepared.Definition) { d.DNS.TTL = "9s" }),
		set("a", "", "web", nil), set("b", "plain.web", "web", nil), set("c", "dead", "pq-sick", nil), set("d", "gone", "none", nil),
		set("e", "ignore", "pq-sick", func(d *prepared.Definition) { d.Service.IgnoreCheckIDs = []string{"c"} }),
		set("f", "named", "db-main", nil), set("g", "zero", "web", func(d *prepared.Definition) { d.DNS.TTL, d.Service.Tags = "0s", []string{"v2"} }),
		set("h", "to-", "${name.suffix}", template))
	far := &fakeDoor{store: d.far["dc2"]}
	far.do(t, set("x", "there", "web", nil))
	return s, d
}

// TestQueries: names of prepared queries (spec dns.md §2, §3.3, §9).
func TestQueries(t *testing.T) {
	s, d := newQueries(t)
	addr := serve(t, s, "127.0.0.1:0")
	const nothing, noData = "NXDOMAIN aa\n" + soa, "NOERROR aa\n" + soa
	one := func(name string) string { return "NOERROR aa\n" + name + " 9 IN A 10.0.0.5" }
	srv := func(name, dc string) string {
		return "NOERROR aa\n" + name + " 9 IN SRV 1 1 80 n5.node." + dc + "consul.\n+ n5.node." + dc + "consul. 9 IN A 10.0.0.5"
	}
	for _, c := range []struct{ name, kind, want string }{
		{"_pq._tcp.query.consul.", "SRV", srv("_pq._tcp.query.consul.", "dc1.")},
		{"_pq._anything.query.consul.", "A", one("_pq._anything.query.consul.")},
		{"pq.query.consul.", "A", one("pq.query.consul.")},
		{"Pq.Query.dc1.consul.", "A", one("Pq.Query.dc1.consul.")},
		{"pq.query.consul.", "SRV", srv("pq.query.consul.", "dc1.")},
		{"pq.query.consul.", "ANY", one("pq.query.consul.")},
		{pqID + ".query.consul.", "A", one(pqID + ".query.consul.")},
		{"pq.query.consul.", "AAAA", noData},
		{"pq.query.consul.", "MX", noData},
		{"pq.query.dc1.dc.consul.", "A", nothing},
		{"pq.query.a.b.consul.", "A", nothing},
		{"query.consul.", "A", nothing},
		{"none.query.consul.", "A", nothing},
		{"x.pq.query.consul.", "A", nothing},
		{"dead.query.consul.", "A", nothing},
		{"gone.query.consul.", "MX", nothing},
		{"plain.web.query.consul.", "AAAA", "NOERROR aa\nplain.web.query.consul. 10 IN AAAA 2001:db8::1"},
		{"_plain.web._tcp.query.consul.", "AAAA", "NOERROR aa\n_plain.web._tcp.query.consul. 10 IN AAAA 2001:db8::1"},
		{"ignore.query.consul.", "SRV", "NOERROR aa\nignore.query.consul. 5 IN SRV 1 0 80 sick.node.dc1.consul.\n+ sick.node.dc1.consul. 5 IN A 10.0.0.6"},
		{"named.query.consul.", "A", "NOERROR aa\nnamed.query.consul. 7 IN CNAME db.example.com."},
		{"zero.query.consul.", "SRV", "NOERROR aa\nzero.query.consul. 0 IN SRV 1 5 8081 0a010203.addr.dc1.consul.\n+ 0a010203.addr.dc1.consul. 0 IN A 10.1.2.3\n" +
			"+ srv1.node.dc1.consul. 0 IN TXT \"os=linux\""},
		{"to-both.query.consul.", "A", "NOERROR aa\nto-both.query.consul. 5 IN A 10.0.0.9"},
		{"to-api.query.consul.", "SRV", "NOERROR aa\nto-api.query.consul. 5 IN SRV 1 1 81 0a070009.addr.dc2.consul.\n+ 0a070009.addr.dc2.consul. 5 IN A 10.7.0.9"},
		{"to-none.query.consul.", "A", nothing},
		{"there.query.dc2.consul.", "SRV", "NOERROR aa\nthere.query.dc2.consul. 10 IN SRV 1 1 80 far1.node.dc2.consul.\n+ far1.node.dc2.consul. 10 IN A 10.7.0.1"},
		{"there.query.consul.", "A", nothing},
		{"pq.query.dc2.consul.", "A", nothing},
		{"pq.query.dc3.consul.", "A", nothing},
		{"pq.query.consul.", "SOA", "NOERROR aa\nconsul. 4 IN SOA ns.consul. hostmaster.consul. NOW 3600 600 86400 4\nNS consul. 3 IN NS srv1.node.dc1.consul.\n+ srv1.node.dc1.consul. 3 IN A 127.0.0.1"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := lines(asks(t, network, addr, c.name, mdns.StringToType[c.kind], 1232)); got != c.want {
				t.Errorf("%s %s %s:\n%s\nwant\n%s", network, c.name, c.kind, got, c.want)
			}
		}
	}
	before := d.calls.Load()
	for i := range 50 {
		asks(t, "udp", addr, fmt.Sprintf("random%d.query.consul.", i), mdns.TypeA, 0)
	}
	if n := d.calls.Load() - before; n != 0 {
		t.Errorf("%d calls for names that lead nowhere", n)
	}
	d.cut.Store(true)
	if got := lines(asks(t, "udp", addr, "there.query.dc2.consul.", mdns.TypeA, 0)); !strings.HasPrefix(got, "SERVFAIL") {
		t.Errorf("a datacenter that cannot be reached: %s", got)
	}
	if got := lines(asks(t, "udp", addr, "to-api.query.consul.", mdns.TypeA, 0)); got != nothing {
		t.Errorf("a failover that cannot be reached: %s", got)
	}
}

// TestQueryFollowsNames: a name in our zone that an instance has for an address may be that of a prepared query.
func TestQueryFollowsNames(t *testing.T) {
	s, d := newQueries(t)
	d.do(t, instance(node("n9", "10.0.0.9"), "via", "via", "pq.query.consul", 80))
	got := lines(asks(t, "udp", serve(t, s, "127.0.0.1:0"), "via.service.consul.", mdns.TypeA, 1232))
	if want := "NOERROR aa\npq.query.consul. 5 IN A 10.0.0.5\nvia.service.consul. 5 IN CNAME pq.query.consul."; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// backwards sorts by name, the last first, and notes from where.
type backwards struct{ from chan string }

func (b backwards) Near(_ context.Context, _ room.Options, node, address string, list room.Placed) []int {
	b.from <- node + "|" + address
	order := make([]int, list.Len())
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, k int) int { return strings.Compare(list.NodeAt(k), list.NodeAt(i)) })
	return order
}

// TestQueryOrder: the server's order stays: at random, or by distance from the agent or from who asks, which is the client's
// subnet if its resolver tells (spec dns.md §1, §3.3).
func TestQueryOrder(t *testing.T) {
	s, d := newQueries(t)
	sorter := backwards{make(chan string, 1)}
	d.near = sorter
	for i := range 8 {
		d.do(t, instance(node(fmt.Sprint("m", i), fmt.Sprint("10.4.0.", i)), "m", fmt.Sprint("m", i), "", 80))
	}
	near := func(of string) func(*prepared.Definition) {
		return func(d *prepared.Definition) { d.Service.Near = of }
	}
	d.do(t, set("m1", "random", "m", nil), set("m2", "agent", "m", near("_agent")), set("m3", "ip", "m", near("_ip")))
	addr := serve(t, s, "127.0.0.1:0")
	for _, c := range []struct{ name, subnet, from, first, scope string }{
		{"random", "", "", "", ""},
		{"random", "10.0.0.0/8", "", "", "10.0.0.0/8/8"},
		{"agent", "", "srv1|", "10.4.0.7", ""},
		{"ip", "", "|127.0.0.1", "10.4.0.7", ""},
		{"ip", "10.4.0.3/32", "|10.4.0.3", "10.4.0.3", "10.4.0.3/32/32"},
		{"ip", "2001:db8::/56", "|2001:db8::", "10.4.0.7", "[2001:db8::]/56/56"},
		{"ip", "0.0.0.0/0", "|127.0.0.1", "10.4.0.7", "0.0.0.0/0/0"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			first, scope := map[string]bool{}, ""
			for range 30 {
				r := sends(t, network, addr, withSubnet(c.name+".query.consul.", c.subnet))
				if len(r.Answer) != 8 {
					t.Fatal(r)
				}
				first[r.Answer[0].(*mdns.A).A.String()] = true
				scope = scopeOf(r)
				if c.from != "" {
					if from := <-sorter.from; from != c.from {
						t.Errorf("%s %s for %q is sorted from %s, want %s", network, c.name, c.subnet, from, c.from)
					}
				}
			}
			if sorted := len(first) == 1 && first[c.first]; sorted != (c.from != "") || scope != c.scope {
				t.Errorf("%s %s for %q: first %v, subnet %s; want %s", network, c.name, c.subnet, first, scope, c.scope)
			}
		}
	}
	for _, name := range []string{"none.query.consul.", "m.service.consul."} {
		if scope := scopeOf(sends(t, "udp", addr, withSubnet(name, "10.0.0.0/8"))); scope != "10.0.0.0/8/0" {
			t.Errorf("%s is scoped: %s", name, scope)
		}
	}
}

// withSubnet is a question with the client's subnet, "" for none.
func withSubnet(name, subnet string) *mdns.Msg {
	m := new(mdns.Msg)
	m.SetQuestion(name, mdns.TypeA)
	m.SetEdns0(1232, false)
	if p, err := netip.ParsePrefix(subnet); err == nil {
		family := uint16(1)
		if p.Addr().Is6() {
			family = 2
		}
		m.Extra[0].(*mdns.OPT).Option = []mdns.EDNS0{&mdns.EDNS0_SUBNET{Code: mdns.EDNS0SUBNET, Family: family,
			SourceNetmask: uint8(p.Bits()), Address: net.IP(p.Addr().AsSlice())}}
	}
	return m
}

func scopeOf(r *mdns.Msg) string {
	for _, o := range r.IsEdns0().Option {
		if s, is := o.(*mdns.EDNS0_SUBNET); is {
			return s.String()
		}
	}
	return ""
}
