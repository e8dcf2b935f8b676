package gossip

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
)

// levelTrace is one below Debug, as everywhere in the agent.
const levelTrace = slog.LevelDebug - 4

var levels = map[string]slog.Level{
	"TRACE": levelTrace, "DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn,
	"ERR": slog.LevelError, "ERROR": slog.LevelError,
}

// lineWriter takes the lines of Serf and memberlist, "[WARN] serf: what happened", and logs them at their level.
type lineWriter struct {
	log     *slog.Logger
	tally   *tally      // nil logs every line
	closing atomic.Bool // from now on all is Debug: sockets that close under their users are no errors
}

// Write logs one line; it never fails.
func (w *lineWriter) Write(line []byte) (int, error) {
	level, text := parseLine(string(line))
	if w.tally != nil && level != slog.LevelInfo && w.tally.known(text) {
		return len(line), nil
	}
	if w.closing.Load() {
		level = min(level, slog.LevelDebug)
	}
	if ctx := context.Background(); w.log.Enabled(ctx, level) {
		w.log.Log(ctx, level, text)
	}
	return len(line), nil
}

// parseLine splits a line into level and text. The text is one line whatever names and errors other machines sent.
func parseLine(line string) (slog.Level, string) {
	level, text := slog.LevelInfo, strings.TrimSpace(line)
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if name, rest, ok := strings.Cut(rest, "]"); ok {
			if l, known := levels[name]; known {
				level, text = l, strings.TrimSpace(rest)
			}
		}
	}
	text, _, _ = strings.Cut(text, " meta:([") // followed by some 1,500 characters of numbers
	return level, strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
