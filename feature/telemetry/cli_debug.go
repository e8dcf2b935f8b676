package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"

	"rostra/engine/build"
	"rostra/kit/cli"
)

// targets are what debug gathers, in the order that it is told.
var targets = []string{"metrics", "logs", "pprof", "host", "agent", "members"}

const (
	shortestInterval = 5 * time.Second
	shortestDuration = 10 * time.Second
	stampForm        = "2006-01-02T15-04-05Z"
	archiveEnd       = ".tar.gz"
)

// gathering is one run of debug.
type gathering struct {
	call               *cli.Call
	agent              *api.Client
	interval, duration time.Duration
	output             string // a directory
	archive            bool
	wanted             []string
	version            string

	mu sync.Mutex // guards call's writers, which several goroutines use
}

func verbDebug(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ClientFlags(set)
	g := &gathering{}
	var wanted cli.List
	set.Var(&wanted, "capture", "`What` to gather: metrics, logs, pprof, host, agent, members. May be given several times; all unless given.")
	set.DurationVar(&g.interval, "interval", 30*time.Second, "How often profiles of the heap and the goroutines are taken; at least 5s.")
	set.DurationVar(&g.duration, "duration", 5*time.Minute, "How long to gather; at least 10s.")
	set.BoolVar(&g.archive, "archive", true, "Pack all into one file and remove the directory.")
	set.StringVar(&g.output, "output", "", "`Directory` to write to, and with .tar.gz the name of the archive. Default consul-debug-TIME.")
	since := set.String("since", "", "Refused: an agent keeps no log of the past that could be asked for.")
	return func(c *cli.Call) int {
		if c.TooMany(0) {
			return 1
		}
		if *since != "" {
			return c.Fail("-since: an agent's log of the past cannot be asked for; gather while it happens, or read the agent's log file")
		}
		g.call = c
		var err error
		if g.agent, err = client.Open(c); err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		if err := g.prepare(wanted); err != nil {
			return c.Fail("Capture validation failed: %v", err)
		}
		return g.run()
	}
}

// prepare checks what is wanted, asks the agent whether that is to be had, and makes the directory.
func (g *gathering) prepare(wanted []string) error {
	if g.interval < shortestInterval || g.duration < shortestDuration {
		return fmt.Errorf("-interval is at least %v and -duration at least %v; they are %v and %v", shortestInterval, shortestDuration, g.interval, g.duration)
	}
	if g.interval > g.duration {
		return fmt.Errorf("-interval (%v) is longer than -duration (%v)", g.interval, g.duration)
	}
	for _, w := range wanted {
		if w == "cluster" {
			w = "members" // as it was called before Consul 1.10
		}
		if !slices.Contains(targets, w) {
			return fmt.Errorf("-capture: %q is nothing that can be gathered; use %s", w, strings.Join(targets, ", "))
		}
		g.wanted = append(g.wanted, w)
	}
	if len(g.wanted) == 0 {
		g.wanted = slices.Clone(targets)
	}
	self, err := g.agent.Agent().Self()
	if err != nil {
		return fmt.Errorf("cannot ask the agent who it is: %w", err)
	}
	g.version, _ = self["Config"]["Version"].(string)
	if on, told := self["DebugConfig"]["EnableDebug"].(bool); told && !on && g.wants("pprof") {
		g.warn("no profiles are taken: enable_debug is off at this agent; set it to have them")
		g.wanted = slices.DeleteFunc(g.wanted, func(w string) bool { return w == "pprof" })
	}
	if g.output == "" {
		g.output = "consul-debug-" + time.Now().UTC().Format(stampForm)
	}
	g.output = strings.TrimSuffix(g.output, archiveEnd)
	for _, path := range []string{g.output, g.output + archiveEnd} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("-output: %s exists already; name another", path)
		}
	}
	return os.MkdirAll(g.output, 0o700)
}

func (g *gathering) wants(what string) bool { return slices.Contains(g.wanted, what) }

func (g *gathering) say(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.call.Say(format, args...)
}

func (g *gathering) warn(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.call.Fail(format, args...)
}

