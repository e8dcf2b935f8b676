package agent

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"rostra/engine/build"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/disk"
	"rostra/kit/wire"
)

var (
	uuidForm       = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	domainForm     = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.){1,16}$`)
	datacenterForm = regexp.MustCompile(`^[a-z0-9_-]+$`)
)

// longestDomain is the most bytes of a domain with its last dot that a DNS message can hold (RFC 1035 §3.1).
const longestDomain = 254

// prepareDir makes the data directory and refuses one that belongs to another program or agent.
func prepareDir(fs disk.FS, dir string) (unlock func() error, err error) {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("data_dir: %s is not a directory; name one that is, or a new one", dir)
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data_dir: cannot make %s: %w; choose another directory or make it writable", dir, err)
	}
	if !ours(dir) {
		for _, theirs := range []string{"raft/raft.db", "raft/wal", "raft/peers.info", "serf/local.snapshot", "server_metadata.json", "mdb"} {
			if _, err := os.Lstat(filepath.Join(dir, theirs)); err == nil {
				return nil, fmt.Errorf("data_dir: %s belongs to Consul (it holds %s); name a new directory, and bring keys over with `consul kv export` and `rostra kv import`", dir, theirs)
			}
		}
	}
	probe := filepath.Join(dir, "writable"+disk.TempSuffix)
	if f, err := fs.OpenFile(probe, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
		return nil, fmt.Errorf("data_dir: cannot write in %s: %w; make it writable for this user or choose another", dir, err)
	} else if err := errors.Join(f.Close(), fs.Remove(probe)); err != nil {
		return nil, fmt.Errorf("data_dir: cannot write in %s: %w", dir, err)
	}
	// The agent before may just have been killed: its lock goes a moment after it.
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 40) {
		unlock, err = disk.Lock(dir)
		if !errors.Is(err, disk.ErrLocked) || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	return unlock, sweep(fs, dir)
}

// ours reports whether Rostra has used a directory before: only then is there a lock. A client agent has no log to tell by.
func ours(dir string) bool {
	for _, mark := range []string{disk.LockName, filepath.Join("raft", "format")} {
		if _, err := os.Lstat(filepath.Join(dir, mark)); err == nil {
			return true
		}
	}
	return false
}

// sweep removes what a crash in the middle of a restore left: whole states, with all their secrets.
func sweep(fs disk.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("data_dir: cannot read %s: %w", dir, err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "restore-") && strings.HasSuffix(name, disk.TempSuffix) {
			if err := fs.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("data_dir: cannot remove an unfinished file: %w", err)
			}
		}
	}
	return nil
}

// lockPatience is how long a starting agent waits for another to let go of the data directory.
const lockPatience = 2 * time.Second

func checkNodeID(id string) error {
	if id != "" && !uuidForm.MatchString(strings.ToLower(id)) {
		return fmt.Errorf("node_id: %q is no UUID; write 36 characters like %s or leave it out", id, wire.NewID())
	}
	return nil
}

// nodeID returns the node's ID: the configured one, the one kept in the data directory, or a new one, which is kept.
func nodeID(fs disk.FS, s *Settings) (string, error) {
	id := strings.ToLower(s.NodeID)
	if err := checkNodeID(id); err != nil {
		return "", err
	}
	fresh := wire.NewID
	if s.DisableHost != nil && !*s.DisableHost {
		host, err := hostID(os.ReadFile)
		if err != nil {
			return "", fmt.Errorf("disable_host_node_id: %w; set it to true or node_id", err)
		}
		fresh = func() string { return host }
	}
	if s.DataDir == "" {
		if id == "" {
			id = fresh()
		}
		return id, nil
	}
	file := filepath.Join(s.DataDir, "node-id")
	if id == "" {
		b, err := disk.ReadFile(fs, file)
		switch kept := strings.TrimSpace(string(b)); {
		case errors.Is(err, os.ErrNotExist):
			id = fresh()
		case err != nil:
			return "", fmt.Errorf("cannot read the node's ID: %w", err)
		case !uuidForm.MatchString(kept):
			return "", fmt.Errorf("%s holds no UUID but %q; write the node's ID into it or set node_id", file, kept)
		default:
			return kept, nil
		}
	}
	return id, disk.WriteFile(fs, file, []byte(id), 0o600)
}

// hostID derives a node's ID from the machine's, which stays out of it: a hash gives no machine away (spec config.md §2).
func hostID(read func(name string) ([]byte, error)) (string, error) {
	for _, file := range []string{"/sys/class/dmi/id/product_uuid", "/etc/machine-id", "/proc/sys/kernel/random/boot_id"} {
		b, err := read(file)
		id := strings.ToLower(strings.TrimSpace(string(b)))
		if len(id) == 32 {
			id = strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-")
		}
		if err == nil && uuidForm.MatchString(id) {
			h := sha512.Sum512([]byte(id))
			return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16]), nil
		}
	}
	return "", errors.New("this machine has no ID that can be read")
}

// identity says who this agent is, from its settings.
func identity(s *Settings, domain, id string, dev bool) (room.Identity, error) {
	self := room.Identity{Node: strings.TrimSpace(s.NodeName), ID: id, Datacenter: strings.ToLower(s.Datacenter),
		Region: s.Region, Zone: s.Zone, Primary: strings.ToLower(orElse(s.Primary, s.Datacenter)),
		Server: s.Server, Dev: dev, ServerPort: s.ServerPort, Bootstrap: lone(s, dev),
		Reconnect: s.Gossip.Advertise, Replica: s.Server && s.ReadReplica}
	if s.Expect > 1 {
		self.Expect = s.Expect
	}
	if self.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			return self, fmt.Errorf("cannot find the host's name: %w; set node_name", err)
		}
		self.Node = host
	}
	var wrong []error
	if self.Domain = strings.ToLower(strings.TrimSuffix(domain, ".")) + "."; !domainForm.MatchString(self.Domain) || len(self.Domain) > longestDomain {
		wrong = append(wrong, fmt.Errorf("domain: %q is no DNS domain; write one like consul", domain))
	}
	if !datacenterForm.MatchString(self.Datacenter) {
		wrong = append(wrong, fmt.Errorf("datacenter: %q may only hold letters, digits, - and _", s.Datacenter))
	}
	if s.Primary != "" && !datacenterForm.MatchString(self.Primary) {
		wrong = append(wrong, fmt.Errorf("primary_datacenter: %q may only hold letters, digits, - and _", s.Primary))
	}
	var err error
	if self.Address, err = advertised(s); err != nil {
		return self, errors.Join(append(wrong, err)...)
	}
	self.Tagged, err = taggedAddresses(s, self.Address, orElse(s.AdvertiseAddrWAN, self.Address))
	return self, errors.Join(append(wrong, err)...)
}

// nodeMeta is the metadata of this agent's node.
func nodeMeta(s *Settings) (map[string]string, error) {
	if err := catalog.CheckMeta(wire.PairsOf(s.NodeMeta), false); err != nil {
		return nil, fmt.Errorf("node_meta: %w", err)
	}
	all := map[string]string{"consul-network-segment": "", "consul-version": build.Consul}
	maps.Copy(all, s.NodeMeta)
	return all, nil
}

// taggedAddresses are all addresses of the node by their names. Those that the agent knows itself go before those that only
// tagged_addresses names.
func taggedAddresses(s *Settings, lan, wan string) (map[string]string, error) {
	tagged := maps.Clone(s.Tagged)
	if tagged == nil {
		tagged = map[string]string{}
	}
	for _, a := range []struct{ key, tag, addr string }{
		{"advertise_addr_ipv4", "lan_ipv4", s.AdvertiseIPv4}, {"advertise_addr_ipv6", "lan_ipv6", s.AdvertiseIPv6},
		{"advertise_addr_wan_ipv4", "wan_ipv4", s.AdvertiseWANv4}, {"advertise_addr_wan_ipv6", "wan_ipv6", s.AdvertiseWANv6},
	} {
		if a.addr == "" {
			continue
		}
		ip, err := netip.ParseAddr(a.addr)
		if err != nil || ip.IsUnspecified() || !strings.HasSuffix(a.tag, family(a.addr)) {
			return nil, fmt.Errorf("%s: %q is no such address; write one like 192.0.2.1 or 2001:db8::1", a.key, a.addr)
		}
		tagged[a.tag] = ip.String()
	}
	maps.Copy(tagged, map[string]string{"lan": lan, "wan": wan, "lan_" + family(lan): lan, "wan_" + family(wan): wan})
	return tagged, nil
}

func family(ip string) string {
	if a, err := netip.ParseAddr(ip); err == nil && a.Unmap().Is4() {
		return "ipv4"
	}
	return "ipv6"
}

// advertised returns the address that others reach this agent at.
func advertised(s *Settings) (string, error) {
	key, addr := "advertise_addr", s.AdvertiseAddr
	if addr == "" {
		key, addr = "bind_addr", s.BindAddr
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return "", fmt.Errorf("%s: %q is no IP address; write one like 127.0.0.1", key, addr)
	}
	if !ip.IsUnspecified() {
		return ip.String(), nil
	}
	return privateAddress(s.AdvertiseAddr != "")
}
