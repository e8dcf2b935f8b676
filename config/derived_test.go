package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rostra/kit/tree"
)

func TestChanged(t *testing.T) {
	fill := func(args ...string) []any {
		a, d, _ := load(t, Input{Args: args})
		return []any{a, nil, d}
	}
	base := []string{"-recursor", "1.1.1.1", "-hcl", `service { name = "a" }`}
	reload, restart := Changed(fill(base...), fill(base...))
	if len(reload)+len(restart) != 0 {
		t.Errorf("equal settings differ: %v %v", reload, restart)
	}
	reload, restart = Changed(fill(base...), fill("-recursor", "1.1.1.2", "-log-level=WARN", "-http-port=1", "-enable-script-checks",
		"-node-meta=a:b", "-hcl", `service { name = "b" } dns_config { node_ttl = "1s" }`))
	if want := []string{"dns_config.node_ttl", "log_level", "recursors", "services"}; !slices.Equal(reload, want) {
		t.Errorf("reloadable %v, want %v", reload, want)
	}
	if want := []string{"enable_script_checks", "node_meta", "ports.http"}; !slices.Equal(restart, want) {
		t.Errorf("restart %v, want %v", restart, want)
	}
	reload, restart = Changed([]any{&dnsSettings{}}, []any{&dnsSettings{Recursors: []string{}, ServiceTTL: map[string]time.Duration{}}})
	if len(reload)+len(restart) != 0 {
		t.Errorf("nil and empty differ: %v %v", reload, restart)
	}
	defer func() {
		if recover() == nil {
			t.Error("different structs are compared")
		}
	}()
	Changed([]any{&dnsSettings{}}, []any{&agentSettings{}})
}

func TestReferenceAndUsage(t *testing.T) {
	ref := Reference(&agentSettings{}, &dnsSettings{})
	for _, want := range []string{
		"| `bind_addr` | string | `-bind` | `0.0.0.0` | `127.0.0.1` |  |  |\n",
		"| `datacenter` | string | `-datacenter`, `-dc` | `dc1` |  |  | name of the datacenter |\n",
		"| `dns_config.node_ttl` | duration |  | `0s` |  | yes | TTL of node answers |\n",
		"| `dns_config.service_ttl` | map of duration |",
		"| `enable_script_checks` | bool |",
		"`translate_wan_addrs`",
	} {
		if !strings.Contains(ref, want) {
			t.Errorf("the reference lacks %q in\n%s", want, ref)
		}
	}
	if strings.Contains(strings.SplitN(ref, "\nRefused", 2)[1], "`datacenter`") {
		t.Error("an obeyed key is listed as refused")
	}
	help := Usage(&agentSettings{}, &dnsSettings{})
	for _, want := range []string{
		"  -server\n     run as a server\n\n", "  -http-port=<int>\n     port of the HTTP API (default 8500)\n",
		"  -node-meta=<key:value>\n     facts about the node; may be given several times\n",
		"  -dc\n     the same as -datacenter\n", "  -dev\n", "  -config-dir=<value>\n", "  -recursor=<value>\n",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("the usage lacks %q in\n%s", want, help)
		}
	}
}

func TestMistakesInStructs(t *testing.T) {
	for name, s := range map[string]any{
		"not in the table": &struct {
			X string `key:"no_such_key"`
		}{},
		"cannot be a setting": &struct {
			X []int `key:"datacenter"`
		}{},
		"must be exported": &struct {
			x string `key:"datacenter"`
		}{},
		"must be lower-case": &struct {
			X string `key:"Datacenter"`
		}{},
		"default \"x\"": &struct {
			X int `key:"ports.http" default:"x"`
		}{},
		"is taken by": &struct {
			X int    `key:"ports.http" flag:"p"`
			Y string `key:"datacenter" flag:"p"`
		}{},
		"described differently": &struct {
			X int `key:"ports.http" default:"1"`
			Y int `key:"ports.http" default:"2"`
		}{},
		"neither default nor flag": &struct {
			X map[string]any `key:"connect.ca_config" flag:"x"`
		}{},
		"pointer to a struct": struct{}{},
	} {
		if _, err := Load(Input{}, s); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var both struct {
		X int               `key:"ports.http" default:"1"`
		Y int               `key:"ports.http" default:"1"`
		L []string          `key:"recursors" default:"a,b"`
		M map[string]string `key:"node_meta" default:"a:1,b:2"`
		D *time.Duration    `key:"dns_config.node_ttl"`
	}
	if _, err := Load(Input{Args: []string{"-http-port=5", "-hcl", `dns_config { node_ttl = "1s" }`}}, &both); err != nil || both.X != 5 ||
		both.Y != 5 || *both.D != time.Second || strings.Join(both.L, " ") != "a b" || both.M["b"] != "2" {
		t.Errorf("%+v %v", both, err)
	}
	// What somebody sets replaces a default list instead of adding to it.
	if _, err := Load(Input{Args: []string{"-recursor=c"}}, &both); err != nil || strings.Join(both.L, " ") != "c" {
		t.Errorf("%v %v", both.L, err)
	}
}

// fuzz loads arbitrary bytes: whatever they are, the answer is settings and one line for each problem.
func fuzz(f *testing.F, parse tree.Reader, seeds ...string) {
	for _, s := range append(seeds, seed, "", "{}", "\"", "a = <<X\n", "0") {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "{{") {
			t.Skip() // templates are a language of their own
		}
		s, err := newSchema([]any{&agentSettings{}, &dnsSettings{}})
		if err != nil {
			t.Fatal(err)
		}
		l := &loader{schema: s, held: map[string]*held{}, out: &Loaded{origins: map[string]string{}}}
		l.text(source{file: "file"}, data, parse)
		l.finish()
		for _, p := range l.problems {
			if strings.Contains(p.Err.Error(), "\n") || !strings.HasPrefix(p.Err.Error(), "file:") {
				t.Errorf("%q", p.Err)
			}
		}
		for _, w := range l.out.Warnings {
			if strings.Contains(w, "\n") {
				t.Errorf("warning %q", w)
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	fuzz(f, tree.ParseJSON, `{"ports":{"http":8500.0},"node_meta":{"a":"b"},"services":[{"name":"x","meta":{"a":null}}]}`,
		`{"acl":{"tokens":{"master":"x"}},"recursor":"a","dns_config":{"service_ttl":{"*":"1s"}}}`, `{"a":1,"a":2}`, `{"handler":1}`, `{"service":[],"check":[]}`)
}

func FuzzHCL(f *testing.F) {
	fuzz(f, tree.ParseHCL, "ports { http = 0x10 }\nservice \"a\" \"b\" { x = [1, true, \"s\"] }\n# c\n/* d */ watches = [{ type = \"key\" }]",
		"node_meta = { a = <<-EOF\n  x\n  EOF\n}", "services { name = \"a\" }\nservices { name = \"b\" }", "a = 1e5 b = -0 c = [[1]]")
}
