package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"rostra/kit/disk"
)

// metaRecord is the file log/meta.
type metaRecord struct {
	NextSegmentID uint64
	Segments      []types.SegmentInfo
	Stable        []stablePair // what Raft wants kept: its term and vote; sorted by key
	// What follows is evidence, so that a log that shrank is refused instead of believed.
	Begun   bool   // a cluster was formed or joined here: an empty log is a lost log
	Written string // the newest segment in which an append was acknowledged
	Reached uint64 // committed entries up to this index were once on this disk
	// Distrust says why the state that was made of the log here is wrong; "" if nothing is known against it.
	Distrust string `json:",omitempty"`
}

type stablePair struct {
	Key   string
	Value []byte
}

// metaStore is raft-wal's types.MetaStore and so Raft's StableStore, as one small file that is replaced atomically:
// raft-wal's own store is bbolt, which cannot be handed a disk.
type metaStore struct {
	fs   disk.FS
	name string
	dir  string

	tail    string // the segment that was found unsealed, with what it held; "": none
	content segmentContent

	fresh   bool          // there was no file
	writing chan struct{} // holds one while the file is written: readers do not wait for the disk

	mu  sync.Mutex
	rec metaRecord
}

// openMeta reads the file, if there is one.
func openMeta(fs disk.FS, dir string) (*metaStore, error) {
	m := &metaStore{fs: fs, dir: dir, name: filepath.Join(dir, "meta"), writing: make(chan struct{}, 1)}
	err := readRecord(fs, m.name, &m.rec)
	if errors.Is(err, os.ErrNotExist) {
		names, listErr := fs.List(dir)
		for _, n := range names {
			if filepath.Ext(n) == ".wal" {
				return nil, fmt.Errorf("cannot open the log: %s is missing but %s is there; restore the directory from a copy", m.name, n)
			}
		}
		m.fresh = true
		return m, listErr
	}
	return m, err
}

// update changes the record and writes it; on an error the change is undone.
func (m *metaStore) update(change func(*metaRecord)) error {
	m.writing <- struct{}{}
	defer func() { <-m.writing }()
	rec := m.record()
	change(&rec)
	if err := writeRecord(m.fs, m.name, rec); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec = rec
	return nil
}

func (m *metaStore) record() metaRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rec
}

// Load implements types.MetaStore. It is called once, after repair.
func (m *metaStore) Load(string) (types.PersistentState, error) {
	rec := m.record()
	return types.PersistentState{NextSegmentID: rec.NextSegmentID, Segments: rec.Segments}, nil
}

// CommitState implements types.MetaStore.
func (m *metaStore) CommitState(s types.PersistentState) error {
	return m.update(func(r *metaRecord) { r.NextSegmentID, r.Segments = s.NextSegmentID, s.Segments })
}

// GetStable implements types.MetaStore.
func (m *metaStore) GetStable(key []byte) ([]byte, error) {
	for _, p := range m.record().Stable {
		if p.Key == string(key) {
			return p.Value, nil
		}
	}
	return nil, nil
}

// SetStable implements types.MetaStore.
func (m *metaStore) SetStable(key, value []byte) error {
	return m.update(func(r *metaRecord) {
		pairs := make([]stablePair, 0, len(r.Stable)+1)
		placed := false
		for _, p := range r.Stable {
			if !placed && p.Key >= string(key) {
				pairs, placed = append(pairs, stablePair{string(key), value}), true
			}
			if p.Key != string(key) {
				pairs = append(pairs, p)
			}
		}
		if !placed {
			pairs = append(pairs, stablePair{string(key), value})
		}
		r.Stable = pairs
	})
}

// Close implements types.MetaStore.
func (m *metaStore) Close() error { return nil }

// wrote notes that an append to a segment is on disk. It is called for the first one in each segment.
func (m *metaStore) wrote(name string) error {
	if m.record().Written == name {
		return nil
	}
	return m.update(func(r *metaRecord) { r.Written = name })
}

