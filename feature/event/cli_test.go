package event

import (
	"strings"
	"testing"

	"rostra/kit/cli/clitest"
)

func TestCLI(t *testing.T) {
	replies := map[string]string{"PUT /v1/event/fire/deploy": `{"ID":"` + someID + `","Name":"deploy"}`}
	for _, test := range []struct {
		args      string
		replies   map[string]string
		code      int
		out, errs string
		asked     string
	}{
		{"event -name deploy", replies, 0, "Event ID: " + someID + "\n", "", "PUT /v1/event/fire/deploy"},
		{"event -name=deploy -datacenter=b -node=n -service=s -tag=t pay", replies, 0, "Event ID: " + someID + "\n", "",
			"PUT /v1/event/fire/deploy?dc=b&node=n&service=s&tag=t\npay"},
		{"event", nil, 1, "", "Event name must be specified\n", ""},
		{"event -name deploy a b", nil, 1, "", "Too many arguments (expected 1, got 2)\n", ""},
		{"event -name deploy -tag t", nil, 1, "", "Cannot provide tag filter without service filter.\n", ""},
		{"event -name deploy -node (", nil, 1, "", "Failed to compile node filter regexp: error parsing regexp: missing closing ): `(`\n", ""},
		{"event -name deploy", map[string]string{"PUT /v1/event/fire/deploy": "500 No path to datacenter"}, 1, "",
			"Error firing event: Unexpected response code: 500 (No path to datacenter)\n", "PUT /v1/event/fire/deploy"},
	} {
		t.Run(test.args, func(t *testing.T) {
			agent := &clitest.Agent{Replies: test.replies}
			got := clitest.Run(t, verbs(), agent, "", strings.Fields(test.args)...)
			if want := (clitest.Result{Out: test.out, Err: test.errs, Code: test.code}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if asked := strings.Join(agent.Requests(), " | "); asked != test.asked {
				t.Errorf("asked %q, want %q", asked, test.asked)
			}
		})
	}
}
