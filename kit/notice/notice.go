// Package notice keeps the log short about what strangers do: of each peer a line is due once a minute, however often there is
// reason for one. Who sends garbage to a port must not fill disks. The ports that anybody can reach ask it.
package notice

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

const (
	// Most is how many are remembered apart; beyond, all peers of a kind that are not known count as one.
	Most = 1024

	every      = time.Minute
	sweepEvery = time.Second // a flood from ever new addresses must not cost a search each
)

// Board remembers what was told of whom. The zero Board is ready; its methods may be called concurrently.
type Board struct {
	mu    sync.Mutex // guards the rest
	told  map[subject]entry
	swept time.Time
}

// subject is what a line is about.
type subject struct{ kind, peer string }

// entry is when that was told last, and how often it was not since.
type entry struct {
	at     time.Time
	silent int
}

// Tell writes a line of a kind about a peer, unless it did within the last minute; then it counts, and the next line says how
// many were not written.
func (b *Board) Tell(log *slog.Logger, level slog.Level, kind, peer, text string, args ...any) {
	silent, due := b.due(kind, peer, time.Now())
	if !due {
		return
	}
	args = append([]any{"peer", peer}, args...)
	if silent > 0 {
		args = append(args, "unlogged", silent)
	}
	log.Log(context.Background(), level, text, args...)
}

// due reports whether to write, and notes that it was done; silent is how many lines were not written since the last.
func (b *Board) due(kind, peer string, now time.Time) (silent int, due bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.told == nil {
		b.told = map[subject]entry{}
	}
	s := subject{kind, peer}
	last, known := b.told[s]
	if !known && b.full(now) {
		s.peer = ""
		last, known = b.told[s]
	}
	if known && now.Sub(last.at) < every {
		last.silent++
		b.told[s] = last
		return 0, false
	}
	b.told[s] = entry{at: now}
	return last.silent, true
}

// full reports whether no other peer can be remembered. mu is held.
func (b *Board) full(now time.Time) bool {
	if len(b.told) >= Most && now.Sub(b.swept) >= sweepEvery {
		b.swept = now
		maps.DeleteFunc(b.told, func(_ subject, e entry) bool { return now.Sub(e.at) >= every })
	}
	return len(b.told) >= Most
}
