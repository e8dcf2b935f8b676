package dns

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"

	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/store"
	"rostra/kit/wire"
)

// TestTranslatedAddresses: with translate_wan_addrs other datacenters' nodes and instances have their addresses for that
// (spec dns.md §3.5).
func TestTranslatedAddresses(t *testing.T) {
	far := node("far1", "10.7.0.1")
	far.Datacenter, far.TaggedAddresses = "dc2", wire.PairsOf(map[string]string{"wan": "198.51.100.1", "lan_ipv4": "10.7.0.1", "wan_ipv4": "198.51.100.1"})
	plain := node("far2", "10.7.0.2")
	plain.Datacenter, plain.TaggedAddresses = "dc2", wire.PairsOf(map[string]string{"wan": "198.51.100.2"})
	dual := node("far3", "10.7.0.3")
	dual.Datacenter, dual.TaggedAddresses = "dc2", wire.PairsOf(map[string]string{"lan_ipv6": "2001:db8::3", "wan_ipv6": "2001:db8::f3"})
	own := instance(far, "own", "own", "10.7.0.9", 81)
	own.Service.SetTagged(map[string]catalog.AddressView{"lan_ipv4": {Address: "10.7.0.9"}, "wan": {Address: "198.51.100.9", Port: 8081}, "wan_ipv4": {Address: "198.51.100.9"}})
	there := &fakeDoor{store: store.New(catalog.Room.Tables, nil, store.Limits{})}
	there.do(t, instance(far, "web", "web", "", 80), instance(plain, "bare", "bare", "", 82), own, &catalog.Register{Row: dual})
	for _, on := range []bool{true, false} {
		conf := settings()
		conf.Translate = on
		s, d := newServer(t, conf, instance(node("near", "10.1.0.1"), "near", "near", "", 80))
		d.far = map[string]*store.Store{"dc2": there.store}
		addr := serve(t, s, "127.0.0.1:0")
		for _, c := range []struct {
			name      string
			kind      uint16
			wan, ours string
		}{
			{"web.service.dc2.consul.", mdns.TypeA, "10 IN A 198.51.100.1", "10 IN A 10.7.0.1"},
			{"bare.service.dc2.consul.", mdns.TypeA, "5 IN A 198.51.100.2", "5 IN A 10.7.0.2"},
			{"own.service.dc2.consul.", mdns.TypeA, "5 IN A 198.51.100.9", "5 IN A 10.7.0.9"},
			{"far1.node.dc2.consul.", mdns.TypeA, "3 IN A 198.51.100.1", "3 IN A 10.7.0.1"},
			{"far3.node.dc2.consul.", mdns.TypeAAAA, "3 IN AAAA 2001:db8::f3", "3 IN AAAA 2001:db8::3"},
			{"web.service.dc2.consul.", mdns.TypeSRV, "10 IN SRV 1 1 80 far1.node.dc2.consul.\n+ far1.node.dc2.consul. 10 IN A 198.51.100.1",
				"10 IN SRV 1 1 80 far1.node.dc2.consul.\n+ far1.node.dc2.consul. 10 IN A 10.7.0.1"},
			{"own.service.dc2.consul.", mdns.TypeSRV, "5 IN SRV 1 1 8081 c6336409.addr.dc2.consul.\n+ c6336409.addr.dc2.consul. 5 IN A 198.51.100.9",
				"5 IN SRV 1 1 81 0a070009.addr.dc2.consul.\n+ 0a070009.addr.dc2.consul. 5 IN A 10.7.0.9"},
			{"near.service.consul.", mdns.TypeA, "5 IN A 10.1.0.1", "5 IN A 10.1.0.1"},
		} {
			want := c.ours
			if on {
				want = c.wan
			}
			if got := lines(asks(t, "udp", addr, c.name, c.kind, 0)); got != "NOERROR aa\n"+c.name+" "+want {
				t.Errorf("translated %v: %s %s:\n%s\nwant\n%s", on, c.name, mdns.TypeToString[c.kind], got, want)
			}
		}
	}
}

// newPair returns a server whose door knows a second datacenter.
func newPair(t *testing.T) (*Server, *fakeDoor) {
	t.Helper()
	there := &fakeDoor{store: store.New(tables, nil, store.Limits{})}
	n := node("far1", "10.7.0.1")
	n.Datacenter = "dc2"
	there.do(t, instance(n, "web", "web", "", 80, "v1"), instance(n, "api", "api", "10.7.0.9", 81))
	s, d := newServer(t, settings(), example()...)
	d.far = map[string]*store.Store{"dc2": there.store}
	return s, d
}

