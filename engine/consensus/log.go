package consensus

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"

	"rostra/kit/disk"
	"rostra/kit/metric"
)

// sizesKept is how many of the newest entries' sizes are known, and so the most that TrailingBytes can keep.
const sizesKept = 8192

// logStore is the log as Raft sees it: raft-wal (or memory), measured, with the newest entries at hand.
type logStore struct {
	raft.LogStore
	meta      *metaStore // nil in memory
	close     func() error
	fail      func(error) // stops the node; until it runs, whoever opens it returns the error
	grown     func()      // is called after each append
	monotonic bool
	cacheMax  int64
	dead      atomic.Bool // a change failed: no other is tried
	opening   atomic.Bool // entries read are checked, so that damage is found before anything runs

	entries, appends, syncs atomic.Uint64
	latency                 atomic.Int64 // moving average of an append, nanoseconds

	mu     sync.Mutex
	sizes  [sizesKept]uint32 // by index modulo
	newest uint64
	cache  [sizesKept]*raft.Log // the newest cacheMax bytes; nil where not kept
	oldest uint64               // of the cache
	cached int64
}

// openLog opens the log of o.Dir, repaired and checked.
func openLog(o *Options) (*logStore, error) {
	s := &logStore{cacheMax: o.CacheBytes, close: func() error { return nil }, fail: func(error) {}, grown: func() {}}
	if o.Dir == "" {
		s.LogStore = o.memory.log
		return s, nil
	}
	dir := filepath.Join(o.Dir, "log")
	if err := o.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create %s: %w", dir, err)
	}
	meta, err := openMeta(o.FS, dir)
	if err != nil {
		return nil, err
	}
	if meta.fresh { // before the first entry meta is there, so before the first snapshot too
		names, _ := o.FS.List(filepath.Join(o.Dir, "snapshots"))
		for _, n := range names {
			if !strings.HasSuffix(n, disk.TempSuffix) {
				return nil, fmt.Errorf("cannot open the log: %s is missing but there is a snapshot; restore the directory %s from a copy", meta.name, o.Dir)
			}
		}
	}
	if err := meta.repair(); err != nil {
		return nil, err
	}
	files := &vfs{fs: o.FS, syncs: &s.syncs, wrote: meta.wrote}
	w, err := wal.Open(dir, wal.WithMetaStore(meta), wal.WithSegmentFiler(segment.NewFiler(dir, files)),
		wal.WithSegmentSize(o.SegmentBytes), wal.WithLogger(hcLogger(o.Logger)),
		wal.WithMetricsCollector(collector{o.Metrics})) // its default would reach a global registry of another library
	if err != nil {
		return nil, fmt.Errorf("cannot open the log in %s: %w", dir, err)
	}
	s.LogStore, s.meta, s.close, s.monotonic = w, meta, w.Close, true
	return s, nil
}

// IsMonotonic implements raft.MonotonicLogStore.
func (s *logStore) IsMonotonic() bool { return s.monotonic }

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// broken stops the node because the log could not be changed, and returns err. What is on disk is then not certain: a
// file may have been replaced although its directory could not be synced, a sync that failed says nothing about the next,
// and raft-wal and Raft both go on with what they believe. A start reads it all again.
func (s *logStore) broken(what string, err error) error {
	const remedy = "free space or replace the disk, and start this server again"
	switch {
	case err == nil || errors.Is(err, wal.ErrClosed):
	case errors.Is(err, wal.ErrSealed): // raft-wal has only logged why
		s.fail(errors.New("cannot " + what + ": its next segment could not be created, see the errors above; " + remedy))
	default:
		s.fail(fmt.Errorf("cannot %s: %w; %s", what, err, remedy))
	}
	if err != nil {
		s.dead.Store(true)
	}
	return err
}

var errDead = errors.New("the log stopped")

// StoreLogs implements raft.LogStore: it returns when they are on disk.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	begin := time.Now()
	if s.dead.Load() {
		return errDead
	}
	if err := s.LogStore.StoreLogs(logs); err != nil {
		return s.broken("append to the log", err)
	}
	took, old := int64(time.Since(begin)), s.latency.Load()
	s.latency.Store(old + (took-old)/8)
	s.appends.Add(1)
	s.entries.Add(uint64(len(logs)))
	s.grown()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range logs {
		kept := l
		if s.cacheMax > 0 {
			alone := *l // l is a part of a future that also holds the outcomes
			kept = &alone
		}
		s.remember(kept, s.cacheMax > 0)
	}
	return nil
}

