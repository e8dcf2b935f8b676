package metric

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-metrics"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// find returns what an interval has under a name.
func find(list []Summary, name string) Summary {
	for _, s := range list {
		if s.Name == name {
			return s
		}
	}
	return Summary{}
}

// TestIntervalIsSorted: by the names that are shown, which need not begin as the short ones do.
func TestIntervalIsSorted(t *testing.T) {
	r := New()
	r.Name(Naming{Prefix: "consul"})
	for _, name := range []string{".rostra.a", "b", ".alone", "z"} {
		r.Counter(name).Inc()
		r.Sample(name + ".time").Observe(1)
		r.Gauge(name + ".now").Set(1)
	}
	now, _ := r.Last()
	var names [3][]string
	for i := range now.Counters {
		names[0], names[1], names[2] = append(names[0], now.Counters[i].Name), append(names[1], now.Samples[i].Name), append(names[2], now.Gauges[i].Name)
	}
	for _, list := range names {
		if len(list) != 4 || !slices.IsSorted(list) {
			t.Error(list)
		}
	}
}

// TestInterval: spec http/agent.md, GET /v1/agent/metrics.
func TestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which begins at midnight of 2000-01-01
		ctx, stop := context.WithCancel(context.Background())
		r := New()
		r.Name(Naming{Prefix: "consul"})
		var run sync.WaitGroup
		run.Go(func() { _ = r.Run(ctx) })
		defer run.Wait()
		defer stop()

		r.Counter("client.rpc").Inc()
		r.Counter("client.rpc").Add(2)
		r.Counter("silent")
		r.Gauge("raft.last_index", Label{"peer", "a"}).Set(123)
		r.Collect(func(a *Asked) { a.Gauge("asked", 7); a.Counter("collected", 5); a.Process("go_threads", 3) })
		s := r.Sample("kvs.apply")
		for _, v := range []float64{1, 2, 3, 4} {
			s.Observe(v)
		}
		first, next := r.Last() // of the first ten seconds there is what came so far
		if find(first.Counters, "consul.client.rpc").Count != 3 || first.Timestamp != "2000-01-01 00:00:00 +0000 UTC" {
			t.Errorf("the first ten seconds: %+v", first)
		}
		<-next
		over, next := r.Last()
		want := Summary{"consul.client.rpc", 3, 0.3, 3, 1, 1, 1, 0, map[string]string{}}
		if got := find(over.Counters, "consul.client.rpc"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("counter: %+v, want %+v", got, want)
		}
		if got := find(over.Counters, "consul.silent"); got.Name != "" {
			t.Errorf("a counter that did not count is told: %+v", got)
		}
		got := find(over.Samples, "consul.kvs.apply")
		if got.Count != 4 || got.Sum != 10 || got.Min != 1 || got.Max != 4 || got.Mean != 2.5 || got.Rate != 1 || math.Abs(got.Stddev-1.29) > 0.1 {
			t.Errorf("sample: %+v", got)
		}
		if g := over.Gauges; len(g) != 2 || g[0].Name != "consul.asked" || g[1].Value != 123 || g[1].Labels["peer"] != "a" {
			t.Errorf("gauges: %+v", g)
		}
		<-next
		over, _ = r.Last()
		if len(over.Counters) != 0 || len(over.Samples) != 0 || len(over.Gauges) != 1 || over.Timestamp != "2000-01-01 00:00:10 +0000 UTC" {
			t.Errorf("the next interval has what was before: %+v", over)
		}
	})
}

// TestQuantiles: a histogram's answers are off by a sixteenth at most, at all scales.
func TestQuantiles(t *testing.T) {
	for _, scale := range []float64{1e-4, 1, 1e9} {
		s := New().Sample("x")
		for i := 1; i <= 1000; i++ {
			s.Observe(float64(i) * scale)
		}
		p := s.look(true)
		for _, q := range quantiles {
			want := q * 1000 * scale
			if got := p.quantile(q); math.Abs(got-want) > want/16 {
				t.Errorf("quantile %v of 1 to 1000 times %v: %v", q, scale, got)
			}
		}
		if got, want := p.deviation(), 288.8*scale; math.Abs(got-want) > want/16 {
			t.Errorf("deviation: %v, want %v", got, want)
		}
		if p := s.look(true); p.count != 0 || !math.IsNaN(p.quantile(0.5)) {
			t.Errorf("after its end: %+v", p)
		}
	}
	s := New().Sample("x")
	for _, v := range []float64{0, -3, 1e300, 1e-300, math.NaN(), math.Inf(1)} {
		s.Observe(v)
	}
	if p := s.look(true); p.count != 4 || p.min != -3 || p.max != 1e300 {
		t.Errorf("odd values: %d, %v to %v", p.count, p.min, p.max)
	}
}

