package catalog

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

// verbs returns the commands that list the catalog.
func verbs() []cli.Verb {
	return []cli.Verb{
		{Path: "catalog", Summary: "Lists datacenters, nodes and services", Help: `
Lists what the catalog knows:

    $ {name} catalog datacenters
    $ {name} catalog nodes -service=web
    $ {name} catalog services -tags`},
		{Path: "catalog datacenters", Summary: "Lists the known datacenters", Usage: "[options]", Flags: verbDatacenters, Help: `
Prints the name of each datacenter known to the servers, the nearest first.`},
		{Path: "catalog nodes", Summary: "Lists the nodes", Usage: "[options]", Flags: verbNodes, Help: `
Prints a table of the nodes, of one service or with certain metadata if asked.

    $ {name} catalog nodes -detailed -node-meta=rack=b2`},
		{Path: "catalog services", Summary: "Lists the services", Usage: "[options]", Flags: verbServices, Also: []string{"services list", "services show"},
			Help: `
Prints the names of the services, of one node if asked.

    $ {name} catalog services -node=web-1 -tags`},
	}
}

func verbDatacenters(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		names, err := agent.Catalog().Datacenters()
		if err != nil {
			return c.Fail("Error listing datacenters: %s", err)
		}
		for _, name := range names {
			c.Say("%s", name)
		}
		return 0
	}
}

func verbNodes(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	detailed := set.Bool("detailed", false, "Print whole IDs, tagged addresses and metadata.")
	filter := set.String("filter", "", "`Expression` that nodes must match; @FILE and - as in kv put.")
	near := set.String("near", "", "`Node` from which to sort by distance; _agent is the one asked.")
	service := set.String("service", "", "`Name` of a service that the nodes must run.")
	var meta cli.Pairs
	set.Var(&meta, "node-meta", "Metadata `key=value` that the nodes must have; may be repeated.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		options := client.Query()
		options.Near, options.NodeMeta = *near, meta
		if *filter != "" {
			text, err := c.Data(*filter)
			if err != nil {
				return c.Fail("Error reading filter: %s", err)
			}
			options.Filter = string(text)
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		nodes, err := listNodes(agent.Catalog(), *service, options)
		if err != nil {
			return c.Fail("Error listing nodes: %s", err)
		}
		if len(nodes) == 0 {
			c.Fail("No nodes match the given query - try expanding your search.")
			return 0
		}
		fmt.Fprint(c.Out, cli.Columns(nodeRows(nodes, *detailed)))
		return 0
	}
}

// listNodes returns all nodes, or those that run a service, each once, in the order of the answer.
func listNodes(catalog *api.Catalog, service string, options *api.QueryOptions) ([]*api.Node, error) {
	if service == "" {
		nodes, _, err := catalog.Nodes(options)
		return nodes, err
	}
	instances, _, err := catalog.Service(service, "", options)
	if err != nil {
		return nil, err
	}
	var nodes []*api.Node
	seen := map[string]bool{}
	for _, s := range instances {
		if seen[s.Node] {
			continue
		}
		seen[s.Node] = true
		nodes = append(nodes, &api.Node{
			ID: s.ID, Node: s.Node, Address: s.Address, Datacenter: s.Datacenter,
			TaggedAddresses: s.TaggedAddresses, Meta: s.NodeMeta,
		})
	}
	return nodes, nil
}

// nodeRows is the table of nodes with its header.
func nodeRows(nodes []*api.Node, detailed bool) [][]string {
	if detailed {
		rows := [][]string{{"Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"}}
		for _, n := range nodes {
			rows = append(rows, []string{n.Node, n.ID, n.Address, n.Datacenter, joinMap(n.TaggedAddresses), joinMap(n.Meta)})
		}
		return rows
	}
	rows := [][]string{{"Node", "ID", "Address", "DC"}}
	for _, n := range nodes {
		id, _, _ := strings.Cut(n.ID, "-")
		rows = append(rows, []string{n.Node, id, n.Address, n.Datacenter})
	}
	return rows
}

// joinMap prints a map as "k=v, k=v", sorted by key.
func joinMap(m map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, key+"="+m[key])
	}
	return strings.Join(parts, ", ")
}

func verbServices(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	node := set.String("node", "", "`ID or name` of a node whose services to list.")
	tags := set.Bool("tags", false, "Print the tags of each service too.")
	var meta cli.Pairs
	set.Var(&meta, "node-meta", "Metadata `key=value` that the services' nodes must have; may be repeated.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		options := client.Query()
		options.NodeMeta = meta
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		services, err := listServices(agent.Catalog(), *node, options)
		if err != nil {
			return c.Fail("Error listing services: %s", err)
		}
		if len(services) == 0 {
			c.Fail("No services match the given query - try expanding your search.")
			return 0
		}
		names := slices.Sorted(maps.Keys(services))
		if !*tags {
			for _, name := range names {
				c.Say("%s", name)
			}
			return 0
		}
		var rows [][]string
		for _, name := range names {
			sorted := slices.Sorted(slices.Values(services[name]))
			rows = append(rows, []string{name, strings.Join(sorted, ",")})
		}
		if err := cli.Tabs(c.Out, rows); err != nil {
			return c.Fail("Error rendering services: %s", err)
		}
		return 0
	}
}

// listServices returns the tags of each service, of all nodes or of one; the tags of a node's instances are united.
func listServices(catalog *api.Catalog, node string, options *api.QueryOptions) (map[string][]string, error) {
	if node == "" {
		services, _, err := catalog.Services(options)
		return services, err
	}
	answer, _, err := catalog.Node(node, options)
	if err != nil || answer == nil {
		return nil, err
	}
	services := map[string][]string{}
	for _, s := range answer.Services {
		all := append(slices.Clone(services[s.Service]), s.Tags...)
		slices.Sort(all)
		services[s.Service] = slices.Compact(all)
	}
	return services, nil
}
