package coordinate

import (
	"flag"
	"strings"

	"github.com/hashicorp/consul/api"

	"rostra/engine/gossip"
	"rostra/kit/cli"
)

func verbs() []cli.Verb {
	return []cli.Verb{{Path: "rtt", Summary: "Estimates the round-trip time between two nodes", Usage: "[options] NODE1 [NODE2]",
		Flags: verbRTT, Help: `
Prints the round-trip time between two nodes as their network coordinates have
it; nothing is measured now. Without NODE2 it is that to the agent asked.

    $ {name} rtt edge-7 db-1

With -wan the nodes are servers of any datacenters, written NODE.DATACENTER:

    $ {name} rtt -wan s1.ber1 s1.lon1`}}
}

func verbRTT(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	wan := set.Bool("wan", false, "Estimate between servers by the coordinates of the pool of all datacenters.")
	return func(c *cli.Call) int {
		if len(c.Args) < 1 || len(c.Args) > 2 {
			return c.Fail("One or two node names must be specified")
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		names := append([]string(nil), c.Args...)
		if len(names) == 1 {
			self, err := ownName(agent, *wan)
			if err != nil {
				return c.Fail("Unable to look up agent info: %s", err)
			}
			names = append(names, self)
		}
		known, source := map[string]*api.CoordinateEntry{}, "LAN"
		if *wan {
			source = "WAN"
			for _, name := range names {
				if node, dc, ok := strings.Cut(name, "."); !ok || node == "" || dc == "" {
					return c.Fail("Node names must be specified as <node name>.<datacenter> with -wan")
				}
			}
			err = readWAN(agent, known)
		} else {
			err = readLAN(agent, known)
		}
		if err != nil {
			return c.Fail("Error getting coordinates: %s", err)
		}
		var ends [2]*gossip.Coordinate
		for i, name := range names {
			if ends[i] = placeOf(known[name]); ends[i] == nil {
				return c.Fail("Could not find a coordinate for node %q", name)
			}
		}
		c.Say("Estimated %s <-> %s rtt: %.3f ms (using %s coordinates)", names[0], names[1],
			ends[0].Distance(ends[1]).Seconds()*1000, source)
		return 0
	}
}

// ownName returns the name of the agent's node, with -wan that of the server.
func ownName(agent *api.Client, wan bool) (string, error) {
	self, err := agent.Agent().Self()
	if err != nil {
		return "", err
	}
	text := func(key string) string { s, _ := self["Config"][key].(string); return s }
	if wan {
		return text("NodeName") + "." + text("Datacenter"), nil
	}
	return text("NodeName"), nil
}

func readLAN(agent *api.Client, known map[string]*api.CoordinateEntry) error {
	list, _, err := agent.Coordinate().Nodes(nil)
	for _, e := range list {
		known[e.Node] = e
	}
	return err
}

func readWAN(agent *api.Client, known map[string]*api.CoordinateEntry) error {
	list, err := agent.Coordinate().Datacenters()
	for _, dc := range list {
		for i := range dc.Coordinates {
			known[dc.Coordinates[i].Node+"."+dc.Datacenter] = &dc.Coordinates[i]
		}
	}
	return err
}

// placeOf returns the entry's coordinate, nil if there is none or it is not one of ours.
func placeOf(e *api.CoordinateEntry) *gossip.Coordinate {
	at := new(gossip.Coordinate)
	if e == nil || e.Coord == nil || len(e.Coord.Vec) != len(at.Vec) {
		return nil
	}
	copy(at.Vec[:], e.Coord.Vec)
	at.Error, at.Adjustment, at.Height = e.Coord.Error, e.Coord.Adjustment, e.Coord.Height
	return at
}
