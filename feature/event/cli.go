package event

import (
	"flag"
	"regexp"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

func verbs() []cli.Verb {
	return []cli.Verb{{Path: "event", Summary: "Fires a user event", Usage: "[options] -name NAME [PAYLOAD]", Flags: verbEvent, Help: `
Sends a message to all agents of the datacenter, or to those that the filters
name. It arrives soon, at most once, in no order, and is not kept: an agent that
is away does not get it. Name, payload and filters together may have some 400
bytes. What arrived shows in /v1/event/list of each agent.

    $ {name} event -name deploy -service '^web' 1.4.2`}}
}

func verbEvent(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	name := set.String("name", "", "`Name` of the event.")
	node := set.String("node", "", "Regular `expression` that the names of the nodes must match.")
	service := set.String("service", "", "Regular `expression` that the ID of a service on the node must match.")
	tag := set.String("tag", "", "Regular `expression` that a tag of that service must match; needs -service.")
	return func(c *cli.Call) int {
		if *name == "" {
			return c.Fail("Event name must be specified")
		}
		if c.TooMany(1) {
			return 1
		}
		if *tag != "" && *service == "" {
			return c.Fail("Cannot provide tag filter without service filter.")
		}
		for _, f := range []struct{ name, text string }{{"node", *node}, {"service", *service}, {"tag", *tag}} {
			if _, err := regexp.Compile(f.text); err != nil {
				return c.Fail("Failed to compile %s filter regexp: %s", f.name, err)
			}
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		e := &api.UserEvent{Name: *name, NodeFilter: *node, ServiceFilter: *service, TagFilter: *tag}
		if len(c.Args) == 1 {
			e.Payload = []byte(c.Args[0])
		}
		id, _, err := agent.Event().Fire(e, nil)
		if err != nil {
			return c.Fail("Error firing event: %s", err)
		}
		c.Say("Event ID: %s", id)
		return 0
	}
}
