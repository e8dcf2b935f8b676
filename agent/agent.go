// Package agent is one Rostra process put together: it reads the configuration, opens what the parts need, starts them in
// order, reloads what can be reloaded and stops everything. main calls it with the list of features.
package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"rostra/config"
	"rostra/engine/build"
	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/remote"
	"rostra/engine/room"
	"rostra/engine/server"
	"rostra/engine/shelf"
	"rostra/feature/connect"
	"rostra/kit/disk"
	"rostra/kit/httpd"
	"rostra/kit/live"
	"rostra/kit/metric"
	"rostra/kit/systemd"
	"rostra/surface/dns"
	"rostra/surface/ui"
)

// settings are all settings structs of one reading of the configuration.
type settings struct {
	agent *Settings
	dns   *dns.Settings
	ui    *ui.Settings
	rooms []any // by feature; nil without settings
}

func newSettings(features []room.Room) *settings {
	s := &settings{agent: new(Settings), dns: new(dns.Settings), ui: new(ui.Settings)}
	for _, f := range features {
		if f.Settings == nil {
			s.rooms = append(s.rooms, nil)
			continue
		}
		s.rooms = append(s.rooms, f.Settings())
	}
	return s
}

func (s *settings) all() []any {
	list := []any{s.agent, s.dns, s.ui}
	for _, r := range s.rooms {
		if r != nil {
			list = append(list, r)
		}
	}
	return list
}

// Agent is a running agent.
type Agent struct {
	process
	features []room.Room
	net      network
	clock    func() time.Time // stamps what the log's entries are packed at; nil: time.Now
	log      *slog.Logger
	loaded   *config.Loaded

	mu  sync.Mutex // guards now; held by a reload
	now *settings

	host   *room.Host
	parts  []*room.Part // by feature; nil for features that do nothing here
	port   *serverPort
	server *server.Server  // nil on client agents
	node   *consensus.Node // nil on client agents
	remote *remote.Remote  // nil on servers
	surfaces
	closes []func() error // in order of opening

	monitors monitors // who follows the log
	leaving  leaving
}

// process is what an agent has of the process that it is.
type process struct {
	args    []string // flags of the agent verb
	level   *slog.LevelVar
	outlets *outlets                             // of the log; nil for standard output alone
	manager *systemd.Manager                     // that waits to hear that the agent is up; nil for none
	space   func(dir string) (disk.Space, error) // what room there is on the disk; nil: nobody looks
}

// surfaces are what answers clients.
type surfaces struct {
	http  *httpd.Server
	dns   *dns.Server
	ui    *ui.Site
	debug atomic.Bool // /debug/pprof/ is served
	ports *listeners
}

// leaving is a graceful leave: who asks for one over HTTP, and what is under way.
type leaving struct {
	asks chan chan error
	work sync.WaitGroup
}

// open puts an agent together. What was opened before an error is closed again.
func open(features []room.Room, args []string, conf *settings, loaded *config.Loaded, out io.Writer) (_ *Agent, err error) {
	a := newAgent(features, args, conf, loaded, system{})
	a.space = disk.SpaceOf
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
			if a.outlets.any() {
				a.log.Error("cannot start", "error", oneLine(err)) // also where nobody reads standard error
			}
			err = errors.Join(err, a.outlets.shut())
		}
	}()
	level, err := parseLevel(conf.agent.LogLevel)
	if err != nil {
		return nil, err
	}
	a.level.Set(level)
	if a.outlets, err = openOutlets(&conf.agent.Outlets, conf.agent.LogJSON); err != nil {
		return nil, err
	}
	a.log = slog.New(follow(newLog(out, a.outlets, a.level, conf.agent.LogJSON).Handler(), &a.monitors))
	for _, w := range warnings(conf, loaded) {
		a.log.Warn(w)
	}
	fs, s := disk.OS(), conf.agent
	if s.DataDir != "" {
		unlock, err := prepareDir(fs, s.DataDir)
		if err != nil {
			return nil, err
		}
		a.closes = append(a.closes, unlock)
		if s.Server {
			if err := checkAge(fs, s.DataDir, s.RejoinAge, time.Now()); err != nil {
				return nil, err
			}
		}
	}
	id, err := nodeID(fs, s)
	if err != nil {
		return nil, err
	}
	self, err := identity(s, conf.dns.Domain, id, loaded.Dev)
	if err != nil {
		return nil, err
	}
	certs, err := a.openCerts(&s.TLS)
	if err != nil {
		return nil, err
	}
	secure, err := a.openHTTPS(s)
	if err != nil {
		return nil, err
	}
	if a.ports, err = listen(s, secure); err != nil {
		return nil, err
	}
	a.closes = append(a.closes, a.ports.close)
	if !s.LogJSON {
		_, absent := os.Stat(keyringFile(s, "local"))
		banner(out, s, &self, s.Gossip.Encrypt != "" || absent == nil)
	}
	measured := metric.New()
	release, err := metric.Capture(measured)
	if err != nil {
		return nil, err
	}
	a.closes = append(a.closes, func() error { release(); return nil })
	self.TLS = s.Server && certs.Now().Incoming() != nil
	if err := a.assemble(conf, &room.Host{Certs: certs, HTTPSCerts: secure, Self: self, Disk: fs, Dir: s.DataDir, Metrics: measured}); err != nil {
		return nil, err
	}
	return a, a.openSurfaces(conf)
}

