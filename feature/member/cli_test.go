package member

import (
	"strings"
	"testing"

	"rostra/engine/gossip"
	"rostra/kit/cli/clitest"
)

const cliMembers = `[
 {"Name":"c1","Addr":"10.0.0.9","Port":8301,"Status":1,
  "Tags":{"role":"node","dc":"dc1","vsn":"2","build":"1.21.4","segment":""}},
 {"Name":"old","Addr":"10.0.0.8","Port":8301,"Status":4,"ProtocolCur":2,"Tags":null},
 {"Name":"srv2","Addr":"fd00::1","Port":8301,"Status":3,
  "Tags":{"role":"consul","dc":"dc1","vsn":"2","build":"1.21.4:","segment":""}},
 {"Name":"srv1","Addr":"127.0.0.1","Port":31301,"Status":1,
  "Tags":{"role":"consul","dc":"dc1","vsn":"2","build":"1.21.4criteo3:","segment":"","acls":"0","vsn_min":"2"}}]`

const cliMembersTable = `Node  Address          Status  Type     Build          Protocol  DC   Partition  Segment
srv1  127.0.0.1:31301  alive   server   1.21.4criteo3  2         dc1  default    <all>
srv2  [fd00::1]:8301   left    server   1.21.4         2         dc1  default    <all>
c1    10.0.0.9:8301    alive   client   1.21.4         2         dc1  default    <default>
old   10.0.0.8:8301    failed  unknown  unknown        2              default    <default>
`

// The block of the specification, seen on a live agent.
const cliMembersAlive = `Node  Address          Status  Type    Build          Protocol  DC   Partition  Segment
srv1  127.0.0.1:31301  alive   server  1.21.4criteo3  2         dc1  default    <all>
c1    10.0.0.9:8301    alive   client  1.21.4         2         dc1  default    <default>
`

const cliMembersDetailed = `Node  Address          Status  Tags
srv1  127.0.0.1:31301  alive   acls=0,ap=default,build=1.21.4criteo3:,dc=dc1,role=consul,segment=<all>,vsn=2,vsn_min=2
c1    10.0.0.9:8301    alive   ap=default,build=1.21.4,dc=dc1,role=node,segment=<default>,vsn=2
`

