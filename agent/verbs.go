package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"rostra/config"
	"rostra/engine/build"
	"rostra/engine/room"
	"rostra/kit/cli"
	"rostra/kit/disk"
	"rostra/kit/systemd"
)

// graceTime is how long a stop may take before the process ends all the same.
const graceTime = 15 * time.Second

// Verbs returns the commands that are about the program itself.
func Verbs(features []room.Room) []cli.Verb {
	return append(absent(), []cli.Verb{
		{Path: "agent", Summary: "Runs an agent", Usage: "[options]", Raw: func(c *cli.Call) int { return runAgent(features, c) },
			Help: "Runs an agent in the foreground until it is stopped.\n\n" + config.Usage(newSettings(features).all()...)},
		{Path: "validate", Summary: "Checks configuration files and directories", Usage: "[options] FILE_OR_DIRECTORY...",
			Flags: func(set *flag.FlagSet) func(*cli.Call) int { return validate(features, set) },
			Help: `
Reads the files as one agent would and says whether it could start with them.
What is wrong is named with file and line.

    $ {name} validate /etc/consul.d
    $ {name} validate -hcl='data_dir = "data"' web.hcl`},
		{Path: "configtest", Summary: "Checks configuration files, as of old; see validate", Usage: "[options]",
			Flags: func(set *flag.FlagSet) func(*cli.Call) int { return configtest(features, set) },
			Help: `
The same as "{name} validate", with the flags it had before version 0.7.2. It
prints nothing when the configuration is valid.

    $ {name} configtest -config-dir=/etc/consul.d`},
		{Path: "version", Summary: "Prints the version", Usage: "[options]", Flags: version,
			Help: "Prints the version of Consul that this program stands in for, and its own."},
	}...)
}

func version(set *flag.FlagSet) func(*cli.Call) int {
	format := set.String("format", "pretty", "Output `format`: pretty or json.")
	return func(c *cli.Call) int {
		stamp := build.Info()
		switch *format {
		case "pretty":
			c.Say("Consul v%s", build.Consul)
			if stamp.Revision != "" {
				c.Say("Revision %s", stamp.Revision)
			}
			c.Say("Build Date %s", stamp.Date)
			c.Say("Protocol %d spoken by default, understands %d to %d (agent will automatically use protocol >2 when speaking to compatible agents)",
				build.Protocol, build.ProtocolMin, build.ProtocolMax)
			c.Say("Rostra v%s\n", build.Rostra)
			return 0
		case "json":
			b, err := json.MarshalIndent(struct {
				Version, Revision, Prerelease, BuildDate string
				RPC                                      struct{ Default, Min, Max int }
				Rostra                                   string
			}{build.Consul, stamp.Revision, "", stamp.Date,
				struct{ Default, Min, Max int }{build.Protocol, build.ProtocolMin, build.ProtocolMax}, build.Rostra}, "", "   ")
			if err != nil {
				return c.Fail("%v", err)
			}
			c.Say("%s", b)
			return 0
		}
		return c.Fail("Invalid format: %s; use pretty or json", *format)
	}
}

func validate(features []room.Room, set *flag.FlagSet) func(*cli.Call) int {
	quiet := set.Bool("quiet", false, "Print nothing when the configuration is valid.")
	format := set.String("config-format", "", "Read every file in this `format`: hcl or json.")
	var fragments cli.List
	set.Var(&fragments, "hcl", "A `fragment` of HCL, applied after the files; may be repeated.")
	return func(c *cli.Call) int {
		if len(c.Args) == 0 {
			return c.Fail("Must specify at least one config file or directory")
		}
		return validity(c, features, config.Input{Files: c.Args, Format: *format, HCL: fragments}, *quiet)
	}
}

