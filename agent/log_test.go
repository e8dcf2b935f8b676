package agent

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"testing"
)

// TestLines: the form of a log line is that of spec agent.md §16.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	level.Set(slog.LevelDebug)
	log := newLog(&out, nil, level, false).WithGroup("server").WithGroup("raft")
	for _, c := range []struct {
		write func()
		want  string
	}{
		{func() { log.Warn("message", "key", "value", "key2", "two words") }, `[WARN]  agent.server.raft: message: key=value key2="two words"`},
		{func() { log.Info("plain") }, `[INFO]  agent.server.raft: plain`},
		{func() { log.Debug("n", "n", 3, "empty", "") }, `[DEBUG] agent.server.raft: n: n=3 empty=""`},
		{func() { log.With("check", "c").Error("bad") }, `[ERROR] agent.server.raft: bad: check=c`},
		{func() { log.Log(t.Context(), levelTrace, "too low") }, ``},
	} {
		out.Reset()
		c.write()
		got := regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d{4}) (.*)\n$`).ReplaceAllString(out.String(), "$2")
		if got != c.want {
			t.Errorf("line %q, want %q", out.String(), c.want)
		}
	}
}

func TestJSONLines(t *testing.T) {
	var out bytes.Buffer
	newLog(&out, nil, new(slog.LevelVar), true).WithGroup("server").With("check", "c").Info("message", "n", 3, "error", errors.New("bad \"x\""))
	if !regexp.MustCompile(`^\{"@level":"info","@message":"message","@module":"agent.server","@timestamp":"[^"]+Z","check":"c","n":3,"error":"bad \\"x\\""\}\n$`).Match(out.Bytes()) {
		t.Errorf("line %s", out.Bytes())
	}
}

func TestParseLevel(t *testing.T) {
	for text, want := range map[string]string{"trace": "TRACE", "Debug": "DEBUG", "INFO": "INFO", "warn": "WARN", "ERR": "ERROR", "error": "ERROR"} {
		l, err := parseLevel(text)
		if err != nil || levelName(l) != want {
			t.Errorf("%s: %v, %v", text, l, err)
		}
	}
	if _, err := parseLevel("loud"); err == nil {
		t.Error("an unknown level is accepted")
	}
}
