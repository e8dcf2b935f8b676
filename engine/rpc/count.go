package rpc

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// count is a thing that is counted. Those from refusedPlain to refusedPeer are reasons to refuse a connection or request.
type count int

const (
	accepted count = iota
	served
	servedFailed
	streamed
	panicked
	logStreams
	dialed
	dialFailed
	called
	callFailed
	refusedPlain   // plain text where TLS is required
	refusedTLS     // TLS where none is offered, or a handshake that failed
	refusedGarbage // bytes that are none of our protocols, or break one
	refusedSlow    // nothing, or not enough, said within the handshake's deadline
	refusedLimit   // too many connections
	refusedPeer    // a log stream from who may not open one
	refusedSize    // a message over MaxMessage
	countEnd
)

var countNames = [countEnd]string{
	accepted: "rpc.accepted", served: "rpc.served.calls", servedFailed: "rpc.served.calls.failed",
	streamed: "rpc.served.streams", panicked: "rpc.panics", logStreams: "rpc.log_streams",
	dialed: "rpc.dials", dialFailed: "rpc.dials.failed", called: "rpc.calls", callFailed: "rpc.calls.failed",
	refusedPlain: "rpc.refused.plain", refusedTLS: "rpc.refused.tls", refusedGarbage: "rpc.refused.garbage",
	refusedSlow: "rpc.refused.slow", refusedLimit: "rpc.refused.limit", refusedPeer: "rpc.refused.peer", refusedSize: "rpc.refused.size",
}

type counters [countEnd]atomic.Uint64

func (c *counters) add(what count) { c[what].Add(1) }

func (c *counters) all() map[string]uint64 {
	m := make(map[string]uint64, countEnd+1)
	for i, name := range countNames {
		m[name] = c[i].Load()
	}
	return m
}

const (
	refusalEvery = time.Minute // at most one line per peer
	refusalPeers = 1024        // peers that are remembered; who comes beyond is counted and not logged
)

// refusals remembers whose refusal was logged lately.
type refusals struct {
	mu   sync.Mutex // guards said
	said map[string]time.Time
}

// due reports whether a refusal of that IP may be logged now, and notes that it was.
func (r *refusals) due(ip string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.said == nil {
		r.said = map[string]time.Time{}
	}
	if at, known := r.said[ip]; known && now.Sub(at) < refusalEvery {
		return false
	}
	if len(r.said) >= refusalPeers {
		for other, at := range r.said {
			if now.Sub(at) >= refusalEvery {
				delete(r.said, other)
			}
		}
		if len(r.said) >= refusalPeers {
			return false
		}
	}
	r.said[ip] = now
	return true
}

// refuse counts a refusal and logs it unless that peer's were logged lately. The peer is hung up on afterwards.
func (p *Port) refuse(why count, ip string, cause error) {
	defer p.counts.add(why)
	if p.refusals.due(ip, time.Now()) {
		p.opts.Log.Warn("refused a connection to the server port; more from there within a minute are only counted",
			slog.String("peer", ip), slog.String("counter", countNames[why]), slog.Any("error", cause))
	}
}
