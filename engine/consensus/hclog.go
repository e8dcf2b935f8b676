package consensus

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// hcLogger lets the libraries of this package log to l. What they call info is our debug: elections and snapshots are
// told by the Node, once.
func hcLogger(l *slog.Logger) hclog.Logger {
	h := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Off, Output: io.Discard})
	h.RegisterSink(slogSink{l})
	return h
}

type slogSink struct{ to *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s slogSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	ctx, to := context.Background(), slog.LevelDebug
	switch {
	case level <= hclog.Debug:
		to = slog.LevelDebug - 4
	case level == hclog.Error:
		to = slog.LevelError
	case level == hclog.Warn && msg != "heartbeat timeout reached, starting election":
		to = slog.LevelWarn
	}
	if s.to.Enabled(ctx, to) {
		for i, a := range args {
			if f, ok := a.(hclog.Format); ok && len(f) > 0 {
				args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
			}
		}
		s.to.Log(ctx, to, msg, args...)
	}
}