// TestPrometheus holds the text against Prometheus' own parser.
func TestPrometheus(t *testing.T) {
	r := New()
	r.Name(Naming{Prefix: "consul", Host: "h"})
	r.Counter("raft.apply").Add(5)
	r.Counter("odd", Label{"a-b", "say \"x\"\n\\ \xff"}).Inc()
	r.Gauge("runtime.alloc_bytes").Set(1.5)
	r.Gauge("never.set")
	r.Gauge("unknown").Set(math.NaN())
	r.Gauge("raft.apply.2", Label{"x", "1"}).Set(2)
	r.Gauge("raft-apply").Set(9) // the same name in Prometheus, another kind
	r.Sample("kvs.apply").Observe(4)
	r.Sample("unused")
	r.Collect(func(a *Asked) { a.Process("process_cpu_seconds_total", 0.5); a.Counter(".rostra.dns.junk", 3) })
	r.cut(time.Now())
	r.Sample("kvs.apply").Observe(6)
	text := r.Prometheus(nil, 0)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for name, want := range map[string]string{
		"consul_raft_apply":            `type:COUNTER metric:{counter:{value:5}}`,
		"consul_odd":                   "type:COUNTER metric:{label:{name:\"a_b\" value:\"say \\\"x\\\"\\n\\\\ \uFFFD\"} counter:{value:1}}",
		"consul_h_runtime_alloc_bytes": `type:GAUGE metric:{gauge:{value:1.5}}`,
		"consul_h_unknown":             `type:GAUGE metric:{gauge:{value:nan}}`,
		"consul_h_raft_apply_2":        `type:GAUGE metric:{label:{name:"x" value:"1"} gauge:{value:2}}`,
		"consul_h_raft_apply":          `type:GAUGE metric:{gauge:{value:9}}`,
		"consul_kvs_apply": `type:SUMMARY metric:{summary:{sample_count:2 sample_sum:10 quantile:{quantile:0.5 value:4} ` +
			`quantile:{quantile:0.9 value:4} quantile:{quantile:0.99 value:4}}}`,
		"consul_unused":             `type:SUMMARY metric:{summary:{sample_count:0 sample_sum:0 quantile:{quantile:0.5 value:nan} quantile:{quantile:0.9 value:nan} quantile:{quantile:0.99 value:nan}}}`,
		"process_cpu_seconds_total": `type:COUNTER metric:{counter:{value:0.5}}`,
		"rostra_dns_junk":           `type:COUNTER metric:{counter:{value:3}}`,
	} {
		f := families[name]
		if f == nil {
			t.Errorf("%s is missing in\n%s", name, text)
			continue
		}
		got := strings.Join(strings.Fields(f.String()), " ") // protobuf puts in a blank now and then, on purpose
		if want := `name:"` + name + `" help:"` + name + `" ` + want; got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		delete(families, name)
	}
	for name := range families {
		t.Errorf("%s is told, too", name)
	}
}

// TestRetention: what is silent for longer is left out (spec config.md, prometheus_retention_time).
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New()
		r.Counter("plain").Inc()
		c := r.Counter("of", Label{"service", "web"})
		c.Inc()
		r.Gauge("g").Set(1)
		names := func() string {
			var list []string
			for line := range strings.Lines(string(r.Prometheus(nil, time.Minute))) {
				if name, _, ok := strings.Cut(line, " "); ok && name != "#" {
					list = append(list, name)
				}
			}
			return strings.Join(list, " ")
		}
		all := `g of{service="web"} plain`
		if got := names(); got != all {
			t.Errorf("at first: %s", got)
		}
		time.Sleep(50 * time.Second)
		r.Gauge("g").Set(1)
		if got := names(); got != all {
			t.Errorf("after 50 s: %s", got)
		}
		time.Sleep(50 * time.Second)
		if got := names(); got != "g plain" {
			t.Errorf("after 100 s: %s", got)
		}
		c.Inc()
		if got := names(); got != all {
			t.Errorf("once it counts again: %s", got)
		}
	})
}

