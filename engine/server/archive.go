package server

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/consensus"
	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/store"
)

// The files of a snapshot archive, a gzipped tar (spec http/snapshot.md).
const (
	metaFile  = "meta.json"
	stateFile = "state.bin"
	sumsFile  = "SHA256SUMS"
)

// smallFile bounds the archive's files other than the state.
const smallFile = 1 << 20

// archiveMeta is meta.json.
type archiveMeta struct {
	Version            int
	ID                 string
	Index, Term        uint64
	Peers              string
	Configuration      struct{ Servers []archiveServer }
	ConfigurationIndex uint64
	Size               int64
}

type archiveServer struct {
	Suffrage    int
	ID, Address string
}

// Archive cuts a snapshot of the state as it is now and returns what writes it as an archive. write must be called, once.
func (s *Server) Archive(ctx context.Context, o room.Options) (write func(io.Writer) error, index uint64, err error) {
	if !s.own(o) {
		return s.archiveElsewhere(ctx, o)
	}
	hold := holder{limit: s.opts.Hold}
	defer hold.stop()
	if o.Consistency == httpd.Stale {
		err = s.awaitWhole(ctx, &hold)
	} else {
		var leader *relay.Client
		if leader, err = s.awaitLeader(ctx, &hold); leader != nil {
			return leader.Archive(ctx, o)
		}
		if err == nil {
			err = s.confirm(ctx, &hold)
		}
	}
	if err != nil {
		return nil, 0, err
	}
	if err := s.node.Snapshot(ctx); err != nil {
		return nil, 0, err
	}
	info, state, err := s.node.OpenSnapshot()
	if err != nil {
		return nil, 0, err
	}
	meta := s.archiveMeta(info)
	return func(w io.Writer) error {
		defer state.Close()
		return writeArchive(w, meta, state)
	}, info.Index, nil
}

func (s *Server) archiveMeta(info consensus.SnapshotInfo) archiveMeta {
	m := archiveMeta{Version: 1, Index: info.Index, Term: info.Term, Size: info.Size, ConfigurationIndex: 1,
		ID: fmt.Sprintf("%d-%d-%d", info.Term, info.Index, time.Now().UnixMilli())}
	peers := s.node.Peers()
	packed := msgp.AppendArrayHeader(nil, uint32(len(peers)))
	for _, p := range peers {
		packed = msgp.AppendBytes(packed, []byte(p.Address))
		m.Configuration.Servers = append(m.Configuration.Servers, archiveServer{ID: p.ID, Address: p.Address})
	}
	m.Peers = base64.StdEncoding.EncodeToString(packed)
	return m
}

func writeArchive(w io.Writer, meta archiveMeta, state io.Reader) error {
	zip := gzip.NewWriter(w)
	out := tar.NewWriter(zip)
	b, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	metaSum := sha256.Sum256(b)
	stateSum := sha256.New()
	if err := addFile(out, metaFile, int64(len(b)), bytes.NewReader(b)); err != nil {
		return err
	}
	if err := addFile(out, stateFile, meta.Size, io.TeeReader(state, stateSum)); err != nil {
		return err
	}
	sums := fmt.Sprintf("%x  %s\n%x  %s\n", metaSum, metaFile, stateSum.Sum(nil), stateFile)
	if err := addFile(out, sumsFile, int64(len(sums)), strings.NewReader(sums)); err != nil {
		return err
	}
	return errors.Join(out.Close(), zip.Close())
}

func addFile(out *tar.Writer, name string, size int64, r io.Reader) error {
	h := &tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: time.Now().Truncate(time.Second)}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(out, r)
	if err == nil && n != size {
		err = fmt.Errorf("%s has %d bytes, not %d", name, n, size)
	}
	return err
}

// Unarchive replaces the whole state by an archive's. Nothing is touched before the archive has proved sound. Writes
// wait meanwhile; the index goes on above both histories, under a new lineage (design rule 6).
func (s *Server) Unarchive(ctx context.Context, r io.Reader, o room.Options) error {
	if !s.own(o) {
		return s.unarchiveElsewhere(ctx, r, o)
	}
	hold := holder{limit: s.opts.Hold}
	defer hold.stop()
	if leader, err := s.awaitLeader(ctx, &hold); err != nil || leader != nil {
		if leader != nil {
			err = leader.Unarchive(ctx, r, o)
		}
		return err
	}
	spool, err := os.CreateTemp(s.opts.Dir, "restore-*.tmp")
	if err != nil {
		return fmt.Errorf("cannot unpack the snapshot: %w", err)
	}
	defer os.Remove(spool.Name())
	defer spool.Close()
	if err := s.unpack(r, spool); err != nil {
		return err
	}
	var archived store.Header
	if err := rewound(spool, func(state io.Reader) (err error) {
		archived, err = store.ReadHeader(state)
		return err
	}); err != nil {
		return err
	}
	s.restoring.Lock()
	defer s.restoring.Unlock()
	// A write whose caller gave up may still be on its way: past the barrier the index stands.
	if err := s.node.Barrier(ctx); err != nil {
		return err
	}
	index := max(s.store.Index(), archived.Index) + 1
	return s.restore(ctx, spool, index)
}

