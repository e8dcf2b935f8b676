package member

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

// Verbs returns the commands about the agent asked and the members of its pool.
func Verbs() []cli.Verb {
	return []cli.Verb{
		{Path: "members", Summary: "Lists the members of the cluster", Usage: "[options]", Flags: verbMembers, Help: `
Prints a table of the members that the agent asked sees, servers first. The exit
code is 2 if no member matches.

    $ {name} members -status=failed`},
		{Path: "info", Summary: "Shows the state of the agent", Usage: "[options]", Flags: verbInfo, Help: `
Prints figures for operators: the agent's checks and services, who leads, Raft
and gossip.`},
		{Path: "join", Summary: "Makes the agent join a cluster", Usage: "[options] ADDRESS...", Flags: verbJoin, Help: `
Makes the agent asked join the cluster of the agents at the addresses. One that
answers is enough: it knows the others.

    $ {name} join 10.0.0.1 10.0.0.2:8301`},
		{Path: "force-leave", Summary: "Makes the cluster forget a failed member", Usage: "[options] NAME", Flags: verbForceLeave, Help: `
Says of a failed member that it has left and will not come back: it is no longer
dialled and is taken out of the catalog. One that is alive objects and stays.`},
		{Path: "keygen", Summary: "Makes a key for the encryption of gossip", Usage: "[options]", Flags: verbKeygen, Help: `
Prints a new key for the setting encrypt and for keyring -install.`},
		{Path: "leave", Summary: "Makes the agent leave the cluster and stop", Usage: "[options]", Flags: verbLeave, Help: `
Makes the agent leave the cluster in good order and then end. A node that left
is taken out of the catalog; it is not counted as failed.`},
		{Path: "reload", Summary: "Makes the agent read its configuration again", Usage: "[options]", Flags: verbReload, Help: `
Makes the agent read its configuration files again, as SIGHUP does, and reports
if they are not valid. Settings that only a start can change stay as they are.`},
	}
}

// exitNone is the exit code of members when nothing matches: scripts tell it from an error by it.
const exitNone = 2

func verbMembers(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	cli.IgnoreRPC(set)
	detailed := set.Bool("detailed", false, "Print each member's tags instead of the usual columns.")
	wan := set.Bool("wan", false, "List the servers of all datacenters.")
	status := set.String("status", ".*", "Regular `expression` for the status: alive, leaving, left, failed.")
	segment := set.String("segment", api.AllSegments, "`Name` of a network segment; there is only the default one.")
	filter := set.String("filter", "", "`Expression` that members must match; @FILE and - as in kv put.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		wanted, err := regexp.Compile(*status)
		if err != nil {
			return c.Fail("Failed to compile status regexp: %v", err)
		}
		options := api.MembersOpts{WAN: *wan, Segment: *segment}
		if *wan {
			options.Segment = "" // there are none between datacenters
		}
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
		members, err := agent.Agent().MembersOpts(options)
		if err != nil {
			return c.Fail("Error retrieving members: %s", err)
		}
		lines := memberLines(members, wanted)
		if len(lines) == 0 {
			return exitNone
		}
		fmt.Fprint(c.Out, cli.Columns(memberRows(lines, *detailed)))
		return 0
	}
}

// memberLine is a member as the table shows it.
type memberLine struct {
	name, address, status, kind, build, protocol, dc, partition, segment string

	server bool
	tags   map[string]string
}

// memberLines turns the members whose status is wanted into lines: servers first, then by segment, partition, name.
func memberLines(members []*api.AgentMember, wanted *regexp.Regexp) []memberLine {
	var lines []memberLine
	for _, m := range members {
		if line := newMemberLine(m); wanted.MatchString(line.status) {
			lines = append(lines, line)
		}
	}
	slices.SortStableFunc(lines, func(a, b memberLine) int {
		if a.server != b.server {
			if a.server {
				return -1
			}
			return 1
		}
		return cmp.Or(
			cmp.Compare(a.segment, b.segment), cmp.Compare(a.partition, b.partition), cmp.Compare(a.name, b.name))
	})
	return lines
}

func newMemberLine(m *api.AgentMember) memberLine {
	build, _, _ := strings.Cut(m.Tags["build"], ":")
	line := memberLine{
		name:      m.Name,
		address:   net.JoinHostPort(m.Addr, strconv.Itoa(int(m.Port))),
		status:    memberStatus(m.Status),
		kind:      "unknown",
		build:     cmp.Or(build, "unknown"),
		protocol:  cmp.Or(m.Tags["vsn"], strconv.Itoa(int(m.ProtocolCur))),
		dc:        m.Tags["dc"],
		partition: cmp.Or(m.Tags["ap"], "default"),
		segment:   cmp.Or(m.Tags["segment"], "<default>"),
	}
	switch m.Tags["role"] {
	case "consul":
		line.kind, line.server, line.segment = "server", true, "<all>"
	case "node":
		line.kind = "client"
	}
	line.tags = maps.Clone(m.Tags)
	if line.tags == nil {
		line.tags = map[string]string{}
	}
	line.tags["ap"], line.tags["segment"] = line.partition, line.segment
	return line
}

// memberStatus names a status of Serf.
func memberStatus(status int) string {
	names := []string{"none", "alive", "leaving", "left", "failed"}
	if status < 0 || status >= len(names) {
		return "unknown"
	}
	return names[status]
}

// memberRows is the table of members with its header. Columns 1 to 7 never move: scripts count them.
func memberRows(lines []memberLine, detailed bool) [][]string {
	if detailed {
		rows := [][]string{{"Node", "Address", "Status", "Tags"}}
		for _, l := range lines {
			var tags []string
			for _, key := range slices.Sorted(maps.Keys(l.tags)) {
				tags = append(tags, key+"="+l.tags[key])
			}
			rows = append(rows, []string{l.name, l.address, l.status, strings.Join(tags, ",")})
		}
		return rows
	}
	rows := [][]string{{"Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Partition", "Segment"}}
	for _, l := range lines {
		rows = append(rows, []string{l.name, l.address, l.status, l.kind, l.build, l.protocol, l.dc, l.partition, l.segment})
	}
	return rows
}

func verbInfo(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	cli.IgnoreRPC(set)
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		self, err := agent.Agent().Self()
		if err != nil {
			return c.Fail("Error querying agent: %s", err)
		}
		stats, ok := self["Stats"]
		if !ok {
			return c.Fail("Agent response did not contain 'Stats' key")
		}
		for _, section := range slices.Sorted(maps.Keys(stats)) {
			c.Say("%s:", section)
			values, ok := stats[section].(map[string]any)
			if !ok {
				return c.Fail("cannot read section %s of the agent's answer: it is no object", section)
			}
			for _, key := range slices.Sorted(maps.Keys(values)) {
				c.Say("\t%s = %v", key, values[key])
			}
		}
		return 0
	}
}

func verbLeave(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	cli.IgnoreRPC(set)
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		if err := agent.Agent().Leave(); err != nil {
			return c.Fail("Error leaving: %s", err)
		}
		c.Say("Graceful leave complete")
		return 0
	}
}

// verbReload takes and ignores arguments, as Consul's does.
func verbReload(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	cli.IgnoreRPC(set)
	return func(c *cli.Call) int {
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		if err := agent.Agent().Reload(); err != nil {
			return c.Fail("Error reloading: %s", err)
		}
		c.Say("Configuration reload triggered")
		return 0
	}
}
