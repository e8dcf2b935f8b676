package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"rostra/engine/consensus/link"
	"rostra/kit/fault"
)

// Node is one server's end of the log. Its methods may be called concurrently.
type Node struct {
	opts      Options
	log       *logStore
	fsm       *fsm
	snapshots raft.SnapshotStore
	raft      *raft.Raft
	packer    packer
	terms     terms
	notify    chan bool
	leaders   chan struct{} // holds one when another server leads, or none
	full      chan struct{}

	begun     bool            // there was state when it was opened
	transport *link.Transport // nil for a lone server
	forming   atomic.Bool
	snapping  chan struct{} // holds one while a snapshot is cut or restored
	reloading sync.Mutex    // one change of Raft's configuration at a time
	cut       atomic.Uint64 // snapshots cut by this process
	life
}

// life is what stops a Node.
type life struct {
	stop     context.CancelFunc
	running  sync.WaitGroup
	spawning sync.Mutex // before running is added to from outside
	stopped  bool
	closing  atomic.Bool
	stopping chan struct{} // Raft is being shut down
	closed   chan struct{}

	failed chan struct{}
	reason atomic.Pointer[error] // why failed is closed
}

// Open opens or creates the log in o.Dir and starts to replay it into m; Whole tells when m is up to date. A lone voter
// leads at once. Errors name the file and what to do. Whoever opens two Nodes on one Dir loses both: take disk.Lock.
//
// A server that has no state and is not to form a cluster of its own waits: for Form, or for a leader that was told to
// add it.
func Open(o Options, m Machine) (*Node, error) {
	n, err := open(o, m)
	if err != nil && o.Streams != nil {
		err = errors.Join(err, o.Streams.Close())
	}
	return n, err
}

func open(o Options, m Machine) (*Node, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	n, err := newNode(&o, m)
	if err != nil {
		return nil, err
	}
	if err := n.start(); err != nil {
		return nil, errors.Join(err, n.log.close())
	}
	return n, nil
}

// newNode opens what is stored and reconciles it; nothing runs yet.
func newNode(o *Options, m Machine) (*Node, error) {
	if o.Dir != "" {
		if err := prepareDir(o.FS, o.Dir); err != nil {
			return nil, err
		}
	}
	log, err := openLog(o)
	if err != nil {
		return nil, err
	}
	n := &Node{opts: *o, log: log, notify: make(chan bool, 16), leaders: make(chan struct{}, 1), full: make(chan struct{}, 1),
		snapping: make(chan struct{}, 1),
		life:     life{failed: make(chan struct{}), stopping: make(chan struct{}), closed: make(chan struct{})}}
	n.terms.init()
	n.fsm = &fsm{machine: m, clock: &stamper{wall: o.Now}, applyTime: o.Metrics.Sample("raft.fsm.apply"), opts: &n.opts, fail: n.fail, failure: n.failure, distrust: n.distrust, full: n.full, stopping: n.stopping,
		opening: &log.opening}
	if o.Dir == "" {
		n.snapshots = o.memory.snapshots
	} else if n.snapshots, err = openSnapshots(o.FS, filepath.Join(o.Dir, "snapshots"), o.Logger, log.span); err != nil {
		return nil, errors.Join(err, log.close())
	}
	n.snapshots = noting{n.snapshots, n.fsm}
	if n.begun, err = n.reconcile(); err != nil {
		return nil, errors.Join(err, log.close())
	}
	return n, nil
}

func (n *Node) start() error {
	o := &n.opts
	if n.log.meta != nil {
		err := o.FS.SyncDir(filepath.Join(o.Dir, "snapshots")) // by them the log is cut
		if err = errors.Join(err, n.log.meta.settle()); err != nil {
			return err
		}
	}
	if o.Bootstrap && !n.begun {
		if err := n.bootstrap(); err != nil {
			return err
		}
	}
	if len(o.Recover) > 0 {
		if err := n.recover(); err != nil {
			return err
		}
	}
	n.log.fail = n.fail
	if err := n.startRaft(); err != nil {
		if n.transport != nil {
			_ = n.transport.Close()
		}
		return err
	}
	if err := n.stranger(); err != nil {
		return errors.Join(err, n.stopRaft())
	}
	n.packer = packer{stamp: n.fsm.clock.stamp, maximum: o.QueueBytes, refuse: n.refusal,
		slow:   func() bool { return n.log.latency.Load() >= int64(o.SlowAppend) },
		submit: func(entry []byte) raft.ApplyFuture { return n.raft.Apply(entry, 0) }}
	n.packer.start()
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.running.Go(func() { n.watchLeadership(ctx) })
	n.running.Go(func() { n.cutWhenFull(ctx) })
	n.running.Go(func() { n.noteReach(ctx) })
	n.leadAtOnce()
	return nil
}