// TestFilter: spec config.md, prefix_filter and filter_default: the longest prefix wins.
func TestFilter(t *testing.T) {
	for _, c := range []struct {
		rules string
		rest  bool
		told  string // of a.b a.b.c a.x q.call z
	}{
		{"", true, "a.b a.b.c a.x z"},
		{"", false, ""},
		{"-a.b +a.b.c", true, "a.b.c a.x z"},
		{"+a.b.c -a.b", true, "a.b.c a.x z"},
		{"+a", false, "a.b a.b.c a.x"},
		{"+q.call", false, "q.call"},
		{"-a -z", true, ""},
	} {
		f, err := NewFilter(strings.Fields(c.rules), c.rest, "q.call")
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, name := range []string{"a.b", "a.b.c", "a.x", "q.call", "z"} {
			if f.tells(name) {
				told = append(told, name)
			}
		}
		if got := strings.Join(told, " "); got != c.told {
			t.Errorf("%q, the others %v: %q, want %q", c.rules, c.rest, got, c.told)
		}
	}
	for _, bad := range []string{"", "+", "a.b", "*a"} {
		if _, err := NewFilter([]string{bad}, true); err == nil {
			t.Errorf("%q is taken for a rule", bad)
		}
	}
}

// TestBound: labels that clients make up do not fill the memory.
func TestBound(t *testing.T) {
	r := New()
	for i := range 3 * mostLabelled {
		r.Counter("query", Label{"service", fmt.Sprint(i)}).Inc()
	}
	if n := len(r.series); n != mostLabelled+1 {
		t.Errorf("%d series", n)
	}
	if n := r.Counter("query", Label{"service", otherValue}).n.Load(); n != 2*mostLabelled {
		t.Errorf("%d are counted as others", n)
	}
}

// TestNobody: without a registry instruments work; a name has one kind.
func TestNobody(t *testing.T) {
	var r *Registry
	r.Counter("a").Inc()
	r.Gauge("b").Set(1)
	r.Sample("c", Label{"x", "y"}).Observe(1)
	r.Collect(nil)
	r = New()
	r.Counter("a").Inc()
	r.Gauge("a").Set(1)
	if over, _ := r.Last(); len(over.Gauges) != 0 || len(over.Counters) != 1 {
		t.Errorf("%+v", over)
	}
}

// TestCapture: what libraries emit arrives under its name, and no more once it is released.
func TestCapture(t *testing.T) {
	r := New()
	r.Name(Naming{Prefix: "consul"})
	release, err := Capture(r)
	if err != nil {
		t.Fatal(err)
	}
	emit := func() {
		metrics.IncrCounterWithLabels([]string{"memberlist", "udp", "sent"}, 100, []metrics.Label{{Name: "network", Value: "lan"}})
		metrics.SetGauge([]string{"raft", "peers"}, 3)
		metrics.SetPrecisionGauge([]string{"a b"}, 0.1)
		metrics.AddSample([]string{"raft", "commitTime"}, 2)
		metrics.MeasureSince([]string{"raft", "rpc"}, time.Now().Add(-time.Second))
		metrics.EmitKey([]string{"key"}, 1)
	}
	emit()
	emit()
	release()
	emit()
	over, _ := r.Last()
	sent, commit, rpc := find(over.Counters, "consul.memberlist.udp.sent"), find(over.Samples, "consul.raft.commitTime"), find(over.Samples, "consul.raft.rpc")
	if sent.Count != 2 || sent.Sum != 200 || sent.Labels["network"] != "lan" || commit.Count != 2 || commit.Mean != 2 || rpc.Min < 1000 {
		t.Errorf("%+v %+v %+v", sent, commit, rpc)
	}
	if i := slices.IndexFunc(over.Gauges, func(v Value) bool { return v.Name == "consul.a_b" }); i < 0 || over.Gauges[i].Value != 0.1 {
		t.Errorf("gauges %+v", over.Gauges)
	}
}

// TestRace: everybody measures while somebody reads.
func TestRace(t *testing.T) {
	r := New()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 2000 {
				r.Counter("c", Label{"i", fmt.Sprint(i % 7)}).Inc()
				r.Sample("s").Observe(float64(i))
			}
		})
	}
	for range 20 {
		r.cut(time.Now())
		r.Prometheus(nil, time.Minute)
	}
	all.Wait()
	r.cut(time.Now())
	s := r.find(kindSample, "s", nil)
	if s.sum.count != 8000 {
		t.Errorf("%d observations of 8000", s.sum.count)
	}
}

func BenchmarkObserve(b *testing.B) {
	s := New().Sample("kvs.apply")
	for b.Loop() {
		s.Observe(1.5)
	}
}

func BenchmarkCounter(b *testing.B) {
	r := New()
	b.ReportAllocs()
	for b.Loop() {
		r.Counter("health.service.query", Label{"service", "web"}).Inc()
	}
}

func BenchmarkCapture(b *testing.B) {
	r := New()
	release, _ := Capture(r)
	defer release()
	key, label := []string{"raft", "replication", "appendEntries", "rpc"}, []metrics.Label{{Name: "peer_id", Value: "0123"}}
	b.ReportAllocs()
	for b.Loop() {
		metrics.AddSampleWithLabels(key, 2, label)
	}
}
