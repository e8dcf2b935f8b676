package telemetry

import (
	"bytes"
	"fmt"
	"testing"

	"rostra/kit/metric"
)

func TestProc(t *testing.T) {
	m := parseMemory([]byte("MemTotal:       1000 kB\nMemFree: 200 kB\nBuffers: 10 kB\nCached: 90 kB\nHugePages_Total: 3\nbad\nX: y kB\n"))
	if m["MemTotal"] != 1024000 || m["HugePages_Total"] != 3 || usedMemory(m) != 700*1024 {
		t.Errorf("memory %v", m)
	}
	p := parseProcessors([]byte("flags: none\nprocessor\t: 0\nvendor_id\t: V\nmodel name\t: M x\ncpu MHz\t\t: 2.5\ncache size\t: 512 KB\nflags\t\t: a b\n\nprocessor\t: 1\n"))
	if len(p) != 2 || p[0].ModelName != "M x" || p[0].MHz != 2.5 || p[0].CacheSize != 512 || fmt.Sprint(p[0].Flags) != "[a b]" || p[1].CPU != 1 {
		t.Errorf("processors %+v", p)
	}
	s := parseTimes([]byte("cpu  9 9 9 9\ncpu0 10 1 5 80 4 0 0 0 7 0\nbtime 1700000000\n"))
	if c := s.processors["cpu0"]; s.boot != 1700000000 || c.total != 100 || c.user != 10 || c.iowait != 4 || len(s.processors) != 1 {
		t.Errorf("times %+v", s)
	}
	if a, b, c := parseRelease([]byte("ID=ubuntu\nVERSION_ID=\"24.04\"\nID_LIKE=debian\n")); a+b+c != "ubuntudebian24.04" {
		t.Errorf("release %s %s %s", a, b, c)
	}
	mounts := []byte("a / ext4 rw\nb /data xfs rw\nc /database tmpfs rw\nbroken\n")
	for path, want := range map[string]string{"/": "ext4", "/data": "xfs", "/data/x": "xfs", "/databases": "ext4"} {
		if got := fsType(mounts, path); got != want {
			t.Errorf("%s is on %s, want %s", path, got, want)
		}
	}
	if up := parseUptime([]byte("12.5 3\n")); up != 12.5 {
		t.Errorf("uptime %v", up)
	}
}

// TestProcessors: enable_host_metrics tells what each processor did between two looks.
func TestProcessors(t *testing.T) {
	r, m := metric.New(), &hostMeter{}
	looks := []string{"cpu0 0 0 0 0 0\n", "cpu0 20 10 10 50 10\n"}
	r.Collect(func(a *metric.Asked) {
		if len(looks) > 0 {
			m.processors(a, parseTimes([]byte(looks[0])))
			looks = looks[1:]
		}
	})
	if first, _ := r.Last(); len(first.Gauges) != 0 {
		t.Errorf("after one look: %+v", first.Gauges)
	}
	second, _ := r.Last()
	want := "host.cpu.idle=50 host.cpu.iowait=10 host.cpu.system=10 host.cpu.total=40 host.cpu.user=30 "
	got := ""
	for _, g := range second.Gauges {
		got += fmt.Sprintf("%s=%v ", g.Name, g.Value)
	}
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestDump(t *testing.T) {
	var out bytes.Buffer
	writeInterval(&out, metric.Interval{Timestamp: "T", Gauges: []metric.Value{{Name: "g", Value: 1, Labels: map[string]string{"b": "2", "a": "1"}}},
		Counters: []metric.Summary{{Name: "c", Count: 2, Sum: 2}}, Samples: []metric.Summary{{Name: "s", Count: 1, Mean: 0.5}}})
	want := `[T][G] 'g.1.2': 1.000
[T][C] 'c': Count: 2 Min: 0.000 Mean: 0.000 Max: 0.000 Stddev: 0.000 Sum: 2.000
[T][S] 's': Count: 1 Min: 0.000 Mean: 0.500 Max: 0.000 Stddev: 0.000 Sum: 0.000
`
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
}

func FuzzProc(f *testing.F) {
	f.Add([]byte("processor : 1\ncpu MHz : 1e400\nMemTotal: 18446744073709551615 kB\nbtime -1\ncpu0 NaN\nID=\"\na / b c\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_ = memoryOf(parseMemory(text))
		_ = parseProcessors(text)
		_ = parseUptime(text)
		_ = parseTimes(text)
		_, _, _ = parseRelease(text)
		_ = fsType(text, "/a/b")
	})
}
