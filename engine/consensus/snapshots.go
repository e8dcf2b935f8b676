package consensus

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"rostra/kit/disk"
)

// snapshotsKept is how many snapshots stay on disk: the newest, and the one before it should that be damaged.
const snapshotsKept = 2

// snapshotStore keeps snapshots in directories; see the package comment. It is Raft's SnapshotStore.
type snapshotStore struct {
	fs     disk.FS
	dir    string
	logger *slog.Logger
	// span tells what the log still holds: an older snapshot stands in for a damaged one only if the log bridges them.
	span func() (first, last uint64, err error)

	mu      sync.Mutex
	failure error // of the last snapshot that could not be read
}

// snapshotMeta is the file meta.json.
type snapshotMeta struct {
	Index, Term        uint64
	Configuration      raft.Configuration
	ConfigurationIndex uint64
	Size               int64
	CRC32C             uint32
}

// snapshotDir is one snapshot found on disk; meta is not to be used if err is set.
type snapshotDir struct {
	id    string
	index uint64
	term  uint64
	seq   int // among those of the same index and term
	meta  snapshotMeta
	err   error
}

// openSnapshots removes what a power cut left unfinished.
func openSnapshots(fs disk.FS, dir string, logger *slog.Logger, span func() (uint64, uint64, error)) (*snapshotStore, error) {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create %s: %w", dir, err)
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", dir, err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, disk.TempSuffix) {
			logger.Info("removing a snapshot that was never finished", "name", filepath.Join(dir, n))
			if err := disk.RemoveTree(fs, filepath.Join(dir, n)); err != nil {
				return nil, err
			}
		}
	}
	return &snapshotStore{fs: fs, dir: dir, logger: logger, span: span}, nil
}

// scan returns the snapshots on disk, newest first.
func (s *snapshotStore) scan() ([]snapshotDir, error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", s.dir, err)
	}
	var found []snapshotDir
	for _, n := range names {
		d := snapshotDir{id: n}
		if _, err := fmt.Sscanf(n, "%d-%d-%d", &d.index, &d.term, &d.seq); err != nil || strings.HasSuffix(n, disk.TempSuffix) {
			continue
		}
		d.err = readRecord(s.fs, filepath.Join(s.dir, n, "meta.json"), &d.meta)
		if d.err == nil && (d.meta.Index != d.index || d.meta.Term != d.term) {
			d.err = fmt.Errorf("%s is of index %d", filepath.Join(s.dir, n), d.meta.Index)
		}
		found = append(found, d)
	}
	slices.SortFunc(found, func(a, b snapshotDir) int {
		if a.index != b.index {
			return compare(b.index, a.index)
		}
		if a.term != b.term {
			return compare(b.term, a.term)
		}
		return strings.Compare(b.id, a.id)
	})
	return found, nil
}

func compare(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// List implements raft.SnapshotStore. It names only snapshots from which nothing committed would be missing: the newest,
// and older ones from which the log still reaches past every newer one.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	found, err := s.scan()
	if err != nil || len(found) == 0 {
		return nil, err
	}
	first, last, err := s.span()
	if err != nil {
		return nil, err
	}
	var out []*raft.SnapshotMeta
	for i, d := range found {
		if d.err != nil {
			s.fail(d.err)
			continue
		}
		if i > 0 && (first == 0 || first > d.index+1 || last < found[0].index) {
			break
		}
		out = append(out, d.raftMeta())
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the newest snapshot is damaged and the log does not reach back to an older one: %w; "+
			"restore the directory from a copy or a saved snapshot", s.lastFailure())
	}
	return out, nil
}

func (d *snapshotDir) raftMeta() *raft.SnapshotMeta {
	return &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, ID: d.id, Index: d.index, Term: d.term,
		Configuration: d.meta.Configuration, ConfigurationIndex: d.meta.ConfigurationIndex, Size: d.meta.Size}
}

func (s *snapshotStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

func (s *snapshotStore) lastFailure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Open implements raft.SnapshotStore. Reading ends with an error instead of io.EOF if the bytes are not those written.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	found, err := s.scan()
	if err != nil {
		return nil, nil, err
	}
	for _, d := range found {
		if d.id != id {
			continue
		}
		if d.err != nil {
			return nil, nil, d.err
		}
		name := filepath.Join(s.dir, id, "state.bin")
		f, err := s.fs.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			s.fail(err)
			return nil, nil, err
		}
		return d.raftMeta(), &snapshotReader{store: s, name: name, file: f, br: bufio.NewReaderSize(f, 256<<10), meta: d.meta}, nil
	}
	return nil, nil, fmt.Errorf("cannot open snapshot %s: %w", id, os.ErrNotExist)
}

type snapshotReader struct {
	store *snapshotStore
	name  string
	file  disk.File
	br    *bufio.Reader
	meta  snapshotMeta
	n     int64
	sum   uint32
}

