package link

import (
	"time"

	"github.com/hashicorp/raft"
)

const (
	// repeatTime is how often a follower may be told again what it has been told, while it answers heartbeats.
	repeatTime = time.Second
	// askTime: Raft's own repetitions (CommitTimeout) lie further apart. What it repeats sooner it needs an answer to: before
	// it transfers leadership it asks over and over until the entries that were sent are confirmed.
	askTime = 40 * time.Millisecond
	// idleTime is how long Raft's repetitions are held back while there is nothing to tell.
	idleTime = 200 * time.Millisecond
	// pushDelay is how long a commit waits for entries that take the news of it along.
	pushDelay = time.Millisecond
)

// pipeline is Raft's pipeline of entries to one server. Raft stops reading the answers when one of them ends the pipeline,
// and may then wait for ever for room to send one more entry; what waits that long is given up here, and at the end of
// the Transport.
type pipeline struct {
	raft.AppendPipeline
	of    *Transport
	to    raft.ServerID
	news  chan struct{} // of one place: something was committed
	grown chan struct{} // of one place: the log has grown
	ended chan struct{}

	turn   chan struct{} // of one place: taken while one request is sent, which may take long; guards what follows
	header raft.AppendEntriesRequest
	told   told
	at     time.Time // when it was told that
	asked  time.Time // when Raft last had a request
}

// told is what a server knows from the requests sent to it: the newest entry, and how far entries are committed.
type told struct{ last, lastTerm, committed uint64 }

// AppendEntries implements raft.AppendPipeline. Raft sends one request for each entry it is given, or every 50 to 100 ms,
// so without more entries in them a follower that lags would never come nearer.
//
// A request that only repeats the last one is not sent, and who would send it rests a while: it would tell nothing, the
// heartbeats show who lives, and half of what an idle cluster does would be such requests. Raft does not wait for the answers of single requests.
func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	p.of.fill(req)
	p.turn <- struct{}{}
	asked := p.asked
	p.asked = time.Now()
	if len(req.Entries) == 0 && p.asked.Sub(asked) > askTime && p.knows(told{req.PrevLogEntry, req.PrevLogTerm, req.LeaderCommitIndex}) {
		p.release()
		p.idle()
		return nil, nil
	}
	defer p.release()
	return p.send(req, resp)
}

// idle waits until Raft may have something to send.
func (p *pipeline) idle() {
	select {
	case <-p.grown:
	case <-p.ended:
	case <-p.of.net.closed:
	case <-time.After(idleTime):
	}
}

func (p *pipeline) release() { <-p.turn }

// knows reports whether the server was told so lately. After a heartbeat that failed it is told again: it may have been
// started anew, and know less than before.
func (p *pipeline) knows(now told) bool {
	return p.told == now && time.Since(p.at) < repeatTime && p.of.failed(p.to).Before(p.at)
}

func (p *pipeline) send(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	p.told, p.at = told{req.PrevLogEntry, req.PrevLogTerm, req.LeaderCommitIndex}, time.Now()
	if n := len(req.Entries); n > 0 {
		p.told.last, p.told.lastTerm = req.Entries[n-1].Index, req.Entries[n-1].Term
	}
	p.header = *req
	p.header.Entries = nil
	given := time.AfterFunc(BulkTimeout, func() { _ = p.AppendPipeline.Close() })
	defer given.Stop()
	return p.AppendPipeline.AppendEntries(req, resp)
}

// push tells the server that entries up to index are committed, with the request that Raft would send up to 300 ms later.
// While newer entries are under way there is no need: their own commit will be told. Nobody but the sender of entries
// waits for a server that does not take them.
func (p *pipeline) push(index uint64) {
	select {
	case p.turn <- struct{}{}:
	default:
		return
	}
	defer p.release()
	if p.told.last > index || p.told.committed >= p.told.last || p.header.Term == 0 {
		return
	}
	req := p.header
	req.PrevLogEntry, req.PrevLogTerm, req.LeaderCommitIndex = p.told.last, p.told.lastTerm, p.told.last
	_, _ = p.send(&req, new(raft.AppendEntriesResponse)) // Raft meets the same error with its next request
}

// bring pushes what is committed until the pipeline ends. Without it a reader who has just seen his write done would wait
// for it at a follower.
func (p *pipeline) bring() {
	for {
		select {
		case <-p.news:
		case <-p.ended:
			return
		}
		time.Sleep(pushDelay)
		p.push(p.of.committed.Load())
	}
}

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.of.mu.Lock()
	if p.of.pipelines[p] {
		delete(p.of.pipelines, p)
		close(p.ended)
	}
	p.of.mu.Unlock()
	return p.AppendPipeline.Close()
}

// piped keeps a pipeline until it is closed, by Raft or by the end of the Transport.
func (t *Transport) piped(p raft.AppendPipeline, to raft.ServerID) raft.AppendPipeline {
	kept := &pipeline{AppendPipeline: p, of: t, to: to, turn: make(chan struct{}, 1), news: make(chan struct{}, 1), grown: make(chan struct{}, 1), ended: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		_ = p.Close()
		return p
	}
	t.pipelines[kept] = true
	t.work.Go(kept.bring)
	return kept
}

// closePipelines gives up what waits in any of them, and opens no more.
func (t *Transport) closePipelines() {
	t.mu.Lock()
	t.over = true
	var open []*pipeline
	for p := range t.pipelines {
		open = append(open, p)
	}
	t.mu.Unlock()
	for _, p := range open {
		_ = p.Close()
	}
	t.work.Wait()
}

// Grown says that the log has, so that the senders of entries look. It never waits.
func (t *Transport) Grown() { t.tell(func(p *pipeline) chan struct{} { return p.grown }) }

// Committed says that entries up to index are committed. A leader's followers are told within milliseconds; Raft itself
// tells them with the next entries, or some 300 ms later. It never waits.
func (t *Transport) Committed(index uint64) {
	t.committed.Store(index)
	t.tell(func(p *pipeline) chan struct{} { return p.news })
}

// tell wakes who waits at a channel of each open pipeline.
func (t *Transport) tell(at func(*pipeline) chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.pipelines {
		select {
		case at(p) <- struct{}{}:
		default:
		}
	}
}
