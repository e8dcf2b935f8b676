package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"rostra/engine/room"
)

type dnsSettings struct {
	NodeTTL    time.Duration            `key:"dns_config.node_ttl" default:"0s" reload:"yes" help:"TTL of node answers"`
	ServiceTTL map[string]time.Duration `key:"dns_config.service_ttl" reload:"yes"`
	Stale      bool                     `key:"dns_config.allow_stale" default:"true" reload:"yes"`
	Recursors  []string                 `key:"recursors" flag:"recursor" sockaddr:"many" reload:"yes" help:"where other names are asked"`
}

type agentSettings struct {
	DNS struct {
		dnsSettings2
	}
	Datacenter string            `key:"datacenter" flag:"datacenter,dc" default:"dc1" help:"name of the datacenter"`
	Server     bool              `key:"server" flag:"server" dev:"true" help:"run as a server"`
	NodeName   string            `key:"node_name" flag:"node"`
	NodeMeta   map[string]string `key:"node_meta" flag:"node-meta" help:"facts about the node"`
	HTTPPort   int               `key:"ports.http" flag:"http-port" default:"8500" help:"port of the HTTP API"`
	MaxValue   uint64            `key:"limits.kv_max_value_size" default:"524288"`
	Rate       float64           `key:"limits.rpc_rate" default:"-1"`
	Threshold  int64             `key:"raft_snapshot_threshold"`
	Scripts    *bool             `key:"enable_script_checks" flag:"enable-script-checks" help:"run scripts"`
	Bind       string            `key:"bind_addr" flag:"bind" default:"0.0.0.0" dev:"127.0.0.1" sockaddr:"one"`
	Client     string            `key:"client_addr" default:"127.0.0.1" sockaddr:"many"`
	DataDir    string            `key:"data_dir" flag:"data-dir"`
	RetryJoin  []string          `key:"retry_join"`
	LogLevel   string            `key:"log_level" flag:"log-level" default:"INFO" dev:"DEBUG" reload:"yes"`
	Legacy     bool              `key:"rostra.legacy_get_writes"`
	Connect    bool              `key:"connect.enabled"`
	CA         map[string]any    `key:"connect.ca_config"`

	Services []room.Definition `key:"services" reload:"yes"`
	Checks   []room.Definition `key:"checks" reload:"yes"`

	Plain int // untagged: left alone
}

// dnsSettings2 shows that structs among the fields are searched.
type dnsSettings2 struct {
	UDPLimit int `key:"dns_config.udp_answer_limit" default:"3"`
}

// write puts files into a fresh directory and returns it. Names and texts alternate.
func write(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t testing.TB, in Input) (*agentSettings, *dnsSettings, *Loaded) {
	t.Helper()
	a, d := &agentSettings{}, &dnsSettings{}
	l, err := Load(in, a, nil, d)
	if err != nil {
		t.Fatal(err)
	}
	return a, d, l
}

func TestDefaultsAndDev(t *testing.T) {
	a, d, l := load(t, Input{})
	if a.Datacenter != "dc1" || a.HTTPPort != 8500 || a.MaxValue != 524288 || a.Rate != -1 || a.Bind != "0.0.0.0" || !d.Stale ||
		a.Scripts != nil || a.DNS.UDPLimit != 3 || a.NodeMeta != nil || l.Dev || a.LogLevel != "INFO" {
		t.Errorf("defaults: %+v %+v", a, d)
	}
	a, _, l = load(t, Input{Args: []string{"-dev"}})
	if !l.Dev || !a.Server || a.Bind != "127.0.0.1" || a.LogLevel != "DEBUG" || l.Origin("bind_addr") != "-dev" ||
		l.Origin("datacenter") != "default" {
		t.Errorf("dev: %+v", a)
	}
	a, _, _ = load(t, Input{Args: []string{"--dev", "-server=false", "-bind", "127.0.0.2"}})
	if a.Server || a.Bind != "127.0.0.2" {
		t.Errorf("flags must beat -dev: %+v", a)
	}
}

