// Package telemetry is how an agent is looked into: its metrics as JSON, as Prometheus text and sent on to statsd and its
// kin, its log as a stream, the machine it runs on, and the commands monitor and debug that gather these.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"rostra/engine/room"
	"rostra/kit/httpd"
	"rostra/kit/metric"
)

// Room is the telemetry feature. It keeps nothing.
var Room = room.Room{Name: "telemetry", Verbs: verbs(), Settings: func() any { return new(Settings) }, Open: open}

// Settings are the block telemetry of the configuration.
type Settings struct {
	Prefix          string        `key:"telemetry.metrics_prefix" default:"consul" help:"what the names of all metrics begin with"`
	DisableHostname bool          `key:"telemetry.disable_hostname" help:"leave the host's name out of the names of gauges; it is there only where metrics are sent on, or prometheus_retention_time is set"`
	FilterDefault   bool          `key:"telemetry.filter_default" default:"true" reload:"yes" help:"tell the metrics that no prefix_filter speaks of"`
	PrefixFilter    []string      `key:"telemetry.prefix_filter" reload:"yes" help:"+PREFIX tells the metrics that begin so, -PREFIX leaves them out; the longest counts"`
	Statsd          string        `key:"telemetry.statsd_address" help:"host:port to send metrics to in statsd's format, over UDP"`
	Statsite        string        `key:"telemetry.statsite_address" help:"host:port to send metrics to in statsite's format, over TCP"`
	DogStatsd       string        `key:"telemetry.dogstatsd_addr" help:"host:port or unix:///path to send metrics to in DogStatsD's format"`
	DogStatsdTags   []string      `key:"telemetry.dogstatsd_tags" help:"tags of all metrics sent to DogStatsD, name:value"`
	Retention       time.Duration `key:"telemetry.prometheus_retention_time" help:"leave metrics out of the Prometheus text that were silent for that long; 0 for none"`
	Retry           bool          `key:"telemetry.retry_failed_connection" default:"true" help:"start although metrics cannot be sent, and try again; else that is an error"`
	HostMetrics     bool          `key:"telemetry.enable_host_metrics" help:"measure the machine, too: processors, memory, the disk of the data directory"`
}

// quietMetric is told only if a rule names it.
const quietMetric = "rpc.server.call"

// Check refuses what no agent can do.
func (s *Settings) Check() error {
	_, err := s.filter()
	all := []error{err}
	for _, a := range []struct{ key, addr string }{{"statsd_address", s.Statsd}, {"statsite_address", s.Statsite}, {"dogstatsd_addr", s.DogStatsd}} {
		if a.addr == "" || a.key == "dogstatsd_addr" && strings.HasPrefix(a.addr, "unix://") {
			continue
		}
		_, port, err := net.SplitHostPort(a.addr)
		if _, number := strconv.ParseUint(port, 10, 16); err != nil || number != nil {
			all = append(all, fmt.Errorf("telemetry.%s: %q is no address; write host:port", a.key, a.addr))
		}
	}
	return errors.Join(all...)
}

func (s *Settings) filter() (metric.Filter, error) {
	f, err := metric.NewFilter(s.PrefixFilter, s.FilterDefault, s.Prefix+"."+quietMetric)
	if err != nil {
		return f, fmt.Errorf("telemetry.prefix_filter: %w", err)
	}
	return f, nil
}

// naming is how metrics are told. As in Consul gauges bear the host's name where they leave the agent and may meet
// those of others: it matters to who has configured that.
func (s *Settings) naming() (metric.Naming, error) {
	filter, err := s.filter()
	n := metric.Naming{Prefix: s.Prefix, Filter: filter}
	if away := s.Statsd+s.Statsite+s.DogStatsd != "" || s.Retention > 0; away && !s.DisableHostname && err == nil {
		if n.Host, err = os.Hostname(); err != nil {
			err = fmt.Errorf("cannot name the gauges after this host: %w; set telemetry.disable_hostname", err)
		}
	}
	return n, err
}

// targets are where metrics are sent.
func (s *Settings) targets(h *room.Host) (list []metric.Target) {
	failed := func(err error) { h.Log.Warn("metrics are lost, and tried again", "error", err) }
	add := func(d metric.Dialect, addr string, tags []string) {
		if addr != "" {
			list = append(list, metric.Target{Dialect: d, Address: addr, Tags: tags, Failed: failed})
		}
	}
	add(metric.Statsd, s.Statsd, nil)
	add(metric.Statsite, s.Statsite, nil)
	add(metric.DogStatsd, s.DogStatsd, s.DogStatsdTags)
	return list
}

// handlers serve /v1/agent/ as far as it looks into the agent.
type handlers struct {
	host *room.Host
	keep time.Duration
}

func open(h *room.Host, settings any) (*room.Part, error) {
	s := settings.(*Settings)
	a := handlers{h, s.Retention}
	part := &room.Part{Routes: []httpd.Route{
		{Method: "GET", Path: "/v1/agent/host", Serve: a.machine},
		{Method: "GET", Path: "/v1/agent/metrics", Serve: a.metrics},
		{Method: "GET", Path: "/v1/agent/metrics/stream", Serve: a.stream, Stream: true},
		{Method: "GET", Path: "/v1/agent/monitor", Serve: a.monitor, Stream: true},
	}}
	if h.Metrics == nil {
		return part, nil
	}
	naming, err := s.naming()
	if err != nil {
		return nil, err
	}
	h.Metrics.Name(naming)
	part.Reload = func(settings any) error {
		next := settings.(*Settings)
		filter, err := metric.NewFilter(next.PrefixFilter, next.FilterDefault, s.Prefix+"."+quietMetric)
		if err != nil {
			return fmt.Errorf("telemetry.prefix_filter: %w", err)
		}
		n := naming
		n.Filter = filter
		h.Metrics.Name(n)
		return nil
	}
	collect(h, s)
	push := func(context.Context) error { return nil }
	if list := s.targets(h); len(list) > 0 {
		if push, err = h.Metrics.Push(list, !s.Retry); err != nil {
			return nil, fmt.Errorf("%w; start what listens there, or leave telemetry.retry_failed_connection on", err)
		}
	}
	part.Run = func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return h.Metrics.Run(ctx) })
		group.Go(func() error { return push(ctx) })
		group.Go(func() error { return dump(ctx, h.Metrics) })
		return group.Wait()
	}
	return part, nil
}
