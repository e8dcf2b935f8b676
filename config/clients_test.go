package config

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/consul/sdk/testutil"
)

// serverSettings stand for what the parts of a server obey.
type serverSettings struct {
	Bootstrap   bool   `key:"bootstrap"`
	NodeID      string `key:"node_id"`
	Multiplier  int    `key:"performance.raft_multiplier" default:"5"`
	SkipLeave   bool   `key:"skip_leave_on_interrupt"`
	Debug       bool   `key:"enable_debug"`
	MaxConns    int    `key:"limits.http_max_conns_per_client" default:"200"`
	MaxRPCConns int    `key:"limits.rpc_max_conns_per_client" default:"100"`
	Addresses   string `key:"addresses.http"`
	DNS         int    `key:"ports.dns"`
	HTTPS       int    `key:"ports.https"`
	Server      int    `key:"ports.server"`
	SerfLAN     int    `key:"ports.serf_lan"`
	SerfWAN     int    `key:"ports.serf_wan"`
}

// TestOfficialTestServer loads what the Go client's test server writes for every test of a program that uses it.
func TestOfficialTestServer(t *testing.T) {
	c := &testutil.TestServerConfig{NodeName: "node-1", NodeID: "1", DisableCheckpoint: true, Bootstrap: true, Server: true,
		Performance: &testutil.TestPerformanceConfig{RaftMultiplier: 1}, LogLevel: "debug", Bind: "127.0.0.1", DataDir: "d",
		Addresses: &testutil.TestAddressConfig{}, SkipLeaveOnInt: true, Version: "1.21.4",
		Ports:   &testutil.TestPortConfig{DNS: 1, HTTP: 2, HTTPS: 3, SerfLan: 4, SerfWan: 5, Server: 6, GRPC: 7, GRPCTLS: 8},
		Connect: map[string]any{"enabled": true, "ca_config": map[string]any{"cluster_id": "11111111-2222-3333-4444-555555555555"}},
		Peering: &testutil.TestPeeringConfig{Enabled: true}, Audit: &testutil.TestAuditConfig{Enabled: true}, Experiments: []string{"x"}}
	c.ACL.Tokens.InitialManagement = "root"
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	a, s := &agentSettings{}, &serverSettings{}
	l, err := Load(Input{Args: []string{"-config-file", filepath.Join(write(t, "c.json", string(data)), "c.json")}}, a, s)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Connect || a.CA["cluster_id"] != "11111111-2222-3333-4444-555555555555" || s.Multiplier != 1 || !s.SkipLeave ||
		s.SerfWAN != 5 || a.HTTPPort != 2 || a.NodeName != "node-1" {
		t.Errorf("%+v %+v", a, s)
	}
	for _, word := range []string{"audit", "peering", "experiments", "version", "ports.grpc:", "ports.grpc_tls:",
		"disable_update_check", "acl.tokens.master", "acl.tokens.initial_management"} {
		n := 0
		for _, w := range l.Warnings {
			if strings.Contains(w, word) {
				n++
			}
		}
		if n == 0 {
			t.Errorf("no warning of %s in %q", word, l.Warnings)
		}
	}
}

// TestBenchServer loads what the load generator writes.
func TestBenchServer(t *testing.T) {
	m := map[string]any{"datacenter": "dc1", "node_name": "s1", "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
		"ports":       map[string]any{"http": 1, "dns": 2, "server": 3, "serf_lan": 4, "serf_wan": -1, "grpc": -1, "grpc_tls": -1},
		"performance": map[string]any{"raft_multiplier": 1},
		"limits":      map[string]any{"http_max_conns_per_client": 16000, "rpc_max_conns_per_client": 2000},
		"log_level":   "INFO", "disable_update_check": true, "enable_debug": true}
	data, _ := json.MarshalIndent(m, "", " ")
	a, s := &agentSettings{}, &serverSettings{}
	l, err := Load(Input{Files: []string{write(t, "c.json", string(data))}}, a, s)
	if err != nil {
		t.Fatal(err)
	}
	if s.MaxConns != 16000 || s.SerfWAN != -1 || len(l.Warnings) != 1 {
		t.Errorf("%+v %q", s, l.Warnings)
	}
}
