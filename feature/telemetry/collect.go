package telemetry

import (
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"rostra/engine/build"
	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/kit/metric"
)

// collect measures what is counted elsewhere, whenever somebody reads: the process, gossip's members, Raft, and all
// counters of the agent. What is Consul's has its name, all counters are there under rostra, too.
func collect(h *room.Host, s *Settings) {
	stamp := metric.Label{Name: "version", Value: build.Consul}
	h.Metrics.Gauge("version", stamp, metric.Label{Name: "pre_release", Value: ""})
	h.Metrics.Collect(func(a *metric.Asked) {
		a.Gauge("version", 1, stamp, metric.Label{Name: "pre_release", Value: ""})
		counted(h, a)
		if h.Raft != nil {
			server(h, a)
		}
	})
	h.Metrics.Collect(newProcess(h.Metrics).read)
	if s.HostMetrics {
		path := h.Dir
		if path == "" {
			path = "/"
		}
		h.Metrics.Collect((&hostMeter{path: path}).read)
	}
}

// consulNames are the counters of the agent that Consul has, too.
var consulNames = map[string]string{
	"rpc.accepted": "rpc.accept_conn", "rpc.served.calls": "rpc.request", "rpc.log_streams": "rpc.raft_handoff",
	"remote.calls": "client.rpc", "remote.calls.failed": "client.rpc.failed", "remote.calls.exceeded": "client.rpc.exceeded",
	"rpc.served.calls.failed": "rpc.request_error",
}

// falling are the counters of the agent that are none: they may fall.
var falling = map[string]bool{
	"blocking_queries": true, "index": true, "remote.subscriptions": true, "watches": true, "dns.cache.entries": true,
	"dns.cache.bytes": true, "dns.cache.watches": true,
}

// counted tells the counters of the agent.
func counted(h *room.Host, a *metric.Asked) {
	for _, list := range []map[string]uint64{h.Cluster.Counters(), h.Agent.Counters()} {
		for name, n := range list {
			if falling[name] {
				a.Gauge(".rostra."+name, float64(n))
			} else {
				a.Counter(".rostra."+name, n)
			}
			if consul := consulNames[name]; consul != "" {
				a.Counter(consul, n)
			}
			switch name {
			case "blocking_queries":
				a.Gauge("rpc.queries_blocking", float64(n))
			case "remote.subscriptions":
				a.Gauge("cache.entries_count", float64(n))
			}
		}
	}
}

// server tells what only servers know.
func server(h *room.Host, a *metric.Asked) {
	leader, _ := h.Raft.Peers()
	leads := 0.0
	if leader == h.Self.ID {
		leads = 1
	}
	a.Gauge("server.isLeader", leads)
	p := h.Raft.Progress()
	a.Gauge("raft.applied_index", float64(p.Applied))
	a.Gauge("raft.last_index", float64(p.Last))
	servers, clients := 0, 0
	for _, m := range h.LAN.Members() {
		switch {
		case m.Status != gossip.StatusAlive:
		case m.Tags["role"] == "consul":
			servers++
		default:
			clients++
		}
	}
	dc := metric.Label{Name: "datacenter", Value: h.Self.Datacenter}
	a.Gauge("members.servers", float64(servers), dc)
	a.Gauge("members.clients", float64(clients), dc)
}

// process measures this one.
type process struct {
	samples []metrics.Sample
	pauses  *metric.Sample
	gc      debug.GCStats
	seen    int64 // collections
	began   time.Time
}

// runtimeNames are Consul's names of what Go's runtime measures.
var runtimeNames = []struct{ name, theirs string }{
	{"runtime.num_goroutines", "/sched/goroutines:goroutines"}, {"runtime.alloc_bytes", "/memory/classes/heap/objects:bytes"},
	{"runtime.sys_bytes", "/memory/classes/total:bytes"}, {"runtime.malloc_count", "/gc/heap/allocs:objects"},
	{"runtime.free_count", "/gc/heap/frees:objects"}, {"runtime.heap_objects", "/gc/heap/objects:objects"},
	{"runtime.total_gc_runs", "/gc/cycles/total:gc-cycles"},
}

