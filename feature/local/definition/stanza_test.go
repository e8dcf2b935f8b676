package definition

import (
	"encoding/json"
	"testing"
)

const stanzaHCL = `
service {
  id = "web-1"
  Name = "web"
  tags = ["v1", "v2"]
  port = 80
  meta { team_name = "x" }
  tagged_addresses {
    lan { address = "10.0.0.1" port = 8080 }
  }
  weights = { passing = 3, warning = 1 }
  enable_tag_override = true
  token = "secret"
  check {
    id = "c1"
    args = ["true", "x"]
    interval = "10s"
    header { X-A = ["1", "2"] }
    deregister_critical_service_after = "90m"
  }
  checks = [ { ttl = "5s" }, { http = "http://x", tls_skip_verify = true, interval = "1s" } ]
}
log_level = "warn"
`

const stanzaHCLSent = `{"Name":"web","check":{"args":["true","x"],"deregister_critical_service_after":"90m","header":{"X-A":["1","2"]},"id":"c1","interval":"10s"},` +
	`"checks":[{"ttl":"5s"},{"http":"http://x","interval":"1s","tls_skip_verify":true}],"enable_tag_override":true,"id":"web-1","meta":{"team_name":"x"},` +
	`"port":80,"tagged_addresses":{"lan":{"address":"10.0.0.1","port":8080}},"tags":["v1","v2"],"token":"secret","weights":{"passing":3,"warning":1}}`

