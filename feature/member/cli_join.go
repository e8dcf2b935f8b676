package member

import (
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

func verbJoin(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	cli.IgnoreRPC(set)
	wan := set.Bool("wan", false, "Join servers of another datacenter; the agent must be a server.")
	return func(c *cli.Call) int {
		if len(c.Args) == 0 {
			return c.Fail("At least one address to join must be specified.")
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		joined := 0
		for _, addr := range c.Args {
			if err := agent.Agent().Join(addr, *wan); err != nil {
				fmt.Fprintf(c.Err, "Error joining address '%s': %s\n", addr, err)
				continue
			}
			joined++
		}
		if joined == 0 {
			return c.Fail("Failed to join any nodes.")
		}
		c.Say("Successfully joined cluster by contacting %d nodes.", joined)
		return 0
	}
}

func verbForceLeave(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	cli.IgnoreRPC(set)
	options := api.ForceLeaveOpts{}
	set.BoolVar(&options.Prune, "prune", false, "Take it off the list of members at once, also if it has left already.")
	set.BoolVar(&options.WAN, "wan", false, "NAME is that of a server in the pool between datacenters, node.datacenter.")
	return func(c *cli.Call) int {
		if len(c.Args) != 1 {
			return c.Fail("A single node name must be specified to force leave.")
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		if err := agent.Agent().ForceLeaveOptions(c.Args[0], options, nil); err != nil {
			return c.Fail("Error force leaving: %s", err)
		}
		return 0
	}
}

// keyBytes make an AES-256 key.
const keyBytes = 32

func verbKeygen(*flag.FlagSet) func(*cli.Call) int {
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		var key [keyBytes]byte
		rand.Read(key[:]) // crypto/rand does not fail
		c.Say("%s", base64.StdEncoding.EncodeToString(key[:]))
		return 0
	}
}
