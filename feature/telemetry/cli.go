package telemetry

import (
	"flag"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

func verbs() []cli.Verb {
	return []cli.Verb{
		{Path: "monitor", Summary: "Follows the log of an agent", Usage: "[options]", Flags: verbMonitor, Help: `
Prints the lines of an agent's log as they come, at a level of its own: an agent
that logs warnings only can be watched in detail. Ends with Ctrl-C, or when the
agent does.

    $ {name} monitor -log-level debug`},
		{Path: "debug", Summary: "Gathers what tells how an agent does", Usage: "[options]", Flags: verbDebug, Help: `
Watches an agent for a while and writes an archive of what it saw: metrics, log,
profiles (if the agent has enable_debug), the machine, the agent, its members and
the servers. Ctrl-C ends it early; what was gathered is kept. Tokens and keys are
not in it, but addresses, names and log lines are: look before you pass it on.

    $ {name} debug -duration 1m -interval 15s`},
	}
}

func verbMonitor(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	cli.IgnoreRPC(set)
	level := set.String("log-level", "INFO", "`Level` of the lines to show, and all above: trace, debug, info, warn, error.")
	asJSON := set.Bool("log-json", false, "Show lines as JSON objects.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(signals)
		end := make(chan struct{})
		defer close(end)
		follow := agent.Agent().Monitor
		if *asJSON {
			follow = agent.Agent().MonitorJSON
		}
		lines, err := follow(*level, end, new(api.QueryOptions))
		if err != nil {
			return c.Fail("Error starting monitor: %s", err)
		}
		for {
			select {
			case line, more := <-lines:
				if line == "" || !more {
					return c.Fail("Remote side ended the monitor! This usually means that the\nremote side has exited or crashed.")
				}
				c.Say("%s", line)
			case <-signals:
				return 0
			}
		}
	}
}
