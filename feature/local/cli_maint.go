package local

import (
	"cmp"
	"flag"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

// maintFlags are the flags of maint that say what to do; none of them means to list.
type maintFlags struct {
	enable, disable bool
	service, reason string
}

func verbMaint(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	f := new(maintFlags)
	set.BoolVar(&f.enable, "enable", false, "Take the node, or the service of -service, out of use.")
	set.BoolVar(&f.disable, "disable", false, "Take it back into use.")
	set.StringVar(&f.service, "service", "", "`ID` of the service that is meant; without it, the whole node.")
	set.StringVar(&f.reason, "reason", "", "`Text` that says why, for -enable.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		if wrong := f.wrong(); wrong != "" {
			return c.Fail("%s", wrong)
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		if f.enable || f.disable {
			return f.change(c, agent.Agent())
		}
		return listMaintenance(c, agent.Agent())
	}
}

// wrong returns what contradicts itself in the flags; "" if nothing does.
func (f *maintFlags) wrong() string {
	switch {
	case f.enable && f.disable:
		return "Give either -enable or -disable, not both"
	case f.reason != "" && !f.enable:
		return "-reason is of use with -enable only"
	case f.service != "" && !f.enable && !f.disable:
		return "-service needs -enable or -disable"
	}
	return ""
}

// change switches maintenance on or off and says so.
func (f *maintFlags) change(c *cli.Call, agent *api.Agent) int {
	doing, done := "disabling", "disabled"
	if f.enable {
		doing, done = "enabling", "enabled"
	}
	var err error
	switch {
	case f.service == "" && f.enable:
		err = agent.EnableNodeMaintenance(f.reason)
	case f.service == "":
		err = agent.DisableNodeMaintenance()
	case f.enable:
		err = agent.EnableServiceMaintenance(f.service, f.reason)
	default:
		err = agent.DisableServiceMaintenance(f.service)
	}
	switch {
	case err != nil && f.service != "":
		return c.Fail("Error %s service maintenance: %s", doing, err)
	case err != nil:
		return c.Fail("Error %s node maintenance: %s", doing, err)
	case f.service != "":
		c.Say("Service maintenance is now %s for %q", done, f.service)
	default:
		c.Say("Node maintenance is now %s", done)
	}
	return 0
}

// listMaintenance prints a block for the node, if it is out of use, and one for each service that is, by ID.
func listMaintenance(c *cli.Call, agent *api.Agent) int {
	checks, err := agent.Checks()
	if err != nil {
		return c.Fail("Error querying Consul agent: %s", err)
	}
	var services []*api.AgentCheck
	for id, check := range checks {
		switch {
		case id == api.NodeMaint:
			c.Say("Node:\n  Name:   %s\n  Reason: %s\n", check.Node, check.Notes)
		case strings.HasPrefix(id, api.ServiceMaintPrefix):
			services = append(services, check)
		}
	}
	slices.SortFunc(services, func(a, b *api.AgentCheck) int { return cmp.Compare(a.ServiceID, b.ServiceID) })
	for _, check := range services {
		c.Say("Service:\n  ID:     %s\n  Reason: %s\n", check.ServiceID, check.Notes)
	}
	return 0
}
