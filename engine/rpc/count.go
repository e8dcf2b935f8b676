package rpc

import (
	"log/slog"
	"sync/atomic"
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

// refuse counts a refusal and logs it unless that peer's were logged lately. The peer is hung up on afterwards.
func (p *Port) refuse(why count, ip string, cause error) {
	defer p.counts.add(why)
	p.refusals.Tell(p.opts.Log, slog.LevelWarn, "", ip, "refused a connection to the server port; more from there within a minute are only counted",
		"counter", countNames[why], "error", cause)
}
