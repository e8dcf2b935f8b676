package config

import (
	"strings"
	"testing"
)

func TestFlagForms(t *testing.T) {
	for _, args := range [][]string{
		{"-datacenter=x", "-server"}, {"--datacenter", "x", "--server=true"}, {"-dc", "y", "-dc", "x", "-server=1"},
		{"–datacenter", "x", "—server"}, {"—datacenter=x", "––server=T"}, {"-–dc=x", "-server", "--"},
	} {
		a, _, _ := load(t, Input{Args: args})
		if a.Datacenter != "x" || !a.Server {
			t.Errorf("%q: %+v", args, a)
		}
	}
	a, _, _ := load(t, Input{Args: []string{"-node", "-x", "-enable-script-checks=false", "-http-port=0x10", "-bind="}})
	if a.NodeName != "-x" || a.Scripts == nil || *a.Scripts || a.HTTPPort != 16 || a.Bind != "" {
		t.Errorf("%+v", a)
	}
	// A flag of Consul's whose struct has the key but not the flag works all the same.
	if a, _, l := load(t, Input{Args: []string{"-retry-join", "a", "-join=b", "-hcl", ""}}); strings.Join(a.RetryJoin, " ") != "a b" ||
		len(l.Warnings) != 1 || l.Warnings[0] != "flag -join: The '-join' flag is deprecated. Use the '-retry-join' flag instead." {
		t.Errorf("%v %q", a.RetryJoin, l.Warnings)
	}
}

func TestFlagErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-datacentre", "x"}, "flag provided but not defined: -datacentre; did you mean -datacenter?"},
		{[]string{"-conf-dir", "x"}, "flag provided but not defined: -conf-dir; did you mean -config-dir?"},
		{[]string{"-quite-something"}, "flag provided but not defined: -quite-something; see -help for those there are"},
		{[]string{"-server", "x", "y"}, "Unexpected extra arguments: [x y]"},
		{[]string{"–quite-something"}, "Unexpected extra arguments: [–quite-something]"},
		{[]string{"-"}, "Unexpected extra arguments: [-]"},
		{[]string{"--", "-server"}, "Unexpected extra arguments: [-server]"},
		{[]string{"—"}, "Unexpected extra arguments: [—]"},
		{[]string{"-datacenter"}, "flag needs an argument: -datacenter"},
		{[]string{"-http-port", "x"}, `flag -http-port: expected a whole number, got the string "x": write a number`},
		{[]string{"-server=maybe"}, `flag -server: expected true or false, got the string "maybe": write true or false`},
		{[]string{"-dev=maybe"}, `flag -dev: expected true or false, got the string "maybe": write true or false`},
		{[]string{"-node-meta", "x"}, `flag -node-meta: expected key:value, got "x": put a colon between key and value`},
		{[]string{"-hcl", "bogus_key = 1"}, "flag -hcl: invalid config key bogus_key: remove it, or see the documentation for the keys there are"},
		{[]string{"-hcl", "bogus"}, "flag -hcl: cannot read the HCL: key 'bogus' expected start of object ('{') or assignment ('=')"},
		{[]string{"-ui"}, "flag -ui: ui_config.enabled is not supported by this version of Rostra yet: remove it to run without it"},
		{[]string{"-encrypt", "abc"}, "flag -encrypt: encrypt is not supported by this version of Rostra yet, and without it gossip would travel unencrypted: remove it only on a network you trust"},
		{[]string{"-segment=x"}, "flag -segment: segment: Network segments are not supported in this version of Consul: remove it"},
	} {
		_, err := Load(Input{Args: c.args}, &agentSettings{})
		if err == nil || err.Error() != c.want {
			t.Errorf("%q\n got %v\nwant %s", c.args, err, c.want)
		}
	}
}

func TestFlagWarnings(t *testing.T) {
	for _, c := range []struct{ flag, want string }{
		{"-atlas=x", "flag -atlas: the Atlas service is gone; the flag has no effect"},
		{"-ui-beta", "flag -ui-beta: there is one UI; the flag has no effect"},
		{"-retry-join-ec2-region=x", `flag -retry-join-ec2-region: the flag was removed from Consul and has no effect; use -retry-join "provider=aws …"`},
		{"-read-replica", `flag -read-replica: "read_replica" is a Consul Enterprise configuration and will have no effect`},
		{"-primary-gateway=x", "flag -primary-gateway: primary_gateways: the service mesh is not part of this version of Rostra; the key has no effect"},
		{"-grpc-port=8502", "flag -grpc-port: ports.grpc: gRPC serves the service mesh, which Rostra does not have yet; the port is not opened"},
	} {
		_, _, l := load(t, Input{Args: []string{c.flag}})
		if len(l.Warnings) != 1 || l.Warnings[0] != c.want {
			t.Errorf("%s: %q", c.flag, l.Warnings)
		}
	}
	if _, _, l := load(t, Input{Args: []string{"-raft-protocol=3", "-protocol", "3", "-grpc-port=-1", "-ui=false", "-encrypt", ""}}); len(l.Warnings) != 0 {
		t.Errorf("%q", l.Warnings)
	}
}
