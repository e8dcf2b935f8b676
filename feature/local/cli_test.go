package local

import (
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
  port = 80
  token = "secret"
  check { args = ["true", "x"] interval = "10s" }
}
log_level = "warn"
`

const stanzaHCLSent = `{"Name":"web","check":{"args":["true","x"],"interval":"10s"},"id":"web-1","port":80,"token":"secret"}`

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
		cliPut + "\n{\"name\":\"a\"} | " + cliPut + "\n{\"id\":\"b-1\",\"name\":\"b\"}"},
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
	{"register -", cliOK, 0, "Registered service: fed\n", "", cliPut + "\n{\"name\":\"fed\"}"},
	{"register $DIR/bad.json $DIR/bad.hcl", cliOK, 1, "", "Error: $DIR/bad.json:1: cannot read the JSON: the { of this line is never closed: add a } where it ends\n" +
		"$DIR/bad.hcl:3: invalid config key service.prot of \"w\": did you mean service.port?\n", ""},
	{"register $DIR/two.json $DIR/bad.json", cliOK, 1, "", "Error: $DIR/bad.json:1: cannot read the JSON: the { of this line is never closed: add a } where it ends\n", ""},
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
	{"deregister $DIR/bad.json", nil, 1, "", "Error: $DIR/bad.json:1: cannot read the JSON: the { of this line is never closed: add a } where it ends\n", ""},
}

func TestCLIServices(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"web.hcl":  stanzaHCL,
		"two.json": `{"services":[{"name":"a"},{"name":"b","id":"b-1"}]}`,
		"none.hcl": `server = true`,
		"bad.json": `{`,
		"bad.hcl":  "service {\n name = \"w\"\n prot = 1\n}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range cliCases {
		t.Run(test.args, func(t *testing.T) {
			expand := func(s string) string { return strings.ReplaceAll(s, "$DIR", dir) }
			agent := &clitest.Agent{Replies: test.replies}
			got := clitest.Run(t, Verbs(), agent, `services { name = "fed" }`, append([]string{"services"}, strings.Fields(expand(test.args))...)...)
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
