package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
)

// levels are the prefixes by which Serf and memberlist mark their lines.
var levels = []struct {
	prefix string
	level  slog.Level
}{{"[ERR]", slog.LevelError}, {"[ERROR]", slog.LevelError}, {"[WARN]", slog.LevelWarn}, {"[INFO]", slog.LevelInfo},
	{"[DEBUG]", slog.LevelDebug}}

// shim turns the libraries' log lines into records.
type shim struct{ log *slog.Logger }

func newLogger(l *slog.Logger) *log.Logger {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return log.New(shim{l}, "", 0)
}

// Write takes one line.
func (s shim) Write(line []byte) (int, error) {
	text, level := strings.TrimSpace(string(line)), slog.LevelInfo
	for _, l := range levels {
		if rest, ok := strings.CutPrefix(text, l.prefix); ok {
			text, level = strings.TrimSpace(rest), l.level
			break
		}
	}
	s.log.Log(context.Background(), level, text)
	return len(line), nil
}
