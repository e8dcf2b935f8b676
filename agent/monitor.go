package agent

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// monitorLines is how many lines wait for who follows the log; more are lost (spec http/agent.md, agent/monitor).
const monitorLines = 512

// monitors are those who follow the log. The zero value has none.
type monitors struct {
	some   atomic.Bool
	lowest atomic.Int64 // the lowest level that any of them wants

	mu   sync.Mutex // guards list
	list []*monitor
}

// monitor is one of them.
type monitor struct {
	level  slog.Level
	asJSON bool
	lines  chan []byte
}

// add begins to follow; stop ends it.
func (m *monitors) add(level slog.Level, asJSON bool) (lines <-chan []byte, stop func()) {
	one := &monitor{level, asJSON, make(chan []byte, monitorLines)}
	m.change(func() { m.list = append(m.list, one) })
	return one.lines, func() {
		m.change(func() { m.list = slices.DeleteFunc(m.list, func(o *monitor) bool { return o == one }) })
	}
}

func (m *monitors) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	lowest := int64(math.MaxInt64)
	for _, one := range m.list {
		lowest = min(lowest, int64(one.level))
	}
	m.lowest.Store(lowest)
	m.some.Store(len(m.list) > 0)
}

// wants reports whether anybody wants lines of the level.
func (m *monitors) wants(level slog.Level) bool {
	return m.some.Load() && int64(level) >= m.lowest.Load()
}

// give hands a line to all who want it. It waits for nobody.
func (m *monitors) give(l *lines, r slog.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.list {
		if r.Level < one.level {
			continue
		}
		form := l.text
		if one.asJSON {
			form = l.object
		}
		select {
		case one.lines <- append(form(r), '\n'):
		default:
		}
	}
}

// followed is a handler whose lines can be followed at a level of one's own.
type followed struct {
	slog.Handler
	by   *monitors
	form *lines // says how lines look; it writes none
}

// follow lets the lines of a handler be followed. They look like those of newLog.
func follow(h slog.Handler, by *monitors) slog.Handler {
	return &followed{h, by, &lines{part: "agent"}}
}

// Enabled implements slog.Handler.
func (f *followed) Enabled(ctx context.Context, level slog.Level) bool {
	return f.Handler.Enabled(ctx, level) || f.by.wants(level)
}

// Handle implements slog.Handler.
func (f *followed) Handle(ctx context.Context, r slog.Record) error {
	if f.by.wants(r.Level) {
		f.by.give(f.form, r)
	}
	if !f.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return f.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (f *followed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &followed{f.Handler.WithAttrs(attrs), f.by, f.form.WithAttrs(attrs).(*lines)}
}

// WithGroup implements slog.Handler.
func (f *followed) WithGroup(name string) slog.Handler {
	return &followed{f.Handler.WithGroup(name), f.by, f.form.WithGroup(name).(*lines)}
}

// Monitor gives the log's lines of a level and above from now on, until stop is called.
func (a *Agent) Monitor(level string, asJSON bool) (lines <-chan []byte, stop func(), err error) {
	l, err := parseLevel(level)
	if err != nil {
		return nil, nil, err
	}
	lines, stop = a.monitors.add(l, asJSON)
	return lines, stop, nil
}
