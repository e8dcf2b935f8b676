package operator

import (
	"flag"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

// keyringVerbs are the commands of the keyring.
func keyringVerbs() []cli.Verb {
	return []cli.Verb{{Path: "keyring", Summary: "Manages the keys that encrypt gossip", Usage: "[options]", Flags: verbKeyring, Help: `
Shows and changes the keys of all agents in all datacenters. To change the key:

    $ {name} keyring -install "$NEW"    all agents understand it
    $ {name} keyring -use "$NEW"        all agents encrypt with it
    $ {name} keyring -remove "$OLD"     nobody understands the old one any more

If a step fails for some agent, repeat it before you take the next.`}}
}

func verbKeyring(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	cli.IgnoreRPC(set)
	keys := map[string]*string{
		"install": set.String("install", "", "Add this `key` to all agents."),
		"use":     set.String("use", "", "Encrypt with this `key`, which all agents have."),
		"remove":  set.String("remove", "", "Remove this `key` from all agents; not the one that encrypts."),
	}
	list := set.Bool("list", false, "List all keys.")
	primary := set.Bool("list-primary", false, "List the keys that encrypt.")
	relay := set.Int("relay-factor", 0, "How `many` other agents, 0 to 5, carry each answer as well.")
	local := set.Bool("local-only", false, "List those of the agents of this datacenter only.")
	return func(c *cli.Call) int {
		var chosen []string
		for _, name := range slices.Sorted(maps.Keys(keys)) {
			if *keys[name] != "" {
				chosen = append(chosen, name)
			}
		}
		n := len(chosen)
		for _, is := range []bool{*list, *primary} {
			if is {
				n++
			}
		}
		switch {
		case c.TooMany(0):
			return 1
		case n != 1:
			return c.Fail("Only a single action is allowed: give one of -install, -use, -remove, -list and -list-primary")
		case *relay < 0 || *relay > maxRelay:
			return c.Fail("Error parsing relay factor: Relay factor must be in range: [0, %d]", maxRelay)
		case *local && len(chosen) > 0:
			return c.Fail("Error validating local-only: local-only can only be set for list requests")
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		if len(chosen) > 0 {
			return changeKeys(c, agent.Operator(), chosen[0], *keys[chosen[0]], uint8(*relay))
		}
		return listKeys(c, agent.Operator(), *primary, &api.QueryOptions{RelayFactor: uint8(*relay), LocalOnly: *local})
	}
}

func changeKeys(c *cli.Call, o *api.Operator, name, key string, relay uint8) int {
	options := &api.WriteOptions{RelayFactor: relay}
	action := map[string]struct {
		says string
		does func(string, *api.WriteOptions) error
	}{
		"install": {"Installing new gossip encryption key...", o.KeyringInstall},
		"use":     {"Changing primary gossip encryption key...", o.KeyringUse},
		"remove":  {"Removing gossip encryption key...", o.KeyringRemove},
	}[name]
	c.Say("==> %s", action.says)
	if err := action.does(key, options); err != nil {
		return c.Fail("error: %s", err)
	}
	return 0
}

func listKeys(c *cli.Call, o *api.Operator, primary bool, options *api.QueryOptions) int {
	kind := ""
	if primary {
		kind = "primary "
	}
	c.Say("==> Gathering installed %sencryption keys...", kind)
	pools, err := o.KeyringList(options)
	if err != nil {
		return c.Fail("error: %s", err)
	}
	for _, p := range pools {
		name, keys := p.Datacenter+" (LAN)", p.Keys
		if p.WAN {
			name = "WAN"
		}
		if primary {
			keys = p.PrimaryKeys
		}
		fmt.Fprintf(c.Out, "\n%s:\n", name)
		for _, node := range slices.Sorted(maps.Keys(p.Messages)) {
			c.Say("  ===> %s: %s", node, p.Messages[node])
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			c.Say("  %s [%d/%d]", key, keys[key], p.NumNodes)
		}
	}
	return 0
}
