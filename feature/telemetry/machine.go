package telemetry

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"rostra/kit/httpd"
)

// machineJSON is the answer of agent/host. What could not be found out is zero, and said in Errors.
type machineJSON struct {
	Memory         map[string]any
	CPU            []processorJSON
	Host           hostJSON
	Disk           *diskJSON
	CollectionTime int64    // Unix time in nanoseconds
	Errors         []string // null if there are none
}

// processorJSON is a processor as the system counts them.
type processorJSON struct {
	CPU        int      `json:"cpu"`
	VendorID   string   `json:"vendorId"`
	Family     string   `json:"family"`
	Model      string   `json:"model"`
	Stepping   int      `json:"stepping"`
	PhysicalID string   `json:"physicalId"`
	CoreID     string   `json:"coreId"`
	Cores      int      `json:"cores"`
	ModelName  string   `json:"modelName"`
	MHz        float64  `json:"mhz"`
	CacheSize  int      `json:"cacheSize"` // KiB
	Flags      []string `json:"flags"`
	Microcode  string   `json:"microcode"`
}

// hostJSON says what the machine is.
type hostJSON struct {
	Hostname             string `json:"hostname"`
	Uptime               uint64 `json:"uptime"`   // seconds
	BootTime             uint64 `json:"bootTime"` // Unix time in seconds
	Procs                uint64 `json:"procs"`
	OS                   string `json:"os"`
	Platform             string `json:"platform"`
	PlatformFamily       string `json:"platformFamily"`
	PlatformVersion      string `json:"platformVersion"`
	KernelVersion        string `json:"kernelVersion"`
	KernelArch           string `json:"kernelArch"`
	VirtualizationSystem string `json:"virtualizationSystem"`
	VirtualizationRole   string `json:"virtualizationRole"`
	HostID               string `json:"hostId"`
}

// diskJSON is a file system.
type diskJSON struct {
	Path              string  `json:"path"`
	FSType            string  `json:"fstype"`
	Total             uint64  `json:"total"` // bytes
	Free              uint64  `json:"free"`  // for everybody
	Used              uint64  `json:"used"`
	UsedPercent       float64 `json:"usedPercent"`
	InodesTotal       uint64  `json:"inodesTotal"`
	InodesUsed        uint64  `json:"inodesUsed"`
	InodesFree        uint64  `json:"inodesFree"`
	InodesUsedPercent float64 `json:"inodesUsedPercent"`
}

// machine serves what this agent runs on.
func (a handlers) machine(*httpd.Request) (httpd.Reply, error) {
	return httpd.Reply{Value: readMachine()}, nil
}

func readMachine() machineJSON {
	var m machineJSON
	note := func(err error) {
		if err != nil {
			m.Errors = append(m.Errors, err.Error())
		}
	}
	memory, err := os.ReadFile("/proc/meminfo")
	note(err)
	m.Memory = memoryOf(parseMemory(memory))
	processors, err := os.ReadFile("/proc/cpuinfo")
	note(err)
	m.CPU = parseProcessors(processors)
	m.Host, err = readHost()
	note(err)
	m.Disk, err = readDisk("/")
	note(err)
	m.CollectionTime = time.Now().UnixNano()
	return m
}

func readHost() (hostJSON, error) {
	h := hostJSON{OS: runtime.GOOS}
	var all error
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		all = errors.Join(all, err)
		return b
	}
	var err error
	h.Hostname, err = os.Hostname()
	all = errors.Join(all, err)
	h.KernelVersion, h.KernelArch, err = kernel()
	all = errors.Join(all, err)
	h.Uptime = uint64(parseUptime(read("/proc/uptime")))
	h.BootTime = parseTimes(read("/proc/stat")).boot
	h.Platform, h.PlatformFamily, h.PlatformVersion = parseRelease(read("/etc/os-release"))
	entries, err := os.ReadDir("/proc")
	all = errors.Join(all, err)
	for _, e := range entries {
		if name := e.Name(); e.IsDir() && strings.Trim(name, "0123456789") == "" {
			h.Procs++
		}
	}
	h.HostID = hostID()
	h.VirtualizationSystem, h.VirtualizationRole = virtualization()
	return h, all
}

// hostID is what tells this machine from all others: of its firmware, if we may read that, of its system, of this boot.
func hostID() string {
	for _, path := range []string{"/sys/class/dmi/id/product_uuid", "/etc/machine-id", "/proc/sys/kernel/random/boot_id"} {
		b, err := os.ReadFile(path)
		id := strings.ToLower(strings.TrimSpace(string(b)))
		if err != nil || id == "" {
			continue
		}
		if len(id) == 32 {
			id = fmt.Sprintf("%s-%s-%s-%s-%s", id[:8], id[8:12], id[12:16], id[16:20], id[20:])
		}
		return id
	}
	return ""
}

// virtualization names what the machine is a guest of, or that it is a host of guests; both "" on bare metal.
func virtualization() (system, role string) {
	vendor, _ := os.ReadFile("/sys/class/dmi/id/sys_vendor") // not there is no error: many machines have none
	for word, name := range map[string]string{"qemu": "kvm", "vmware": "vmware", "innotek": "vbox", "xen": "xen", "amazon": "kvm", "google": "kvm"} {
		if strings.Contains(strings.ToLower(string(vendor)), word) {
			return name, "guest"
		}
	}
	if _, err := os.Stat("/.dockerenv"); err == nil {
		return "docker", "guest"
	}
	if modules, err := os.ReadFile("/proc/modules"); err == nil && strings.Contains("\n"+string(modules), "\nkvm ") {
		return "kvm", "host"
	}
	return "", ""
}

func percent(part, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of) * 100
}
