package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rostra/engine/room"
	"rostra/kit/fault"
)

func (b *bench) archive() []byte {
	b.t.Helper()
	write, index, err := b.Archive(context.Background(), room.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := write(&out); err != nil {
		b.t.Fatal(err)
	}
	if index == 0 {
		b.t.Error("the archive's index is 0")
	}
	return out.Bytes()
}

func (b *bench) unarchive(archive []byte) {
	b.t.Helper()
	if err := b.Unarchive(context.Background(), bytes.NewReader(archive), room.Options{}); err != nil {
		b.t.Fatal(err)
	}
}

func TestArchiveIsWhatTheSpecSays(t *testing.T) {
	b := start(t, Options{})
	b.write("a", "1")
	files, names := unpack(t, b.archive())
	if got := strings.Join(names, " "); got != "meta.json state.bin SHA256SUMS" {
		t.Errorf("the files are %s", got)
	}
	want := fmt.Sprintf("%x  meta.json\n%x  state.bin\n", sha256.Sum256(files[metaFile]), sha256.Sum256(files[stateFile]))
	if string(files[sumsFile]) != want {
		t.Errorf("SHA256SUMS: %s", files[sumsFile])
	}
	var meta archiveMeta
	if err := json.Unmarshal(files[metaFile], &meta); err != nil {
		t.Fatal(err)
	}
	if meta.Size != int64(len(files[stateFile])) || meta.Version != 1 || meta.Index == 0 || meta.Term == 0 ||
		!strings.HasPrefix(meta.ID, fmt.Sprintf("%d-%d-", meta.Term, meta.Index)) ||
		len(meta.Configuration.Servers) != 1 || meta.Configuration.Servers[0].ID != "s1" {
		t.Errorf("meta.json: %s", files[metaFile])
	}
}

// A restore brings the rows back as they were, goes on counting above both histories, and wakes who is parked.
func TestRestore(t *testing.T) {
	other := start(t, Options{})
	for i := range 30 {
		other.write("from afar", fmt.Sprint(i))
	}
	b := start(t, Options{})
	b.write("a", "kept")
	own := b.archive()
	b.write("a", "lost")
	newer := b.write("b", "lost too")
	lineage := b.store.Lineage()
	parked := b.ask(read{name: "a"}, room.Options{Index: 1 << 40})
	same := b.ask(read{name: "c"}, room.Options{Index: 1 << 40}) // missing before and after
	b.until("two parked reads", func() bool { return b.stats.blocking.Load() == 2 })

	b.unarchive(own)
	if got := receive(t, parked); got.err != nil || got.Value != line("kept") || got.Index <= newer {
		t.Errorf("parked: %v at %d, %v", got.Value, got.Index, got.err)
	}
	if got := receive(t, same); got.err != nil || !got.Missing {
		t.Errorf("parked at what is missing: %v, %v", got.Value, got.err)
	}
	if b.store.Lineage() == lineage || b.store.Lineage() == "" {
		t.Errorf("the lineage is %q, was %q", b.store.Lineage(), lineage)
	}
	if a := b.read(read{name: "b"}, room.Options{}); !a.Missing {
		t.Errorf("what came after the archive is still there: %v", a.Value)
	}
	if next := b.write("d", "1"); next <= newer+1 {
		t.Errorf("the index goes on at %d, it had reached %d", next, newer)
	}

	far := other.store.Index()
	b.unarchive(other.archive())
	if a := b.read(read{name: "from afar"}, room.Options{}); a.Value != line("29") {
		t.Errorf("the other's row: %v", a.Value)
	}
	if b.store.Index() != far+1 {
		t.Errorf("the index is %d after a restore of %d", b.store.Index(), far)
	}
}

// Two states whose subject has the same index are still different answers.
func TestRestoreIsNotTakenForTheSame(t *testing.T) {
	one, two := start(t, Options{}), start(t, Options{})
	if a, b := one.write("a", "one"), two.write("a", "two"); a != b {
		t.Fatalf("indexes %d and %d", a, b)
	}
	archive := two.archive()
	if a := one.read(read{name: "a"}, room.Options{}); a.Value != line("one") {
		t.Fatal(a.Value)
	}
	one.unarchive(archive)
	if a := one.read(read{name: "a"}, room.Options{}); a.Value != line("two") || string(a.Shared.JSON()) != `"two"` {
		t.Errorf("%v, %s", a.Value, a.Shared.JSON())
	}
}

// slowReader hands an archive out only when it may.
type slowReader struct {
	io.Reader
	reached, free chan struct{}
}

func (r *slowReader) Read(p []byte) (int, error) {
	select {
	case <-r.reached:
	default:
		close(r.reached)
		<-r.free
	}
	return r.Reader.Read(p)
}

func TestWritesDuringARestore(t *testing.T) {
	b := start(t, Options{})
	b.write("a", "kept")
	archive := b.archive()

	// while the archive comes in, writes go on
	slow := &slowReader{bytes.NewReader(archive), make(chan struct{}), make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- b.Unarchive(context.Background(), slow, room.Options{}) }()
	receive(t, slow.reached)
	before := b.write("b", "written meanwhile")
	close(slow.free)
	if err := receive(t, done); err != nil {
		t.Fatal(err)
	}

	// while it replaces the state, they wait, and none is lost
	b.restoring.Lock()
	written := make(chan uint64, 1)
	go func() {
		index, err := b.try("c", "waited")
		if err != nil {
			t.Error(err)
		}
		written <- index
	}()
	select {
	case <-written:
		t.Error("a write did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	b.restoring.Unlock()
	if index := receive(t, written); index <= before {
		t.Errorf("the write is at %d, before the restore there was %d", index, before)
	}
	if a := b.read(read{name: "c"}, room.Options{}); a.Value != line("waited") {
		t.Errorf("the write that waited: %v", a.Value)
	}
}

func TestBadArchivesChangeNothing(t *testing.T) {
	b := start(t, Options{})
	b.write("a", "kept")
	good := b.archive()
	files, _ := unpack(t, good)
	index, dir := b.store.Index(), b.opts.Dir
	with := func(name string, content []byte) []file {
		list := []file{}
		for _, n := range []string{metaFile, stateFile, sumsFile} {
			if n == name {
				list = append(list, file{n, content})
			} else {
				list = append(list, file{n, files[n]})
			}
		}
		return list
	}
	sums := func(meta, state []byte) []byte {
		return fmt.Appendf(nil, "%x  meta.json\n%x  state.bin\n", sha256.Sum256(meta), sha256.Sum256(state))
	}
	flipped := bytes.Clone(files[stateFile])
	flipped[len(flipped)/2] ^= 1
	short := files[stateFile][:len(files[stateFile])-3]
	foreign := []byte("\x81\xa9LastIndex\x05\x00...")
	cases := []struct {
		what    string
		archive []byte
		text    string
	}{
		{"nothing", nil, "failed to decompress snapshot: EOF"},
		{"no gzip", []byte("hello, this is a text"), "failed to decompress snapshot: gzip: invalid header"},
		{"cut", good[:len(good)/2], "failed to read snapshot file: "},
		{"an unexpected file", pack(append(with("", nil), file{"x", []byte("x")})), `failed to read snapshot file: unexpected file "x" in snapshot`},
		{"a file twice", pack(append(with("", nil), file{metaFile, files[metaFile]})), `failed to read snapshot file: file "meta.json" is in the snapshot twice`},
		{"no state", pack([]file{{metaFile, files[metaFile]}, {sumsFile, files[sumsFile]}}), `failed to read snapshot file: failed checking integrity of snapshot: file missing: "state.bin"`},
		{"no sums", pack([]file{{metaFile, files[metaFile]}, {stateFile, files[stateFile]}}), `failed to read snapshot file: failed checking integrity of snapshot: list missing hash for "meta.json"`},
		{"a flipped bit", pack(with(stateFile, flipped)), `failed to read snapshot file: failed checking integrity of snapshot: hash check failed for "state.bin"`},
		{"another meta", pack(with(metaFile, []byte("{}"))), `failed to read snapshot file: failed checking integrity of snapshot: hash check failed for "meta.json"`},
		{"damage under a right sum", pack([]file{{metaFile, files[metaFile]}, {stateFile, flipped}, {sumsFile, sums(files[metaFile], flipped)}}), "failed to read snapshot file: cannot read the snapshot: "},
		{"a short state under a right sum", pack([]file{{metaFile, files[metaFile]}, {stateFile, short}, {sumsFile, sums(files[metaFile], short)}}), "failed to read snapshot file: cannot read the snapshot: it ends early"},
		{"Consul's state", pack([]file{{metaFile, files[metaFile]}, {stateFile, foreign}, {sumsFile, sums(files[metaFile], foreign)}}), "failed to read snapshot file: cannot read the snapshot: it is not a Rostra snapshot"},
		{"a strange meta", pack([]file{{metaFile, []byte("[]")}, {stateFile, files[stateFile]}, {sumsFile, sums([]byte("[]"), files[stateFile])}}), "failed to read snapshot file: failed to decode snapshot metadata: "},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			err := b.Unarchive(context.Background(), bytes.NewReader(c.archive), room.Options{})
			if !fault.Is(err, fault.Refused) || !strings.HasPrefix(err.Error(), c.text) {
				t.Errorf("refused with %v", err)
			}
			if a := b.read(read{name: "a"}, room.Options{}); a.Value != line("kept") || b.store.Index() != index {
				t.Errorf("the state changed: %v at %d", a.Value, b.store.Index())
			}
		})
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files are left behind: %v, %v", left, err)
	}
}

func FuzzReadArchive(f *testing.F) {
	b := start(f, Options{})
	b.write("a", "1")
	f.Add(b.archive())
	f.Add(pack([]file{{metaFile, []byte("{}")}, {stateFile, nil}, {sumsFile, []byte("x  y\n")}}))
	f.Fuzz(func(t *testing.T, archive []byte) {
		var state bytes.Buffer
		if err := readArchive(bytes.NewReader(archive), &state); err == nil {
			_ = b.store.Verify(&state)
		} else if !fault.Is(err, fault.Refused) {
			t.Errorf("refused with %v", err)
		}
	})
}

type file struct {
	name    string
	content []byte
}

func pack(files []file) []byte {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	out := tar.NewWriter(zip)
	for _, f := range files {
		if err := addFile(out, f.name, int64(len(f.content)), bytes.NewReader(f.content)); err != nil {
			panic(err)
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func unpack(t *testing.T, archive []byte) (files map[string][]byte, names []string) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string][]byte{}
	in := tar.NewReader(zip)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files, names
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o600 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
		if files[h.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

// An archive of rules that not all servers know is refused before anything is touched: they would stop at it.
func TestRestoreOfNewerRules(t *testing.T) {
	newer := testRoom
	newer.Commands = append(slices.Clone(newer.Commands), room.CommandType{New: func() room.Command { return new(later) }, Rules: 1, Since: []int{2}})
	from, to := start(t, Options{Rooms: []room.Room{newer}}), start(t, Options{})
	from.write("a", "newer")
	from.until("level 2", func() bool { return from.rules.now() == 2 })
	archive := from.archive()
	to.write("a", "own")
	err := to.Unarchive(context.Background(), bytes.NewReader(archive), room.Options{})
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "made by rules of level 2, and those in use here are of level 1; upgrade all servers first") {
		t.Errorf("%v", err)
	}
	if a := to.read(read{name: "a"}, room.Options{}); a.Value != line("own") || to.node.Failure() != nil {
		t.Errorf("%v, %v", a.Value, to.node.Failure())
	}
	from.unarchive(archive)
}

type later struct{ write }

func (l *later) Name() string { return "note.later" }
