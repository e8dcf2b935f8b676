package definition

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rostra/engine/room"
)

func def(file, key string, value map[string]any, lines map[string]int) room.Definition {
	return room.Definition{File: file, Line: 3, Key: key, Value: value, Lines: lines}
}

type obj = map[string]any

func TestDefinitionsOfFiles(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere")
	bad := filepath.Join(safeDir(t), "bad.json")
	if err := os.WriteFile(bad, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(bad, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		def  room.Definition
		want string // IDs of services and checks, or an error
	}{
		{"port only", def("f", "service", obj{"name": "w", "port": int64(80)}, nil), "w"},
		{"with ID", def("f", "services", obj{"ID": "w1", "Name": "w", "EnableTagOverride": true}, nil), "w1"},
		{"any case", def("f", "services", obj{"NAME": "w", "enableTagOverride": true, "TAGGED_ADDRESSES": obj{"lan": obj{"address": "x"}}}, nil), "w"},
		{"one check", def("f", "service", obj{"name": "w", "check": obj{"ttl": "1m"}}, nil), "w service:w"},
		{"nothing in check", def("f", "service", obj{"name": "w", "check": obj{}}, nil), "w"},
		{"check and checks", def("f", "service", obj{"name": "w", "check": obj{"ttl": "1m"}, "checks": []any{obj{"ttl": "1m"}, obj{"id": "c", "ttl": "1m"}}}, nil), "w c service:w:1 service:w:2"},
		{"checks as one block", def("f", "service", obj{"name": "w", "checks": obj{"ttl": "1m"}}, nil), "w service:w"},
		{"check as blocks", def("f", "service", obj{"name": "w", "check": []any{obj{"ttl": "1m"}, obj{"ttl": "1m"}}}, nil), "w service:w:1 service:w:2"},
		{"single check", def("f", "check", obj{"name": "c", "tcp": "127.0.0.1:1", "interval": "1h"}, nil), "c"},
		{"single check with ID", def("f", "checks", obj{"id": "i", "name": "c", "ttl": "1m", "deregister_critical_service_after": "1h"}, nil), "i"},

		{"no name", def("d/f.json", "service", obj{"port": int64(1)}, nil), "d/f.json:3: service: Missing service name: add a name"},
		{"unknown key", def("f", "service", obj{"name": "w", "prot": int64(1)}, map[string]int{"prot": 7}),
			`f:7: invalid config key service.prot of "w": did you mean service.port?`},
		{"unknown key below", def("f", "services", obj{"name": "w", "checks": []any{obj{"ttl": "1m"}, obj{"Foo": "x"}}}, map[string]int{"checks": 4, "checks.1": 6, "checks.1.foo": 8}),
			`f:8: invalid config key service.checks.1.Foo of "w": remove it, or see the documentation for the keys there are`},
		{"wrong type", def("f", "service", obj{"name": "w", "port": "80"}, map[string]int{"port": 9}), `f:9: service.port of "w": expected a whole number, got the string "80": write 80 without quotes`},
		{"fraction", def("f", "service", obj{"name": "w", "port": 1.5}, map[string]int{"port": 9}), `f:9: service.port of "w": expected a whole number, got the number 1.5: write a number, without quotes`},
		{"wrong list", def("f", "service", obj{"name": "w", "tags": "a"}, nil), `f:3: service.tags of "w": expected a list of strings, got the string "a": write ["a"]`},
		{"wrong duration", def("f", "service", obj{"name": "w", "check": obj{"ttl": "soon"}}, map[string]int{"check.ttl": 5}), `f:5: service.check.ttl of "w": expected a duration, got the string "soon": write numbers with their units (ms, s, m, h), such as "10s" or "1h30m"`},
		{"duration without unit", def("f", "check", obj{"name": "c", "ttl": int64(60)}, map[string]int{"ttl": 5}),
			`f:5: check.ttl of "c": expected a duration, got the number 60: add a unit and quotes, such as "60s"`},
		{"one below", def("f", "service", obj{"name": "w", "checks": []any{obj{"ttl": "1m"}, obj{"http": "x", "Interval": int64(10)}}}, map[string]int{"checks.1.interval": 6}),
			`f:6: service.checks.1.Interval of "w": expected a duration, got the number 10: add a unit and quotes, such as "10s"`},
		{"bad check", def("f", "service", obj{"name": "w", "checks": []any{obj{"http": "x"}}}, map[string]int{"checks.0": 5}),
			`f:5: service.checks.0 of "w": Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks`},
		{"check is text", def("f", "service", obj{"name": "w", "check": "x"}, map[string]int{"check": 5}), `f:5: service.check of "w": expected an object, got the string "x": write a block, { … }`},
		{"os service without systemd", def("f", "check", obj{"name": "w", "os_service": "x", "interval": "1s"}, map[string]int{"os_service": 5}), `f:5: check.os_service of "w": Invalid check: os_service needs systemd, which does not answer on this machine's message bus: there is no message bus here (dial unix /nowhere: connect: no such file or directory); define the check of another type, or run the agent where the bus's socket is (DBUS_SYSTEM_BUS_ADDRESS)`},
		{"unsafe script", def(bad, "service", obj{"name": "w", "check": obj{"script": "true", "interval": "1h"}}, map[string]int{"check.script": 6}),
			bad + ":6: service.check.script of \"w\": this script is not run, because others than root and the agent's user can change " + bad + "; take their rights to it away, or set 'enable_local_script_checks' to true"},
		{"script of a flag", def("flag -hcl", "service", obj{"name": "w", "check": obj{"args": []any{"true"}, "interval": "1h"}}, nil), "w service:w"},
		{"pair of meta", def("f", "service", obj{"name": "w", "meta": obj{"a": int64(1), "b": "x", "c": true}}, map[string]int{"meta": 2, "meta.a": 3, "meta.c": 4}),
			`f:3: service.meta.a of "w": expected a string, got the number 1: write it in quotes, "1"` + "\n" +
				`f:4: service.meta.c of "w": expected a string, got the boolean true: write it in quotes, "true"`},
		{"address and weight", def("f", "service", obj{"id": "w1", "name": "w", "Address": "0.0.0.0", "weights": obj{"passing": int64(0)}, "status": "x"}, map[string]int{"address": 4, "weights": 5}),
			`f:3: invalid config key service.status of "w": remove it, or see the documentation for the keys there are` + "\n" +
				`f:4: service.Address of "w": Invalid service address: nobody can reach 0.0.0.0; write the one to be found at, or leave it out for the agent's` + "\n" +
				`f:5: service.weights of "w": Invalid Weights: Passing must be greater than 0`},
		{"form and sense", def("f", "service", obj{"name": "w", "check": obj{"http": "x", "intervall": "1s"}, "tagged_addresses": obj{"lan_ipv6": obj{"address": "1.2.3.4"}, "lan_ipv4": obj{"address": "::1", "port": "1"}}},
			map[string]int{"check.intervall": 4, "tagged_addresses.lan_ipv4.port": 6, "tagged_addresses.lan_ipv6": 7}),
			`f:4: invalid config key service.check.intervall of "w": did you mean service.check.interval?` + "\n" +
				`f:6: service.tagged_addresses.lan_ipv4.port of "w": expected a whole number, got the string "1": write 1 without quotes`},
		{"status", def("f", "checks", obj{"ID": "c", "status": "fine", "ttl": "1m", "output_max_size": int64(-1)}, map[string]int{"status": 4}),
			`f:3: check "c": Missing check name: add a name` + "\n" + `f:4: check.status of "c": Bad check status: write passing, warning or critical, not "fine"`},
		{"header", def("f", "check", obj{"name": "c", "http": "x", "interval": "1s", "header": obj{"X": "y"}, "h2ping_use_tsl": true}, map[string]int{"header.x": 6}),
			`f:3: invalid config key check.h2ping_use_tsl of "c": did you mean check.h2ping_use_tls?` + "\n" + `f:6: check.header.X of "c": expected a list of strings, got the string "y": write ["y"]`},
		{"error in a flag", def("flag -hcl", "service", obj{"name": "w", "x": "y"}, nil), `flag -hcl: invalid config key service.x of "w": remove it, or see the documentation for the keys there are`},
	} {
		services, checks, err := Rules{Node: "n1"}.Read([]room.Definition{test.def}, slog.New(slog.DiscardHandler))
		if err != nil {
			if err.Error() != test.want {
				t.Errorf("%s:\n got %v\nwant %s", test.name, err, test.want)
			}
			continue
		}
		if got := ids(services, checks); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// ids lists the services and then all checks.
func ids(services []*Service, checks []*Check) string {
	var all, ofChecks []string
	for _, s := range services {
		all = append(all, s.Row.ID)
		checks = append(checks, s.Checks...)
	}
	for _, c := range checks {
		ofChecks = append(ofChecks, c.Row.CheckID)
	}
	slices.Sort(ofChecks)
	return strings.Join(append(all, ofChecks...), " ")
}
