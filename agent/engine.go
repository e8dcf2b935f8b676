package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-sockaddr"

	"rostra/engine/caller"
	"rostra/engine/consensus"
	"rostra/engine/relay"
	"rostra/engine/remote"
	"rostra/engine/roster"
	"rostra/engine/server"
	"rostra/feature/telemetry"
	"rostra/kit/httpd"
	"rostra/kit/wire"
	"rostra/surface/dns"
	"rostra/surface/ui"
)

// stopTime is how long a stopping agent waits for its log.
const stopTime = 10 * time.Second

// openEngine opens gossip and the replicated state.
func (a *Agent) openEngine(s *Settings) error {
	if err := a.openGossip(s); err != nil {
		return err
	}
	a.host.Roster = roster.New(a.host.Self.Datacenter, a.host.LAN, a.host.WAN)
	if err := a.openPort(s); err != nil {
		return err
	}
	if s.Server {
		return a.openServer(s)
	}
	types, err := server.NewTypes(a.features)
	if err != nil {
		return err
	}
	a.remote = remote.New(remote.Options{Datacenter: a.host.Self.Datacenter, Domain: a.host.Self.Domain, Hold: s.HoldTimeout,
		QueryTime: s.QueryTime, MaxQueryTime: s.MaxQueryTime, Log: a.log.WithGroup("remote"), Timeout: s.Limits.Timeout,
		Rate: s.Limits.Rate, Burst: s.Limits.Burst}, types, a.port, a.host.Roster)
	a.host.Door, a.host.Cluster = a.remote, a.remote
	a.port.start()
	return nil
}

// lone says whether a server may form a cluster of its own at once.
func lone(s *Settings, dev bool) bool {
	return s.Server && (s.Bootstrap || s.Expect == 1 || dev && s.Expect == 0)
}

// openServer opens the replicated state.
func (a *Agent) openServer(s *Settings) error {
	expect := s.Expect
	if lone(s, a.host.Self.Dev) {
		expect = 0
	}
	srv, err := server.New(server.Options{Datacenter: a.host.Self.Datacenter, ID: a.host.Self.ID, Domain: a.host.Self.Domain,
		Expect: expect, Rooms: a.features, Hold: s.HoldTimeout, QueryTime: s.QueryTime, MaxQueryTime: s.MaxQueryTime,
		Log: a.log.WithGroup("server"), Lineage: wire.NewID, Dir: s.DataDir, Metrics: a.host.Metrics,
		Limits: s.Limits.requests(), Timeout: s.Limits.Timeout})
	if err != nil {
		return err
	}
	o := consensus.Options{FS: a.host.Disk, Metrics: a.host.Metrics, ID: a.host.Self.ID, NoPreVote: s.NoPreVote, Bootstrap: lone(s, a.host.Self.Dev),
		Now: a.clock, Logger: a.log.WithGroup("server").WithGroup("raft"),
		Address: net.JoinHostPort(a.host.Self.Address, strconv.Itoa(s.ServerPort)), Streams: a.port.Streams(),
		Resolve: func(id string) (string, bool) {
			one, known := a.host.Roster.Find(id)
			return one.Address, known
		}}
	if a.host.Dir != "" {
		o.Dir = filepath.Join(a.host.Dir, "raft")
	}
	if m := s.RaftMultiplier; m > 1 {
		o.HeartbeatTimeout, o.ElectionTimeout = time.Duration(m)*500*time.Millisecond, time.Duration(m)*500*time.Millisecond
	}
	recovered, err := a.recoverPeers(&o)
	if err != nil {
		return err
	}
	node, err := consensus.Open(o, srv.Machine())
	if err != nil {
		return err
	}
	a.closes = append(a.closes, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		return node.Close(ctx)
	})
	srv.Attach(node, a.host, a.port)
	if err := recovered(); err != nil {
		return err
	}
	a.port.serve(relay.NewHost(srv.Types(), srv, a.log.WithGroup("server")))
	a.port.start()
	a.server, a.node = srv, node
	a.host.Door, a.host.Cluster, a.host.Raft = srv, srv, srv
	return nil
}

// openSurfaces prepares HTTP and DNS; their sockets are open already.
func (a *Agent) openSurfaces(conf *settings) error {
	s := conf.agent
	var routes []httpd.Route
	for _, p := range a.parts {
		if p != nil {
			routes = append(routes, p.Routes...)
		}
	}
	a.ui = ui.New(conf.ui)
	a.debug.Store(s.EnableDebug)
	extra := map[string]http.Handler{"/": http.HandlerFunc(a.front), a.ui.Path(): a.served(a.ui.Serves, a.ui)}
	for name, h := range map[string]http.HandlerFunc{"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile,
		"symbol": pprof.Symbol, "trace": pprof.Trace} {
		extra["/debug/pprof/"+name] = a.served(a.debug.Load, h)
	}
	from, err := prefixes(s.WriteFrom)
	if err != nil {
		return err
	}
	log := a.log.WithGroup("http")
	asked := func(ctx context.Context, from net.Addr) context.Context {
		return caller.With(ctx, orElse(from.String(), from.Network()))
	}
	a.http, err = httpd.New(httpd.Options{Logger: log, TranslateAddresses: s.Translate, Context: asked, ResponseHeaders: s.ResponseHeaders, AlwaysPretty: a.host.Self.Dev,
		DisableUnprintableFilter: s.NoPathFilter, MaxConnsPerClient: s.MaxConns,
		MaxHeaderBytes: s.MaxHeaderBytes, HandshakeTimeout: s.HTTPSHandshake, DefaultQueryTime: s.QueryTime, MaxQueryTime: s.MaxQueryTime,
		DiscoveryMaxStale: s.MaxStale, NoCache: !s.UseCache, Extra: extra, OnRequest: telemetry.Requests(a.host),
		Access: httpd.Access{BlockEndpoints: s.Block, AllowWriteFrom: from, LegacyGetWrites: s.LegacyGets}}, routes)
	if err != nil {
		return err
	}
	a.dns = dns.New(a.host.Door, a.host.Self, conf.dns, a.log.WithGroup("dns"))
	a.dns.Measure(a.host.Metrics)
	return nil
}

// served is a handler that is there only while on says so; a reload may change that.
func (a *Agent) served(on func() bool, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !on() {
			httpd.UnknownPath(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// front answers the root: it leads to the web pages, if there are any.
func (a *Agent) front(w http.ResponseWriter, r *http.Request) {
	if a.ui.Serves() {
		http.Redirect(w, r, a.ui.Path(), http.StatusMovedPermanently)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, "Consul Agent: UI disabled. To enable, set ui_config.enabled=true in the agent configuration and restart.")
}

// privateAddress finds the one address to advertise when the agent listens on all.
func privateAddress(advertised bool) (string, error) {
	if advertised {
		return "", errors.New("advertise_addr: it must name one address, not all of them")
	}
	list, err := sockaddr.GetPrivateIPs()
	if err != nil {
		return "", fmt.Errorf("cannot find this host's private address: %w; set advertise_addr", err)
	}
	switch all := strings.Fields(list); len(all) {
	case 1:
		return all[0], nil
	case 0:
		return "", errors.New("no private IPv4 address found; set advertise_addr")
	default:
		return "", fmt.Errorf("multiple private IPv4 addresses found (%s); set advertise_addr or bind_addr to one of them", strings.Join(all, ", "))
	}
}