func newProcess(m *metric.Registry) *process {
	p := &process{pauses: m.Sample("runtime.gc_pause_ns"), began: time.Now()}
	for _, n := range runtimeNames {
		p.samples = append(p.samples, metrics.Sample{Name: n.theirs})
	}
	return p
}

func (p *process) read(a *metric.Asked) {
	metrics.Read(p.samples)
	for i, n := range runtimeNames {
		if v := p.samples[i].Value; v.Kind() == metrics.KindUint64 {
			a.Gauge(n.name, float64(v.Uint64()))
			if n.name == "runtime.num_goroutines" {
				a.Process("go_goroutines", float64(v.Uint64()))
			}
		}
	}
	debug.ReadGCStats(&p.gc)
	a.Gauge("runtime.total_gc_pause_ns", float64(p.gc.PauseTotal))
	for i := range min(p.gc.NumGC-p.seen, int64(len(p.gc.Pause))) {
		p.pauses.Observe(float64(p.gc.Pause[i])) // the newest first
	}
	p.seen = p.gc.NumGC
	p.system(a)
}

// system tells what Prometheus' clients tell of any process, under their names.
func (p *process) system(a *metric.Asked) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name before may hold blanks
	parts := strings.Fields(after)
	at := func(i int) float64 {
		if i >= len(parts) {
			return 0
		}
		return number(parts[i])
	}
	const ticks = 100 // of a second, on all systems that Go runs on
	a.Process("process_cpu_seconds_total", (at(11)+at(12))/ticks)
	a.Process("process_virtual_memory_bytes", at(20))
	a.Process("process_resident_memory_bytes", at(21)*float64(os.Getpagesize()))
	a.Process("process_start_time_seconds", math.Round(float64(p.began.UnixMilli()))/1000)
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		a.Process("process_open_fds", float64(len(files)))
	}
}

// hostMeter measures the machine (telemetry.enable_host_metrics).
type hostMeter struct {
	path   string // in the file system that is measured
	before times
}

func (m *hostMeter) read(a *metric.Asked) {
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		mem := parseMemory(text)
		a.Gauge("host.memory.total", float64(mem["MemTotal"]))
		a.Gauge("host.memory.free", float64(mem["MemFree"]))
		a.Gauge("host.memory.available", float64(mem["MemAvailable"]))
		used := usedMemory(mem)
		a.Gauge("host.memory.used", float64(used))
		a.Gauge("host.memory.used_percent", percent(used, mem["MemTotal"]))
	}
	if text, err := os.ReadFile("/proc/uptime"); err == nil {
		a.Gauge("host.uptime", parseUptime(text))
	}
	if d, err := readDisk(m.path); err == nil {
		path := metric.Label{Name: "path", Value: d.Path}
		a.Gauge("host.disk.size", float64(d.Total), path)
		a.Gauge("host.disk.used", float64(d.Used), path)
		a.Gauge("host.disk.available", float64(d.Free), path)
		a.Gauge("host.disk.used_percent", d.UsedPercent, path)
		a.Gauge("host.disk.inodes_percent", d.InodesUsedPercent, path)
	}
	if text, err := os.ReadFile("/proc/stat"); err == nil {
		m.processors(a, parseTimes(text))
	}
}

// processors tells what each processor did since it was asked before, in percent.
func (m *hostMeter) processors(a *metric.Asked, now times) {
	for name, p := range now.processors {
		was, known := m.before.processors[name]
		span := p.total - was.total
		if !known || span <= 0 {
			continue
		}
		cpu := metric.Label{Name: "cpu", Value: name}
		part := func(now, was float64) float64 { return max(0, now-was) / span * 100 }
		a.Gauge("host.cpu.user", part(p.user+p.nice, was.user+was.nice), cpu)
		a.Gauge("host.cpu.system", part(p.system, was.system), cpu)
		a.Gauge("host.cpu.idle", part(p.idle, was.idle), cpu)
		a.Gauge("host.cpu.iowait", part(p.iowait, was.iowait), cpu)
		a.Gauge("host.cpu.total", 100-part(p.idle+p.iowait, was.idle+was.iowait), cpu)
	}
	m.before = now
}
