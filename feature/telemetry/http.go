package telemetry

import (
	"encoding/json"
	"io"
	"mime"
	"strings"
	"time"

	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/metric"
)

// prometheusText is the type of Prometheus' text format.
const prometheusText = "text/plain; version=0.0.4; charset=utf-8"

// metrics serves the last interval as JSON, or all there is as Prometheus text.
func (a handlers) metrics(r *httpd.Request) (httpd.Reply, error) {
	if a.host.Metrics == nil {
		return httpd.Reply{}, fault.New(fault.Refused, "this agent measures nothing")
	}
	if r.Query("format") == "prometheus" || wantsText(r.HTTP.Header.Values("Accept")) {
		return httpd.Reply{Raw: a.host.Metrics.Prometheus(nil, a.keep), ContentType: prometheusText}, nil
	}
	last, _ := a.host.Metrics.Last()
	return httpd.Reply{Value: last}, nil
}

// wantsText reports whether a client lists one of the types that Prometheus asks for (spec http/agent.md: also by the version
// that Consul looks for, which no Prometheus sends).
func wantsText(accept []string) bool {
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		kind, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		if kind == "application/openmetrics-text" || kind == "text/plain" && (params["version"] == "0.4.0" || params["version"] == "0.0.4") {
			return true
		}
	}
	return false
}

// stream sends each interval once it is over.
func (a handlers) stream(r *httpd.Request) (httpd.Reply, error) {
	if a.host.Metrics == nil {
		return httpd.Reply{}, fault.New(fault.Refused, "this agent measures nothing")
	}
	return httpd.Reply{Gzip: true, Stream: func(w io.Writer, flush func()) error {
		to := json.NewEncoder(w)
		to.SetIndent("", "    ")
		_, next := a.host.Metrics.Last()
		for {
			flush()
			select {
			case <-r.Context().Done():
				return nil
			case <-next:
			}
			var over metric.Interval
			if over, next = a.host.Metrics.Last(); to.Encode(over) != nil {
				return nil // the client has gone
			}
		}
	}}, nil
}

// flushEvery is how often log lines are sent on.
const flushEvery = 200 * time.Millisecond

// monitor sends the agent's log from now on, at a level of its own.
func (a handlers) monitor(r *httpd.Request) (httpd.Reply, error) {
	level := r.Query("loglevel")
	if level == "" {
		level = "INFO"
	}
	lines, stop, err := a.host.Agent.Monitor(level, r.Has("logjson"))
	if err != nil {
		return httpd.Reply{}, fault.New(fault.Invalid, "Unknown log level: %s", level)
	}
	return httpd.Reply{Gzip: true, Stream: func(w io.Writer, flush func()) error {
		defer stop()
		flush() // the headers
		tick := time.NewTicker(flushEvery)
		defer tick.Stop()
		for waiting := false; ; {
			select {
			case <-r.Context().Done():
				return nil
			case line := <-lines:
				waiting = true
				if _, err := w.Write(line); err != nil {
					return nil // the client has gone
				}
			case <-tick.C:
				if waiting {
					flush()
					waiting = false
				}
			}
		}
	}}, nil
}