func TestCLI(t *testing.T) {
	members := map[string]string{"GET /v1/agent/members": cliMembers}
	const asked = "GET /v1/agent/members?segment=_all"
	for _, test := range []struct {
		args      string
		replies   map[string]string
		code      int
		out, errs string
		asked     string
	}{
		{"members", members, 0, cliMembersTable, "", asked},
		{"members -rpc-addr=127.0.0.1:8400 -status=alive", members, 0, cliMembersAlive, "", asked},
		{"members —detailed -status al", members, 0, cliMembersDetailed, "", asked},
		{"members -wan", members, 0, cliMembersTable, "", "GET /v1/agent/members?segment=&wan=1"},
		{"members -filter=Name==x -segment=", members, 0, cliMembersTable, "", "GET /v1/agent/members?filter=Name%3D%3Dx&segment="},
		{"members -filter -", members, 0, cliMembersTable, "", "GET /v1/agent/members?filter=from+stdin&segment=_all"},
		{"members -status=leaving", members, 2, "", "", asked},
		{"members", map[string]string{"GET /v1/agent/members": "[]"}, 2, "", "", asked},
		{"members -status=(", nil, 1, "", "Failed to compile status regexp: error parsing regexp: missing closing ): `(`\n", ""},
		{"members", map[string]string{"GET /v1/agent/members": "403 Permission denied"}, 1, "",
			"Error retrieving members: Unexpected response code: 403 (Permission denied)\n", asked},

		{"info", map[string]string{"GET /v1/agent/self": `{"Config":{},"Stats":{"raft":{"num_peers":"0","last_log_index":"61"},"agent":{"checks":"1"}}}`},
			0, "agent:\n\tchecks = 1\nraft:\n\tlast_log_index = 61\n\tnum_peers = 0\n", "", "GET /v1/agent/self"},
		{"info", map[string]string{"GET /v1/agent/self": `{"Config":{}}`}, 1, "",
			"Agent response did not contain 'Stats' key\n", "GET /v1/agent/self"},
		{"info", map[string]string{"GET /v1/agent/self": `{"Stats":{"raft":"x"}}`}, 1, "raft:\n",
			"cannot read section raft of the agent's answer: it is no object\n", "GET /v1/agent/self"},
		{"info x", nil, 1, "", "Too many arguments (expected 0, got 1)\n", ""},
		{"members x", nil, 1, "", "Too many arguments (expected 0, got 1)\n", ""},
		{"info", nil, 1, "", "Error querying agent: Unexpected response code: 404 ()\n", "GET /v1/agent/self"},

		{"join 10.0.0.1 10.0.0.2:9", map[string]string{"PUT /v1/agent/join/10.0.0.1": ""}, 0,
			"Successfully joined cluster by contacting 1 nodes.\n", "Error joining address '10.0.0.2:9': Unexpected response code: 404 ()\n",
			"PUT /v1/agent/join/10.0.0.1 | PUT /v1/agent/join/10.0.0.2:9"},
		{"join -wan a", map[string]string{"PUT /v1/agent/join/a": "500 no"}, 1, "",
			"Error joining address 'a': Unexpected response code: 500 (no)\nFailed to join any nodes.\n", "PUT /v1/agent/join/a?wan=1"},
		{"join", nil, 1, "", "At least one address to join must be specified.\n", ""},
		{"force-leave n1", map[string]string{"PUT /v1/agent/force-leave/n1": ""}, 0, "", "", "PUT /v1/agent/force-leave/n1"},
		{"force-leave -prune -wan n1.dc1", map[string]string{"PUT /v1/agent/force-leave/n1.dc1": ""}, 0, "", "",
			"PUT /v1/agent/force-leave/n1.dc1?prune=1&wan=1"},
		{"force-leave x", map[string]string{"PUT /v1/agent/force-leave/x": "500 agent: No node found with name 'x'"}, 1, "",
			"Error force leaving: Unexpected response code: 500 (agent: No node found with name 'x')\n", "PUT /v1/agent/force-leave/x"},
		{"force-leave", nil, 1, "", "A single node name must be specified to force leave.\n", ""},
		{"keygen x", nil, 1, "", "Too many arguments (expected 0, got 1)\n", ""},

		{"leave", map[string]string{"PUT /v1/agent/leave": ""}, 0, "Graceful leave complete\n", "", "PUT /v1/agent/leave"},
		{"leave x", nil, 1, "", "Too many arguments (expected 0, got 1)\n", ""},
		{"leave", map[string]string{"PUT /v1/agent/leave": "500 no"}, 1, "",
			"Error leaving: Unexpected response code: 500 (no)\n", "PUT /v1/agent/leave"},

		{"reload", map[string]string{"PUT /v1/agent/reload": ""}, 0, "Configuration reload triggered\n", "", "PUT /v1/agent/reload"},
		{"reload extra", map[string]string{"PUT /v1/agent/reload": ""}, 0, "Configuration reload triggered\n", "", "PUT /v1/agent/reload"},
		{"reload", map[string]string{"PUT /v1/agent/reload": "500 bad key"}, 1, "",
			"Error reloading: Unexpected response code: 500 (bad key)\n", "PUT /v1/agent/reload"},
	} {
		t.Run(test.args, func(t *testing.T) {
			agent := &clitest.Agent{Replies: test.replies}
			got := clitest.Run(t, Verbs(), agent, "from stdin", strings.Fields(test.args)...)
			if want := (clitest.Result{Out: test.out, Err: test.errs, Code: test.code}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if asked := strings.Join(agent.Requests(), " | "); asked != test.asked {
				t.Errorf("asked %q, want %q", asked, test.asked)
			}
		})
	}
}

func TestCLIHelp(t *testing.T) {
	for _, v := range Verbs() {
		got := clitest.Run(t, Verbs(), nil, "", v.Path, "-h")
		if got.Code != 0 || !strings.HasPrefix(got.Out, "Usage: consul "+v.Path+" ") || strings.Contains(got.Out, "{name}") {
			t.Errorf("%s -h: %+v", v.Path, got)
		}
		got = clitest.Run(t, Verbs(), nil, "", v.Path, "-no")
		if got.Code != 1 || !strings.HasPrefix(got.Err, "flag provided but not defined: -no\n") {
			t.Errorf("%s -no: %+v", v.Path, got)
		}
		if v.Path == "keygen" {
			continue
		}
		args := []string{v.Path}
		if v.Path == "join" || v.Path == "force-leave" {
			args = append(args, "x")
		}
		got = clitest.Run(t, Verbs(), nil, "", args...)
		if got.Code != 1 || !strings.Contains(got.Err, "connection refused") {
			t.Errorf("%s without agent: %+v", v.Path, got)
		}
	}
}

func TestKeygen(t *testing.T) {
	seen := map[string]bool{}
	for range 10 {
		got := clitest.Run(t, Verbs(), nil, "", "keygen")
		key, err := gossip.ParseKey(strings.TrimSuffix(got.Out, "\n"))
		if got.Code != 0 || err != nil || len(key) != 32 || seen[got.Out] {
			t.Errorf("%+v: %v", got, err)
		}
		seen[got.Out] = true
	}
}
