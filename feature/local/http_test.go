package local

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

const prefix404 = `. Ensure that the `

// texts are requests in one life of an agent, and their answers.
var texts = []struct {
	method, path, body string
	status             int
	text               string
}{
	{"GET", "services", "", 200, "{}"},
	{"GET", "checks", "", 200, "{}"},
	{"PUT", "service/register", "", 400, "Request decode failed: EOF"},
	{"PUT", "service/register", "  ", 400, "Request decode failed: EOF"},
	{"PUT", "service/register", "{", 400, "Request decode failed: unexpected EOF"},
	{"PUT", "service/register", "[]", 400, "Request decode failed: json: a definition must be an object"},
	{"PUT", "service/register", "null", 400, "Missing service name"},
	{"PUT", "service/register", "{}", 400, "Missing service name"},
	{"PUT", "service/register", `{"ID":"x"}`, 400, "Missing service name"},
	{"PUT", "service/register", `{"Name":"w","Foo":1}`, 400, `Request decode failed: json: unknown field "Foo"`},
	{"PUT", "service/register", `{"Name":"w","Check":{"Foo":1}}`, 400, `Request decode failed: json: unknown field "Foo"`},
	{"PUT", "service/register", `{"Name":"w","Checks":[{"TTL":"1s"},{"Bar":1}]}`, 400, `Request decode failed: json: unknown field "Bar"`},
	{"PUT", "service/register", `{"Name":"w","Port":"80"}`, 400, `Request decode failed: json: cannot unmarshal string into Go value of type int`},
	{"PUT", "service/register", `{"Name":"w","Address":"0.0.0.0"}`, 400, "Invalid service address"},
	{"PUT", "service/register", `{"Name":"w","Address":"[::]"}`, 400, "Invalid service address"},
	{"PUT", "service/register", `{"Name":"w","SocketPath":"/run/w","Port":1}`, 400, "Validation failed: SocketPath cannot be set beside Address or Port"},
	{"PUT", "service/register", `{"Name":"w","Meta":{"a b":"c"}}`, 400, "Invalid Service Meta: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters"},
	{"PUT", "service/register", `{"Name":"w","Weights":{"Passing":0,"Warning":1}}`, 400, "Invalid Weights: Passing must be greater than 0"},
	{"PUT", "service/register", `{"Name":"w","Weights":{"Passing":1,"Warning":-1}}`, 400, "Invalid Weights: Warning must be greater or equal than 0"},
	{"PUT", "service/register", `{"Name":"w","Weights":{"Passing":65536,"Warning":1}}`, 400, "Invalid Weights: DNS Weight must be between 0 and 65535"},
	{"PUT", "service/register", `{"Name":"w","TaggedAddresses":{"lan_ipv4":{"Address":"::1"}}}`, 500, `Service tagged address "lan_ipv4" must be a valid ipv4 address`},
	{"PUT", "service/register", `{"Name":"w","Check":{"Status":"bad","TTL":"1s"}}`, 400, "Status for checks must 'passing', 'warning', 'critical'"},
	{"PUT", "service/register", `{"Name":"w","Check":{"TTL":"1s","Interval":"1s"}}`, 400, "Invalid check: Interval and TTL cannot both be specified"},
	{"PUT", "service/register", `{"Name":"w","Check":{"HTTP":"http://x"}}`, 400, "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"},
	{"PUT", "service/register", `{"Name":"w","Check":{"Name":"x"}}`, 400, "Invalid check: TTL must be > 0 for TTL checks"},
	{"PUT", "service/register", `{"Name":"w","Checks":[{}]}`, 400, "Invalid check: TTL must be > 0 for TTL checks"},
	{"PUT", "service/register", `{"Name":"w","Check":{"TTL":"1s","OutputMaxSize":-1}}`, 400, "Invalid check: MaxOutputMaxSize must be positive"},
	{"PUT", "service/register", `{"Name":"w","Check":{"TTL":"1s","FailuresBeforeWarning":3,"FailuresBeforeCritical":2}}`, 400, "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical"},
	{"PUT", "service/register", `{"Name":"w","Check":{"TTL":"abc"}}`, 400, `Request decode failed: time: invalid duration "abc"`},
	{"PUT", "service/register", `{"Name":"w","Check":{"Args":["true"],"Interval":"1s"}}`, 500, "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"},
	{"PUT", "service/register", `{"Name":"w","Check":{"Script":"true","Interval":"1s"}}`, 500, "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"},
	{"GET", "services", "", 200, "{}"},
	{"GET", "service/w", "", 404, "unknown service ID: w"},
	{"PUT", "service/deregister/w", "", 404, `Unknown service ID "w"` + prefix404 + `service ID is passed, not the service name.`},
	{"PUT", "service/maintenance/w?enable=true", "", 404, `Unknown service ID "w"` + prefix404 + `service ID is passed, not the service name.`},
	{"PUT", "service/maintenance/?enable=true", "", 400, "Missing service ID"},
	{"PUT", "service/maintenance/w", "", 400, "Missing value for enable"},
	{"PUT", "service/maintenance/w?enable=foo", "", 400, `Invalid value for enable: "foo"`},
	{"PUT", "maintenance", "", 400, "Missing value for enable"},
	{"PUT", "check/register", "", 400, "Request decode failed: EOF"},
	{"PUT", "check/register", "{}", 400, "Missing check name"},
	{"PUT", "check/register", `{"ID":"x","TTL":"1s"}`, 400, "Missing check name"},
	{"PUT", "check/register", `{"Name":"x","TTL":"1s","Status":"bad"}`, 400, "Bad check status"},
	{"PUT", "check/register", `{"Name":"x"}`, 400, "Invalid check: TTL must be > 0 for TTL checks"},
	{"PUT", "check/register", `{"Name":"x","TTL":"1s","Foo":1}`, 400, `Request decode failed: json: unknown field "Foo"`},
	{"PUT", "check/register", `{"Name":"x","AliasService":"w","Interval":"1s"}`, 400, "Invalid check: Interval cannot be set for Alias checks"},
	{"PUT", "check/register", `{"Name":"x","AliasNode":"n2","TTL":"1s"}`, 400, "Invalid check: TTL must be not be set for Alias checks"},
	{"PUT", "check/register", `{"Name":"x","UDP":"a:1"}`, 400, "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"},
	{"PUT", "check/register", `{"Name":"x","DockerContainerID":"c","Args":["true"],"Interval":"1s"}`, 500, "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"},
	{"PUT", "check/register", `{"Name":"x","TTL":"1s","ServiceID":"w"}`, 404, `ServiceID "w" does not exist`},
	{"PUT", "check/deregister/x", "", 404, `Unknown check ID "x"` + prefix404 + `check ID is passed, not the check name.`},
	{"PUT", "check/pass/x", "", 404, `Unknown check ID "x"` + prefix404 + `check ID is passed, not the check name.`},
	{"PUT", "check/update/x", `{"Status":"foo"}`, 400, "Invalid check status: 'foo'"},
	{"PUT", "check/update/x", `{"Status":"passing","Foo":1}`, 400, `Request decode failed: json: unknown field "Foo"`},
	{"PUT", "check/update/x", `{"Status":"passing"}`, 404, `Unknown check ID "x"` + prefix404 + `check ID is passed, not the check name.`},

	{"PUT", "service/register?replace-existing-checks", `{"ID":"web-1","name":"web","tags":["v2"],"meta":{"team":"x"},"port":80,"Address":"10.4.0.7","enable_tag_override":true,"kind":"","Token":"ignored","Proxy":null}`, 200, ""},
	{"GET", "services", "", 200, `{"web-1":{"ID":"web-1","Service":"web","Tags":["v2"],"Meta":{"team":"x"},"Port":80,"Address":"10.4.0.7","TaggedAddresses":{"lan_ipv4":{"Address":"10.4.0.7","Port":80},"wan_ipv4":{"Address":"10.4.0.7","Port":80}},"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":true,"Datacenter":"dc1"}}`},
	{"GET", `services?filter=Meta.team==y`, "", 200, "{}"},
	{"GET", `services?filter=Foo==y`, "", 500, `Failed to create boolean expression evaluator: Selector "Foo" is not valid`},
	{"GET", `checks?filter=Foo==y`, "", 500, `Selector "Foo" is not valid`},
	{"PUT", "service/register", `{"Name":"bare","Check":{}} trailing`, 200, ""},
	{"GET", "services?filter=ID==bare", "", 200, `{"bare":{"ID":"bare","Service":"bare","Tags":[],"Meta":{},"Port":0,"Address":"","Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Datacenter":"dc1"}}`},
	{"PUT", "service/register", `{"Name":"one","check":{"ttl":"10m","notes":"n"}}`, 200, ""},
	{"GET", "checks", "", 200, `{"service:one":{"Node":"n1","CheckID":"service:one","Name":"Service 'one' check","Status":"critical","Notes":"n","Output":"","ServiceID":"one","ServiceName":"one","ServiceTags":[],"Type":"ttl","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0}}`},
	{"PUT", "check/pass/service:one?note=fine", "", 200, ""},
	{"PUT", "check/register", `{"ID":"alone","Name":"A lone check","HTTP":"http://127.0.0.1:1/","Interval":3600000000000,"status":"warning"}`, 200, ""},
	{"GET", "checks", "", 200, `{"alone":{"Node":"n1","CheckID":"alone","Name":"A lone check","Status":"warning","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"http","Interval":"1h0m0s","Timeout":"0s","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0},` +
		`"service:one":{"Node":"n1","CheckID":"service:one","Name":"Service 'one' check","Status":"passing","Notes":"n","Output":"fine","ServiceID":"one","ServiceName":"one","ServiceTags":[],"Type":"ttl","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0}}`},
	{"PUT", "check/pass/alone", "", 500, `CheckID "alone" does not have associated TTL`},
	{"PUT", "check/update/alone", `{"Status":"passing"}`, 500, `CheckID "alone" does not have associated TTL`},
	{"PUT", "check/deregister/alone", "", 200, ""},
	{"PUT", "check/warn/service:one", "", 200, ""},
	{"PUT", "check/update/service:one", `{"Status":"critical","Output":"<o>"}`, 200, ""},
	{"PUT", "check/fail/service:one?note=%3Co%3E", "", 200, ""},
	{"GET", `checks?filter=Status==critical+and+Output=="<o>"+and+CheckID!=x`, "", 200, `{"service:one":{"Node":"n1","CheckID":"service:one","Name":"Service 'one' check","Status":"critical","Notes":"n","Output":"\u003co\u003e","ServiceID":"one","ServiceName":"one","ServiceTags":[],"Type":"ttl","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0}}`},
	{"PUT", "service/deregister/one", "", 200, ""},
	{"PUT", "service/maintenance/web-1?enable=1&reason=why", "", 200, ""},
	{"PUT", "service/maintenance/web-1?enable=true&reason=other", "", 200, ""},
	{"PUT", "maintenance?enable=t", "", 200, ""},
	{"GET", "checks", "", 200, `{"_node_maintenance":{"Node":"n1","CheckID":"_node_maintenance","Name":"Node Maintenance Mode","Status":"critical","Notes":"Maintenance mode is enabled for this node, but no reason was provided. This is a default message.","Output":"","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"maintenance","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0},` +
		`"_service_maintenance:web-1":{"Node":"n1","CheckID":"_service_maintenance:web-1","Name":"Service Maintenance Mode","Status":"critical","Notes":"why","Output":"","ServiceID":"web-1","ServiceName":"web","ServiceTags":["v2"],"Type":"maintenance","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":0,"ModifyIndex":0}}`},
	{"PUT", "check/pass/_node_maintenance", "", 500, `CheckID "_node_maintenance" does not have associated TTL`},
	{"PUT", "maintenance?enable=false", "", 200, ""},
	{"PUT", "maintenance?enable=false", "", 200, ""},
	{"PUT", "service/maintenance/web-1?enable=0", "", 200, ""},
	{"GET", "checks", "", 200, `{}`},
	{"GET", "service/register", "", 405, "method GET not allowed"},
	{"PUT", "service/register?ns=x", "{}", 400, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`},
}

func TestTexts(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	for _, step := range texts {
		status, text := a.do(step.method, step.path, step.body)
		if status != step.status || text != step.text {
			t.Errorf("%s %s %s\n got %d %s\nwant %d %s", step.method, step.path, step.body, status, text, step.status, step.text)
		}
	}
	l.agree(a)
}

func TestUnmentionedChecksStayUnlessReplaced(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	ids := func(want string) {
		t.Helper()
		var got []string
		for _, id := range regexp.MustCompile(`"CheckID":"([^"]*)"`).FindAllStringSubmatch(second(a.do("GET", "checks", "")), -1) {
			got = append(got, id[1])
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("checks %q, want %q", s, want)
		}
	}
	a.put("service/register", `{"Name":"w","Check":{"TTL":"10m"},"Checks":[{"TTL":"11m","Status":"passing"},{"CheckID":"c","TTL":"12m"}]}`)
	ids("c service:w:1 service:w:2")
	a.put("check/pass/c", "")
	a.put("check/register", `{"ID":"single","Name":"s","TTL":"10m","ServiceID":"w"}`)
	a.put("service/maintenance/w?enable=true", "")
	a.put("service/register", `{"Name":"w","Tags":["t"],"Check":{"CheckID":"c","TTL":"9m","Status":"critical"}}`)
	ids("_service_maintenance:w c service:w:1 service:w:2 single")
	for id, c := range a.checks() {
		if strings.Join(c.ServiceTags, "") != "t" {
			t.Errorf("%s has the tags %q", id, c.ServiceTags)
		}
	}
	if got := a.checks()["c"].Status; got != "passing" {
		t.Errorf("the status after a registration anew is %s", got)
	}
	a.put("service/register?replace-existing-checks=true", `{"Name":"w","Check":{"CheckID":"c","TTL":"9m"}}`)
	ids("_service_maintenance:w c")
	a.put("service/register?replace-existing-checks=false", `{"Name":"w"}`)
	ids("_service_maintenance:w c")
	a.put("service/deregister/w", "")
	ids("")
}

