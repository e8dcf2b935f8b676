package dns

import (
	"fmt"
	"net"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"rostra/engine/room"
)

func crowd(n int) []room.Command {
	var list []room.Command
	for i := range n {
		x := node(fmt.Sprintf("n%d", i), fmt.Sprintf("10.7.0.%d", i+1), "consul-version", "1.21.4", "consul-network-segment", "")
		list = append(list, instance(x, "web", "web", "", 80))
	}
	return list
}

// BenchmarkAnswer measures one answer without the network.
func BenchmarkAnswer(b *testing.B) {
	for _, n := range []int{3, 50} {
		s, _ := newServer(b, settings(), crowd(n)...)
		w := s.worker(1)
		for _, kind := range []uint16{mdns.TypeA, mdns.TypeSRV} {
			b.Run(fmt.Sprint(mdns.TypeToString[kind], " ", n), func(b *testing.B) {
				q := packed1(b, "web.service.consul.", kind, 65535)
				w.answer(b.Context(), q, false, time.Now().Add(patience))
				b.ReportAllocs()
				for b.Loop() {
					if _, ok := w.quick(q, false); !ok {
						b.Fatal("not kept")
					}
				}
			})
		}
	}
	s, _ := newServer(b, settings(), crowd(3)...)
	w := s.worker(1)
	b.Run("absent", func(b *testing.B) {
		q := packed1(b, "nope.service.consul.", mdns.TypeA, 1232)
		b.ReportAllocs()
		for b.Loop() {
			w.answer(b.Context(), q, false, time.Now().Add(patience))
		}
	})
}

// TestNoAllocation: kept answers cost no memory.
func TestNoAllocation(t *testing.T) {
	s, _ := newServer(t, settings(), crowd(50)...)
	w := s.worker(1)
	for _, kind := range []uint16{mdns.TypeA, mdns.TypeSRV, mdns.TypeAAAA} {
		for _, size := range []int{0, 1232, 65535} {
			q := packed1(t, "web.service.consul.", kind, size)
			w.answer(t.Context(), q, false, time.Now().Add(patience))
			if n := testing.AllocsPerRun(100, func() { w.quick(q, false) }); n != 0 {
				t.Errorf("type %d size %d: %v allocations", kind, size, n)
			}
		}
	}
}

// BenchmarkUDP measures round trips over the loopback, beside a server that only echoes.
func BenchmarkUDP(b *testing.B) {
	for _, n := range []int{3, 50} {
		s, _ := newServer(b, settings(), crowd(n)...)
		addr := serve(b, s, "127.0.0.1:0")
		b.Run(fmt.Sprint("A ", n), func(b *testing.B) { roundTrips(b, addr, packed1(b, "web.service.consul.", mdns.TypeA, 4096)) })
	}
	b.Run("echo", func(b *testing.B) {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IP{127, 0, 0, 1}})
		if err != nil {
			b.Fatal(err)
		}
		done := make(chan bool)
		go func() {
			defer close(done)
			p := make([]byte, 65535)
			for {
				n, from, err := c.ReadFromUDPAddrPort(p)
				if err != nil {
					return
				}
				_, _ = c.WriteToUDPAddrPort(p[:n], from)
			}
		}()
		roundTrips(b, c.LocalAddr().String(), packed1(b, "web.service.consul.", mdns.TypeA, 4096))
		_ = c.Close()
		<-done
	})
}

func roundTrips(b *testing.B, addr string, q []byte) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	p := make([]byte, 65535)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(q); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMany measures answers about services by turns, among few and among many.
func BenchmarkMany(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		var list []room.Command
		for i := range n {
			for k := range 5 {
				x := node(fmt.Sprint("n", k), fmt.Sprintf("10.7.0.%d", k+1), "consul-version", "1.21.4")
				list = append(list, instance(x, fmt.Sprint("s", i), fmt.Sprint("s", i), fmt.Sprintf("10.8.0.%d", k+1), 80))
			}
		}
		s, _ := newServer(b, settings(), list...)
		w := s.worker(1)
		for _, kind := range []uint16{mdns.TypeA, mdns.TypeSRV} {
			var asked [][]byte
			for i := range n {
				q := packed1(b, fmt.Sprintf("s%d.service.consul.", i*7919%n), kind, 0)
				w.answer(b.Context(), q, false, time.Now().Add(patience))
				asked = append(asked, q)
			}
			b.Run(fmt.Sprint(mdns.TypeToString[kind], " ", n), func(b *testing.B) {
				i := 0
				for b.Loop() {
					if i++; i >= n {
						i = 0
					}
					if _, ok := w.quick(asked[i], false); !ok {
						b.Fatal("not kept")
					}
				}
			})
		}
		s.cache.clear()
	}
}
