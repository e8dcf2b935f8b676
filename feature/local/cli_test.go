package local

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rostra/kit/cli/clitest"
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
			`[{"name":"web","tags":["httpd"],"port":80,"check":{"script":"curl localhost","interval":"10s"}}]`},
		{"blocks", ".hcl", `services { name = "a" } services { name = "b" checks { ttl = "1s" } checks { ttl = "2s" } }`,
			`[{"name":"a"},{"checks":[{"ttl":"1s"},{"ttl":"2s"}],"name":"b"}]`},
		{"list", ".hcl", `services = [{ name = "a" }, { name = "b" }]`, `[{"name":"a"},{"name":"b"}]`},
		{"objects in a list", ".hcl", `services = [{ name = "a", meta = { v = "1" } checks = [{ ttl = "1s", header = { X = ["1"] } }] }, { name = "b" }]`,
			`[{"checks":[{"header":{"X":["1"]},"ttl":"1s"}],"meta":{"v":"1"},"name":"a"},{"name":"b"}]`},
		{"one of many", ".hcl", `services { name = "a" checks { ttl = "1s" } }`, `[{"checks":[{"ttl":"1s"}],"name":"a"}]`},
		{"json list", ".json", `{"services":[{"NAME":"a","TaggedAddresses":{"wan":{"Address":"x","Port":1}}},{"name":"b","check":null}]}`,
			`[{"NAME":"a","TaggedAddresses":{"wan":{"Address":"x","Port":1}}},{"name":"b","check":null}]`},
		{"both", ".json", `{"service":{"name":"a"},"services":[{"name":"b"}]}`, `[{"name":"a"},{"name":"b"}]`},
		{"mesh", ".hcl", `service { name = "a" connect { sidecar_service { port = 1 } } }`,
			`[{"connect":{"sidecar_service":{"port":1}},"name":"a"}]`},
		{"none", ".json", `{"server":true}`, `null`},
	} {
		got, err := parseStanzas([]byte(test.text), test.ext)
		var raws []json.RawMessage
		for _, in := range got {
			raws = append(raws, in.raw)
		}
		b, jerr := json.Marshal(raws)
		if err != nil || jerr != nil || string(b) != test.want {
			t.Errorf("%s: %s %v %v\nwant %s", test.name, b, err, jerr, test.want)
		}
	}
	for _, test := range []struct{ ext, text, want string }{
		{".yaml", "a: 1", "file has unknown extension; must be .hcl or .json"},
		{".json", `{"service":`, "unexpected end of JSON input"},
		{".json", `{"service":{"name":"a"}} x`, "invalid character 'x' after top-level value"},
		{".hcl", `service { name = "a" } service { name = "b" }`, "service: json: a definition must be an object"},
		{".hcl", `service { port = 1 }`, "service: name is missing"},
		{".hcl", `service { name = "a" prot = 1 }`, "invalid config key service.prot: remove it or correct its spelling"},
		{".json", `{"services":[{"name":"a","check":{"tttl":"1s"}}]}`, "invalid config key services.check.tttl: remove it or correct its spelling"},
		{".json", `{"services":[1]}`, "services: json: a definition must be an object"},
		{".json", `{"service":{"name":"a","meta":"x"}}`, "service.meta must be an object, not string"},
		{".json", `{"service":{"name":1}}`, "service.name must be a string, not number"},
		{".hcl", `service { name = "a" port = "80" }`, "service.port must be a whole number, not string"},
		{".json", `{"service":null}`, "service: name is missing"},
	} {
		if _, err := parseStanzas([]byte(test.text), test.ext); err == nil || err.Error() != test.want {
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
		stanzas, err := parseStanzas([]byte(text), ext)
		if err != nil {
			return
		}
		for _, s := range stanzas {
			if s.Name == "" {
				t.Errorf("no name: %s", s.raw)
			}
			if _, err := json.Marshal(s.raw); err != nil {
				t.Errorf("cannot send: %v", err)
			}
		}
	})
}

const cliPut = "PUT /v1/agent/service/register"
const cliDrop = "PUT /v1/agent/service/deregister/"

var cliOK = map[string]string{cliPut: "", cliDrop + "web-1": "", cliDrop + "a": "", cliDrop + "b-1": ""}