func newAgent(features []room.Room, args []string, conf *settings, loaded *config.Loaded, net network) *Agent {
	return &Agent{process: process{args: args, level: new(slog.LevelVar)}, features: features, loaded: loaded, now: conf, net: net, leaving: leaving{asks: make(chan chan error)}}
}

// assemble opens all but the surfaces, in the place that the host describes.
func (a *Agent) assemble(conf *settings, host *room.Host) error {
	meta, err := nodeMeta(conf.agent)
	if err != nil {
		return err
	}
	host.Meta = new(live.Value[map[string]string])
	host.Meta.Set(meta)
	host.Translate = conf.agent.Translate
	host.Self.Level = room.Level(a.features)
	host.Reports, host.Shelf, host.Log, host.Agent = new(room.Reports), new(shelf.Shelf), a.log, a
	a.host = host
	if err := a.openEngine(conf.agent); err != nil {
		return err
	}
	return a.openParts(conf)
}

// close closes what was opened, last first.
func (a *Agent) close() error {
	var all []error
	for _, c := range slices.Backward(a.closes) {
		all = append(all, c())
	}
	a.closes = nil
	return errors.Join(all...)
}

// openParts gives every feature its place in this agent.
func (a *Agent) openParts(conf *settings) error {
	for i, f := range a.features {
		if f.Open == nil {
			a.parts = append(a.parts, nil)
			continue
		}
		h := *a.host
		h.Log = a.log.WithGroup(f.Name)
		part, err := f.Open(&h, conf.rooms[i])
		if err != nil {
			return err
		}
		a.parts = append(a.parts, part)
		if part.Close != nil {
			a.closes = append(a.closes, part.Close)
		}
	}
	return nil
}

// run runs the agent until ctx ends or a part fails, and then stops it in order: the surfaces answer no more, the parts
// end, the log is closed with a snapshot.
func (a *Agent) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	var loops []room.Loop
	for _, p := range a.parts {
		if p == nil {
			continue
		}
		loops = append(loops, p.Loops...)
		if p.Run != nil {
			group.Go(func() error { return p.Run(ctx) })
		}
	}
	group.Go(func() error { return a.host.Roster.Run(ctx) })
	group.Go(func() error { return a.port.wait(ctx) })
	if a.server != nil {
		group.Go(func() error { return a.server.Run(ctx, loops) })
	} else {
		group.Go(func() error { return a.remote.Run(ctx) })
	}
	if a.http != nil {
		group.Go(func() error { return keepSmall(ctx) })
		group.Go(func() error { return a.http.Serve(ctx, a.ports.http...) })
		group.Go(func() error { return a.dns.Serve(ctx, a.ports.udp, a.ports.tcp) })
	}
	if a.space != nil && a.host.Dir != "" {
		group.Go(func() error { return a.keepSpace(ctx) })
	}
	if _, machine := a.net.(system); machine && a.host.Dir != "" && a.server != nil {
		group.Go(func() error { return a.keepAge(ctx) })
	}
	if a.now.agent.AutoReload {
		group.Go(func() error { return a.autoReload(ctx) })
	}
	if a.manager != nil {
		group.Go(func() error { return a.announce(ctx, *a.manager) })
	}
	if a.node != nil {
		group.Go(func() error {
			select {
			case <-a.node.Failed():
				return a.node.Failure()
			case <-ctx.Done():
				return nil
			}
		})
	}
	err := group.Wait()
	a.handOver(context.Background())
	return errors.Join(err, a.close())
}

// Debug returns the effective configuration as agent/self shows it.
func (a *Agent) Debug() map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.now.agent
	dnsAddrs := []string{}
	for _, addr := range a.ports.dnsAddrs {
		dnsAddrs = append(dnsAddrs, "udp://"+addr, "tcp://"+addr)
	}
	out := map[string]any{
		"ACLsEnabled": false, "AdvertiseAddrLAN": a.host.Self.Tagged["lan"], "AdvertiseAddrWAN": a.host.Self.Tagged["wan"],
		"BindAddr": s.BindAddr, "Bootstrap": lone(s, a.loaded.Dev), "BootstrapExpect": s.Expect, "ClientAddrs": addresses(s.ClientAddr),
		"ConnectEnabled": connectEnabled(a.now.rooms), "DNSAddrs": dnsAddrs, "DNSDomain": a.host.Self.Domain, "DNSPort": s.DNSPort,
		"DataDir": s.DataDir, "Datacenter": a.host.Self.Datacenter, "DevMode": a.loaded.Dev, "EnableDebug": s.EnableDebug,
		"GRPCPort": -1, "GRPCTLSPort": -1, "HTTPAddrs": a.ports.httpAddrs, "HTTPPort": s.HTTPPort, "HTTPSAddrs": a.ports.httpsAddrs, "HTTPSPort": s.HTTPSPort,
		"HTTPMaxConnsPerClient": s.MaxConns, "NodeID": a.host.Self.ID, "NodeMeta": s.NodeMeta, "NodeName": a.host.Self.Node,
		"PrimaryDatacenter": a.host.Self.Primary, "SerfPortLAN": s.SerfLANPort, "SerfPortWAN": s.SerfWANPort,
		"ServerMode": s.Server, "ServerPort": s.ServerPort, "TaggedAddresses": a.host.Self.Tagged, "Version": build.Consul,
		"RPCHoldTimeout": s.HoldTimeout.String(), "MaxQueryTime": s.MaxQueryTime.String(),
		"DefaultQueryTime": s.QueryTime.String(), "LogLevel": s.LogLevel,
	}
	s.Gossip.debug(out)
	return out
}