// TestOtherDatacenters: names of another datacenter are answered from there, with names that lead there (spec dns.md §3).
func TestOtherDatacenters(t *testing.T) {
	s, d := newPair(t)
	addr := serve(t, s, "127.0.0.1:0")
	const nothing = "NXDOMAIN aa\n" + soa
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web.service.dc2.consul.", mdns.TypeA, "NOERROR aa\nweb.service.dc2.consul. 10 IN A 10.7.0.1"},
		{"v1.web.service.dc2.dc.consul.", mdns.TypeA, "NOERROR aa\nv1.web.service.dc2.dc.consul. 10 IN A 10.7.0.1"},
		{"_web._tcp.service.dc2.consul.", mdns.TypeSRV, "NOERROR aa\n_web._tcp.service.dc2.consul. 10 IN SRV 1 1 80 far1.node.dc2.consul.\n+ far1.node.dc2.consul. 10 IN A 10.7.0.1"},
		{"api.service.dc2.consul.", mdns.TypeSRV, "NOERROR aa\napi.service.dc2.consul. 5 IN SRV 1 1 81 0a070009.addr.dc2.consul.\n+ 0a070009.addr.dc2.consul. 5 IN A 10.7.0.9"},
		{"far1.node.dc2.consul.", mdns.TypeA, "NOERROR aa\nfar1.node.dc2.consul. 3 IN A 10.7.0.1"},
		{"v9.web.service.dc2.consul.", mdns.TypeA, nothing},
		{"none.service.dc2.consul.", mdns.TypeA, nothing},
		{"srv1.node.dc2.consul.", mdns.TypeA, nothing},
		{"web.service.dc3.consul.", mdns.TypeA, nothing},
		{"web.service.dc2.cd.consul.", mdns.TypeA, nothing},
	} {
		if got := lines(asks(t, "udp", addr, c.name, c.kind, 0)); got != c.want {
			t.Errorf("%s %s:\n%s\nwant\n%s", c.name, mdns.TypeToString[c.kind], got, c.want)
		}
	}
	d.cut.Store(true)
	if got := lines(asks(t, "udp", addr, "unseen.service.dc2.consul.", mdns.TypeA, 0)); got != "SERVFAIL" && got != "SERVFAIL aa" {
		t.Errorf("a datacenter that cannot be reached: %s", got)
	}
}

// TestFarAnswersAreKept: one question a second for a name in demand, and the last answer for as long as nobody answers.
func TestFarAnswersAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newPair(t)
		ask := func() (int, error) {
			a, err := s.askFar(t.Context(), "dc2", health.ServiceQuery{Service: "web"})
			if err != nil {
				return 0, err
			}
			return len(a.Value.(health.EntryList)), nil
		}
		for range 100 {
			if n, err := ask(); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if n := d.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		d.cut.Store(true)
		time.Sleep(farFresh)
		if n, err := ask(); n != 1 || err != nil {
			t.Error("while it cannot be reached:", n, err)
		}
		time.Sleep(farKept)
		if _, err := ask(); err == nil {
			t.Error("an old answer is given for ever")
		}
	})
}

// TestFarSilence: a datacenter that does not answer takes neither all of the pool nor the time of those for whom there is
// an older answer.
func TestFarSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newPair(t)
		q := health.ServiceQuery{Service: "web"}
		if _, err := s.askFar(t.Context(), "dc2", q); err != nil {
			t.Fatal(err)
		}
		time.Sleep(farFresh)
		d.quiet.Store(true)
		ctx, end := context.WithTimeout(t.Context(), patience)
		defer end()
		var work sync.WaitGroup
		defer work.Wait()
		for n := range pool {
			work.Go(func() { _, _ = s.askFar(ctx, "dc2", health.ServiceQuery{Service: fmt.Sprint("web", n)}) })
		}
		work.Go(func() { _, _ = s.askFar(ctx, "dc2", q) })
		synctest.Wait()
		if n := s.far.asking.Load(); n != mostAsking {
			t.Errorf("%d wait, want %d of %d", n, mostAsking, pool)
		}
		began := time.Now()
		if a, err := s.askFar(ctx, "dc2", q); err != nil || len(a.Value.(health.EntryList)) != 1 || time.Since(began) != 0 {
			t.Errorf("what is known took %v: %v %v", time.Since(began), a.Value, err)
		}
		if _, err := s.askFar(ctx, "dc2", health.ServiceQuery{Service: "new"}); !errors.Is(err, errCrowded) {
			t.Error("one too many:", err)
		}
	})
}
