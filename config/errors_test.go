package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"f.hcl", "\nnode_nam = \"x\"", "f.hcl:2: invalid config key node_nam: did you mean node_name?"},
		{"f.json", "{\n\"dns_config\": {\n\"node_tl\": \"1s\"}}", "f.json:3: invalid config key dns_config.node_tl: did you mean dns_config.node_ttl?"},
		{"f.hcl", "dns_confg { node_ttl = \"1s\" }", "f.hcl:1: invalid config key dns_confg: did you mean dns_config?"},
		{"f.hcl", "node_ttl = \"1s\"", "f.hcl:1: invalid config key node_ttl: did you mean dns_config.node_ttl?"},
		{"f.hcl", "\"ports.http\" = 80", "f.hcl:1: invalid config key ports.http: did you mean ports.http?"},
		{"f.hcl", "Quite_Something_Else = 80", "f.hcl:1: invalid config key Quite_Something_Else: remove it, or see the documentation for the keys there are"},
		{"f.json", `{"quite_something_else": null}`, "f.json:1: invalid config key quite_something_else: remove it, or see the documentation for the keys there are"},
		{"f.hcl", "rostra { legacy_get_write = true }", "f.hcl:1: invalid config key rostra.legacy_get_write: did you mean rostra.legacy_get_writes?"},
		{"f.json", "{\"ports\": {\n\"http\": \"8500\"}}", `f.json:2: ports.http: expected a whole number, got the string "8500": write 8500 without quotes`},
		{"f.hcl", "ports { http = 80.5 }", `f.hcl:1: ports.http: expected a whole number, got the number 80.5: write a number, without quotes`},
		{"f.hcl", "ports { http = 99999999999999999999 }", `f.hcl:1: ports.http: expected a whole number, got the number 1e+20: write a number, without quotes`},
		{"f.hcl", "limits { kv_max_value_size = -1 }", `f.hcl:1: limits.kv_max_value_size: expected a whole number from 0, got the number -1: write a number, without quotes`},
		{"f.hcl", "limits { rpc_rate = \"many\" }", `f.hcl:1: limits.rpc_rate: expected a number, got the string "many": write a number, without quotes`},
		{"f.hcl", "dns_config {\n node_ttl = 30\n}", `f.hcl:2: dns_config.node_ttl: expected a duration, got the number 30: add a unit and quotes, such as "30s"`},
		{"f.hcl", "dns_config { node_ttl = \"30\" }", `f.hcl:1: dns_config.node_ttl: expected a duration, got the string "30": write numbers with their units (ms, s, m, h), such as "10s" or "1h30m"`},
		{"f.json", "{\"dns_config\":{\"service_ttl\":{\n\"web\":5}}}", `f.json:2: dns_config.service_ttl: expected a duration, got the number 5: add a unit and quotes, such as "5s" (at "web")`},
		{"f.hcl", "server = \"true\"", `f.hcl:1: server: expected true or false, got the string "true": write it without quotes`},
		{"f.hcl", "server = 1", `f.hcl:1: server: expected true or false, got the number 1: write true or false, without quotes`},
		{"f.hcl", "enable_script_checks = \"no\"", `f.hcl:1: enable_script_checks: expected true or false, got the string "no": write true or false, without quotes`},
		{"f.hcl", "datacenter = 1", `f.hcl:1: datacenter: expected a string, got the number 1: write it in quotes, "1"`},
		{"f.hcl", "datacenter = []", `f.hcl:1: datacenter: expected a string, got a list: write a string in quotes, "…"`},
		{"f.hcl", "recursors = \"1.1.1.1\"", `f.hcl:1: recursors: expected a list of strings, got the string "1.1.1.1": write ["1.1.1.1"]`},
		{"f.json", "{\"recursors\": [\"1.1.1.1\",\n53]}", `f.json:2: recursors: expected a string, got the number 53: write it in quotes, "53"`},
		{"f.hcl", "recursors = { a = 1 }", `f.hcl:1: recursors: expected a list of strings, got an object: write a list, ["…"]`},
		{"f.hcl", "node_meta = \"x\"", `f.hcl:1: node_meta: expected an object, got the string "x": write a block, { … }`},
		{"f.hcl", "node_meta { rack = 1 }", `f.hcl:1: node_meta: expected a string, got the number 1: write it in quotes, "1" (at "rack")`},
		{"f.hcl", "ports = 1", `f.hcl:1: ports: expected an object, got the number 1: write a block, { … }`},
		{"f.hcl", "ports { http = 1 }\nports { dns = 2 }", `f.hcl:2: ports: expected one block, got 2 blocks: put all of it into one block`},
		{"f.hcl", "services = [1]", `f.hcl:1: services: expected a list of objects, got the number 1: write [{ … }]`},
		{"f.hcl", "connect { ca_config = true }", `f.hcl:1: connect.ca_config: expected an object, got the boolean true: write a block, { … }`},
		{"f.hcl", "service { name = \"a\" }\nservice { name = \"b\" }", "f.hcl:2: service is given more than once in this source: write services = [ … ], or one services block for each"},
		{"f.json", "{\"check\": {\"name\": \"a\"},\n\"check\": {}}", "f.json:2: check is given more than once in this source: write checks = [ … ], or one checks block for each"},
		{"f.hcl", "datacenter = \"a\"\ndatacenter = \"b\"", "f.hcl:2: datacenter is set twice, first on line 1: keep one of them"},
		// Not built yet.
		{"f.hcl", "\ntranslate_wan_addrs = true", "f.hcl:2: translate_wan_addrs is not supported by this version of Rostra yet: remove it to run without it"},
		{"f.hcl", "ui = true", "f.hcl:1: ui (ui_config.enabled) is not supported by this version of Rostra yet: remove it to run without it"},
		{"f.hcl", "segment = \"x\"", "f.hcl:1: segment: Network segments are not supported in this version of Consul: remove it"},
		{"f.json", `{"segments": [{"name":"x"}]}`, "f.json:1: segments: Network segments are not supported in this version of Consul: remove it"},
		// Protection that would be missing.
		{"f.hcl", "acl {\n enabled = true }", "f.hcl:2: acl.enabled is not supported by this version of Rostra yet, and without it everybody would be let in: remove it only where all who reach this agent may do everything"},
		{"f.hcl", "acl { default_policy = \"deny\" }", "f.hcl:1: acl.default_policy is not supported by this version of Rostra yet, and without it …"},
		{"f.hcl", "acl_datacenter = \"dc1\"", "f.hcl:1: acl_datacenter is not supported by this version of Rostra yet, and without it …"},
		{"f.hcl", "acl_default_policy = \"deny\"", "f.hcl:1: acl_default_policy (acl.default_policy) is not supported by this version of Rostra yet, and…"},
		{"f.hcl", "encrypt = \"x\"", "f.hcl:1: encrypt is not supported by this version of Rostra yet, and without it gossip would travel unencrypted: remove it only on a network you trust"},
		{"f.hcl", "encrypt_verify_incoming = true", "f.hcl:1: encrypt_verify_incoming is not supported…"},
		{"f.hcl", "verify_incoming = true", "f.hcl:1: verify_incoming (tls.defaults.verify_incoming) is not supported by this version of Rostra yet, and without it connections…"},
		{"f.hcl", "verify_incoming_rpc = true", "f.hcl:1: verify_incoming_rpc (tls.internal_rpc.verify_incoming) is not supported…"},
		{"f.hcl", "verify_incoming_https = true", "f.hcl:1: verify_incoming_https (tls.https.verify_incoming) is not supported…"},
		{"f.hcl", "tls { internal_rpc { verify_server_hostname = true } }", "f.hcl:1: tls.internal_rpc.verify_server_hostname is not supported…"},
		{"f.hcl", "raft_protocol = 2", "f.hcl:1: raft_protocol: servers speak version 3: set it to that, or remove it"},
		{"f.hcl", "protocol = 1", "f.hcl:1: protocol: agents speak versions 2 and 3: set it to one of them, or remove it"},
		{"f.hcl", "tls { grpc { verify_incoming = true } }", "f.hcl:1: tls.grpc.verify_incoming is not supported by this version of Rostra yet, and without it connections…"},
		{"f.hcl", "auto_encrypt { tls = true }", "f.hcl:1: auto_encrypt.tls is not supported…"},
		{"f.hcl", "tls_min_version = \"tls12\"", "f.hcl:1: tls_min_version (tls.defaults.tls_min_version) is not supported by this version of Rostra yet: remove it…"},
		{"f.json", "{\"a\\nb\": 1}", `f.json:1: invalid config key "a\nb": remove it, or see the documentation for the keys there are`},
		// Syntax.
		{"f.json", "{\n// comment\n}", "f.json:2: cannot read the JSON: invalid character '/' looking for beginning of object key string; JSON has no comments: remove it, or rename the file to .hcl"},
		{"f.json", "{\"server\": true,\n}", "f.json:2: cannot read the JSON: invalid character '}' looking for beginning of object key string; remove the comma before it"},
		{"f.json", "{}\n{}", "f.json:2: cannot read the JSON: invalid character '{' after top-level value"},
		{"f.json", "{\"server\": true", "f.json:1: cannot read the JSON: the { of this line is never closed: add a } where it ends"},
		{"f.json", "[]", "f.json:1: the file must hold one object, { … }, got a list"},
		{"f.json", "server = true", "f.json:1: cannot read the JSON: invalid character 's' looking for beginning of value"},
		{"f.hcl", "server = true\nports {", "f.hcl:2: cannot read the HCL: the { of this line is never closed: add a } where it ends"},
		{"f.hcl", "server = ", "f.hcl:1: cannot read the HCL: the text ends where a value is expected"},
		{"f.hcl", "server = null", "f.hcl:1: cannot read the HCL: Unknown token:…"},
		{"f.hcl", "server = true\n}", "f.hcl:2: cannot read the HCL:…"},
		{"f.hcl", "a = \"${\"", "f.hcl:1: cannot read the HCL:…"},
	} {
		dir := write(t, c.name, c.text)
		_, err := Load(Input{Files: []string{dir + "/" + c.name}}, &agentSettings{}, &dnsSettings{})
		if err == nil {
			t.Errorf("%s: loads", c.text)
			continue
		}
		got := strings.TrimPrefix(err.Error(), dir+"/")
		if prefix, ok := strings.CutSuffix(c.want, "…"); got != c.want && !(ok && strings.HasPrefix(got, prefix)) {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
		if strings.Contains(got, "\n") {
			t.Errorf("%s: more than one line: %q", c.text, got)
		}
	}
}