// configtest is validate as it was called until 0.7.1 (spec cli.md, validate).
func configtest(features []room.Room, set *flag.FlagSet) func(*cli.Call) int {
	var paths cli.List
	set.Var(&paths, "config-file", "A configuration `file`, or a directory; may be repeated.")
	set.Var(&paths, "config-dir", "A `directory` of configuration files, or a file; may be repeated.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		if len(paths) == 0 {
			return c.Fail("Must specify config using -config-file or -config-dir")
		}
		return validity(c, features, config.Input{Files: paths}, true)
	}
}

// validity says whether an agent could start with a configuration, as far as that can be told without starting one.
func validity(c *cli.Call, features []room.Room, from config.Input, quiet bool) int {
	conf, loaded, err := read(features, from)
	if err != nil {
		if loaded != nil {
			for _, w := range loaded.Warnings {
				fmt.Fprintln(c.Err, w)
			}
		}
		return c.Fail("Config validation failed: %v", err)
	}
	for _, w := range slices.Concat(warnings(conf, loaded), doubts(conf, loaded)) {
		fmt.Fprintln(c.Err, w)
	}
	if !quiet {
		c.Say("Configuration is valid!")
	}
	return 0
}

func runAgent(features []room.Room, c *cli.Call) int {
	conf, loaded, err := read(features, config.Input{Args: c.Args})
	if err != nil {
		return c.Fail("==> %v", err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Stop(signals)
	a, err := open(features, c.Args, conf, loaded, c.Out)
	if err != nil {
		return c.Fail("==> %v", oneLine(placed(err, loaded)))
	}
	defer a.outlets.shut()
	unpid, err := writePid(conf.agent.PidFile)
	if err != nil {
		return c.Fail("==> %v", oneLine(placed(errors.Join(err, a.close()), loaded)))
	}
	defer unpid()
	if manager, found := systemd.Found(); found {
		a.manager = &manager
	}
	return a.attend(signals)
}

// banner tells who is starting, in the form that people know.
func banner(out io.Writer, s *Settings, self *room.Identity, encrypted bool) {
	fmt.Fprintln(out, "==> Starting Consul agent...")
	for _, line := range [][2]string{
		{"Version", build.Consul}, {"Rostra Version", build.Rostra}, {"Build Date", build.Info().Date}, {"Node ID", self.ID},
		{"Node name", self.Node}, {"Datacenter", self.Datacenter}, {"Server", fmt.Sprintf("%t (Bootstrap: %t)", s.Server, lone(s, self.Dev))},
		{"Client Addr", fmt.Sprintf("%v (HTTP: %d, HTTPS: %d, gRPC: -1, DNS: %d)", addresses(s.ClientAddr), s.HTTPPort, s.HTTPSPort, s.DNSPort)},
		{"Cluster Addr", fmt.Sprintf("%s (LAN: %d, WAN: %d)", self.Address, s.SerfLANPort, s.SerfWANPort)},
		{"Gossip Encryption", strconv.FormatBool(encrypted)}, {"ACL Enabled", "false"}, {"Data Directory", orElse(s.DataDir, "none, all is in memory")},
	} {
		fmt.Fprintf(out, "%19s: '%s'\n", line[0], line[1])
	}
	fmt.Fprint(out, "\n==> Log data will now stream in as it occurs:\n\n")
}

// attend runs the agent, obeys signals and returns the exit code: 0 after a leave, 1 if something failed, at a second
// signal, when the end takes too long, and, as Consul's, after a signal that means no leave: units of systemd know that.
func (a *Agent) attend(signals <-chan os.Signal) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- a.run(ctx) }()
	a.log.Info("Consul agent running!", "node", a.host.Self.Node)
	var late <-chan time.Time
	var departed <-chan departure
	code := 0
	for {
		asks := a.leaving.asks
		if departed != nil {
			asks = nil // one leave at a time
		}
		select {
		case err := <-done:
			a.leaving.work.Wait()
			if err != nil {
				a.log.Error("the agent ends", "error", oneLine(err))
				return 1
			}
			a.log.Info("Exit code", "code", code)
			return code
		case answer := <-departed:
			departed = nil
			if answer.err != nil {
				a.log.Warn("cannot leave in good order", "error", answer.err)
			}
			if answer.to == nil {
				if answer.err != nil {
					code = 1
				}
				stop()
				continue
			}
			answer.to <- answer.err
			time.AfterFunc(leaveAnswer, stop)
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				a.hangup(ctx)
				continue
			}
			if late != nil {
				a.log.Error("stopping at once: a second signal came")
				return 1
			}
			late = time.After(graceTime)
			a.log.Info("stopping", "signal", sig.String(), "leave", a.leavesOn(sig))
			if !a.leavesOn(sig) {
				a.log.Info("Graceful shutdown disabled. Exiting")
				code = 1
				stop()
				continue
			}
			departed = a.departing(ctx, nil)
		case to := <-asks:
			if late == nil {
				late = time.After(graceTime)
			}
			departed = a.departing(ctx, to)
		case <-late:
			a.log.Error("stopping at once: the orderly stop took too long", "limit", graceTime)
			return 1
		}
	}
}

