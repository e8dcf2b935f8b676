package consensus

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// hcLogger lets the libraries of this package log to l. What they call info is our debug: elections and snapshots are
// told by the Node, once. A warning or error about the same server is told once a minute: Raft repeats it with every
// heartbeat.
func hcLogger(l *slog.Logger) hclog.Logger {
	h := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Off, Output: io.Discard})
	h.RegisterSink(&slogSink{to: l, told: map[string]*telling{}})
	return h
}

// quietFor is how long the same is not told again.
const quietFor = time.Minute

type slogSink struct {
	to *slog.Logger

	mu   sync.Mutex
	told map[string]*telling // by message and server
}

type telling struct {
	at    time.Time
	again int // times it was not told since
}

// A server that does not answer has many messages. They become one.
const unreachable = "cannot reach another server"

var renamed = map[string]string{
	"failed to appendEntries to":                       unreachable,
	"failed to heartbeat to":                           unreachable,
	"failed to make requestVote RPC":                   unreachable,
	"failed to start pipeline replication to":          unreachable,
	"failed to pipeline appendEntries":                 unreachable,
	"failed to decode incoming command":                "a server's connection ended",
	"failed to flush response":                         "a server's connection ended",
	"failed to contact quorum of nodes, stepping down": "cannot reach a majority of the servers; this one leads no more",
}

// expected says what Raft warns of although nothing is wrong.
var expected = map[string]bool{
	"heartbeat timeout reached, starting election":               true,
	"no known peers, aborting election":                          true, // it waits for Form or a leader
	"Election timeout reached, restarting election":              true,
	"failed to contact":                                          true, // its heartbeats say so
	"unable to get address for server, using fallback address":   true,
	"rejecting vote request since we have a leader":              true,
	"rejecting pre-vote request since we have a leader":          true,
	"rejecting vote request since our last index is greater":     true,
	"rejecting pre-vote request since our last index is greater": true,
	"rejecting vote request since our last term is greater":      true,
	"rejecting pre-vote request since our last term is greater":  true,
	"duplicate requestVote from":                                 true,
	"failed to get previous log":                                 true, // it lags; the leader sends older entries
	"previous log term mis-match":                                true,
	"appendEntries rejected, sending older logs":                 true,
	"peer has newer term, stopping replication":                  true,
	"failed to get log":                                          true, // it was removed; a snapshot is sent
	"clearing log suffix":                                        true,
	"heartbeat timeout reached, not part of a stable configuration or a non-voter, not triggering a leader election": true,
}

// Accept implements hclog.SinkAdapter.
func (s *slogSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	ctx, to := context.Background(), slog.LevelDebug
	switch {
	case level <= hclog.Debug:
		to = slog.LevelDebug - 4
	case expected[msg]:
	case level == hclog.Error:
		to = slog.LevelError
	case level == hclog.Warn:
		to = slog.LevelWarn
	}
	if name := renamed[msg]; name != "" {
		msg, to = name, slog.LevelWarn
	}
	if !s.to.Enabled(ctx, to) {
		return
	}
	if to >= slog.LevelWarn {
		again, ok := s.may(msg + " " + about(args))
		if !ok {
			return
		}
		if again > 0 {
			args = append(args[:len(args):len(args)], "again", again)
		}
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	s.to.Log(ctx, to, msg, args...)
}

// about returns which server a message is about, "" if none.
func about(args []any) string {
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "peer", "target", "from", "server-id", "candidate":
			if s, ok := args[i+1].(raft.Server); ok {
				return string(s.Address)
			}
			return fmt.Sprint(args[i+1])
		}
	}
	return ""
}

// may reports whether something may be told, and how often it was not since it was told last.
func (s *slogSink) may(what string) (again int, ok bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.told[what]
	if t != nil && now.Sub(t.at) < quietFor {
		t.again++
		return 0, false
	}
	if t != nil {
		again = t.again
	}
	for k, old := range s.told { // few: servers times messages
		if now.Sub(old.at) >= quietFor {
			delete(s.told, k)
		}
	}
	s.told[what] = &telling{at: now}
	return again, true
}
