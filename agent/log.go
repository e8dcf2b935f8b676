package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"rostra/kit/httpd"
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

// lines writes log lines in Consul's forms (spec agent.md §16): time, level in brackets, the part of the agent, message,
// key=value; or an object of the same.
type lines struct {
	mu    *sync.Mutex // guards w
	w     io.Writer
	also  *outlets // where lines go besides w; guarded by mu
	level *slog.LevelVar
	part  string // "agent.http"
	attrs []slog.Attr
	form  func(*lines, slog.Record) []byte
}

// newLog returns a logger of the agent's lines, or of JSON objects.
func newLog(w io.Writer, also *outlets, level *slog.LevelVar, asJSON bool) *slog.Logger {
	l := &lines{mu: new(sync.Mutex), w: w, also: also, level: level, part: "agent", form: (*lines).text}
	if asJSON {
		l.form = (*lines).object
	}
	return slog.New(l)
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
	b := append(l.form(l, r), '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.w.Write(b)
	for _, said := range l.also.take(r.Level, b) {
		agent := lines{part: "agent"}
		notice := append(l.form(&agent, said), '\n')
		_, lost := l.w.Write(notice)
		err = errors.Join(err, lost)
		l.also.take(said.Level, notice) // what fails still has said so; what works again has it, too
	}
	return err
}

// object is a line as one JSON object: level, message, module, time, and what else was said beside them.
func (l *lines) object(r slog.Record) []byte {
	b := httpd.AppendString([]byte(`{"@level":`), strings.ToLower(levelName(r.Level)))
	b = httpd.AppendString(append(b, `,"@message":`...), r.Message)
	b = httpd.AppendString(append(b, `,"@module":`...), l.part)
	b = httpd.AppendString(append(b, `,"@timestamp":`...), r.Time.UTC().Format("2006-01-02T15:04:05.000000Z"))
	add := func(a slog.Attr) bool {
		value, err := json.Marshal(a.Value.Resolve().Any())
		if _, failed := a.Value.Any().(error); failed || err != nil {
			value = httpd.AppendString(nil, a.Value.String())
		}
		b = append(append(httpd.AppendString(append(b, ','), a.Key), ':'), value...)
		return true
	}
	for _, a := range l.attrs {
		add(a)
	}
	r.Attrs(add)
	return append(b, '}')
}

// text is a line as people read it.
func (l *lines) text(r slog.Record) []byte {
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
	return b
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
