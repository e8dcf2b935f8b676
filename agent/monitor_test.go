package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestMonitor: who follows the log gets its lines at a level of its own, and slow ones hold up nobody (spec http/agent.md,
// agent/monitor).
func TestMonitor(t *testing.T) {
	var out bytes.Buffer
	a := &Agent{}
	log := slog.New(follow(newLog(&out, nil, new(slog.LevelVar), false).Handler(), &a.monitors)).WithGroup("server").With("n", 1)
	log.Debug("nobody hears")
	if log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("lines are made that nobody wants")
	}
	debug, stop, err := a.Monitor("debug", false)
	if err != nil {
		t.Fatal(err)
	}
	objects, stopObjects, err := a.Monitor("WARN", true)
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("one")
	log.Log(t.Context(), levelTrace, "too low")
	log.Warn("two")
	for _, want := range []string{"[DEBUG] agent.server: one: n=1\n", "[WARN]  agent.server: two: n=1\n"} {
		if line := string(<-debug); !strings.HasSuffix(line, " "+want) {
			t.Errorf("line %q, want %q", line, want)
		}
	}
	if line := string(<-objects); !strings.HasPrefix(line, `{"@level":"warn","@message":"two","@module":"agent.server",`) || !strings.HasSuffix(line, "\"n\":1}\n") {
		t.Errorf("line %q", line)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "two") {
		t.Errorf("the agent's own log has %q", got)
	}
	for range 2 * monitorLines {
		log.Warn("many")
	}
	if len(debug) != monitorLines {
		t.Errorf("%d lines wait, want %d", len(debug), monitorLines)
	}
	stop()
	stopObjects()
	if log.Enabled(t.Context(), slog.LevelDebug) || len(a.monitors.list) > 0 {
		t.Error("somebody still follows")
	}
	if _, _, err := a.Monitor("foo", false); err == nil {
		t.Error("a level that is none")
	}
}
