package operator

import (
	"encoding/json"
	"flag"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

// autopilotVerbs are the commands of autopilot.
func autopilotVerbs() []cli.Verb {
	return []cli.Verb{
		{Path: "operator autopilot", Summary: "How the servers do, and who may vote", Help: `
Autopilot adds servers that joined, gives them their vote when they are stable, and takes out those that left or failed.`},
		{Path: "operator autopilot get-config", Summary: "Shows the configuration", Usage: "[options]", Flags: verbGetConfig, Help: `
Shows autopilot's configuration.`},
		{Path: "operator autopilot set-config", Summary: "Changes the configuration", Usage: "[options]", Flags: verbSetConfig, Help: `
Changes what is given and leaves the rest as it is.

    $ {name} operator autopilot set-config -min-quorum=3`},
		{Path: "operator autopilot state", Summary: "Shows how the servers do", Usage: "[options]", Flags: verbState, Help: `
Shows each server as the leader sees it, and how many may fail.`},
	}
}

func verbGetConfig(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		conf, err := agent.Operator().AutopilotGetConfiguration(client.Query())
		if err != nil {
			return c.Fail("Error querying Autopilot configuration: %s", err)
		}
		c.Say("CleanupDeadServers = %v", conf.CleanupDeadServers)
		c.Say("LastContactThreshold = %v", conf.LastContactThreshold)
		c.Say("MaxTrailingLogs = %v", conf.MaxTrailingLogs)
		c.Say("MinQuorum = %v", conf.MinQuorum)
		c.Say("ServerStabilizationTime = %v", conf.ServerStabilizationTime)
		c.Say("RedundancyZoneTag = %q", conf.RedundancyZoneTag)
		c.Say("DisableUpgradeMigration = %v", conf.DisableUpgradeMigration)
		c.Say("UpgradeVersionTag = %q", conf.UpgradeVersionTag)
		return 0
	}
}

func verbSetConfig(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	given := new(api.AutopilotConfiguration)
	var contact, stable time.Duration
	set.BoolVar(&given.CleanupDeadServers, "cleanup-dead-servers", false, "Take servers that failed out of Raft: true or false.")
	set.DurationVar(&contact, "last-contact-threshold", 0, "How long ago a healthy server may have heard from the leader.")
	set.Uint64Var(&given.MaxTrailingLogs, "max-trailing-logs", 0, "How many `entries` a healthy server may be behind.")
	set.UintVar(&given.MinQuorum, "min-quorum", 0, "How many `voters` are left at least when failed servers are taken out.")
	set.DurationVar(&stable, "server-stabilization-time", 0, "How long a new server must be healthy to get its vote.")
	set.StringVar(&given.RedundancyZoneTag, "redundancy-zone-tag", "", "Kept, without effect: the `tag` of a zone in Consul Enterprise.")
	set.BoolVar(&given.DisableUpgradeMigration, "disable-upgrade-migration", false, "Kept, without effect: of Consul Enterprise.")
	set.StringVar(&given.UpgradeVersionTag, "upgrade-version-tag", "", "Kept, without effect: the `tag` of a version in Consul Enterprise.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		conf, err := agent.Operator().AutopilotGetConfiguration(nil)
		if err != nil {
			return c.Fail("Error querying Autopilot configuration: %s", err)
		}
		take := map[string]func(){
			"cleanup-dead-servers":      func() { conf.CleanupDeadServers = given.CleanupDeadServers },
			"last-contact-threshold":    func() { conf.LastContactThreshold = api.NewReadableDuration(contact) },
			"max-trailing-logs":         func() { conf.MaxTrailingLogs = given.MaxTrailingLogs },
			"min-quorum":                func() { conf.MinQuorum = given.MinQuorum },
			"server-stabilization-time": func() { conf.ServerStabilizationTime = api.NewReadableDuration(stable) },
			"redundancy-zone-tag":       func() { conf.RedundancyZoneTag = given.RedundancyZoneTag },
			"disable-upgrade-migration": func() { conf.DisableUpgradeMigration = given.DisableUpgradeMigration },
			"upgrade-version-tag":       func() { conf.UpgradeVersionTag = given.UpgradeVersionTag },
		}
		set.Visit(func(f *flag.Flag) {
			if does := take[f.Name]; does != nil {
				does()
			}
		})
		switch done, err := agent.Operator().AutopilotCASConfiguration(conf, nil); {
		case err != nil:
			return c.Fail("Error setting Autopilot configuration: %s", err)
		case !done:
			c.Say("Configuration could not be atomically updated, please try again")
			return 1
		}
		c.Say("Configuration updated!")
		return 0
	}
}

func verbState(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	format := set.String("format", "pretty", "How to print it: pretty or json.")
	return func(c *cli.Call) int {
		switch {
		case c.TooMany(0):
			return 1
		case *format != "pretty" && *format != "json":
			return c.Fail("Invalid format %q: use pretty or json", *format)
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		state, err := agent.Operator().AutopilotState(client.Query())
		if err != nil {
			return c.Fail("Error querying Autopilot state: %s", err)
		}
		if *format == "json" {
			text, err := json.MarshalIndent(state, "", "    ")
			if err != nil {
				return c.Fail("Error encoding the Autopilot state: %s", err)
			}
			c.Say("%s", text)
			return 0
		}
		printState(c, state)
		return 0
	}
}

func printState(c *cli.Call, state *api.AutopilotState) {
	c.Say("Healthy:                      %t", state.Healthy)
	c.Say("Failure Tolerance:            %d", state.FailureTolerance)
	c.Say("Optimistic Failure Tolerance: %d", state.OptimisticFailureTolerance)
	c.Say("Leader:                       %s", state.Leader)
	c.Say("Voters:")
	for _, id := range state.Voters {
		c.Say("   %s", id)
	}
	if len(state.ReadReplicas) > 0 {
		c.Say("Read Replicas:")
		for _, id := range state.ReadReplicas {
			c.Say("   %s", id)
		}
	}
	c.Say("Servers:")
	for _, id := range slices.Sorted(maps.Keys(state.Servers)) {
		s := state.Servers[id]
		c.Say("   %s", id)
		for _, line := range []struct {
			label string
			value any
		}{{"Name", s.Name}, {"Address", s.Address}, {"Version", s.Version}, {"Status", s.Status}, {"Node Type", s.NodeType},
			{"Node Status", s.NodeStatus}, {"Healthy", s.Healthy}, {"Last Contact", s.LastContact}, {"Last Term", s.LastTerm},
			{"Last Index", s.LastIndex}} {
			c.Say("      %-16s %v", line.label+":", line.value)
		}
		if len(s.Meta) > 0 {
			c.Say("      Meta")
			for _, key := range slices.Sorted(maps.Keys(s.Meta)) {
				c.Say("         %q: %q", key, s.Meta[key])
			}
		}
	}
}