func TestHarmless(t *testing.T) {
	dir := write(t, "f.hcl", `
acl { enabled = false default_policy = "allow" tokens {} }
encrypt = ""
verify_incoming_rpc = false
translate_wan_addrs = false
raft_protocol = 3
protocol = 3
ports { grpc = -1 https = -1 grpc_tls = 0 }
peering { enabled = false }
tls { defaults { verify_outgoing = false } }
`)
	_, _, l := load(t, Input{Files: []string{dir}})
	want := []string{dir + "/f.hcl:4: The 'verify_incoming_rpc' field is deprecated. Use the 'tls.internal_rpc.verify_incoming' field instead."}
	if !slices.Equal(l.Warnings, want) {
		t.Errorf("warnings %q", l.Warnings)
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		`audit { enabled = true sink "x" { path = "y" } }`: `"audit" is a Consul Enterprise configuration and will have no effect`,
		`license_path = "x"`:                                            `"license_path" is a Consul Enterprise configuration and will have no effect`,
		`disable_update_check = true`:                                   "disable_update_check: Rostra never calls home; the key has no effect",
		`connect { enable_mesh_gateway_wan_federation = true }`:         "connect.enable_mesh_gateway_wan_federation: the service mesh is not part of this version of Rostra; the key has no effect",
		`peering { enabled = true }`:                                    "peering: the service mesh is not part of this version of Rostra; the key has no effect",
		`ports { grpc = 8502 }`:                                         "ports.grpc: gRPC serves the service mesh, which Rostra does not have yet; the port is not opened",
		`ports { grpc_tls = 8503 }`:                                     "ports.grpc_tls: gRPC serves the service mesh, which Rostra does not have yet; the port is not opened",
		`tls { grpc { cert_file = "x" } }`:                              "tls.grpc.cert_file: gRPC serves the service mesh, which Rostra does not have yet; the port is not opened",
		`tls { https { verify_outgoing = true } }`:                      "tls.https.verify_outgoing: HTTPS only takes connections in; the key has no effect",
		`acl { tokens { agent = "x" } }`:                                "acl.tokens.agent: ACLs are off; the key has no effect",
		`telemetry { circonus_api_token = "x" }`:                        "telemetry.circonus_api_token: metrics are not sent to Circonus; the key has no effect",
		`atlas_token = "x"`:                                             "atlas_token: the Atlas service is gone; the key has no effect",
		`raft_logstore { backend = "wal" wal { segment_size_mb = 5 } }`: "raft_logstore: Rostra has one kind of log; the key has no effect",
		`watches = [{ type = "key" key = "x" }]`:                        "watches come with `watch`, which this version of Rostra does not have yet; the handler is not run",
		`telemetry { "disable_compat_1.9" = true }`:                     "telemetry.disable_compat_1.9: the key was removed from Consul and has no effect; metrics have their present names only",
		`recursor = "1.1.1.1"`:                                          "The 'recursor' field is deprecated. Use the 'recursors' field instead.",
		`start_join = ["a"]`:                                            "The 'start_join' field is deprecated. Use the 'retry_join' field instead.",
	} {
		dir := write(t, "f.hcl", text)
		_, _, l := load(t, Input{Files: []string{dir}})
		if len(l.Warnings) != 1 || l.Warnings[0] != dir+"/f.hcl:1: "+want {
			t.Errorf("%s\n got %q\nwant %q", text, l.Warnings, want)
		}
	}
	dir := write(t, "f.json", "{\"datacenter\": \"a\",\n\"datacenter\": \"b\"}")
	a, _, l := load(t, Input{Files: []string{dir}})
	if a.Datacenter != "b" || len(l.Warnings) != 1 || l.Warnings[0] != dir+"/f.json:2: datacenter is given twice, first on line 1: the last one counts" {
		t.Errorf("%s %q", a.Datacenter, l.Warnings)
	}
}

