package gossip

import (
	"log/slog"
	"testing"
)

func TestParseLine(t *testing.T) {
	for _, c := range []struct {
		line, text string
		level      slog.Level
	}{
		{"[DEBUG] memberlist: x\n", "memberlist: x", slog.LevelDebug},
		{"[INFO] serf: x\n", "serf: x", slog.LevelInfo},
		{"[WARN] serf: x", "serf: x", slog.LevelWarn},
		{"[ERR] serf: x", "serf: x", slog.LevelError},
		{"[ERROR] serf: x", "serf: x", slog.LevelError},
		{"[TRACE] serf: x", "serf: x", levelTrace},
		{"[::1] serf: x", "[::1] serf: x", slog.LevelInfo},
		{"[ERR no end", "[ERR no end", slog.LevelInfo},
		{"plain", "plain", slog.LevelInfo},
		{"[WARN] memberlist: Refuting an alive message for 'a' (10.0.0.1:8301) meta:([255 1 2] VS [255 3 4]), vsn:([1] VS [2])",
			"memberlist: Refuting an alive message for 'a' (10.0.0.1:8301)", slog.LevelWarn},
		{"", "", slog.LevelInfo},
		{"[WARN] serf: node a\n[ERR] forged\x1b[1m", "serf: node a [ERR] forged [1m", slog.LevelWarn},
	} {
		if level, text := parseLine(c.line); level != c.level || text != c.text {
			t.Errorf("%q: %v %q", c.line, level, text)
		}
	}
}

func TestLogIsQuietAtClose(t *testing.T) {
	var l lines
	p := open(t, "a", func(o *Options) { o.Logger = l.logger() })
	if !l.has("level=INFO msg=\"serf: EventMemberJoin: a 127.0.0.1\"") {
		t.Errorf("log: %s", l.buf.String())
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if l.has("level=WARN") || l.has("level=ERROR") {
		t.Errorf("log: %s", l.buf.String())
	}
}