// cliCases are command lines after "services", what the agent replies, and what follows.
var cliCases = []struct {
	args      string // $DIR stands for the directory
	replies   map[string]string
	code      int
	out, errs string
	asked     string
}{
	{"register $DIR/web.hcl", cliOK, 0, "Registered service: web\n", "", cliPut + " token=secret\n" + stanzaHCLSent},
	{"register $DIR/two.json $DIR/none.hcl", cliOK, 0, "Registered service: a\nRegistered service: b\n", "",
		cliPut + "\n{\"name\":\"a\"} | " + cliPut + "\n{\"name\":\"b\",\"id\":\"b-1\"}"},
	{"register -name=web", cliOK, 0, "Registered service: web\n", "", cliPut + "\n{\"Name\":\"web\"}"},
	{"register -token=t -id=w1 -name=web -address=10.0.0.1 -port=80 -kind=k -meta=a=b=c -meta d=e -tag=v1 -tag v2 " +
		"-tagged-address=lan=1.2.3.4:99 -tagged-address wan=::1 -tagged-address v6=[::1]:5", cliOK, 0, "Registered service: web\n", "",
		cliPut + " token=t\n" + `{"Address":"10.0.0.1","ID":"w1","Kind":"k","Meta":{"a":"b=c","d":"e"},"Name":"web","Port":80,` +
			`"TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":99},"v6":{"Address":"::1","Port":5},"wan":{"Address":"::1","Port":0}},"Tags":["v1","v2"]}`},
	{"register -name=web -socket=/run/s -address=::1", cliOK, 0, "Registered service: web\n", "",
		cliPut + "\n{\"Address\":\"::1\",\"Name\":\"web\",\"SocketPath\":\"/run/s\"}"},
	{"register", nil, 1, "", "Error: give a file, or at least -name\n", ""},
	{"register -port=80", nil, 1, "", "Error: give a file, or at least -name\n", ""},
	{"register -name=a $DIR/two.json", nil, 1, "", "Error: give either files or flags that describe the service, not both\n", ""},
	{"register -tagged-address=a=b $DIR/two.json", nil, 1, "", "Error: give either files or flags that describe the service, not both\n", ""},
	{"register -name=a -address=host:80", nil, 1, "",
		"Error: -address must be an IP address or a host name without port, not \"host:80\"\n", ""},
	{"register -name=a -tagged-address=lan=h:99999", nil, 1, "",
		"Error: cannot read -tagged-address lan: address 99999: invalid port\n", ""},
	{"register $DIR/none.hcl", nil, 1, "", "Error: no service in $DIR/none.hcl\n", ""},
	{"register $DIR/missing.hcl", nil, 1, "",
		"Error: cannot read service file: open $DIR/missing.hcl: no such file or directory\n", ""},
	// A bad file among good ones: nothing is registered.
	{"register $DIR/two.json $DIR/bad.json", cliOK, 1, "", "Error: cannot read $DIR/bad.json: unexpected end of JSON input\n", ""},
	{"register -name=web", map[string]string{cliPut: "400 Invalid service address"}, 1, "",
		"Error registering service \"web\": Unexpected response code: 400 (Invalid service address)\n", cliPut + "\n{\"Name\":\"web\"}"},

	{"deregister -id=web-1", cliOK, 0, "Deregistered service: web-1\n", "", cliDrop + "web-1"},
	{"deregister $DIR/web.hcl $DIR/two.json", cliOK, 0,
		"Deregistered service: web-1\nDeregistered service: a\nDeregistered service: b-1\n", "",
		cliDrop + "web-1 | " + cliDrop + "a | " + cliDrop + "b-1"},
	{"deregister -id=no", map[string]string{cliDrop + "no": `404 Unknown service ID "no".`}, 1, "",
		"Error deregistering service \"no\": Unexpected response code: 404 (Unknown service ID \"no\".)\n", cliDrop + "no"},
	{"deregister", nil, 1, "", "Error: give a file or -id\n", ""},
	{"deregister -id=a $DIR/two.json", nil, 1, "", "Error: give either files or -id, not both\n", ""},
	{"deregister $DIR/bad.json", nil, 1, "", "Error: cannot read $DIR/bad.json: unexpected end of JSON input\n", ""},
}

func TestCLIServices(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"web.hcl":  stanzaHCL,
		"two.json": `{"services":[{"name":"a"},{"name":"b","id":"b-1"}]}`,
		"none.hcl": `server = true`,
		"bad.json": `{`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range cliCases {
		t.Run(test.args, func(t *testing.T) {
			expand := func(s string) string { return strings.ReplaceAll(s, "$DIR", dir) }
			agent := &clitest.Agent{Replies: test.replies}
			got := clitest.Run(t, Verbs(), agent, "", append([]string{"services"}, strings.Fields(expand(test.args))...)...)
			if want := (clitest.Result{Out: test.out, Err: expand(test.errs), Code: test.code}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if asked := strings.Join(agent.Requests(), " | "); asked != test.asked {
				t.Errorf("asked %s\nwant %s", asked, test.asked)
			}
		})
	}
}

func TestCLIHelp(t *testing.T) {
	for _, v := range Verbs() {
		got := clitest.Run(t, Verbs(), nil, "", append(strings.Fields(v.Path), "-h")...)
		if got.Code != 0 || !strings.HasPrefix(got.Out, "Usage: consul "+v.Path+" ") || strings.Contains(got.Out, "{name}") {
			t.Errorf("%s -h: %+v", v.Path, got)
		}
	}
	for _, args := range []string{"services register -name=a", "services deregister -id=a"} {
		if got := clitest.Run(t, Verbs(), nil, "", strings.Fields(args)...); got.Code != 1 || !strings.Contains(got.Err, "connection refused") {
			t.Errorf("%s without agent: %+v", args, got)
		}
	}
}
