package definition

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"rostra/engine/room"
)

// TestKeysOfDefinitions: each key of a service's and a check's definition in a file is read, in its modern and its old
// spelling and in any case, and a misspelt one is refused (spec config.md §4, §5).
func TestKeysOfDefinitions(t *testing.T) {
	services := []keyCase{
		{"name", `"a"`, "Name", "a"}, {"id", `"a"`, "ID", "a"}, {"tags", `["a"]`, "Tags", "[a]"}, {"address", `"a"`, "Address", "a"},
		{"port", `7`, "Port", "7"}, {"socket_path", `"a"`, "SocketPath", "a"}, {"meta", `{"k":"v"}`, "Meta", "[{k v}]"},
		{"tagged_addresses", `{"lan":{"address":"a","port":7}}`, "TaggedAddresses", "map[lan:{a 7}]"}, {"token", `"a"`, "Token", "a"},
		{"enable_tag_override", `true`, "EnableTagOverride", "true"}, {"enableTagOverride", `true`, "EnableTagOverride", "true"},
		{"weights", `{"passing":7,"warning":8}`, "Weights", "&{7 8}"}, {"kind", `"a"`, "Kind", "a"}, {"proxy", `7`, "Proxy", "[55]"},
		{"connect", `7`, "Connect", "[55]"}, {"locality", `7`, "Locality", "[55]"},
	}
	for _, c := range services {
		text, err := ReadService([]byte(fmt.Sprintf(`{%q: %s}`, c.key, c.value)))
		if err != nil {
			t.Errorf("%s: %v", c.key, err)
			continue
		}
		c.check(t, text.in)
		_, err = ReadService([]byte(fmt.Sprintf(`{"%s_x": %s}`, c.key, c.value)))
		c.strict(t, "service", err)
	}
	checks := []keyCase{
		{"id", `"a"`, "ID", "a"}, {"name", `"a"`, "Name", "a"}, {"notes", `"a"`, "Notes", "a"}, {"token", `"a"`, "Token", "a"},
		{"status", `"a"`, "Status", "a"}, {"service_id", `"a"`, "ServiceID", "a"}, {"serviceid", `"a"`, "ServiceID", "a"},
		{"args", `["a"]`, "Args", "[a]"}, {"scriptargs", `["a"]`, "Args", "[a]"}, {"ScriptArgs", `["a"]`, "Args", "[a]"},
		{"script", `"a"`, "Script", "a"}, {"shell", `"a"`, "Shell", "a"}, {"docker_container_id", `"a"`, "DockerContainerID", "a"},
		{"dockercontainerid", `"a"`, "DockerContainerID", "a"}, {"http", `"a"`, "HTTP", "a"}, {"method", `"a"`, "Method", "a"},
		{"header", `{"k":["v"]}`, "Header", "map[k:[v]]"}, {"body", `"a"`, "Body", "a"}, {"disable_redirects", `true`, "DisableRedirects", "true"},
		{"tcp", `"a"`, "TCP", "a"}, {"tcp_use_tls", `true`, "TCPUseTLS", "true"}, {"udp", `"a"`, "UDP", "a"}, {"grpc", `"a"`, "GRPC", "a"},
		{"grpc_use_tls", `true`, "GRPCUseTLS", "true"}, {"h2ping", `"a"`, "H2PING", "a"}, {"h2ping_use_tls", `false`, "H2PingUseTLS", "false"},
		{"os_service", `"a"`, "OSService", "a"}, {"alias_service", `"a"`, "AliasService", "a"}, {"alias_node", `"a"`, "AliasNode", "a"},
		{"ttl", `"7s"`, "TTL", "7s"}, {"interval", `"7s"`, "Interval", "7s"}, {"timeout", `"7s"`, "Timeout", "7s"},
		{"tls_server_name", `"a"`, "TLSServerName", "a"}, {"tls_skip_verify", `true`, "TLSSkipVerify", "true"},
		{"tlsskipverify", `true`, "TLSSkipVerify", "true"}, {"output_max_size", `7`, "OutputMaxSize", "7"},
		{"success_before_passing", `7`, "SuccessBeforePassing", "7"}, {"failures_before_warning", `7`, "FailuresBeforeWarning", "7"},
		{"failures_before_critical", `7`, "FailuresBeforeCritical", "7"},
		{"deregister_critical_service_after", `"7m0s"`, "DeregisterCriticalServiceAfter", "7m0s"},
		{"deregistercriticalserviceafter", `"7m0s"`, "DeregisterCriticalServiceAfter", "7m0s"},
	}
	for _, c := range checks {
		text, err := ReadCheck([]byte(fmt.Sprintf(`{%q: %s}`, c.key, c.value)))
		if err != nil {
			t.Errorf("%s: %v", c.key, err)
			continue
		}
		c.check(t, text.in)
		_, err = ReadCheck([]byte(fmt.Sprintf(`{"%s_x": %s}`, c.key, c.value)))
		c.strict(t, "check", err)
	}
	for _, text := range []string{`{"check": {"ttl": "7s"}}`, `{"checks": [{"TTL": "7s"}]}`, `{"Checks": [{"ttl": "7s"}]}`} {
		got, err := ReadService([]byte(text))
		if err != nil || len(got.in.Checks) != 1 || dur(got.in.Checks[0].TTL).String() != "7s" {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// keyCase is a key with a value, and where that must arrive.
type keyCase struct{ key, value, field, want string }

func (c keyCase) check(t *testing.T, in any) {
	t.Helper()
	v := reflect.ValueOf(in).Elem().FieldByName(c.field)
	if v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Bool {
		v = v.Elem()
	}
	got := fmt.Sprint(v.Interface())
	if raw, is := v.Interface().(json.RawMessage); is {
		got = fmt.Sprint([]byte(raw))
	}
	if got != c.want {
		t.Errorf("%s: %s became %s of %s, want %s", c.key, c.value, got, c.field, c.want)
	}
}

func (c keyCase) strict(t *testing.T, kind string, err error) {
	t.Helper()
	var wrong mistakes
	if !errors.As(err, &wrong) {
		t.Fatalf("%s_x: %v", c.key, err)
	}
	if told := fmt.Sprint(wrong.told(room.Definition{File: "f", Line: 1, Key: kind})); !strings.HasPrefix(told, "[f:1: invalid config key "+kind+"."+c.key+"_x: ") {
		t.Errorf("%s_x: %s", c.key, told)
	}
}
