package telemetry

import (
	"strconv"
	"strings"
	"unicode"
)

// The parsers of what the kernel says of itself. They take any bytes: lines that they do not understand are skipped.

// fields yields the lines "name: value" of a text, both trimmed.
func fields(text []byte, sep string) func(func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for line := range strings.Lines(string(text)) {
			name, value, ok := strings.Cut(line, sep)
			if ok && !yield(strings.TrimSpace(name), strings.TrimSpace(value)) {
				return
			}
		}
	}
}

// parseMemory reads /proc/meminfo: bytes by name, or plain numbers where there is no unit.
func parseMemory(text []byte) map[string]uint64 {
	out := map[string]uint64{}
	for name, value := range fields(text, ":") {
		number, unit, _ := strings.Cut(value, " ")
		n, err := strconv.ParseUint(number, 10, 54) // so that KiB fit
		if err != nil {
			continue
		}
		if unit == "kB" {
			n *= 1024
		}
		out[name] = n
	}
	return out
}

// memoryNames are the names in agent/host of what /proc/meminfo has under another.
var memoryNames = map[string]string{
	"total": "MemTotal", "free": "MemFree", "available": "MemAvailable", "active": "Active", "inactive": "Inactive",
	"buffers": "Buffers", "writeBack": "Writeback", "dirty": "Dirty", "writeBackTmp": "WritebackTmp", "shared": "Shmem",
	"slab": "Slab", "sreclaimable": "SReclaimable", "sunreclaim": "SUnreclaim", "pageTables": "PageTables",
	"swapCached": "SwapCached", "commitLimit": "CommitLimit", "committedAS": "Committed_AS", "highTotal": "HighTotal",
	"highFree": "HighFree", "lowTotal": "LowTotal", "lowFree": "LowFree", "swapTotal": "SwapTotal", "swapFree": "SwapFree",
	"mapped": "Mapped", "vmallocTotal": "VmallocTotal", "vmallocUsed": "VmallocUsed", "vmallocChunk": "VmallocChunk",
	"hugePagesTotal": "HugePages_Total", "hugePagesFree": "HugePages_Free", "hugePageSize": "Hugepagesize",
}

// memoryOf is the machine's memory in bytes, as agent/host shows it: what is used is what no cache could give back.
func memoryOf(m map[string]uint64) map[string]any {
	out := map[string]any{"wired": 0, "laundry": 0}
	for name, theirs := range memoryNames {
		out[name] = m[theirs]
	}
	used := usedMemory(m)
	out["cached"], out["used"], out["usedPercent"] = m["Cached"]+m["SReclaimable"], used, percent(used, m["MemTotal"])
	return out
}

func usedMemory(m map[string]uint64) uint64 {
	used := m["MemTotal"]
	for _, name := range []string{"MemFree", "Buffers", "Cached", "SReclaimable"} {
		used -= min(used, m[name])
	}
	return used
}

// parseProcessors reads /proc/cpuinfo: a block for each processor.
func parseProcessors(text []byte) []processorJSON {
	list := []processorJSON{}
	for name, value := range fields(text, ":") {
		if name == "processor" {
			n, err := strconv.Atoi(value)
			if err != nil {
				continue
			}
			list = append(list, processorJSON{CPU: n, Cores: 1, Flags: []string{}})
		}
		if len(list) == 0 {
			continue
		}
		p := &list[len(list)-1]
		switch name {
		case "vendor_id":
			p.VendorID = value
		case "cpu family":
			p.Family = value
		case "model":
			p.Model = value
		case "model name":
			p.ModelName = value
		case "stepping":
			p.Stepping, _ = strconv.Atoi(value)
		case "microcode":
			p.Microcode = value
		case "cpu MHz":
			p.MHz = number(value)
		case "cache size":
			p.CacheSize = int(number(strings.TrimSuffix(value, " KB")))
		case "physical id":
			p.PhysicalID = value
		case "core id":
			p.CoreID = value
		case "flags", "Features":
			p.Flags = strings.FieldsFunc(value, unicode.IsSpace)
		}
	}
	return list
}

// number reads a finite number; 0 for anything else.
func number(text string) float64 {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != f || f > 1e15 || f < -1e15 {
		return 0
	}
	return f
}

// parseUptime reads /proc/uptime: seconds.
func parseUptime(text []byte) float64 {
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	return max(0, number(first))
}

// times are what /proc/stat says.
type times struct {
	boot       uint64 // Unix time in seconds
	processors map[string]processorTime
}

// processorTime is how long a processor did what, in ticks since the start.
type processorTime struct{ user, nice, system, idle, iowait, total float64 }

func parseTimes(text []byte) times {
	t := times{processors: map[string]processorTime{}}
	for name, value := range fields(text, " ") {
		if name == "btime" {
			t.boot = uint64(max(0, number(value)))
		}
		if !strings.HasPrefix(name, "cpu") || name == "cpu" {
			continue
		}
		var p processorTime
		parts := strings.Fields(value)
		for i, to := range []*float64{&p.user, &p.nice, &p.system, &p.idle, &p.iowait} {
			if i < len(parts) {
				*to = number(parts[i])
			}
		}
		for _, part := range parts[:min(8, len(parts))] { // guests' time is in user's
			p.total += number(part)
		}
		t.processors[name] = p
	}
	return t
}

// parseRelease reads /etc/os-release.
func parseRelease(text []byte) (platform, family, version string) {
	values := map[string]string{}
	for name, value := range fields(text, "=") {
		values[name] = strings.Trim(value, `"'`)
	}
	platform, version = values["ID"], values["VERSION_ID"]
	family, _, _ = strings.Cut(values["ID_LIKE"], " ")
	if family == "" {
		family = platform
	}
	return platform, family, version
}

// fsType finds in /proc/self/mounts the type of the file system that holds a path.
func fsType(mounts []byte, path string) string {
	longest, kind := -1, ""
	for line := range strings.Lines(string(mounts)) {
		parts := strings.Fields(line)
		if len(parts) < 3 {
			continue
		}
		at := parts[1]
		holds := path == at || strings.HasPrefix(path, strings.TrimSuffix(at, "/")+"/")
		if holds && len(at) >= longest {
			longest, kind = len(at), parts[2]
		}
	}
	return kind
}
