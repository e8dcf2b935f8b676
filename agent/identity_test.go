package agent

import (
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
		self.Meta["rack"] != "b2" || self.Meta["consul-version"] != "1.21.4" {
		t.Errorf("identity %+v", self)
	}
	for name, bad := range map[string]*Settings{
		"datacenter": {NodeName: "n", Datacenter: "a.b", BindAddr: "127.0.0.1"},
		"address":    {NodeName: "n", Datacenter: "dc1", BindAddr: "nowhere"},
		"reserved":   {NodeName: "n", Datacenter: "dc1", BindAddr: "127.0.0.1", NodeMeta: map[string]string{"consul-x": "1"}},
	} {
		if _, err := identity(bad, "consul.", "id", false); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
