package operator

import (
	"flag"
	"fmt"
	"strconv"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

// raftVerbs are the commands about the servers in Raft, and the group they belong to.
func raftVerbs() []cli.Verb {
	return []cli.Verb{
		{Path: "operator", Summary: "Tools for those who run the servers", Help: `
Shows and changes the group of servers.

    $ {name} operator raft list-peers
    $ {name} operator autopilot state`},
		{Path: "operator raft", Summary: "The servers that keep the log", Help: `
Shows who keeps the replicated log and who leads, takes a server out, hands leadership over.`},
		{Path: "operator raft list-peers", Summary: "Lists the servers in Raft", Usage: "[options]", Flags: verbListPeers, Help: `
Lists the servers that keep the log, with the index of the newest entry of each. With -stale any server answers, also while
none leads.`},
		{Path: "operator raft remove-peer", Summary: "Takes a server out of Raft", Usage: "[options]", Flags: verbRemovePeer, Help: `
Takes out a server that will not come back. One that lives and is known to gossip is added again by autopilot: let it leave
instead. It is refused if too few of the others are alive to decide without it.

    $ {name} operator raft remove-peer -id 3c4f2c01-ff05-3647-b87b-669835666421`},
		{Path: "operator raft transfer-leader", Summary: "Hands leadership to another server", Usage: "[options]", Flags: verbTransfer, Help: `
Lets another server lead, the one that is furthest unless -id names one. Writes wait for a moment.`},
	}
}

func verbListPeers(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		list, err := agent.Operator().RaftGetConfiguration(client.Query())
		if err != nil {
			return c.Fail("Error getting peers: Failed to retrieve raft configuration: %v", err)
		}
		fmt.Fprint(c.Out, cli.Columns(peerRows(list.Servers)))
		return 0
	}
}

// peerRows is the table of servers with its header.
func peerRows(servers []*api.RaftServer) [][]string {
	rows := [][]string{{"Node", "ID", "Address", "State", "Voter", "RaftProtocol", "Commit Index", "Trails Leader By"}}
	first := uint64(0) // of the leader
	for _, s := range servers {
		if s.Leader {
			first = s.LastIndex
		}
	}
	for _, s := range servers {
		protocol, state, trails := s.ProtocolVersion, "follower", "-"
		if protocol == "" {
			protocol = "<=1"
		}
		switch behind := first - min(first, s.LastIndex); {
		case s.Leader:
			state = "leader"
		case first == 0: // not known
		case behind == 1:
			trails = "1 commit"
		default:
			trails = fmt.Sprintf("%d commits", behind)
		}
		rows = append(rows, []string{s.Node, s.ID, s.Address, state, strconv.FormatBool(s.Voter), protocol, strconv.FormatUint(s.LastIndex, 10), trails})
	}
	return rows
}

func verbRemovePeer(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	address := set.String("address", "", "The server's `address`, IP:port.")
	id := set.String("id", "", "The server's `ID`.")
	return func(c *cli.Call) int {
		switch {
		case c.TooMany(0):
			return 1
		case *address == "" && *id == "":
			return c.Fail("Error removing peer: an address or id is required for the peer to remove")
		case *address != "" && *id != "":
			return c.Fail("Error removing peer: cannot give both an address and id")
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		kind, name := "id", *id
		if name != "" {
			err = agent.Operator().RaftRemovePeerByID(name, nil)
		} else {
			kind, name = "address", *address
			err = agent.Operator().RaftRemovePeerByAddress(name, nil)
		}
		if err != nil {
			return c.Fail("Error removing peer: %v", err)
		}
		c.Say("Removed peer with %s %q", kind, name)
		return 0
	}
}

func verbTransfer(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	id := set.String("id", "", "The `ID` of the server that shall lead.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		result, err := agent.Operator().RaftLeaderTransfer(*id, client.Query())
		switch {
		case err != nil:
			return c.Fail("Error transferring leadership: %s", err)
		case !result.Success:
			return c.Fail("Error transferring leadership: the agent says that it did not")
		}
		c.Say("Success")
		return 0
	}
}