// repair checks every segment before raft-wal opens them, cuts off an append the power cut into, and completes a
// change of segments that was cut short, which raft-wal would leave unable to append.
func (m *metaStore) repair() error {
	rec := m.record()
	for i, info := range rec.Segments {
		name := filepath.Join(m.dir, segment.FileName(info))
		tail := info.SealTime.IsZero()
		found, err := checkSegment(m.fs, name, info, rec.Written == segment.FileName(info))
		if tail && errors.Is(err, os.ErrNotExist) {
			if rec.Written == segment.FileName(info) {
				return fmt.Errorf("cannot open the log: %s is missing; restore the directory from a copy", name)
			}
			return nil // it was to be created next
		}
		if err != nil {
			return fmt.Errorf("cannot open the log: %w; restore the directory from a copy or a snapshot", err)
		}
		if !tail {
			continue
		}
		if i != len(rec.Segments)-1 {
			return fmt.Errorf("cannot open the log: %s is not the last segment but not sealed", name)
		}
		m.tail, m.content = name, found
		if found.indexStart != 0 {
			return m.rotate(i, found)
		}
	}
	return nil
}

// settle makes durable what was found: an earlier process may have tried to and failed.
func (m *metaStore) settle() error {
	err := m.fs.SyncDir(m.dir)
	if err == nil && m.content.end > 0 {
		err = rewriteLast(m.fs, m.tail, m.content)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a log before a restored snapshot is gone
		return fmt.Errorf("cannot open the log: %w", err)
	}
	return nil
}

// rotate completes what raft-wal does after it has sealed its last segment: the next one begins.
func (m *metaStore) rotate(i int, found segmentContent) error {
	return m.update(func(r *metaRecord) {
		segs := append([]types.SegmentInfo(nil), r.Segments...)
		s := &segs[i]
		s.MaxIndex = s.BaseIndex + found.entries - 1
		s.IndexStart = found.indexStart
		s.SealTime = s.CreateTime // only its presence matters, and no clock is asked here
		next := *s
		next.ID, next.BaseIndex, next.MinIndex = r.NextSegmentID, s.MaxIndex+1, s.MaxIndex+1
		next.MaxIndex, next.IndexStart = 0, 0
		next.SealTime = time.Time{}
		r.NextSegmentID++
		r.Segments = append(segs, next)
	})
}

// stableStore keeps Raft's term and vote. If they cannot be saved it stops the node, like a log that cannot be changed, and
// lets it change nothing more. Raft panics if its term cannot be saved; its main loop is held until the node is closed.
type stableStore struct {
	raft.StableStore
	node *Node
}

var keyTerm = []byte("CurrentTerm")

// GetUint64 implements raft.StableStore. A server that forms a cluster counts as empty if the power went, or the disk
// failed, in the middle of an earlier attempt: term 1 is only ever written there.
func (s stableStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.StableStore.GetUint64(key)
	if v == 1 && s.node.forming.Load() && string(key) == string(keyTerm) {
		return 0, err
	}
	return v, err
}

// Set implements raft.StableStore.
func (s stableStore) Set(key, value []byte) error {
	if err := s.node.failure(); err != nil {
		return err
	}
	err := s.StableStore.Set(key, value)
	if !s.node.log.opening.Load() {
		err = s.node.log.broken("save Raft's vote", err)
	}
	return err
}

// SetUint64 implements raft.StableStore.
func (s stableStore) SetUint64(key []byte, value uint64) error {
	err := s.node.failure()
	if err == nil {
		err = s.StableStore.SetUint64(key, value)
	}
	if err == nil || s.node.log.opening.Load() {
		return err
	}
	if err := s.node.log.broken("save Raft's term", err); string(key) != string(keyTerm) {
		return err
	}
	<-s.node.stopping
	return nil // Raft is shutting down; without a saved vote it cannot win this term
}
