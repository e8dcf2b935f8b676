// Package link connects the servers of a cluster: it is Raft's transport on the streams of engine/rpc, and it knows which
// servers answer. engine/consensus is its only caller.
package link

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	// BulkTimeout bounds one exchange of entries: a follower answers after its own fsync, and a disk may take seconds.
	// Raft multiplies it by the size of a snapshot in units of 256 KiB.
	BulkTimeout = 10 * time.Second
	// poolSize is how many idle connections to a server are kept: heartbeats use one, votes another.
	poolSize = 2
	// gatePoll is how often one that waits for a silent server looks whether it still has a reason to.
	gatePoll = 250 * time.Millisecond
	// A follower that lags is sent up to so much at once. Raft's own limit counts entries.
	catchUpBytes, catchUpEntries = 1 << 20, 1024
)

// Transport is Raft's way to the other servers: raft.NetworkTransport on two kinds of connections. Heartbeats and votes
// have short deadlines; an answer that comes later is worth nothing, and a connection that went silent is replaced
// soon. Entries and snapshots may take as long as disks take.
//
// The heartbeats also tell which servers answer. While one does not, entries for it wait here instead of failing over
// and over: Raft would wait up to ten seconds longer after each failure, and a server that is back would wait with it.
type Transport struct {
	*raft.NetworkTransport // entries, snapshots, and all that comes in

	fast     *raft.NetworkTransport
	net      *streams
	self     raft.Server
	resolve  func(id string) (string, bool)
	most     int
	entry    func(uint64, *raft.Log) error
	patience time.Duration             // deadline of a heartbeat or vote
	raft     atomic.Pointer[raft.Raft] // once it runs

	mu        sync.Mutex
	links     map[raft.ServerID]*peer
	pipelines map[*pipeline]bool // open
	over      bool               // none is opened any more
	committed atomic.Uint64
	work      sync.WaitGroup
}

// peer is what heartbeats have told about another server.
type peer struct {
	heard  time.Time
	failed time.Time          // when a heartbeat last had no answer
	last   uint64             // the newest index in its log
	silent chan struct{}      // not nil while it does not answer; closed when it does again
	bulk   raft.ServerAddress // where entries were sent last
}

// Options say who this server is and how it reaches others.
type Options struct {
	ID, Address string
	Streams     Streams
	Resolve     func(id string) (address string, ok bool) // nil knows none
	Heartbeat   time.Duration                             // Raft's HeartbeatTimeout
	Most        int                                       // Raft's MaxAppendEntries
	Entry       func(index uint64, l *raft.Log) error     // reads this server's log
	Logger      hclog.Logger
}

// New returns a Transport that listens. Close ends it, and the Streams.
func New(o Options) *Transport {
	t := &Transport{net: newStreams(o.Streams, o.Address), resolve: o.Resolve, most: o.Most, entry: o.Entry, links: map[raft.ServerID]*peer{}, pipelines: map[*pipeline]bool{},
		self: raft.Server{ID: raft.ServerID(o.ID), Address: raft.ServerAddress(o.Address)}, patience: max(time.Second, 2*o.Heartbeat)}
	t.net.dialing = t.patience
	t.NetworkTransport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: t.net, MaxPool: poolSize,
		Timeout: BulkTimeout, Logger: o.Logger, ServerAddressProvider: t})
	t.fast = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: outward{t.net}, MaxPool: poolSize,
		Timeout: t.patience, Logger: o.Logger, ServerAddressProvider: t})
	return t
}

// Attach tells the Raft that runs on it.
func (t *Transport) Attach(r *raft.Raft) { t.raft.Store(r) }

var errNoAddress = errors.New("its address is not known by its id")

// ServerAddr implements raft.ServerAddressProvider. On an error Raft takes the address that is stored.
func (t *Transport) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if id == t.self.ID {
		return t.self.Address, nil
	}
	if t.resolve != nil {
		if a, ok := t.resolve(string(id)); ok {
			return raft.ServerAddress(a), nil
		}
	}
	return "", errNoAddress
}

func (t *Transport) address(id raft.ServerID, stored raft.ServerAddress) raft.ServerAddress {
	if a, err := t.ServerAddr(id); err == nil {
		return a
	}
	return stored
}

// LocalAddr implements raft.Transport.
func (t *Transport) LocalAddr() raft.ServerAddress { return t.self.Address }

// EncodePeer implements raft.Transport. Raft keeps what this returns as the candidate it voted for; with addresses alone,
// two servers that swapped theirs could both have one server's vote in one term.
func (t *Transport) EncodePeer(id raft.ServerID, a raft.ServerAddress) []byte {
	return append(append([]byte(t.address(id, a)), 0), id...)
}

// DecodePeer implements raft.Transport.
func (t *Transport) DecodePeer(b []byte) raft.ServerAddress {
	a, _, _ := bytes.Cut(b, []byte{0})
	return raft.ServerAddress(a)
}

// AppendEntries implements raft.Transport.
func (t *Transport) AppendEntries(id raft.ServerID, a raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if req.PrevLogEntry == 0 && req.PrevLogTerm == 0 && len(req.Entries) == 0 && req.LeaderCommitIndex == 0 {
		begin := time.Now()
		err := t.fast.AppendEntries(id, a, req, resp)
		t.note(id, begin, err == nil, resp.LastLog)
		return err
	}
	t.fill(req)
	for {
		t.await(req.Term, id)
		t.sends(id, a)
		err := t.NetworkTransport.AppendEntries(id, a, req, resp)
		if err == nil || !t.isSilent(id) || !t.lead(req.Term, id) || t.net.isClosed() {
			return err
		}
	}
}

