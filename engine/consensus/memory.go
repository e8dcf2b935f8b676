package consensus

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/hashicorp/raft"
)

// memory is what a server without a directory keeps its state in.
type memory struct {
	log interface {
		raft.LogStore
		raft.StableStore
	}
	snapshots raft.SnapshotStore
}

func newMemory() *memory { return &memory{log: raft.NewInmemStore(), snapshots: &memorySnapshots{}} }

// memorySnapshots keeps the newest snapshot. Unlike Raft's own such store it shows none that is not whole.
type memorySnapshots struct {
	mu   sync.Mutex
	made int
	meta *raft.SnapshotMeta
	data []byte
}

// Create implements raft.SnapshotStore.
func (m *memorySnapshots) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made++
	return &memorySink{of: m, meta: raft.SnapshotMeta{Version: version, ID: fmt.Sprintf("%d-%d-%d", index, term, m.made), Index: index, Term: term,
		Configuration: c, ConfigurationIndex: at}}, nil
}

// List implements raft.SnapshotStore.
func (m *memorySnapshots) List() ([]*raft.SnapshotMeta, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.meta == nil {
		return nil, nil
	}
	meta := *m.meta
	return []*raft.SnapshotMeta{&meta}, nil
}

// Open implements raft.SnapshotStore.
func (m *memorySnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.meta == nil || m.meta.ID != id {
		return nil, nil, fmt.Errorf("cannot open snapshot %s: %w", id, os.ErrNotExist)
	}
	meta := *m.meta
	return &meta, io.NopCloser(bytes.NewReader(m.data)), nil
}

type memorySink struct {
	of    *memorySnapshots
	meta  raft.SnapshotMeta
	data  bytes.Buffer
	ended bool
}

func (s *memorySink) Write(b []byte) (int, error) { return s.data.Write(b) }

func (s *memorySink) ID() string { return s.meta.ID }

func (s *memorySink) Cancel() error {
	s.ended = true
	return nil
}

func (s *memorySink) Close() error {
	if s.ended {
		return nil
	}
	s.ended = true
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.of.meta != nil && s.of.meta.Index > s.meta.Index {
		return errSuperseded(s.meta.ID)
	}
	s.meta.Size = int64(s.data.Len())
	s.of.meta, s.of.data = &s.meta, s.data.Bytes()
	return nil
}

// errSuperseded refuses a snapshot that is older than one the leader sent meanwhile. Raft would take it for the newest
// and believe that the log ends there.
func errSuperseded(id string) error {
	return fmt.Errorf("cannot keep snapshot %s: a newer one came from the leader while it was written", id)
}