// reconcile compares the log, the snapshots and what was noted, and refuses to go on if something committed is missing.
// It reports whether there is any state.
func (n *Node) reconcile() (begun bool, err error) {
	first, last, err := n.log.span()
	if err != nil {
		return false, err
	}
	list, err := n.snapshots.List()
	if err != nil {
		return false, fmt.Errorf("cannot open the snapshots: %w", err)
	}
	newest := uint64(0)
	if len(list) > 0 {
		newest = list[0].Index
		n.fsm.configure(list[0].ConfigurationIndex)
	}
	var rec metaRecord
	if n.log.meta != nil {
		rec = n.log.meta.record()
	}
	const remedy = "restore the directory %s from a copy or a saved snapshot"
	switch {
	case rec.Distrust != "":
		return false, fmt.Errorf("cannot open %s: it ended because %s", n.opts.Dir, rec.Distrust)
	case rec.Begun && last == 0 && newest == 0:
		return false, fmt.Errorf("cannot open the log: it is empty but was not; "+remedy, n.opts.Dir)
	case max(last, newest) < rec.Reached:
		return false, fmt.Errorf("cannot open the log: it ends at entry %d but had reached %d; "+remedy, max(last, newest), rec.Reached, n.opts.Dir)
	case last > newest && first > newest+1:
		return false, fmt.Errorf("cannot open the log: it begins at entry %d but the newest snapshot ends at %d; "+remedy, first, newest, n.opts.Dir)
	case last > 0 && last < newest:
		// A restored snapshot lies beyond the log: the power went before the log was removed. Raft would not notice
		// and could never append behind the gap.
		if err := n.log.DeleteRange(first, last); err != nil {
			return false, fmt.Errorf("cannot remove the log before a restored snapshot: %w", err)
		}
	}
	return last > 0 || newest > 0, nil
}

func (n *Node) stable() raft.StableStore { return stableStore{n.log.LogStore.(raft.StableStore), n} }

// startRaft also reads the whole log once, so damage is an error here and not a crash later.
func (n *Node) startRaft() (err error) {
	var trans raft.Transport
	if n.opts.Streams == nil {
		_, trans = raft.NewInmemTransport(raft.ServerAddress(n.opts.Address))
	} else {
		n.transport = link.New(link.Options{ID: n.opts.ID, Address: n.opts.Address, Streams: n.opts.Streams, Resolve: n.opts.Resolve,
			Heartbeat: n.opts.HeartbeatTimeout, Most: maxAppendEntries, Entry: n.log.entry, Logger: hcLogger(n.opts.Logger)})
		trans, n.fsm.committed, n.log.grown = n.transport, n.transport.Committed, n.transport.Grown
	}
	n.log.opening.Store(true)
	defer n.log.opening.Store(false)
	defer func() {
		if p := recover(); p != nil { // what Raft does when an entry cannot be read
			bad, ok := p.(error)
			if !ok {
				panic(p)
			}
			err = fmt.Errorf("cannot open the log: %w", bad)
		}
	}()
	n.raft, err = raft.NewRaft(n.opts.raftConfig(n.notify), n.fsm, n.log, n.stable(), n.snapshots, trans)
	if err == nil {
		if n.transport != nil {
			n.transport.Attach(n.raft)
		}
		n.raft.RegisterObserver(raft.NewObserver(nil, false, n.noteLeader))
		return nil
	}
	err = fmt.Errorf("cannot open the log in %s: %w", n.opts.Dir, err)
	if cause := n.fsm.restoreError.Load(); cause != nil {
		err = fmt.Errorf("%w: %w", err, *cause)
	}
	return err
}

// Propose packs a Command with its neighbours and returns its own outcome after it is on disk and applied. An error is
// the Machine's own, or a fault that tells the Command's fate: fault.NotApplied, fault.NoLeader, fault.Busy kinds and the
// like are certain that it was and will not be applied; fault.Unknown is not, and must not be retried. command must not
// be changed afterwards.
func (n *Node) Propose(ctx context.Context, command []byte) (any, error) {
	if n.failure() != nil {
		return nil, fault.ErrNoLeader
	}
	if n.raft.State() != raft.Leader {
		return nil, n.refusal(raft.ErrNotLeader)
	}
	return n.packer.propose(ctx, command)
}

