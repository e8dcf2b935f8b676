package operator

import (
	"strings"
	"testing"

	"rostra/kit/cli/clitest"
)

const (
	peersListed = `{"Servers":[{"ID":"99cb53cf-6a9e-8b71-d49e-88ddda8c806c","Node":"srv1","Address":"127.0.0.1:31300","Leader":true,"ProtocolVersion":"3","Voter":true,"LastIndex":60},
 {"ID":"a","Node":"srv2","Address":"127.0.0.2:8300","ProtocolVersion":"3","Voter":true,"LastIndex":59},
 {"ID":"b","Node":"(unknown)","Address":"127.0.0.3:8300","ProtocolVersion":"","Voter":false,"LastIndex":0}],"Index":0}`
	peersOld = `{"Servers":[{"ID":"a","Node":"x","Address":"y","Leader":true,"ProtocolVersion":"3","Voter":true},
 {"ID":"b","Node":"x","Address":"z","ProtocolVersion":"3","Voter":true,"LastIndex":3}],"Index":0}`
	configShown = `{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":4,"ModifyIndex":7}`
	configSent  = `{"CleanupDeadServers":false,"LastContactThreshold":"1.5s","MaxTrailingLogs":250,"MinQuorum":3,"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"v","CreateIndex":4,"ModifyIndex":7}`
	stateShown  = `{"Healthy":true,"FailureTolerance":1,"OptimisticFailureTolerance":1,"Servers":{"s1":{"ID":"s1","Name":"srv1","Address":"10.4.0.1:8300","NodeStatus":"alive","Version":"1.21.4","LastContact":"0s","LastTerm":2,"LastIndex":341,"Healthy":true,"StableSince":"2026-11-23T02:39:01.343332563Z","ReadReplica":false,"Status":"leader","Meta":{"rack":"b2","a":"1"},"NodeType":"voter"},
 "s2":{"ID":"s2","Name":"srv2","NodeStatus":"alive","LastContact":"12ms","ReadReplica":true,"Status":"non-voter","NodeType":"read-replica"}},"Leader":"s1","Voters":["s1"],"ReadReplicas":["s2"]}`
	usageShown = `{"Usage":{"dc1":{"Services":10,"ServiceInstances":12,"ConnectServiceInstances":{"connect-proxy":2,"mesh-gateway":1},"BillableServiceInstances":9,"Nodes":2},"ams1":{"Services":1,"BillableServiceInstances":1}}}`
)

const stateText = `Healthy:                      true
Failure Tolerance:            1
Optimistic Failure Tolerance: 1
Leader:                       s1
Voters:
   s1
Read Replicas:
   s2
Servers:
   s1
      Name:            srv1
      Address:         10.4.0.1:8300
      Version:         1.21.4
      Status:          leader
      Node Type:       voter
      Node Status:     alive
      Healthy:         true
      Last Contact:    0s
      Last Term:       2
      Last Index:      341
      Meta
         "a": "1"
         "rack": "b2"
   s2
      Name:            srv2
      Address:         
      Version:         
      Status:          non-voter
      Node Type:       read-replica
      Node Status:     alive
      Healthy:         false
      Last Contact:    12ms
      Last Term:       0
      Last Index:      0
`

type cliTest struct {
	args      string
	replies   map[string]string
	code      int
	out, errs string
	asked     string
}

func TestRaftCLI(t *testing.T) {
	const peers, peer, transfer = "GET /v1/operator/raft/configuration", "DELETE /v1/operator/raft/peer", "POST /v1/operator/raft/transfer-leader"
	runCLI(t, []cliTest{
		{"operator raft list-peers -stale", map[string]string{peers: peersListed}, 0, `Node       ID                                    Address          State     Voter  RaftProtocol  Commit Index  Trails Leader By
srv1       99cb53cf-6a9e-8b71-d49e-88ddda8c806c  127.0.0.1:31300  leader    true   3             60            -
srv2       a                                     127.0.0.2:8300   follower  true   3             59            1 commit
(unknown)  b                                     127.0.0.3:8300   follower  false  <=1           0             60 commits
`, "", peers + "?stale="},
		{"operator raft list-peers", map[string]string{peers: peersOld}, 0, `Node  ID  Address  State     Voter  RaftProtocol  Commit Index  Trails Leader By
x     a   y        leader    true   3             0             -
x     b   z        follower  true   3             3             -
`, "", peers},
		{"operator raft list-peers", map[string]string{peers: "500 No cluster leader"}, 1, "",
			"Error getting peers: Failed to retrieve raft configuration: Unexpected response code: 500 (No cluster leader)\n", peers},
		{"operator raft remove-peer -address=127.0.0.3:8300", map[string]string{peer: ""}, 0, "Removed peer with address \"127.0.0.3:8300\"\n", "",
			peer + "?address=127.0.0.3%3A8300"},
		{"operator raft remove-peer -id b", map[string]string{peer: ""}, 0, "Removed peer with id \"b\"\n", "", peer + "?id=b"},
		{"operator raft remove-peer -id b", map[string]string{peer: "500 no"}, 1, "", "Error removing peer: Unexpected response code: 500 (no)\n", peer + "?id=b"},
		{"operator raft remove-peer", nil, 1, "", "Error removing peer: an address or id is required for the peer to remove\n", ""},
		{"operator raft remove-peer -id=a -address=b", nil, 1, "", "Error removing peer: cannot give both an address and id\n", ""},
		{"operator raft transfer-leader -id=a", map[string]string{transfer: `{"Success":true}`}, 0, "Success\n", "", transfer + "?id=a"},
		{"operator raft transfer-leader", map[string]string{transfer: "500 cannot find peer"}, 1, "",
			"Error transferring leadership: Unexpected response code: 500 (cannot find peer)\n", transfer},
		{"operator raft transfer-leader x", nil, 1, "", "Too many arguments (expected 0, got 1)\n", ""},
	})
}