func connectEnabled(settings []any) bool {
	for _, s := range settings {
		if c, ok := s.(*connect.Settings); ok {
			return c.Enabled
		}
	}
	return false
}

// Counters returns what HTTP, DNS, gossip and the server port counted since the start.
func (a *Agent) Counters() map[string]uint64 {
	out := a.http.Counters()
	maps.Copy(out, a.dns.Counters())
	maps.Copy(out, a.port.Counters())
	for pool, p := range map[string]*gossip.Pool{"lan": a.host.LAN, "wan": a.host.WAN} {
		if p != nil {
			for name, n := range p.Counters() {
				out["gossip."+pool+"."+name] = n
			}
		}
	}
	return out
}

// Stats returns the sections of info.
func (a *Agent) Stats() map[string]map[string]string {
	stamp := build.Info()
	out := map[string]map[string]string{
		"build": {"prerelease": "", "revision": stamp.Revision, "version": build.Consul, "version_metadata": ""},
		"runtime": {"arch": runtime.GOARCH, "cpu_count": strconv.Itoa(runtime.NumCPU()), "os": runtime.GOOS,
			"goroutines": strconv.Itoa(runtime.NumGoroutine()), "max_procs": strconv.Itoa(runtime.GOMAXPROCS(0)),
			"version": runtime.Version()},
	}
	for _, p := range a.parts {
		if p == nil || p.Stats == nil {
			continue
		}
		for name, section := range p.Stats() {
			out[name] = section
		}
	}
	return out
}

// Reload reads the configuration anew and takes over what a running agent can: services, checks, log level, limits, DNS.
// If anything is wrong with it, the old one stays in force.
func (a *Agent) Reload(context.Context) error { return a.reload(nil) }

// reload is Reload if allowed, which may be nil, has nothing against the keys that differ.
func (a *Agent) reload(allowed func(changed []string) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, loaded, err := read(a.features, config.Input{Args: a.args})
	if err != nil {
		return err // what no agent could start with, none takes over
	}
	reloadable, restart := config.Changed(a.now.all(), next.all())
	if allowed != nil {
		if err := allowed(append(reloadable, restart...)); err != nil {
			return err
		}
	}
	level, err := parseLevel(next.agent.LogLevel)
	if err != nil {
		return err
	}
	meta, err := nodeMeta(next.agent)
	if err != nil {
		return err
	}
	certs, err := next.agent.TLS.load()
	if err != nil {
		return placed(err, loaded)
	}
	secure, err := a.loadHTTPS(&next.agent.TLS)
	if err != nil {
		return placed(err, loaded)
	}
	for i, p := range a.parts {
		if p != nil && p.Reload != nil {
			if err := p.Reload(next.rooms[i]); err != nil {
				return err
			}
		}
	}
	if err := a.outlets.reopen(); err != nil {
		a.log.Error(err.Error())
	}
	for _, w := range warnings(next, loaded) {
		a.log.Warn(w)
	}
	for _, key := range restart {
		a.log.Warn("a changed setting waits for a restart", "key", key)
	}
	a.level.Set(level)
	a.host.Certs.Use(certs)
	a.warnCerts(&next.agent.TLS, certs)
	if secure != nil {
		a.host.HTTPSCerts.Use(secure)
		a.warn(secure.Warnings())
	}
	if !maps.Equal(a.host.Meta.Get(), meta) {
		a.host.Meta.Set(meta)
	}
	a.relimit(next.agent)
	a.dns.Reload(next.dns)
	a.ui.Reload(next.ui)
	a.debug.Store(next.agent.EnableDebug)
	a.now = next
	return nil
}

// relimit takes over what bounds others and this agent.
func (a *Agent) relimit(s *Settings) {
	a.http.SetMaxConnsPerClient(s.MaxConns)
	a.port.LimitConns(s.MaxRPCConns)
	if a.server != nil {
		a.server.SetLimits(s.Limits.requests())
		a.server.SetTimeout(s.Limits.Timeout)
	} else {
		a.remote.SetRate(s.Limits.Rate, s.Limits.Burst)
		a.remote.SetTimeout(s.Limits.Timeout)
	}
}