// ProposeAll is Propose for many Commands of one caller: they travel in this order, together with those of others, and
// each has its own outcome. A Command's own error and the fate of one that was not applied are its Outcome's Err.
func (n *Node) ProposeAll(ctx context.Context, commands [][]byte) []Outcome {
	var err error
	switch {
	case n.failure() != nil:
		err = fault.ErrNoLeader
	case n.raft.State() != raft.Leader:
		err = n.refusal(raft.ErrNotLeader)
	default:
		return n.packer.proposeAll(ctx, commands)
	}
	outs := make([]Outcome, len(commands))
	for i := range outs {
		outs[i].Err = err
	}
	return outs
}

// refusal gives an error of Raft the kind that tells the fate of what was proposed. What is not certain is unknown: an
// entry whose leader was deposed or stopped, or could not write it, may be in another server's log.
func (n *Node) refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case n.failure() != nil:
		return fault.New(fault.Unknown, "%s", err.Error())
	case errors.Is(err, raft.ErrNotLeader):
		if _, id := n.raft.LeaderWithID(); id == "" {
			return fault.ErrNoLeader
		}
		return fault.New(fault.NotApplied, "%s", err.Error())
	case errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrAbortedByRestore),
		errors.Is(err, raft.ErrLeader), errors.Is(err, raft.ErrCantBootstrap), errors.Is(err, raft.ErrNothingNewToSnapshot):
		return fault.New(fault.NotApplied, "%s", err.Error())
	default:
		return fault.New(fault.Unknown, "%s", err.Error())
	}
}

// Barrier returns when everything committed before the call is applied here. Only a leader can.
func (n *Node) Barrier(ctx context.Context) error {
	return n.await(ctx, func() error {
		if err := n.raft.Barrier(0).Error(); err != nil {
			return n.refusal(err)
		}
		return n.failure()
	})
}

// await runs work, which cannot be interrupted, and stops waiting for it when ctx ends. Close still waits for it.
func (n *Node) await(ctx context.Context, work func() error) error {
	if err := ctx.Err(); err != nil {
		return fault.New(fault.NotApplied, "%s", err.Error())
	}
	done := make(chan error, 1)
	if !n.spawn(func() { done <- work() }) {
		return fault.New(fault.NotApplied, stoppingText)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fault.New(fault.Unknown, "%s", ctx.Err().Error())
	}
}

const stoppingText = "the server is stopping"

// spawn runs f as a part of the node that Close waits for. It returns false if the node has stopped.
func (n *Node) spawn(f func()) bool {
	n.spawning.Lock()
	defer n.spawning.Unlock()
	if !n.stopped {
		n.running.Go(f)
	}
	return !n.stopped
}

// Restore replaces the state by what r holds, size bytes as an Image wrote them, on this and later on every server.
// The caller has checked the bytes: if the Machine then refuses them Raft panics, and the next start refuses the snapshot
// by name (without that snapshot's directory the state from before is still there). Commands proposed meanwhile wait;
// those before are applied first. Only a leader can.
func (n *Node) Restore(ctx context.Context, size int64, r io.Reader) error {
	return n.await(ctx, func() error {
		n.packer.hold()
		defer n.packer.release()
		if err := n.raft.Barrier(0).Error(); err != nil {
			return n.refusal(err)
		}
		n.snapping <- struct{}{}
		defer func() { <-n.snapping }()
		before := n.fsm.restores.Load()
		err := n.raft.Restore(&raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Size: size}, r, 0)
		if err == nil {
			return n.failure()
		}
		if n.fsm.restores.Load() == before {
			return n.refusal(err)
		}
		if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) {
			// This server has it, and perhaps no other. Raft forgets nothing of it as long as it runs.
			n.fail(errors.New("leadership was lost while a snapshot was restored; restart this server: it then takes the state the others have"))
		}
		return fault.New(fault.Unknown, "%s", err.Error())
	})
}

// fail stops the node for good: nothing more is applied or acknowledged.
func (n *Node) fail(err error) {
	if n.reason.CompareAndSwap(nil, &err) {
		n.opts.Logger.Error("the log stops", "error", err)
		close(n.failed)
		n.terms.end()
	}
}