// departure is the end of a graceful leave.
type departure struct {
	err error
	to  chan<- error // who asked over HTTP; nil for a signal
}

// departing leaves while signals and the time limit are still obeyed.
func (a *Agent) departing(ctx context.Context, to chan<- error) <-chan departure {
	done := make(chan departure, 1)
	a.leaving.work.Go(func() { done <- departure{a.depart(ctx), to} })
	return done
}

// leaveAnswer is how long the HTTP answer to a leave gets before the port closes.
const leaveAnswer = 200 * time.Millisecond

func (a *Agent) hangup(ctx context.Context) {
	if err := a.Reload(ctx); err != nil {
		a.log.Error("cannot reload: the old configuration stays", "error", oneLine(err))
		return
	}
	a.log.Info("configuration reloaded")
}

// leavesOn says whether the signal means a graceful leave: clients leave, servers only when told to.
func (a *Agent) leavesOn(sig os.Signal) bool {
	s := a.now.agent
	leaves := !s.Server
	switch {
	case sig == syscall.SIGTERM && s.LeaveOnTerminate != nil:
		leaves = *s.LeaveOnTerminate
	case sig != syscall.SIGTERM && s.SkipLeaveOnInt != nil:
		leaves = !*s.SkipLeaveOnInt
	}
	return leaves
}

// Routes lists the whole HTTP API, "METHOD path" a line, sorted, with ANY for a route that looks at the method itself: what
// documentation and tests are held against. It opens the features on no agent, so they must not use the Host before they serve.
func Routes(features []room.Room) ([]string, error) {
	conf := newSettings(features)
	if _, err := config.Load(config.Input{Args: []string{"-dev"}}, conf.all()...); err != nil {
		return nil, err
	}
	var list []string
	for i, f := range features {
		if f.Open == nil {
			continue
		}
		part, err := f.Open(&room.Host{Log: slog.New(slog.DiscardHandler), Disk: disk.OS(), Cluster: silent{}}, conf.rooms[i])
		if err != nil {
			return nil, fmt.Errorf("cannot list the routes of %s: %w", f.Name, err)
		}
		for _, r := range part.Routes {
			list = append(list, cmp.Or(r.Method, "ANY")+" "+r.Path)
		}
		if part.Close != nil {
			if err := part.Close(); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(list)
	return list, nil
}

// silent is the cluster of no agent.
type silent struct{ room.Cluster }

// Usage returns the text of all agent flags.
func Usage(features []room.Room) string { return config.Usage(newSettings(features).all()...) }

// NewSettings returns all settings of an agent, as config.Load fills them: what documentation and tests are held against.
func NewSettings(features []room.Room) []any { return newSettings(features).all() }

// Reference returns the documentation of all configuration keys in Markdown.
func Reference(features []room.Room) string { return config.Reference(newSettings(features).all()...) }