func (r *snapshotReader) Read(b []byte) (int, error) {
	n, err := r.br.Read(b)
	r.n += int64(n)
	r.sum = crc32.Update(r.sum, castagnoli, b[:n])
	if errors.Is(err, io.EOF) && (r.n != r.meta.Size || r.sum != r.meta.CRC32C) {
		err = fmt.Errorf("%s is damaged: its size or checksum is not what meta.json says", r.name)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.store.fail(err)
	}
	return n, err
}

func (r *snapshotReader) Close() error { return r.file.Close() }

// Create implements raft.SnapshotStore.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("cannot write a snapshot of version %d", version)
	}
	found, err := s.scan()
	if err != nil {
		return nil, err
	}
	seq, newest := 0, uint64(0)
	if len(found) > 0 {
		newest = found[0].index
	}
	for _, d := range found {
		if d.index == index && d.term == term {
			seq = max(seq, d.seq+1) // older ones may be gone
		}
	}
	id := fmt.Sprintf("%020d-%020d-%06d", index, term, seq)
	w := &snapshotWriter{store: s, id: id, newest: newest, temp: filepath.Join(s.dir, id+disk.TempSuffix),
		meta: snapshotMeta{Index: index, Term: term, Configuration: configuration, ConfigurationIndex: configurationIndex}}
	if err := disk.RemoveTree(s.fs, w.temp); err != nil {
		return nil, err
	}
	if err := s.fs.MkdirAll(w.temp, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create %s: %w", w.temp, err)
	}
	if w.file, err = s.fs.OpenFile(filepath.Join(w.temp, "state.bin"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	w.bw = bufio.NewWriterSize(w.file, 256<<10)
	return w, nil
}

// snapshotWriter is the raft.SnapshotSink of one snapshot. It is visible, whole and durable once Close has returned nil.
type snapshotWriter struct {
	store *snapshotStore
	id    string
	temp  string
	file  disk.File
	bw    *bufio.Writer
	meta  snapshotMeta
	ended bool

	newest uint64 // index of the newest snapshot when this one was begun
}

func (w *snapshotWriter) ID() string { return w.id }

func (w *snapshotWriter) Write(b []byte) (int, error) {
	n, err := w.bw.Write(b)
	w.meta.Size += int64(n)
	w.meta.CRC32C = crc32.Update(w.meta.CRC32C, castagnoli, b[:n])
	return n, err
}

func (w *snapshotWriter) Close() error {
	if w.ended {
		return nil
	}
	w.ended = true
	fs := w.store.fs
	found, err := w.store.scan()
	if err == nil && len(found) > 0 && found[0].index > max(w.newest, w.meta.Index) {
		return errors.Join(errSuperseded(w.id), w.file.Close(), disk.RemoveTree(fs, w.temp))
	}
	if err == nil {
		err = w.bw.Flush()
	}
	if err == nil {
		err = w.file.Sync()
	}
	if err = errors.Join(err, w.file.Close()); err == nil {
		err = writeRecord(fs, filepath.Join(w.temp, "meta.json"), w.meta) // syncs the directory, so state.bin's name too
	}
	if err == nil {
		err = fs.Rename(w.temp, filepath.Join(w.store.dir, w.id))
	}
	if err == nil {
		err = w.disown(found)
	}
	if err == nil {
		err = fs.SyncDir(w.store.dir)
	}
	if err != nil {
		return fmt.Errorf("cannot write snapshot %s: %w", w.id, err)
	}
	w.store.reap()
	return nil
}

// disown removes snapshots that are beyond this one. There are some when a leader restored a saved snapshot, was deposed
// before any other server had it, and is now given the state the others agreed on.
func (w *snapshotWriter) disown(found []snapshotDir) error {
	for _, d := range found {
		if d.index <= w.meta.Index {
			continue
		}
		name := filepath.Join(w.store.dir, d.id)
		if err := w.store.fs.Rename(name, name+disk.TempSuffix); err != nil {
			return err
		}
		if err := disk.RemoveTree(w.store.fs, name+disk.TempSuffix); err != nil {
			return err
		}
	}
	return nil
}

func (w *snapshotWriter) Cancel() error {
	if w.ended {
		return nil
	}
	w.ended = true
	return errors.Join(w.file.Close(), disk.RemoveTree(w.store.fs, w.temp))
}

// reap removes all but the newest snapshots. What it cannot remove is only space: the next snapshot tries again.
func (s *snapshotStore) reap() {
	found, err := s.scan()
	for i := snapshotsKept; err == nil && i < len(found); i++ {
		name := filepath.Join(s.dir, found[i].id)
		if err = s.fs.Rename(name, name+disk.TempSuffix); err == nil {
			err = disk.RemoveTree(s.fs, name+disk.TempSuffix)
		}
	}
	if err != nil {
		s.logger.Warn("cannot remove an old snapshot", "error", err)
	}
}