func second(_ int, s string) string { return s }

func TestWarnings(t *testing.T) {
	l := newLab(t)
	s := defaults()
	yes := true
	s.EnableScripts = &yes
	a := l.must(nil, "", s)
	for range 3 {
		a.put("service/register", `{"Name":"m","Kind":"connect-proxy","Proxy":{"DestinationServiceName":"w"},"Connect":{"SidecarService":{}}}`)
		a.put("service/register", `{"Name":"bad_name"}`)
		a.put("service/register", `{"Name":"old","Check":{"Script":"true","Interval":"1h"}}`)
		a.put("check/register", `{"Name":"odd","Args":["true"],"Shell":"sh","Interval":"1h","DeregisterCriticalServiceAfter":"5s"}`)
		a.put("service/register", `{"Name":"plain","Connect":{},"Proxy":null}`)
	}
	w := httptest.NewRecorder()
	a.web.ServeHTTP(w, httptest.NewRequest("PUT", "/v1/agent/service/register", strings.NewReader(`{"Name":"m","Kind":"connect-proxy"}`)))
	const notice = "service mesh is not built yet: kind, proxy, connect and locality of this service have no effect, and no sidecar was registered"
	if w.Code != 200 || w.Header().Get("X-Rostra-Warning") != notice {
		t.Errorf("a member of the mesh: %d %v", w.Code, w.Header())
	}
	a.stop()
	got := a.logged()
	for _, want := range []string{"service mesh is not built yet", "cannot be found by DNS", "script is the old way", "shell has no effect", "below the minimum"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is not in the log once:\n%s", want, got)
		}
	}
	if _, text := a.do("GET", "service/m", ""); !strings.Contains(text, `{"Kind":"connect-proxy","ID":"m"`) {
		t.Errorf("the kind is lost: %s", text)
	}
}