func TestOldNames(t *testing.T) {
	dir := write(t, "f.json", `{"recursors":["1.1.1.1"],"recursor":"2.2.2.2","retry_join":["b"],"start_join":["a"],
		"acl_token":"x","advertise_addrs":{}, "acl":{"tokens":{"master":"y"}}}`)
	a, d, l := load(t, Input{Files: []string{dir}})
	if strings.Join(d.Recursors, " ") != "1.1.1.1 2.2.2.2" || strings.Join(a.RetryJoin, " ") != "b a" {
		t.Errorf("%v %v", d.Recursors, a.RetryJoin)
	}
	if len(l.Warnings) != 6 {
		t.Errorf("warnings %q", l.Warnings)
	}
	// The new name wins over the old one of the same source, wherever it stands.
	type joined struct {
		Addr string `key:"advertise_addr"`
		UI   bool   `key:"ui_config.enabled" flag:"ui"`
	}
	for text, want := range map[string]joined{
		`advertise_addrs { serf_lan = "10.0.0.1:8301" rpc = "10.0.0.2:8300" } ui = true`:                                {"10.0.0.1", true},
		`ui = true ui_config { enabled = false } advertise_addr = "10.0.0.9" advertise_addrs { serf_lan = "10.0.0.1" }`: {"10.0.0.9", false},
	} {
		var got joined
		if _, err := Load(Input{Files: []string{write(t, "f.hcl", text)}}, &got); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
}

// TestAllProblems: each thing that is wrong is told, in the order of the sources, and what is right is there all the same.
func TestAllProblems(t *testing.T) {
	dir := write(t, "a.hcl", "node_nam = \"x\"\nports { http = \"1\" dns = 53 }\nsegment = \"s\"\nservice { name = \"a\" }\nservice { name = \"b\" }",
		"b.json", "{", "c.json", `{"datacenter": "dc9", "client_addr": "{{ GetInterfaceIP \"none7\" }}"}`)
	a := &agentSettings{}
	l, err := Load(Input{Args: []string{"-http-port=x", "-hcl", "nonsense_of_a_kind = 1"}, Files: []string{dir, dir + "/none.hcl"}}, a, &dnsSettings{})
	var problems Problems
	if !errors.As(err, &problems) || l == nil || a.Datacenter != "dc9" {
		t.Fatalf("%v %+v", err, a)
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), dir+"/", ""), "\n")
	for i, want := range []string{"a.hcl:1: invalid config key node_nam: did you mean node_name?",
		"a.hcl:2: ports.http: expected a whole number", "a.hcl:2: ports.dns is not supported", "a.hcl:3: segment: Network segments",
		"a.hcl:5: service is given more than once", "b.json:1: cannot read the JSON",
		"cannot read configuration none.hcl", "flag -http-port: expected a whole number", "flag -hcl: invalid config key nonsense_of_a_kind",
		"c.json:1: client_addr: the address template"} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("problem %d of\n%s\nwant %s", i, strings.Join(got, "\n"), want)
		}
	}
	if len(got) != 10 || !problems.Unread() || !problems.About("ports.http") || problems.About("datacenter") {
		t.Errorf("%q", got)
	}
}