// GetLog implements raft.LogStore. An entry that is there and cannot be read stops the node. Who asks for it then gets the
// error, but for Raft's main loop when it applies what is committed: Raft would make a panic of the whole process of it, so
// the main loop ends here, as it may at any time. As long as the log is opened Raft is called, and not at work.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	err := s.entry(index, l)
	if err == nil || errors.Is(err, raft.ErrLogNotFound) || s.opening.Load() {
		return err
	}
	s.fail(fmt.Errorf("cannot read log entry %d: %w; replace the disk, and start this server again", index, err))
	s.dead.Store(true)
	if calledBy("raft.(*Raft).processLogs") {
		runtime.Goexit()
	}
	return err
}

// calledBy reports whether a function is among this goroutine's callers. It is slow.
func calledBy(function string) bool {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, function) {
			return true
		}
		if !more {
			return false
		}
	}
}

// entry reads an entry for those who can live with an error.
func (s *logStore) entry(index uint64, l *raft.Log) error {
	if s.cacheMax > 0 {
		s.mu.Lock()
		c := s.cache[index%sizesKept]
		s.mu.Unlock()
		if c != nil && c.Index == index {
			*l = *c
			return nil
		}
	}
	if err := s.LogStore.GetLog(index, l); err != nil {
		return err
	}
	if s.opening.Load() {
		if l.Index != index {
			return fmt.Errorf("cannot read log entry %d: the log is damaged, entry %d is in its place", index, l.Index)
		}
		if l.Type == raft.LogCommand {
			if _, _, err := decodeEntry(l.Data); err != nil {
				return fmt.Errorf("cannot read log entry %d: %w", index, err)
			}
		}
		s.mu.Lock()
		s.remember(l, false)
		s.mu.Unlock()
	}
	return nil
}

// DeleteRange implements raft.LogStore. Raft also asks it of an empty log, from index 0 on, which its own log in memory
// then takes for its end.
func (s *logStore) DeleteRange(from, to uint64) error {
	first, last, err := s.span()
	if from, to = max(from, first), min(to, last); err != nil || from > to || last == 0 {
		return err
	}
	s.mu.Lock()
	for s.cached > 0 && s.oldest <= s.newest && s.oldest <= to {
		s.forget()
	}
	if s.newest >= from && s.newest <= to { // a conflicting tail: all of it, to be sure
		for s.cached > 0 && s.oldest <= s.newest {
			s.forget()
		}
	}
	s.mu.Unlock()
	return s.broken("cut the log", s.LogStore.DeleteRange(from, to))
}

// remember notes the size of an entry and, if it may, keeps it at hand.
func (s *logStore) remember(l *raft.Log, keep bool) {
	s.sizes[l.Index%sizesKept] = uint32(min(len(l.Data), 1<<31))
	s.newest = l.Index
	if !keep {
		return
	}
	if old := s.cache[l.Index%sizesKept]; old != nil {
		s.cached -= cost(old)
		s.oldest = max(s.oldest, old.Index+1)
	}
	if s.cached == 0 {
		s.oldest = l.Index
	}
	s.cache[l.Index%sizesKept] = l
	s.cached += cost(l)
	for s.cached > s.cacheMax && s.oldest <= s.newest {
		s.forget()
	}
}

func (s *logStore) forget() {
	if c := s.cache[s.oldest%sizesKept]; c != nil && c.Index == s.oldest {
		s.cached -= cost(c)
		s.cache[s.oldest%sizesKept] = nil
	}
	s.oldest++
}

// cost is roughly what an entry kept takes; never 0, so that cached says whether any is.
func cost(l *raft.Log) int64 { return int64(len(l.Data)) + 128 }

// trailing returns how many of the newest entries fit into limit bytes.
func (s *logStore) trailing(limit int64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := uint64(0)
	for n < min(sizesKept, s.newest) {
		if limit -= int64(s.sizes[(s.newest-n)%sizesKept]); limit < 0 {
			break
		}
		n++
	}
	return n
}

// span returns the first and last index in the log, zeros if it is empty.
func (s *logStore) span() (first, last uint64, err error) {
	if first, err = s.FirstIndex(); err == nil {
		last, err = s.LastIndex()
	}
	return first, last, err
}

// collector takes what raft-wal measures, under the names it has in Consul.
type collector struct{ to *metric.Registry }

// IncrementCounter implements metrics.Collector of raft-wal.
func (c collector) IncrementCounter(name string, delta uint64) {
	c.to.Counter("raft.wal." + name).Add(delta)
}

// SetGauge implements metrics.Collector of raft-wal.
func (c collector) SetGauge(name string, v uint64) { c.to.Gauge("raft.wal." + name).Set(float64(v)) }