// distrust notes on disk that the state is wrong: snapshots may hold it, so that what a restart comes to cannot be told from
// the truth.
func (n *Node) distrust(why error) {
	if n.log.meta == nil {
		return
	}
	if err := n.log.meta.update(func(r *metaRecord) { r.Distrust = why.Error() }); err != nil {
		n.opts.Logger.Error("cannot note that the state is wrong: do not start this server again before you have done what is said here", "error", err)
	}
}

func (n *Node) failure() error {
	if p := n.reason.Load(); p != nil {
		return *p
	}
	return nil
}

// Failed is closed when the node cannot go on; Failure then says why. The owner ends the process.
func (n *Node) Failed() <-chan struct{} { return n.failed }

// Failure returns why the node stopped, nil while it works.
func (n *Node) Failure() error { return n.failure() }

// stopGrace bounds what Close waits for when there is nothing left to wait for.
const stopGrace = time.Second

// Close stops the node: what waits is refused as not applied, what is in flight gets until ctx ends, a snapshot is cut
// (unless NoStopSnapshot), files are closed. A second call waits for the first.
func (n *Node) Close(ctx context.Context) error {
	if n.closing.CompareAndSwap(false, true) {
		defer close(n.closed)
		return n.close(ctx)
	}
	<-n.closed
	return nil
}

func (n *Node) close(ctx context.Context) error {
	n.packer.close(fault.New(fault.NotApplied, stoppingText))
	n.stop()
	n.terms.end()
	n.spawning.Lock()
	n.stopped = true
	n.spawning.Unlock()
	var work sync.WaitGroup // waits for running, then for the snapshot
	idle := make(chan struct{})
	work.Go(func() { n.packer.wait(); n.running.Wait(); close(idle) })
	var err error
	quiet := n.quiet(ctx, idle)
	if !quiet {
		n.drain(idle)
	}
	if quiet && n.opts.Dir != "" && n.failure() == nil {
		if !n.opts.NoStopSnapshot && n.fsm.commands.Load() > 0 {
			n.stopSnapshot(ctx, &work)
		}
		err = n.keepReach()
	}
	close(n.stopping)
	err = errors.Join(err, n.stopRaft())
	ended := make(chan struct{})
	go func() { work.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(stopGrace):
		n.opts.Logger.Warn("stopping without the outcome of some writes")
	}
	close(n.packer.gone)
	return errors.Join(err, n.log.close())
}

// stopRaft ends the connections first, because Raft waits for whatever is being sent or received.
func (n *Node) stopRaft() error {
	stopped := n.raft.Shutdown()
	if n.transport != nil {
		_ = n.transport.Close()
	}
	return stopped.Error()
}

// quiet waits until nothing is in flight any more, and reports whether that came about.
func (n *Node) quiet(ctx context.Context, idle <-chan struct{}) bool {
	failed := n.failed
	for {
		select {
		case <-idle:
			return true
		case <-ctx.Done():
			return false
		case <-failed: // some of it will never end
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, stopGrace/10)
			defer cancel()
			failed = nil
		}
	}
}

// drain gives what is committed the time to be applied although the caller has none left: what waits for the Machine
// when Raft shuts down is never answered. Without its connections nothing more is committed.
func (n *Node) drain(idle <-chan struct{}) {
	if n.transport != nil {
		_ = n.transport.Close()
	}
	select {
	case <-idle:
	case <-n.failed:
	case <-time.After(stopGrace):
	}
}

func (n *Node) stopSnapshot(ctx context.Context, work *sync.WaitGroup) {
	done := make(chan error, 1)
	work.Go(func() { done <- n.snapshot() })
	select {
	case err := <-done:
		if err != nil {
			n.opts.Logger.Warn("cannot cut a snapshot at the stop", "error", err)
		}
	case <-ctx.Done():
		n.opts.Logger.Warn("no time for a snapshot at the stop; the next start replays the log")
	}
}

// noteReach writes down how far the log has come whenever it has rested for a second, so that a log that is found
// shorter is refused. While writes go on, each append is the evidence for the one before it.
func (n *Node) noteReach(ctx context.Context) {
	if n.log.meta == nil {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if at := n.raft.CommitIndex(); at != last {
			last = at
		} else if n.log.meta.record().Reached < at {
			if err := n.keepReach(); err != nil {
				n.opts.Logger.Warn("cannot note how far the log has come", "error", err)
			}
		}
	}
}

func (n *Node) keepReach() error {
	if n.log.meta == nil {
		return nil
	}
	at := n.raft.CommitIndex()
	return n.log.meta.update(func(r *metaRecord) { r.Begun, r.Reached = r.Begun || at > 0, max(r.Reached, at) })
}
