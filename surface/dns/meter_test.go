package dns

import (
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"rostra/kit/metric"
)

// TestMeter: each question counts once as about a name or an address, and once under its type.
func TestMeter(t *testing.T) {
	s, d := newServer(t, settings(), example()...)
	m := metric.New()
	s.Measure(m)
	addr := serve(t, s, "127.0.0.1:0")
	want := map[string]uint64{}
	for kind, n := range map[uint16]uint64{mdns.TypeA: 3, mdns.TypeSRV: 2, mdns.TypeANY: 1, mdns.TypeMX: 1, mdns.TypeHTTPS: 1} {
		for range n {
			asks(t, "tcp", addr, "web.service.consul.", kind, 0) // a connection is a worker of its own, so that each question is timed
		}
		want["dns.domain_query "] += n
		switch kind {
		case mdns.TypeMX, mdns.TypeHTTPS:
			want["dns.query other"] += n
		default:
			want["dns.query "+mdns.TypeToString[kind]] += n
		}
	}
	asks(t, "tcp", addr, "3.2.1.10.in-addr.arpa.", mdns.TypePTR, 0)
	want["dns.ptr_query "], want["dns.query PTR"], want["dns.stale_queries "] = 1, 1, 7
	d.age.Store(int64(time.Minute))
	s.lookAge(t.Context(), 7)
	over, _ := m.Last()
	// A question is counted when its answer has been sent, and may have come.
	for end := time.Now().Add(10 * time.Second); !counted(over, want) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		over, _ = m.Last()
	}
	for _, x := range append(over.Samples, over.Counters...) {
		name := x.Name + " " + x.Labels["type"]
		if x.Count != want[name] && x.Sum != float64(want[name]) {
			t.Errorf("%s: %d times, sum %v, want %d", name, x.Count, x.Sum, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// counted reports whether there are as many questions of each kind as there should be.
func counted(over metric.Interval, want map[string]uint64) bool {
	have := map[string]uint64{}
	for _, x := range append(over.Samples, over.Counters...) {
		have[x.Name+" "+x.Labels["type"]] = max(x.Count, uint64(x.Sum))
	}
	for name, n := range want {
		if have[name] < n {
			return false
		}
	}
	return true
}