// unpack writes an archive's state to spool, and looks meanwhile, while another processor decompresses, whether this server could
// take it.
func (s *Server) unpack(r io.Reader, spool io.Writer) error {
	state, feed := io.Pipe()
	looked := make(chan error, 1)
	go func() {
		err := s.restorable(state)
		_, _ = io.Copy(io.Discard, state) // an archive that is refused is unpacked all the same: what is wrong with it as a whole goes first
		looked <- err
	}()
	err := readArchive(r, io.MultiWriter(spool, feed))
	_ = feed.Close()
	if unfit := <-looked; err == nil && unfit != nil {
		return fault.New(fault.Refused, "failed to read snapshot file: %s", unfit)
	}
	return err
}

// restorable refuses a state that this server could not take, or another of the datacenter: one of rules that not all know.
func (s *Server) restorable(state io.Reader) error {
	r, err := s.store.Peek(state, levels)
	if err != nil {
		return err
	}
	if of, used := levelOf(r), s.rules.now(); of > used {
		return fmt.Errorf("it was made by rules of level %d, and those in use here are of level %d; upgrade all servers first", of, used)
	}
	return nil
}

func rewound(f *os.File, use func(io.Reader) error) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return use(f)
}

// restore gives the state a header with the index, under a new lineage, and hands it to the log.
func (s *Server) restore(ctx context.Context, spool *os.File, index uint64) error {
	size, err := spool.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("cannot read the snapshot: %w", err)
	}
	lineage := s.opts.Lineage()
	if err := rewound(spool, func(r io.Reader) (err error) {
		size, err = store.RewriteSize(r, size, index, lineage)
		return err
	}); err != nil {
		return err
	}
	state, feed := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = feed.CloseWithError(rewound(spool, func(r io.Reader) error { return store.Rewrite(feed, r, index, lineage) }))
	}()
	err = s.node.Restore(ctx, size, state)
	_ = state.Close() // it may have given up before the end
	<-written
	return err
}

// readArchive checks an archive and writes its state to w.
func readArchive(r io.Reader, w io.Writer) error {
	zip, err := gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return fault.New(fault.Refused, "failed to decompress snapshot: %s", err)
	}
	defer zip.Close()
	bad := func(format string, args ...any) error {
		return fault.New(fault.Refused, "failed to read snapshot file: "+format, args...)
	}
	sums, files := map[string]hash.Hash{}, map[string][]byte{}
	in := tar.NewReader(zip)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return bad("failed reading snapshot: %s", err)
		}
		if h.Name != metaFile && h.Name != stateFile && h.Name != sumsFile {
			return bad("unexpected file %q in snapshot", h.Name)
		}
		if _, twice := sums[h.Name]; twice {
			return bad("file %q is in the snapshot twice", h.Name)
		}
		sums[h.Name] = sha256.New()
		small := new(bytes.Buffer)
		to, limit := io.Writer(small), int64(smallFile)
		if h.Name == stateFile {
			to, limit = w, h.Size
		}
		if _, err := io.Copy(io.MultiWriter(to, sums[h.Name]), io.LimitReader(in, limit)); err != nil {
			return bad("failed to read or write snapshot data: %s", err)
		}
		files[h.Name] = small.Bytes()
	}
	if err := checkSums(string(files[sumsFile]), sums); err != nil {
		return bad("failed checking integrity of snapshot: %s", err)
	}
	var meta archiveMeta
	if err := json.Unmarshal(files[metaFile], &meta); err != nil {
		return bad("failed to decode snapshot metadata: %s", err)
	}
	return nil
}

// checkSums compares what was read with SHA256SUMS.
func checkSums(list string, got map[string]hash.Hash) error {
	want := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(list), "\n") {
		if sum, name, ok := strings.Cut(line, "  "); ok {
			want[name] = sum
		}
	}
	for _, name := range []string{metaFile, stateFile} {
		switch {
		case got[name] == nil:
			return fmt.Errorf("file missing: %q", name)
		case want[name] == "":
			return fmt.Errorf("list missing hash for %q", name)
		case want[name] != hex.EncodeToString(got[name].Sum(nil)):
			return fmt.Errorf("hash check failed for %q", name)
		}
	}
	return nil
}

var (
	_ room.Cluster = (*Server)(nil)
	_ room.Raft    = (*Server)(nil)
)
