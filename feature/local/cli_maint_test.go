package local

import (
	"strings"
	"testing"

	"rostra/kit/cli/clitest"
)

// TestCLIMaint holds maint to spec cli.md, maint.
func TestCLIMaint(t *testing.T) {
	const node, service = "PUT /v1/agent/maintenance", "PUT /v1/agent/service/maintenance/web1"
	const checks = "GET /v1/agent/checks"
	ok := map[string]string{node: "", service: "", checks: `{
		"_service_maintenance:web2": {"Node":"n","CheckID":"_service_maintenance:web2","Notes":"b","ServiceID":"web2"},
		"_service_maintenance:web1": {"Node":"n","CheckID":"_service_maintenance:web1","Notes":"why","ServiceID":"web1"},
		"_node_maintenance": {"Node":"n","CheckID":"_node_maintenance","Notes":"r"},
		"mem": {"Node":"n","CheckID":"mem","Notes":"x"}}`}
	for _, test := range []struct {
		args, errs, out, asked string
		code                   int
	}{
		{args: "-enable", out: "Node maintenance is now enabled\n", asked: node + "?enable=true&reason="},
		{args: "-enable -reason=disk -token=t", out: "Node maintenance is now enabled\n", asked: node + "?enable=true&reason=disk token=t"},
		{args: "-disable", out: "Node maintenance is now disabled\n", asked: node + "?enable=false"},
		{args: "-enable -service web1", out: "Service maintenance is now enabled for \"web1\"\n", asked: service + "?enable=true&reason="},
		{args: "-disable -service web1", out: "Service maintenance is now disabled for \"web1\"\n", asked: service + "?enable=false"},
		{args: "", out: "Node:\n  Name:   n\n  Reason: r\n\nService:\n  ID:     web1\n  Reason: why\n\nService:\n  ID:     web2\n  Reason: b\n\n",
			asked: checks},

		{args: "-enable -disable", code: 1, errs: "Give either -enable or -disable, not both\n"},
		{args: "-disable -reason=r", code: 1, errs: "-reason is of use with -enable only\n"},
		{args: "-reason=r", code: 1, errs: "-reason is of use with -enable only\n"},
		{args: "-service=web1", code: 1, errs: "-service needs -enable or -disable\n"},
		{args: "-enable web1", code: 1, errs: "Too many arguments (expected 0, got 1)\n"},
	} {
		agent := &clitest.Agent{Replies: ok}
		got := clitest.Run(t, Verbs(), agent, "", append([]string{"maint"}, strings.Fields(test.args)...)...)
		if want := (clitest.Result{Out: test.out, Err: test.errs, Code: test.code}); got != want {
			t.Errorf("maint %s: got %+v\nwant %+v", test.args, got, want)
		}
		if asked := strings.Join(agent.Requests(), " | "); asked != test.asked {
			t.Errorf("maint %s: asked %s, want %s", test.args, asked, test.asked)
		}
	}
	for args, want := range map[string]string{
		"-enable":              "Error enabling node maintenance: Unexpected response code: 403 (Permission denied)\n",
		"-disable -service=no": "Error disabling service maintenance: Unexpected response code: 404 ()\n",
		"":                     "Error querying Consul agent: Unexpected response code: 500 (x)\n",
	} {
		agent := &clitest.Agent{Replies: map[string]string{node: "403 Permission denied", checks: "500 x"}}
		got := clitest.Run(t, Verbs(), agent, "", append([]string{"maint"}, strings.Fields(args)...)...)
		if got.Code != 1 || got.Out != "" || got.Err != want {
			t.Errorf("maint %s: %+v, want %s", args, got, want)
		}
	}
}
