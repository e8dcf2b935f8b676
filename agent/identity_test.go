package agent

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rostra/kit/disk"
)

func TestNodeID(t *testing.T) {
	dir, fs := t.TempDir(), disk.OS()
	made, err := nodeID(fs, &Settings{DataDir: dir})
	if err != nil || !uuidForm.MatchString(made) {
		t.Fatalf("a new ID: %q, %v", made, err)
	}
	if again, err := nodeID(fs, &Settings{DataDir: dir}); err != nil || again != made {
		t.Errorf("the ID is not kept: %q, %v", again, err)
	}
	info, err := os.Stat(filepath.Join(dir, "node-id"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	const given = "0f0e0d0c-0b0a-0908-0706-050403020100"
	if id, err := nodeID(fs, &Settings{DataDir: dir, NodeID: strings.ToUpper(given)}); err != nil || id != given {
		t.Errorf("a given ID: %q, %v", id, err)
	}
	if _, err := nodeID(fs, &Settings{NodeID: "short"}); err == nil {
		t.Error("a malformed ID is accepted")
	}
	if err := os.WriteFile(filepath.Join(dir, "node-id"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := nodeID(fs, &Settings{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "holds no UUID") {
		t.Errorf("a damaged file: %v", err)
	}
}

// TestHostID: with disable_host_node_id off, the ID is derived from the machine's (spec config.md §2).
func TestHostID(t *testing.T) {
	files := map[string]string{"/etc/machine-id": "0F0E0D0C0B0A09080706050403020100\n"}
	read := func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, os.ErrPermission
	}
	// The first 16 bytes of SHA-512 of "0f0e0d0c-0b0a-0908-0706-050403020100".
	const want = "4b441ae0-6bd7-d3c4-37f4-b78af70115a0"
	if id, err := hostID(read); err != nil || id != want {
		t.Errorf("%q, %v, want %s", id, err, want)
	}
	files["/sys/class/dmi/id/product_uuid"] = "0f0e0d0c-0b0a-0908-0706-050403020101"
	if id, err := hostID(read); err != nil || id == want || !uuidForm.MatchString(id) {
		t.Errorf("%q, %v: the machine's own number goes first", id, err)
	}
	clear(files)
	if _, err := hostID(read); err == nil {
		t.Error("a machine without an ID has one")
	}
}

// TestTaggedAddresses: which addresses a node has by which name (spec config.md §2).
func TestTaggedAddresses(t *testing.T) {
	s := &Settings{NodeName: "n", Datacenter: "dc1", BindAddr: "192.0.2.1", AdvertiseAddrWAN: "2001:db8::2", AdvertiseIPv6: "2001:db8::1",
		AdvertiseWANv4: "192.0.2.2", Tagged: map[string]string{"rack": "10.0.0.1", "lan": "10.0.0.2"}}
	self, err := identity(s, "consul.", "id", false)
	want := map[string]string{"rack": "10.0.0.1", "lan": "192.0.2.1", "lan_ipv4": "192.0.2.1", "lan_ipv6": "2001:db8::1",
		"wan": "2001:db8::2", "wan_ipv6": "2001:db8::2", "wan_ipv4": "192.0.2.2"}
	if err != nil || !maps.Equal(self.Tagged, want) {
		t.Errorf("%v, %v, want %v", self.Tagged, err, want)
	}
	for _, bad := range []string{"nowhere", "2001:db8::1", "0.0.0.0"} {
		s.AdvertiseIPv4 = bad
		if _, err := identity(s, "consul.", "id", false); err == nil || !strings.Contains(err.Error(), "advertise_addr_ipv4: ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestPrepareDir(t *testing.T) {
	fs := disk.OS()
	dir := filepath.Join(t.TempDir(), "data")
	unlock, err := prepareDir(fs, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prepareDir(fs, dir); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a second agent: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	// What gossip keeps is named like Consul's; a client agent has nothing else and must come back.
	if err := os.MkdirAll(filepath.Join(dir, "serf"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "serf", "local.snapshot"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unlock, err = prepareDir(fs, dir)
	if err != nil {
		t.Fatalf("a client agent's directory: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := prepareDir(fs, file); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file: %v", err)
	}
	theirs := t.TempDir()
	if err := os.MkdirAll(filepath.Join(theirs, "raft", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := prepareDir(fs, theirs); err == nil || !strings.Contains(err.Error(), "belongs to Consul") {
		t.Errorf("Consul's directory: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	s := &Settings{NodeName: " n1 ", Datacenter: "DC1", BindAddr: "127.0.0.1", NodeMeta: map[string]string{"rack": "b2"}}
	self, err := identity(s, "consul.", "id", false)
	if err != nil {
		t.Fatal(err)
	}
	if self.Node != "n1" || self.Datacenter != "dc1" || self.Address != "127.0.0.1" || self.Tagged["lan_ipv4"] != "127.0.0.1" ||
		self.Primary != "dc1" {
		t.Errorf("identity %+v", self)
	}
	if meta, err := nodeMeta(s); err != nil || meta["rack"] != "b2" || meta["consul-version"] != "1.21.4" {
		t.Errorf("metadata %v %v", meta, err)
	}
	if _, err := nodeMeta(&Settings{NodeMeta: map[string]string{"consul-x": "1"}}); err == nil {
		t.Error("reserved metadata is accepted")
	}
	for name, bad := range map[string]*Settings{
		"datacenter": {NodeName: "n", Datacenter: "a.b", BindAddr: "127.0.0.1"},
		"address":    {NodeName: "n", Datacenter: "dc1", BindAddr: "nowhere"},
		"primary":    {NodeName: "n", Datacenter: "dc1", Primary: "a.b", BindAddr: "127.0.0.1"},
	} {
		if _, err := identity(bad, "consul.", "id", false); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