func TestMergeOrder(t *testing.T) {
	dir := write(t,
		"b.json", `{"datacenter":"from-b","recursors":["2.2.2.2"],"node_meta":{"b":"b","both":"b"},"ports":{"http":2}}`,
		"a.hcl", "datacenter = \"from-a\"\nrecursors = [\"1.1.1.1\"]\nnode_meta { a = \"a\" both = \"a\" }\nserver = true\n",
		"c.txt", "not = ours", "empty.json", " \n", "sub.hcl", "\xef\xbb\xbf")
	last := filepath.Join(write(t, "z.hcl", "recursors = [\"3.3.3.3\"]\nlog_level = \"WARN\"\ndatacenter = \"from-z\""), "z.hcl")
	a, d, l := load(t, Input{Args: []string{
		"-node-meta", "flag:1", "-node-meta=both:flag", "-recursor=9.9.9.9", "-config-dir", dir, "-datacenter", "from-flag",
		"-config-file=" + last, "-hcl", `recursors = ["4.4.4.4"] ports { http = 7 }`, "-http-port", "5", "-recursor", "8.8.8.8",
		"-hcl", `{"log_level": "ERR"}`}})
	if want := []string{"9.9.9.9", "8.8.8.8", "1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"}; !reflect.DeepEqual(d.Recursors, want) {
		t.Errorf("recursors %v, want %v", d.Recursors, want)
	}
	if want := map[string]string{"a": "a", "b": "b", "both": "flag", "flag": "1"}; !reflect.DeepEqual(a.NodeMeta, want) {
		t.Errorf("node_meta %v, want %v", a.NodeMeta, want)
	}
	if a.Datacenter != "from-flag" || a.HTTPPort != 7 || a.LogLevel != "ERR" || !a.Server {
		t.Errorf("%+v", a)
	}
	if want := []string{dir + "/a.hcl", dir + "/b.json", dir + "/empty.json", dir + "/sub.hcl", last}; !reflect.DeepEqual(l.Sources, want) {
		t.Errorf("sources %v, want %v", l.Sources, want)
	}
	if len(l.Warnings) != 1 || !strings.HasPrefix(l.Warnings[0], dir+"/c.txt: skipped") {
		t.Errorf("warnings %q", l.Warnings)
	}
	for key, want := range map[string]string{"datacenter": "flag -datacenter", "ports.http": "flag -hcl", "server": dir + "/a.hcl:4",
		"recursors": "flag -recursor, flag -recursor, " + dir + "/a.hcl:2, " + dir + "/b.json:1, " + last + ":1, flag -hcl",
		"data_dir":  "default"} {
		if got := l.Origin(key); got != want {
			t.Errorf("origin of %s: %q, want %q", key, got, want)
		}
	}
}