func TestAutopilotCLI(t *testing.T) {
	const config, health = "/v1/operator/autopilot/configuration", "GET /v1/operator/autopilot/state"
	both := func(put string) map[string]string {
		return map[string]string{"GET " + config: configShown, "PUT " + config: put}
	}
	runCLI(t, []cliTest{
		{"operator autopilot get-config", both(""), 0, `CleanupDeadServers = true
LastContactThreshold = 200ms
MaxTrailingLogs = 250
MinQuorum = 0
ServerStabilizationTime = 10s
RedundancyZoneTag = ""
DisableUpgradeMigration = false
UpgradeVersionTag = ""
`, "", "GET " + config},
		{"operator autopilot set-config -cleanup-dead-servers=false -min-quorum 3 -last-contact-threshold 1500ms -upgrade-version-tag v", both("true"), 0,
			"Configuration updated!\n", "", "GET " + config + " | PUT " + config + "?cas=7\n" + configSent},
		{"operator autopilot set-config", both("false"), 1, "Configuration could not be atomically updated, please try again\n", "",
			"GET " + config + " | PUT " + config + "?cas=7\n" + configShown},
		{"operator autopilot set-config", both("500 no"), 1, "", "Error setting Autopilot configuration: Unexpected response code: 500 (no)\n",
			"GET " + config + " | PUT " + config + "?cas=7\n" + configShown},
		{"operator autopilot state", map[string]string{health: stateShown}, 0, stateText, "", health},
		{"operator autopilot state -format=xml", nil, 1, "", "Invalid format \"xml\": use pretty or json\n", ""},
		{"operator autopilot state", nil, 1, "", "Error querying Autopilot state: Unexpected response code: 404 ()\n", health},
	})
	got := clitest.Run(t, Room.Verbs, &clitest.Agent{Replies: map[string]string{health: stateShown}}, "", "operator", "autopilot", "state", "-format=json")
	if got.Code != 0 || !strings.HasPrefix(got.Out, "{\n    \"Healthy\": true,\n") || !strings.Contains(got.Out, `"StableSince": "2026-11-23T02:39:01.343332563Z"`) {
		t.Errorf("%+v", got)
	}
}

func TestUsageCLI(t *testing.T) {
	const usage = "GET /v1/operator/usage"
	one := map[string]string{usage: strings.Replace(usageShown, `,"ams1":{"Services":1,"BillableServiceInstances":1}`, "", 1)}
	connect := "Connect Services\nType           Service instances\nconnect-proxy  2\nmesh-gateway   1\n"
	runCLI(t, []cliTest{
		{"operator usage instances", one, 0, "Billable Service Instances Total: 9\ndc1 Billable Service Instances: 9\n\nBillable Services\n" +
			"Services  Service instances\n10        9\n\n" + connect, "", usage},
		{"operator usage instances -connect", one, 0, connect, "", usage},
		{"operator usage instances -billable -all-datacenters", map[string]string{usage: usageShown}, 0, "Billable Service Instances Total: 10\n" +
			"ams1 Billable Service Instances: 1\ndc1 Billable Service Instances: 9\n\nBillable Services\n" +
			"Datacenter  Services  Service instances\nams1        1         1\ndc1         10        9\n", "", usage + "?global="},
		{"operator usage instances", nil, 1, "", "Error fetching usage information: Unexpected response code: 404 ()\n", usage},
	})
}

func runCLI(t *testing.T, tests []cliTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			agent := &clitest.Agent{Replies: test.replies}
			got := clitest.Run(t, Room.Verbs, agent, "", strings.Fields(test.args)...)
			if want := (clitest.Result{Out: test.out, Err: test.errs, Code: test.code}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if asked := strings.Join(agent.Requests(), " | "); asked != test.asked {
				t.Errorf("asked %q, want %q", asked, test.asked)
			}
		})
	}
}
