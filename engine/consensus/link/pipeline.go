package link

import (
	"time"

	"github.com/hashicorp/raft"
)

// pipeline is Raft's pipeline of entries to one server. Raft stops reading the answers when one of them ends the pipeline,
// and may then wait for ever for room to send one more entry; what waits that long is given up here, and at the end of
// the Transport.
type pipeline struct {
	raft.AppendPipeline
	of *Transport
}

// AppendEntries implements raft.AppendPipeline. Raft sends one request for each entry it is given, or every 50 ms, so
// without more entries in them a follower that lags would never come nearer.
func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	p.of.fill(req)
	given := time.AfterFunc(BulkTimeout, func() { _ = p.AppendPipeline.Close() })
	defer given.Stop()
	return p.AppendPipeline.AppendEntries(req, resp)
}

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.of.mu.Lock()
	delete(p.of.pipelines, p)
	p.of.mu.Unlock()
	return p.AppendPipeline.Close()
}

// piped keeps a pipeline until it is closed, by Raft or by the end of the Transport.
func (t *Transport) piped(p raft.AppendPipeline) raft.AppendPipeline {
	kept := &pipeline{p, t}
	t.mu.Lock()
	t.pipelines[kept] = struct{}{}
	t.mu.Unlock()
	return kept
}

// closePipelines gives up what waits in any of them.
func (t *Transport) closePipelines() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.pipelines {
		_ = p.AppendPipeline.Close()
	}
}
