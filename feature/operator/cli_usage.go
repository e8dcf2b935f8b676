package operator

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

// usageVerbs are the commands that count.
func usageVerbs() []cli.Verb {
	return []cli.Verb{
		{Path: "operator usage", Summary: "Counts what the catalog holds", Help: `
Counts services and their instances.`},
		{Path: "operator usage instances", Summary: "Counts instances of services", Usage: "[options]", Flags: verbUsage, Help: `
Counts the services and their instances: those of applications ("billable"), without the servers themselves, and those of the
service mesh.`},
	}
}

func verbUsage(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	billable := set.Bool("billable", false, "Count those of applications only.")
	connect := set.Bool("connect", false, "Count those of the service mesh only.")
	everywhere := set.Bool("all-datacenters", false, "Count in all datacenters.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		options := client.Query()
		options.Global = *everywhere
		found, _, err := agent.Operator().Usage(options)
		if err != nil {
			return c.Fail("Error fetching usage information: %s", err)
		}
		both := !*billable && !*connect
		dcs := slices.Sorted(maps.Keys(found.Usage))
		total := 0
		for _, dc := range dcs {
			total += found.Usage[dc].BillableServiceInstances
		}
		if both || *billable {
			c.Say("Billable Service Instances Total: %d", total)
			for _, dc := range dcs {
				c.Say("%s Billable Service Instances: %d", dc, found.Usage[dc].BillableServiceInstances)
			}
			c.Say("\nBillable Services")
			fmt.Fprint(c.Out, cli.Columns(billableRows(dcs, found.Usage, *everywhere)))
		}
		if both {
			c.Say("")
		}
		if both || *connect {
			c.Say("Connect Services")
			fmt.Fprint(c.Out, cli.Columns(connectRows(dcs, found.Usage, *everywhere)))
		}
		return 0
	}
}

// billableRows is the table of services of applications; many: one row for each datacenter, which is named.
func billableRows(dcs []string, found map[string]api.ServiceUsage, many bool) [][]string {
	rows := [][]string{heading(many, "Services", "Service instances")}
	for _, dc := range dcs {
		u := found[dc]
		rows = append(rows, cells(many, dc, strconv.Itoa(u.Services), strconv.Itoa(u.BillableServiceInstances)))
	}
	return rows
}

// connectRows is the table of instances of the service mesh by type.
func connectRows(dcs []string, found map[string]api.ServiceUsage, many bool) [][]string {
	rows := [][]string{heading(many, "Type", "Service instances")}
	for _, dc := range dcs {
		for _, kind := range slices.Sorted(maps.Keys(found[dc].ConnectServiceInstances)) {
			rows = append(rows, cells(many, dc, kind, strconv.Itoa(found[dc].ConnectServiceInstances[kind])))
		}
	}
	return rows
}

func heading(many bool, names ...string) []string { return cells(many, "Datacenter", names...) }

func cells(many bool, dc string, rest ...string) []string {
	if many {
		return append([]string{dc}, rest...)
	}
	return rest
}
