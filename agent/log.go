package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
)

// levelTrace is one below Debug.
const levelTrace = slog.LevelDebug - 4

// parseLevel reads a level's name in any case; ERR is ERROR.
func parseLevel(s string) (slog.Level, error) {
	switch strings.ToUpper(s) {
	case "TRACE":
		return levelTrace, nil
	case "DEBUG":
		return slog.LevelDebug, nil
	case "INFO":
		return slog.LevelInfo, nil
	case "WARN":
		return slog.LevelWarn, nil
	case "ERR", "ERROR":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log_level: %q is no level; use TRACE, DEBUG, INFO, WARN or ERR", s)
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "TRACE"
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < slog.LevelWarn:
		return "INFO"
	case l < slog.LevelError:
		return "WARN"
	}
	return "ERROR"
}

// lines writes log lines in Consul's form: time, level in brackets, the part of the agent, message, key=value.
type lines struct {
	mu    *sync.Mutex // guards w
	w     io.Writer
	level *slog.LevelVar
	part  string // "agent.http"
	attrs []slog.Attr
}

// newLog returns a logger of the agent's lines, or of JSON objects.
func newLog(w io.Writer, level *slog.LevelVar, asJSON bool) *slog.Logger {
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: jsonNames}))
	}
	return slog.New(&lines{mu: new(sync.Mutex), w: w, level: level, part: "agent"})
}

func jsonNames(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		a.Key = "@timestamp"
		a.Value = slog.StringValue(a.Value.Time().UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
	case slog.LevelKey:
		a.Key = "@level"
		a.Value = slog.StringValue(strings.ToLower(levelName(a.Value.Any().(slog.Level))))
	case slog.MessageKey:
		a.Key = "@message"
	}
	return a
}

// Enabled reports whether lines of the level are written.
func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= l.level.Level() }

// WithAttrs returns a handler that adds the attributes to every line.
func (l *lines) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *l
	c.attrs = append(append([]slog.Attr(nil), l.attrs...), attrs...)
	return &c
}

// WithGroup returns a handler for a part of this part.
func (l *lines) WithGroup(name string) slog.Handler {
	c := *l
	c.part += "." + name
	return &c
}

// Handle writes one line.
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	b := r.Time.AppendFormat(make([]byte, 0, 160), "2006-01-02T15:04:05.000Z0700")
	b = fmt.Appendf(b, " %-8s", "["+levelName(r.Level)+"]")
	b = append(b, l.part+": "+r.Message...)
	add := func(a slog.Attr) bool {
		b = append(b, " "+a.Key+"="...)
		b = append(b, plain(a.Value)...)
		return true
	}
	first := true
	each := func(a slog.Attr) bool {
		if first {
			b = append(b, ':')
			first = false
		}
		return add(a)
	}
	for _, a := range l.attrs {
		each(a)
	}
	r.Attrs(each)
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.w.Write(append(b, '\n'))
	return err
}

func plain(v slog.Value) string {
	v = v.Resolve()
	s := v.String()
	if v.Kind() == slog.KindTime {
		s = v.Time().Format(time.RFC3339Nano)
	}
	if s == "" || strings.ContainsAny(s, " \t\n\"=") {
		return strconv.Quote(s)
	}
	return s
}