// fill adds the entries that follow to a full request. Raft sends one request after the other to a follower that lags,
// and few entries with each because some are large; thousands of small ones would take seconds of round trips and fsyncs.
// Raft looks at the request again afterwards to learn what was sent.
func (t *Transport) fill(req *raft.AppendEntriesRequest) {
	if len(req.Entries) < t.most || t.entry == nil {
		return
	}
	size := 0
	for _, e := range req.Entries {
		size += len(e.Data)
	}
	for next := req.Entries[len(req.Entries)-1].Index + 1; len(req.Entries) < catchUpEntries; next++ {
		l := new(raft.Log)
		if t.entry(next, l) != nil {
			return // the log ends
		}
		if size += len(l.Data) + 64; size > catchUpBytes {
			return
		}
		req.Entries = append(req.Entries, l)
	}
}

// AppendEntriesPipeline implements raft.Transport.
func (t *Transport) AppendEntriesPipeline(id raft.ServerID, a raft.ServerAddress) (raft.AppendPipeline, error) {
	t.sends(id, a)
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, a)
	if err != nil {
		return nil, err
	}
	return t.piped(p, id), nil
}

// InstallSnapshot implements raft.Transport.
func (t *Transport) InstallSnapshot(id raft.ServerID, a raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	t.await(req.Term, id)
	t.sends(id, a)
	return t.NetworkTransport.InstallSnapshot(id, a, req, resp, data)
}

// RequestVote implements raft.Transport.
func (t *Transport) RequestVote(id raft.ServerID, a raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return fresh(func() error { return t.fast.RequestVote(id, a, req, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (t *Transport) RequestPreVote(id raft.ServerID, a raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return fresh(func() error { return t.fast.RequestPreVote(id, a, req, resp) })
}

// TimeoutNow implements raft.Transport.
func (t *Transport) TimeoutNow(id raft.ServerID, a raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return fresh(func() error { return t.fast.TimeoutNow(id, a, req, resp) })
}

// fresh asks again while the connections taken from the pool turn out to have ended: the other server was restarted.
// Without it every vote after a restart would be lost, and half a second with it.
func fresh(ask func() error) error {
	var err error
	for range poolSize + 1 {
		if err = ask(); err == nil || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) &&
			!errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			break
		}
	}
	return err
}

// CloseStreams is raft.NetworkTransport's.
func (t *Transport) CloseStreams() {
	t.NetworkTransport.CloseStreams()
	t.fast.CloseStreams()
}

// Close implements raft.WithClose: it ends the listener and all connections.
func (t *Transport) Close() error {
	err := errors.Join(t.fast.Close(), t.NetworkTransport.Close())
	t.closePipelines()
	return err
}

// note keeps the answer to a heartbeat. When there is none, connections that did not move since it was sent are cut:
// what waits on them then starts anew as soon as the server answers again.
func (t *Transport) note(id raft.ServerID, begin time.Time, ok bool, last uint64) {
	t.mu.Lock()
	l := t.links[id]
	if l == nil {
		l = &peer{}
		t.links[id] = l
	}
	switch {
	case ok:
		l.heard, l.last = time.Now(), last
		if l.silent != nil {
			close(l.silent)
			l.silent = nil
		}
	case l.silent == nil:
		l.silent = make(chan struct{})
	}
	if !ok {
		l.failed = time.Now()
	}
	bulk := l.bulk
	t.mu.Unlock()
	if !ok && bulk != "" {
		t.net.cut(string(bulk), begin)
	}
}

func (t *Transport) sends(id raft.ServerID, stored raft.ServerAddress) {
	a := t.address(id, stored)
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.links[id]; l != nil {
		l.bulk = a
	} else {
		t.links[id] = &peer{bulk: a}
	}
}

func (t *Transport) isSilent(id raft.ServerID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.links[id]
	return l != nil && l.silent != nil
}

// failed returns when a heartbeat to the server last had no answer.
func (t *Transport) failed(id raft.ServerID) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.links[id]; l != nil {
		return l.failed
	}
	return time.Time{}
}

// await returns when the server answers heartbeats, or nobody needs it to any more.
func (t *Transport) await(term uint64, id raft.ServerID) {
	for {
		t.mu.Lock()
		l := t.links[id]
		if l == nil || l.silent == nil {
			t.mu.Unlock()
			return
		}
		silent := l.silent
		t.mu.Unlock()
		select {
		case <-silent:
		case <-t.net.closed:
			return
		case <-time.After(gatePoll):
		}
		if !t.lead(term, id) {
			return
		}
	}
}

// lead reports whether this server leads in term, and id is one of its followers.
func (t *Transport) lead(term uint64, id raft.ServerID) bool {
	r := t.raft.Load()
	if r == nil || r.State() != raft.Leader || r.CurrentTerm() != term {
		return false
	}
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.ID == id {
			return true
		}
	}
	return false
}

// Contact returns when a server last answered this leader's heartbeat, and the newest index in its log then.
func (t *Transport) Contact(id string) (heard time.Time, last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.links[raft.ServerID(id)]; l != nil && l.silent == nil {
		return l.heard, l.last
	}
	return time.Time{}, 0
}