func TestFilesAndFormats(t *testing.T) {
	dir := write(t, "x.conf", `{"datacenter":"x"}`, "y.hcl", `datacenter = "y"`, "z", "server = true")
	if err := os.Mkdir(filepath.Join(dir, "nested.hcl"), 0o755); err != nil {
		t.Fatal(err)
	}
	a, _, l := load(t, Input{Files: []string{dir}, Format: "hcl"})
	if a.Datacenter != "y" || !a.Server || len(l.Warnings) != 0 {
		t.Errorf("%+v %q", a, l.Warnings)
	}
	if err := os.Symlink(filepath.Join(dir, "y.hcl"), filepath.Join(dir, "link.hcl")); err != nil {
		t.Fatal(err)
	}
	if a, _, _ = load(t, Input{Args: []string{"-config-file", filepath.Join(dir, "link.hcl")}}); a.Datacenter != "y" {
		t.Error("a link is not followed")
	}
	for _, c := range []struct {
		in   Input
		want string
	}{
		{Input{Files: []string{dir + "/x.conf"}}, "file " + dir + "/x.conf has unknown extension; must be .hcl or .json, or config format must be set"},
		{Input{Files: []string{dir + "/none.hcl"}}, "cannot read configuration " + dir + "/none.hcl: no such file or directory: check the path and its permissions"},
		{Input{Args: []string{"-config-format=yaml"}}, `flag -config-format: expected hcl or json, got "yaml"`},
	} {
		if _, err := Load(c.in, &agentSettings{}); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

func TestFormsOfHCL(t *testing.T) {
	for name, text := range map[string]string{
		"blocks":  "ports { http = 1 }\ndns_config { service_ttl { web = \"5s\" \"*\" = \"1m\" } }",
		"objects": "ports = { http = 0x1 }\n# a comment\ndns_config = { service_ttl = { web = \"5s\", \"*\" = \"1m\" } } // and\n/* so on */",
		"quoted":  "\"ports\" { \"http\" = 1 }\n\"DNS_Config\" { service_ttl { web = \"5s\" } service_ttl2 = \"\" }",
		"list":    "ports = [{ http = 1 }]\ndns_config \"service_ttl\" { web = \"5s\" \"*\" = \"1m\" }\ndns_config \"soa\" { retry = 600 }",
		"json":    "{\"ports\": {\"http\": 1.0}, \"dns_config\": [{\"service_ttl\": {\"web\": \"5s\", \"*\": \"1m\"}}]}",
	} {
		text = strings.Replace(text, " service_ttl2 = \"\"", "", 1)
		dir := write(t, "f.hcl", text)
		a, d, _ := load(t, Input{Files: []string{dir}})
		if a.HTTPPort != 1 || d.ServiceTTL["web"] != 5*time.Second || name != "quoted" && d.ServiceTTL["*"] != time.Minute {
			t.Errorf("%s: %+v %+v", name, a, d)
		}
	}
	dir := write(t, "h.hcl", "log_level = <<EOF\nINFO\nEOF\n")
	if a, _, _ := load(t, Input{Files: []string{dir}}); a.LogLevel != "INFO\n" {
		t.Errorf("heredoc %q", a.LogLevel)
	}
}

func TestNullIsUnset(t *testing.T) {
	dir := write(t, "n.json", `{"tls_min_version":null,"segments":null,"segment":null,"datacenter":null,"ports":null,"encrypt":null,"node_meta":{"a":null,"b":"c"},"services":null,"cloud":null}`)
	a, _, l := load(t, Input{Files: []string{dir}})
	if a.Datacenter != "dc1" || len(a.NodeMeta) != 1 || len(l.Warnings) != 0 {
		t.Errorf("%+v %q", a, l.Warnings)
	}
}

const seed = `{"service": {"name": "web", "tags": ["httpd"], "port": 80, "check": {"script": "curl localhost:80 >/dev/null 2>&1", "interval": "10s"}}, "key": "web", "handler": "/opt/consul/consul-handler.sh"}`

func TestSeedFile(t *testing.T) {
	dir := write(t, "web.json", seed)
	a, _, l := load(t, Input{Files: []string{dir}})
	want := []room.Definition{{File: dir + "/web.json", Line: 1, Key: "service", Value: map[string]any{"name": "web",
		"tags": []any{"httpd"}, "port": int64(80), "check": map[string]any{"script": "curl localhost:80 >/dev/null 2>&1", "interval": "10s"}},
		Lines: map[string]int{"name": 1, "tags": 1, "tags.0": 1, "port": 1, "check": 1, "check.script": 1, "check.interval": 1}}}
	if !reflect.DeepEqual(a.Services, want) {
		t.Errorf("services\n%+v, want\n%+v", a.Services, want)
	}
	if want := []string{dir + "/web.json:1: watches come with `watch`, which this version of Rostra does not have yet; the handler is not run"}; !reflect.DeepEqual(l.Warnings, want) {
		t.Errorf("warnings %q", l.Warnings)
	}
}

func TestDefinitions(t *testing.T) {
	dir := write(t, "a.hcl", `
service {
  name = "one"
  check {
    args = ["true"]
  }
  check { ttl = "5s" }
}
services {
  name = "two"
  tagged_addresses {
    lan { address = "10.0.0.1" port = 80 }
  }
}
services { name = "three" }
check = { name = "c1", ttl = "1m" }
`, "b.json", "{\"checks\": [\n{\"Name\":\"c2\",\"weight\":1.5,\"tls\":true,\"x\":null},\n{\"name\":\"c3\"}],\n\"check\":{\"name\":\"c4\"}}",
		"c.json", `{"services":{"name":"four"},"checks":[]}`)
	a, _, l := load(t, Input{Files: []string{dir}, Args: []string{"-hcl", `service { name = "five" }`}})
	var names []string
	for _, d := range a.Services {
		names = append(names, d.Value["name"].(string))
	}
	if want := []string{"two", "three", "one", "four", "five"}; !reflect.DeepEqual(names, want) {
		t.Errorf("services %v, want %v", names, want)
	}
	one := a.Services[2]
	if one.Line != 2 || one.LineOf("Check") != 4 || one.LineOf("check.0.args") != 5 || one.LineOf("check.1.ttl.x") != 7 || one.LineOf("nothing") != 2 {
		t.Errorf("lines of one: %d %v", one.Line, one.Lines)
	}
	if got := one.Value["check"].([]any); len(got) != 2 || got[0].(map[string]any)["args"].([]any)[0] != "true" {
		t.Errorf("checks of one: %v", got)
	}
	if lan := a.Services[0].Value["tagged_addresses"].(map[string]any)["lan"].(map[string]any); lan["port"] != int64(80) {
		t.Errorf("two: %v", a.Services[0].Value)
	}
	if a.Services[0].Line != 9 || a.Services[1].Line != 15 || a.Services[4].File != "flag -hcl" {
		t.Errorf("lines %d %d, file %q", a.Services[0].Line, a.Services[1].Line, a.Services[4].File)
	}
	if len(a.Checks) != 4 || a.Checks[1].Line != 2 || a.Checks[2].Line != 3 || a.Checks[3].Value["name"] != "c4" || a.Checks[3].Line != 4 {
		t.Errorf("checks %+v", a.Checks)
	}
	if !reflect.DeepEqual(a.Checks[1].Value, map[string]any{"Name": "c2", "weight": 1.5, "tls": true}) {
		t.Errorf("c2: %v", a.Checks[1].Value)
	}
	if got, want := l.Origin("services"), dir+"/a.hcl:9, "+dir+"/a.hcl:2, "+dir+"/c.json:1, flag -hcl"; got != want {
		t.Errorf("origin %s, want %s", got, want)
	}
}

func TestRawObject(t *testing.T) {
	dir := write(t, "c.hcl", "connect { enabled = true\n ca_config { cluster_id = \"1111\" } }\nrostra { legacy_get_writes = true }")
	a, _, l := load(t, Input{Files: []string{dir}})
	if !a.Connect || a.CA["cluster_id"] != "1111" || !a.Legacy || len(l.Warnings) != 0 {
		t.Errorf("%+v %q", a, l.Warnings)
	}
}

func TestCommandLineFails(t *testing.T) {
	a := &agentSettings{Datacenter: "before"}
	if _, err := Load(Input{Args: []string{"-datacenter=after", "-bogus"}}, a); err == nil || a.Datacenter != "before" {
		t.Errorf("%v, %+v", err, a)
	}
	if _, err := Load(Input{Args: []string{"-h"}}, a); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}

func TestTemplates(t *testing.T) {
	lo := `{{ GetAllInterfaces | include "address" "127.0.0.1" | attr "address" }}`
	a, d, _ := load(t, Input{Args: []string{"-bind", lo, "-recursor", lo, "-recursor", "1.1.1.1",
		"-hcl", "client_addr = <<EOF\n" + strings.Replace(lo, "}}", `}} {{ "10.0.0.1" }}`, 1) + "\nEOF\n"}})
	if a.Bind != "127.0.0.1" || !reflect.DeepEqual(d.Recursors, []string{"127.0.0.1", "1.1.1.1"}) || a.Client != "127.0.0.1 10.0.0.1" {
		t.Errorf("%q %q %q", a.Bind, d.Recursors, a.Client)
	}
	for text, want := range map[string]string{
		`{{ GetInterfaceIP "none0" }}`:      "finds no address on this machine",
		`{{ "10.0.0.1" }} {{ "10.0.0.2" }}`: "finds 2 addresses (10.0.0.1 10.0.0.2), and one is needed",
		`{{ Bogus }}`:                       "cannot run the address template",
		`{{ GetInterfaceIP`:                 "cannot run the address template",
	} {
		_, err := Load(Input{Args: []string{"-bind", text}}, &agentSettings{}, &dnsSettings{})
		if err == nil || !strings.HasPrefix(err.Error(), "flag -bind: bind_addr: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", text, err)
		}
		// A value that a flag overrides is not expanded.
		dir := write(t, "f.hcl", "bind_addr = <<EOF\n"+text+"\nEOF\n")
		if a, _, _ := load(t, Input{Files: []string{dir}, Args: []string{"-bind=127.0.0.3"}}); a.Bind != "127.0.0.3" {
			t.Errorf("bind %q", a.Bind)
		}
	}
}
