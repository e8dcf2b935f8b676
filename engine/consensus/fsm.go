package consensus

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"rostra/kit/metric"
)

// fsm feeds the Machine: it is Raft's FSM. All but the counters is used by Raft's one applying goroutine.
type fsm struct {
	machine  Machine
	clock    *stamper
	opts     *Options
	fail     func(error)
	failure  func() error
	distrust func(error)
	full     chan<- struct{} // told when a snapshot is due
	stopping <-chan struct{}

	applyTime *metric.Sample // raft.fsm.apply: of a batching machine Raft measures whole batches only

	committed func(index uint64) // told what was applied; nil for a lone server

	bytes    atomic.Int64 // of log since the last snapshot
	commands atomic.Int64

	configured atomic.Uint64 // index of the newest entry that is known to have changed the servers and to be committed

	restores     atomic.Uint64 // snapshots that replaced the state, or tried to
	restoreError atomic.Pointer[error]
	opening      *atomic.Bool // Raft tries another snapshot if one cannot be restored
}

// Apply implements raft.FSM.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. With it Raft also counts configuration entries as applied, so that a snapshot
// can be cut when there is nothing else.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	began, applied := time.Now(), 0
	for i, l := range logs {
		switch l.Type {
		case raft.LogCommand:
			out[i] = f.apply(l)
			applied++
		case raft.LogConfiguration:
			f.configure(l.Index)
		}
	}
	f.applyTime.Shared(time.Since(began), applied)
	if f.committed != nil {
		f.committed(logs[len(logs)-1].Index)
	}
	return out
}

// configure notes that the servers are those of the entry, unless newer ones are known: Raft itself does not tell.
func (f *fsm) configure(entry uint64) {
	for known := f.configured.Load(); entry > known && !f.configured.CompareAndSwap(known, entry); known = f.configured.Load() {
	}
}

// noting is a store of snapshots, perhaps a leader's, that notes which servers they name.
type noting struct {
	raft.SnapshotStore
	fsm *fsm
}

// Create implements raft.SnapshotStore.
func (s noting) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, t raft.Transport) (raft.SnapshotSink, error) {
	s.fsm.configure(at)
	return s.SnapshotStore.Create(v, index, term, c, at, t)
}

func (f *fsm) apply(l *raft.Log) any {
	if err := f.failure(); err != nil {
		return err
	}
	outs, err := f.run(l)
	if err != nil {
		if errors.Is(err, ErrState) {
			f.distrust(err)
		}
		err = fmt.Errorf("cannot apply log entry %d: %w", l.Index, err)
		f.fail(err)
		return err
	}
	bytes, commands := f.bytes.Add(int64(len(l.Data))), f.commands.Add(int64(len(outs)))
	if commands >= f.opts.SnapshotCommands || bytes >= f.opts.SnapshotBytes && bytes >= f.machine.StateSize() {
		select {
		case f.full <- struct{}{}:
		default:
		}
	}
	return outs
}

func (f *fsm) run(l *raft.Log) (outs []Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			f.opts.Logger.Error("a command panicked", "entry", l.Index, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%v", p)
			if cause, is := p.(error); is {
				err = cause
			}
		}
	}()
	at, commands, err := decodeEntry(l.Data)
	if err != nil {
		return nil, err
	}
	f.clock.saw(at)
	outs = f.machine.Apply(Batch{Index: l.Index, Term: l.Term, Time: at, Commands: commands})
	if len(outs) != len(commands) {
		return nil, fmt.Errorf("%d outcomes for %d commands", len(outs), len(commands))
	}
	return outs, nil
}

// Snapshot implements raft.FSM.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.failure(); err != nil {
		return nil, err
	}
	image, err := f.machine.Capture()
	if err != nil {
		return nil, err
	}
	return &capture{fsm: f, image: image, bytes: f.bytes.Load(), commands: f.commands.Load()}, nil
}

// Restore implements raft.FSM. The error is kept: Raft only logs it. In a running server it is the end: the state is
// neither the old nor the new one.
func (f *fsm) Restore(r io.ReadCloser) error {
	f.restores.Add(1)
	br := bufio.NewReaderSize(r, 64<<10)
	err := f.restore(br)
	if _, damage := io.Copy(io.Discard, br); damage != nil {
		// The checksum is judged at the end, and explains what the Machine did not understand.
		err = fmt.Errorf("%w; restore the directory from a copy or a saved snapshot", damage)
	}
	if err != nil {
		err = fmt.Errorf("cannot restore the state from a snapshot: %w", err)
		f.restoreError.Store(&err)
		if !f.opening.Load() {
			f.fail(err)
		}
		return err
	}
	f.clock.saw(f.machine.Time())
	f.bytes.Store(0)
	f.commands.Store(0)
	return nil // Raft closes r
}

func (f *fsm) restore(r io.Reader) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return f.machine.Restore(r)
}

// capture is a snapshot on its way to disk.
type capture struct {
	fsm             *fsm
	image           Image
	bytes, commands int64
}

// Persist implements raft.FSMSnapshot.
func (c *capture) Persist(sink raft.SnapshotSink) error {
	if _, err := c.image.WriteTo(untilStop{sink, c.fsm.stopping}); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return err
	}
	c.fsm.bytes.Add(-c.bytes) // what came while it was written counts for the next
	c.fsm.commands.Add(-c.commands)
	return nil
}

// untilStop ends a long snapshot when the node stops.
type untilStop struct {
	io.Writer
	stopping <-chan struct{}
}

func (u untilStop) Write(b []byte) (int, error) {
	select {
	case <-u.stopping:
		return 0, errors.New(stoppingText)
	default:
		return u.Writer.Write(b)
	}
}

// Release implements raft.FSMSnapshot.
func (c *capture) Release() { c.image.Release() }
