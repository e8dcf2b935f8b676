package relay

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rostra/kit/fault"
)

// limits bound what agents may watch at one server. They are far above what honest ones do: a client agent has one stream
// over one connection, and on it one watch for each different thing that it was asked for lately.
type limits struct {
	unsent     int // bytes of answers begun and not sent yet, on one stream: while it is not read, no more are begun
	streams    int // of watches, over one connection
	connection int // watches over one connection
	token      int // watches with one token, over all connections; those without a token count as one
}

var defaultLimits = limits{unsent: 32 << 20, streams: 8, connection: 1 << 16, token: 1 << 20}

// holder is who a watch is counted for: a token by its hash, so that nothing secret is kept.
type holder [sha256.Size]byte

func holderOf(token string) holder {
	if token == "" {
		return holder{}
	}
	return sha256.Sum256([]byte(token))
}

func (h holder) String() string {
	if h == (holder{}) {
		return "none"
	}
	return "sha256:" + hex.EncodeToString(h[:4])
}

// watches counts the watches of a server's agents.
type watches struct {
	limits limits
	log    *slog.Logger
	counts map[string]*atomic.Uint64

	mu     sync.Mutex // guards the rest
	from   map[string]*tally
	tokens map[holder]int
	said   map[string]time.Time // when a limit was last logged
}

// tally is what one connection has.
type tally struct{ streams, watches int }

// What is counted.
const (
	countOpen   = "watches"
	countWhole  = "watches.whole"   // answers sent whole,
	countChange = "watches.changes" // and as what changed in a long one;
	countBytes  = "watches.bytes"   // the bytes of both
	overStreams = "watches.refused.streams"
	overOne     = "watches.refused.connection"
	overToken   = "watches.refused.token"
)

func (w *watches) init(log *slog.Logger) {
	w.limits, w.log = defaultLimits, log
	w.from, w.tokens, w.said = map[string]*tally{}, map[holder]int{}, map[string]time.Time{}
	w.counts = map[string]*atomic.Uint64{}
	for _, name := range []string{countOpen, countWhole, countChange, countBytes, overStreams, overOne, overToken} {
		w.counts[name] = new(atomic.Uint64)
	}
}

// open counts a stream. Each that it returns nil for is closed.
func (w *watches) open(from string) error {
	w.mu.Lock()
	t := w.from[from]
	if t == nil {
		t = &tally{}
		w.from[from] = t
	}
	full := t.streams >= w.limits.streams
	if !full {
		t.streams++
	}
	w.mu.Unlock()
	if full {
		return w.refuse(overStreams, "from", from, "one connection may have %d streams of watches to a server, the limit; use one for all", w.limits.streams)
	}
	return nil
}

func (w *watches) close(from string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.from[from]; t.streams > 1 {
		t.streams--
	} else {
		delete(w.from, from) // its watches have ended
	}
}

// add counts a watch on an open stream. Each that it returns nil for is removed.
func (w *watches) add(from string, token holder) error {
	switch w.full(from, token) {
	case overOne:
		return w.refuse(overOne, "from", from, "one agent may watch %d queries at a server, the limit of its connection; "+
			"let fewer different ones wait through it", w.limits.connection)
	case overToken:
		return w.refuse(overToken, "token", token.String(), "one token may watch %d queries at a server, the limit of a token; "+
			"use several tokens, or more servers", w.limits.token)
	}
	w.counts[countOpen].Add(1)
	return nil
}

// full returns which limit forbids another watch; if none, it is noted.
func (w *watches) full(from string, token holder) (limit string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.from[from]
	switch {
	case t.watches >= w.limits.connection:
		return overOne
	case w.tokens[token] >= w.limits.token:
		return overToken
	}
	t.watches++
	w.tokens[token]++
	return ""
}

func (w *watches) remove(from string, token holder) {
	w.counts[countOpen].Add(^uint64(0))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from[from].watches--
	if w.tokens[token]--; w.tokens[token] == 0 {
		delete(w.tokens, token)
	}
}

// sayAgain is how seldom a limit is logged.
const sayAgain = time.Minute

// refuse counts a refusal, logs it unless that limit's were logged lately, and returns it.
func (w *watches) refuse(limit, whose, who, text string, most int) error {
	w.counts[limit].Add(1)
	err := fault.New(fault.Busy, text, most)
	now := time.Now()
	w.mu.Lock()
	due := now.Sub(w.said[limit]) >= sayAgain
	if due {
		w.said[limit] = now
	}
	w.mu.Unlock()
	if due {
		w.log.Warn("refused a watch; more of this limit within a minute are only counted", whose, who, "counter", limit, "error", err)
	}
	return err
}

// told counts an answer that is sent.
func (w *watches) told(n *news) {
	what := countWhole
	if n.From != 0 {
		what = countChange
	}
	w.counts[what].Add(1)
	w.counts[countBytes].Add(uint64(len(n.Value)))
}

func (w *watches) counters() map[string]uint64 {
	out := make(map[string]uint64, len(w.counts))
	for name, n := range w.counts {
		out[name] = n.Load()
	}
	return out
}