func (g *gathering) run() int {
	saved := g.output
	if g.archive {
		saved += archiveEnd
	}
	g.say("Starting debugger and capturing static information...")
	for _, line := range [][2]string{{"Agent Version", g.version}, {"Interval", g.interval.String()}, {"Duration", g.duration.String()},
		{"Output", saved}, {"Capture", strings.Join(g.wanted, ", ")}} {
		g.say("%14s: '%s'", line[0], line[1])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	g.still()
	ctx, end := context.WithTimeout(ctx, g.duration)
	defer end()
	g.moving(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		g.warn("Interrupted: what was gathered so far is kept")
	}
	g.save("index.json", struct {
		CLIVersion, AgentVersion, Interval, Duration string
		Targets                                      []string
	}{build.Consul, g.version, g.interval.String(), g.duration.String(), g.wanted})
	if g.archive {
		if err := pack(g.output); err != nil {
			g.warn("Archive creation failed: %v; what was gathered is in %s", err, g.output)
			return 1
		}
	}
	g.say("Saved debug archive: %s", saved)
	return 0
}

// still gathers what hardly changes.
func (g *gathering) still() {
	static := func(what, file string, ask func() (any, error)) {
		if !g.wants(what) {
			return
		}
		v, err := ask()
		if err != nil {
			g.warn("cannot gather %s: %v", file, err)
			return
		}
		g.save(file, v)
	}
	static("host", "host.json", func() (any, error) { return g.agent.Agent().Host() })
	static("agent", "agent.json", func() (any, error) { return g.agent.Agent().Self() })
	static("members", "members.json", func() (any, error) { return g.agent.Agent().MembersOpts(api.MembersOpts{Segment: api.AllSegments}) })
	static("members", "listpeers.json", func() (any, error) {
		return g.agent.Operator().RaftGetConfiguration(&api.QueryOptions{AllowStale: true})
	})
}

// moving gathers until ctx ends what only shows in the course of time.
func (g *gathering) moving(ctx context.Context) {
	var all sync.WaitGroup
	add := func(what, file string, gather func(file string) error) {
		if !g.wants(what) {
			return
		}
		all.Go(func() {
			if err := gather(file); err != nil && ctx.Err() == nil {
				g.warn("cannot gather %s: %v", file, err)
			}
		})
	}
	add("metrics", "metrics.json", func(file string) error {
		stream, err := g.agent.Agent().MetricsStream(ctx)
		if err != nil {
			return err
		}
		return g.copy(file, stream)
	})
	add("logs", "consul.log", func(file string) error { return g.follow(ctx, file) })
	seconds := int(g.duration.Seconds())
	for name, file := range map[string]string{"profile": "profile.prof", "trace": "trace.out"} {
		add("pprof", file, func(file string) error {
			// The agent needs a moment after the time asked for; an interruption ends it at once, and there is nothing then.
			patient, end := context.WithTimeout(context.Background(), g.duration+shortestDuration)
			defer end()
			defer context.AfterFunc(ctx, func() {
				if errors.Is(ctx.Err(), context.Canceled) {
					end()
				}
			})()
			body, err := g.agent.Debug().PProf(patient, name, seconds)
			if err != nil {
				return err
			}
			return g.copy(file, body)
		})
	}
	add("pprof", "profiles", func(string) error { return g.profiles(ctx) })
	<-ctx.Done()
	all.Wait()
}

// follow writes the agent's log down.
func (g *gathering) follow(ctx context.Context, file string) (err error) {
	end := make(chan struct{})
	defer close(end)
	lines, err := g.agent.Agent().Monitor("TRACE", end, new(api.QueryOptions))
	if err != nil {
		return err
	}
	f, err := g.create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for {
		select {
		case line, more := <-lines:
			if !more || line == "" {
				return errors.New("the agent ended it")
			}
			if _, err := fmt.Fprintln(f, line); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// profiles takes those of a moment, once in each interval.
func (g *gathering) profiles(ctx context.Context) error {
	tick := time.NewTicker(g.interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		stamp := time.Now().UTC().Format(stampForm)
		g.say("Beginning capture interval %s (%d)", stamp, n)
		for name, take := range map[string]func() ([]byte, error){"heap.prof": g.agent.Debug().Heap, "goroutine.prof": g.agent.Debug().Goroutine} {
			b, err := take()
			if err == nil {
				err = g.write(filepath.Join(stamp, name), b)
			}
			if err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// create makes a file of the gathering, and its directory. Only the owner may read it: it may tell much.
func (g *gathering) create(name string) (*os.File, error) {
	path := filepath.Join(g.output, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (g *gathering) write(name string, b []byte) error {
	f, err := g.create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

func (g *gathering) copy(name string, from io.ReadCloser) error {
	defer from.Close()
	f, err := g.create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

func (g *gathering) save(name string, v any) {
	b, err := json.MarshalIndent(v, "", "    ")
	if err == nil {
		err = g.write(name, append(b, '\n'))
	}
	if err != nil {
		g.warn("cannot write %s: %v", name, err)
	}
}