func TestStanzas(t *testing.T) {
	for _, test := range []struct{ name, ext, text, want string }{
		{"whole", ".hcl", stanzaHCL, "[" + stanzaHCLSent + "]"},
		{"seed", ".json", `{"service": {"name": "web", "tags": ["httpd"], "port": 80, "check": {"script": "curl localhost", "interval": "10s"}}, "key": "web"}`,
			`[{"check":{"interval":"10s","script":"curl localhost"},"name":"web","port":80,"tags":["httpd"]}]`},
		{"blocks", ".hcl", `services { name = "a" } services { name = "b" checks { ttl = "1s" } checks { ttl = "2s" } }`,
			`[{"name":"a"},{"checks":[{"ttl":"1s"},{"ttl":"2s"}],"name":"b"}]`},
		{"list", ".hcl", `services = [{ name = "a" }, { name = "b" }]`, `[{"name":"a"},{"name":"b"}]`},
		{"objects in a list", ".hcl", `services = [{ name = "a", meta = { v = "1" } checks = [{ ttl = "1s", header = { X = ["1"] } }] }, { name = "b" }]`,
			`[{"checks":[{"header":{"X":["1"]},"ttl":"1s"}],"meta":{"v":"1"},"name":"a"},{"name":"b"}]`},
		{"one of many", ".hcl", `services { name = "a" checks { ttl = "1s" } }`, `[{"checks":[{"ttl":"1s"}],"name":"a"}]`},
		{"json list", ".json", `{"services":[{"NAME":"a","TaggedAddresses":{"wan":{"Address":"x","Port":1}}},{"name":"b","check":null}]}`,
			`[{"NAME":"a","TaggedAddresses":{"wan":{"Address":"x","Port":1}}},{"name":"b"}]`},
		{"both", ".json", `{"service":{"name":"a"},"services":[{"name":"b"}]}`, `[{"name":"a"},{"name":"b"}]`},
		{"mesh", ".hcl", `service { name = "a" connect { sidecar_service { port = 1 } } }`,
			`[{"connect":{"sidecar_service":{"port":1}},"name":"a"}]`},
		{"capitals", ".json", `{"Services":[{"Name":"b"}],"Service":{"Name":"a"}}`, `[{"Name":"b"},{"Name":"a"}]`},
		{"capitals in HCL", ".hcl", `Services { name = "a" } Services { name = "b" }`, `[{"name":"a"},{"name":"b"}]`},
		{"none", ".json", `{"server":true}`, `null`},
	} {
		got, err := ReadServices([]byte(test.text), "f"+test.ext, "")
		var raws []json.RawMessage
		for _, t := range got {
			raws = append(raws, t.Raw)
		}
		b, jerr := json.Marshal(raws)
		if err != nil || jerr != nil || string(b) != test.want {
			t.Errorf("%s: %s %v %v\nwant %s", test.name, b, err, jerr, test.want)
		}
	}
	for _, test := range []struct{ ext, text, want string }{
		{".yaml", "a: 1", "file f.yaml has unknown extension; must be .hcl or .json"},
		{".json", `{"service":`, "f.json:1: cannot read the JSON: the { of this line is never closed: add a } where it ends"},
		{".json", `{"service":{"name":"a"}} x`, "f.json:1: cannot read the JSON: invalid character 'x' after top-level value"},
		{".hcl", "service { name = \"a\" }\nservice { name = \"b\" }", "f.hcl:1: service: it is given more than once: write services = [ … ], or one services block for each"},
		{".json", "{\"service\":{\"name\":\"a\"},\n\"Service\":{\"name\":\"b\"}}", "f.json:2: Service: it is given more than once: write services = [ … ], or one services block for each"},
		{".json", "{\"services\":[{\"name\":\"a\"}],\n\"services\":[{\"name\":\"b\"}]}", "f.json:2: services: it is given more than once: write services = [ … ], or one services block for each"},
		{".hcl", `service { port = 1 }`, "f.hcl:1: service: Missing service name: add a name"},
		{".hcl", `service { name = "a" prot = 1 }`, `f.hcl:1: invalid config key service.prot of "a": did you mean service.port?`},
		{".json", `{"services":[{"name":"a","check":{"tttl":"1s"}}]}`, `f.json:1: invalid config key service.check.tttl of "a": did you mean service.check.ttl?`},
		{".json", `{"services":[1]}`, "f.json:1: services: expected a list of objects, got the number 1: write [{ … }]"},
		{".json", `{"service":{"name":"a","meta":"x"}}`, `f.json:1: service.meta of "a": expected an object, got the string "x": write a block, { … }`},
		{".json", `{"service":{"name":1}}`, `f.json:1: service.name: expected a string, got the number 1: write it in quotes, "1"`},
		{".hcl", `service { name = "a" port = "80" }`, `f.hcl:1: service.port of "a": expected a whole number, got the string "80": write 80 without quotes`},
		{".hcl", "\nservices {\n name = \"a\"\n prot = 1\n}\nservices {\n port = \"x\"\n}", `f.hcl:4: invalid config key service.prot of "a": did you mean service.port?` + "\n" +
			`f.hcl:7: service.port: expected a whole number, got the string "x": write a number, without quotes`},
		{".json", `{"Service":{"name":"a","checks":[{"TTL":30}]}}`, `f.json:1: service.checks.0.TTL of "a": expected a duration, got the number 30: add a unit and quotes, such as "30s"`},
	} {
		if _, err := ReadServices([]byte(test.text), "f"+test.ext, ""); err == nil || err.Error() != test.want {
			t.Errorf("%s %s: %v\nwant %s", test.ext, test.text, err, test.want)
		}
	}
}

// FuzzStanzas checks that no file makes the reader panic, and that whatever it takes has a name and can be sent.
func FuzzStanzas(f *testing.F) {
	f.Add(stanzaHCL, true)
	f.Add(`{"services":[{"name":"a","checks":[{"ttl":"1s"}]}]}`, false)
	f.Add(`services "web" { name = "x" }`, true)
	f.Fuzz(func(t *testing.T, text string, isHCL bool) {
		ext := ".json"
		if isHCL {
			ext = ".hcl"
		}
		stanzas, err := ReadServices([]byte(text), "f"+ext, "")
		if err != nil {
			return
		}
		for _, s := range stanzas {
			if s.Name == "" {
				t.Errorf("no name: %s", s.Raw)
			}
			if _, err := json.Marshal(s.Raw); err != nil {
				t.Errorf("cannot send: %v", err)
			}
		}
	})
}
