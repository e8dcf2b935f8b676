package consensus

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// bulkTimeout bounds one exchange of entries: a follower answers after its own fsync, and a disk may take seconds.
	// Raft multiplies it by the size of a snapshot in units of 256 KiB.
	bulkTimeout = 10 * time.Second
	// poolSize is how many idle connections to a server are kept: heartbeats use one, votes another.
	poolSize = 2
	// gatePoll is how often one that waits for a silent server looks whether it still has a reason to.
	gatePoll = 250 * time.Millisecond
)

// transport is Raft's way to the other servers: raft.NetworkTransport on two kinds of connections. Heartbeats and votes
// have short deadlines; an answer that comes later is worth nothing, and a connection that went silent is replaced
// soon. Entries and snapshots may take as long as disks take.
//
// The heartbeats also tell which servers answer. While one does not, entries for it wait here instead of failing over
// and over: Raft would wait up to ten seconds longer after each failure, and a server that is back would wait with it.
type transport struct {
	*raft.NetworkTransport // entries, snapshots, and all that comes in

	fast     *raft.NetworkTransport
	net      *streams
	self     raft.Server
	resolve  func(id string) (string, bool)
	patience time.Duration             // deadline of a heartbeat or vote
	raft     atomic.Pointer[raft.Raft] // once it runs

	mu    sync.Mutex
	links map[raft.ServerID]*link
}

// link is what heartbeats have told about another server.
type link struct {
	heard  time.Time
	last   uint64             // the newest index in its log
	silent chan struct{}      // not nil while it does not answer; closed when it does again
	bulk   raft.ServerAddress // where entries were sent last
}

func newTransport(o *Options) *transport {
	t := &transport{net: newStreams(o.Streams, o.Address), resolve: o.Resolve, links: map[raft.ServerID]*link{},
		self: raft.Server{ID: raft.ServerID(o.ID), Address: raft.ServerAddress(o.Address)}, patience: max(time.Second, 2*o.HeartbeatTimeout)}
	t.net.dialing = t.patience
	logger := hcLogger(o.Logger)
	t.NetworkTransport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: t.net, MaxPool: poolSize,
		Timeout: bulkTimeout, Logger: logger, ServerAddressProvider: t})
	t.fast = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: outward{t.net}, MaxPool: poolSize,
		Timeout: t.patience, Logger: logger, ServerAddressProvider: t})
	return t
}

var errNoAddress = errors.New("its address is not known by its id")

// ServerAddr implements raft.ServerAddressProvider. On an error Raft takes the address that is stored.
func (t *transport) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
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

func (t *transport) address(id raft.ServerID, stored raft.ServerAddress) raft.ServerAddress {
	if a, err := t.ServerAddr(id); err == nil {
		return a
	}
	return stored
}

// LocalAddr implements raft.Transport.
func (t *transport) LocalAddr() raft.ServerAddress { return t.self.Address }

// EncodePeer implements raft.Transport. Raft keeps what this returns as the candidate it voted for; with addresses alone,
// two servers that swapped theirs could both have one server's vote in one term.
func (t *transport) EncodePeer(id raft.ServerID, a raft.ServerAddress) []byte {
	return append(append([]byte(t.address(id, a)), 0), id...)
}

// DecodePeer implements raft.Transport.
func (t *transport) DecodePeer(b []byte) raft.ServerAddress {
	a, _, _ := bytes.Cut(b, []byte{0})
	return raft.ServerAddress(a)
}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, a raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if req.PrevLogEntry == 0 && req.PrevLogTerm == 0 && len(req.Entries) == 0 && req.LeaderCommitIndex == 0 {
		begin := time.Now()
		err := t.fast.AppendEntries(id, a, req, resp)
		t.note(id, begin, err == nil, resp.LastLog)
		return err
	}
	for {
		t.await(req.Term, id)
		t.sends(id, a)
		err := t.NetworkTransport.AppendEntries(id, a, req, resp)
		if err == nil || !t.isSilent(id) || !t.lead(req.Term, id) || t.net.isClosed() {
			return err
		}
	}
}

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, a raft.ServerAddress) (raft.AppendPipeline, error) {
	t.sends(id, a)
	return t.NetworkTransport.AppendEntriesPipeline(id, a)
}

// InstallSnapshot implements raft.Transport.
func (t *transport) InstallSnapshot(id raft.ServerID, a raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	t.await(req.Term, id)
	t.sends(id, a)
	return t.NetworkTransport.InstallSnapshot(id, a, req, resp, data)
}

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(id raft.ServerID, a raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return fresh(func() error { return t.fast.RequestVote(id, a, req, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, a raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return fresh(func() error { return t.fast.RequestPreVote(id, a, req, resp) })
}

// TimeoutNow implements raft.Transport.
func (t *transport) TimeoutNow(id raft.ServerID, a raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
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
func (t *transport) CloseStreams() {
	t.NetworkTransport.CloseStreams()
	t.fast.CloseStreams()
}

// Close implements raft.WithClose: it ends the listener and all connections.
func (t *transport) Close() error {
	return errors.Join(t.fast.Close(), t.NetworkTransport.Close())
}

// note keeps the answer to a heartbeat. When there is none, connections that did not move since it was sent are cut:
// what waits on them then starts anew as soon as the server answers again.
func (t *transport) note(id raft.ServerID, begin time.Time, ok bool, last uint64) {
	t.mu.Lock()
	l := t.links[id]
	if l == nil {
		l = &link{}
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
	bulk := l.bulk
	t.mu.Unlock()
	if !ok && bulk != "" {
		t.net.cut(string(bulk), begin)
	}
}

func (t *transport) sends(id raft.ServerID, stored raft.ServerAddress) {
	a := t.address(id, stored)
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.links[id]; l != nil {
		l.bulk = a
	} else {
		t.links[id] = &link{bulk: a}
	}
}

func (t *transport) isSilent(id raft.ServerID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.links[id]
	return l != nil && l.silent != nil
}

// await returns when the server answers heartbeats, or nobody needs it to any more.
func (t *transport) await(term uint64, id raft.ServerID) {
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
func (t *transport) lead(term uint64, id raft.ServerID) bool {
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

// contact returns when a server last answered this leader's heartbeat, and the newest index in its log then.
func (t *transport) contact(id string) (heard time.Time, last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.links[raft.ServerID(id)]; l != nil && l.silent == nil {
		return l.heard, l.last
	}
	return time.Time{}, 0
}
