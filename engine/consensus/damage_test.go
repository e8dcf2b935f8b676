package consensus

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft-wal/types"

	"rostra/kit/disk"
)

// lived returns the disk of a server that lived once; stopped cleanly or killed with its last appends synced.
func lived(t *testing.T, clean bool) (*disk.Forgetful, *history) {
	t.Helper()
	d, h := disk.NewForgetful(), newHistory()
	o := cutOptions(d)
	o.NoStopSnapshot = true
	n, err := Open(o, newWords())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.write(n, "p"); err != nil {
		t.Fatal(err)
	}
	if !clean {
		after := d.PowerCut()
		_ = n.Close(context.Background())
		return after, h
	}
	mustClose(t, n)
	return d.PowerCut(), h
}

func files(t *testing.T, d disk.FS, dir string) []string {
	t.Helper()
	names, err := d.List(dir)
	if err != nil {
		return []string{dir}
	}
	var out []string
	for _, n := range names {
		out = append(out, files(t, d, filepath.Join(dir, n))...)
	}
	return out
}

func copyDisk(t *testing.T, d disk.FS) *disk.Forgetful {
	t.Helper()
	out := disk.NewForgetful()
	for _, name := range files(t, d, "/data") {
		data, err := disk.ReadFile(d, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := out.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := out.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(data, 0); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return out
}

// TestDamageIsNeverSilent spoils every file of a stopped server at many places, cuts it short, and removes it. Either
// the server refuses to start and names the directory, or nothing acknowledged is missing.
func TestDamageIsNeverSilent(t *testing.T) {
	original, h := lived(t, true)
	refused, fine := 0, 0
	try := func(what, name string, spoil func(d *disk.Forgetful, f disk.File)) {
		d := copyDisk(t, original)
		f, err := d.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		spoil(d, f)
		_ = f.Close()
		n, err := Open(cutOptions(d), newWords())
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), "/data/raft") {
				t.Errorf("%s of %s: the error does not say where: %v", what, name, err)
			}
			return
		}
		_ = n.Close(context.Background())
		fine++
		if err := h.check(d); err != nil {
			t.Errorf("%s of %s was not noticed: %v", what, name, err)
		}
	}
	for _, name := range files(t, original, "/data/raft") {
		data, err := disk.ReadFile(original, name)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(data); at += max(1, len(data)/40) {
			try(fmt.Sprint("byte ", at), name, func(_ *disk.Forgetful, f disk.File) {
				_, _ = f.WriteAt([]byte{data[at] ^ 0x5a}, int64(at))
			})
		}
		for _, size := range []int{0, 7, 40, len(data) / 2, len(bytes.TrimRight(data, "\x00")) - 1} {
			try(fmt.Sprint("all after ", size), name, func(_ *disk.Forgetful, f disk.File) { _ = f.Truncate(int64(max(0, size))) })
		}
		try("all", name, func(d *disk.Forgetful, _ disk.File) { _ = d.Remove(name) })
	}
	if refused < 100 || fine < 10 {
		t.Fatalf("%d refused, %d fine: the test tests little", refused, fine)
	}
	t.Logf("%d refused, %d with nothing missing", refused, fine)
}

// TestOnlyTheLastAppendMayGo: after a crash the last append cannot be told from one that was never finished; spoiling
// any other is refused.
func TestOnlyTheLastAppendMayGo(t *testing.T) {
	original, h := lived(t, false)
	var tail string
	for _, name := range files(t, original, "/data/raft/log") {
		if strings.HasSuffix(name, ".wal") {
			tail = name // the last by name
		}
	}
	data, err := disk.ReadFile(original, tail)
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(data, "\x00"))
	refused := 0
	for at := 0; at < end; at++ {
		d := copyDisk(t, original)
		f, _ := d.OpenFile(tail, os.O_RDWR, 0)
		_, _ = f.WriteAt([]byte{data[at] ^ 0x81}, int64(at))
		_ = f.Close()
		n, err := Open(cutOptions(d), newWords())
		if err != nil {
			refused++
			continue
		}
		_ = n.Close(context.Background())
		last := &history{acked: h.acked, unknown: map[string]bool{"counter": true}} // the last write of lived
		if err := last.check(d); err != nil {
			t.Fatalf("byte %d of %d: %v", at, end, err)
		}
	}
	if refused == 0 {
		t.Fatal("nothing was refused: the test tests nothing")
	}
	t.Logf("%d of %d bytes refused", refused, end)
}

// TestAnOlderSnapshotStandsIn when the newest is damaged and the log still reaches back.
func TestAnOlderSnapshotStandsIn(t *testing.T) {
	d, h := disk.NewForgetful(), newHistory()
	o := cutOptions(d)
	o.TrailingBytes = 1 << 20 // keep the whole log
	n := mustOpen(t, o, newWords())
	if err := h.write(n, "p"); err != nil {
		t.Fatal(err)
	}
	mustClose(t, n)
	names, _ := d.List("/data/raft/snapshots")
	if len(names) != 2 {
		t.Fatal(names)
	}
	for _, file := range []string{"state.bin", "meta.json"} {
		f, err := d.OpenFile(filepath.Join("/data/raft/snapshots", names[1], file), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.WriteAt([]byte("#"), 9)
		_ = f.Close()
		if err := h.check(d); err != nil {
			t.Fatalf("with %s damaged: %v", file, err)
		}
	}
}

func TestANewerEntryIsRefused(t *testing.T) {
	d := disk.NewForgetful()
	o := cutOptions(d)
	o.NoStopSnapshot = true
	n := mustOpen(t, o, newWords())
	entry := encodeEntry(1, [][]byte{[]byte("a=1")}, 3)
	entry[0] = entryVersion + 1
	if err := n.raft.Apply(entry, 0).Error(); err != nil {
		t.Fatal(err)
	}
	<-n.Failed()
	if err := n.Failure(); !strings.Contains(err.Error(), "newer version") {
		t.Fatal(err)
	}
	_ = n.Close(context.Background())
	if _, err := Open(o, newWords()); err == nil || !strings.Contains(err.Error(), "log entry") || !strings.Contains(err.Error(), "newer version") {
		t.Fatal(err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encodeEntry(7, [][]byte{[]byte("a"), nil, []byte("bc")}, 3))
	f.Add([]byte{})
	f.Add([]byte{entryVersion, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range [][]byte{data, sealEntry(data)} {
			at, commands, err := decodeEntry(d)
			if err != nil {
				continue
			}
			size := 0
			for _, c := range commands {
				size += len(c)
			}
			if again := encodeEntry(at, commands, size); !bytes.Equal(again, d) {
				t.Fatalf("%x became %x", d, again)
			}
		}
	})
}

// sealEntry gives bytes a right version and checksum, so that the fuzzer gets past them.
func sealEntry(data []byte) []byte {
	out := append([]byte{entryVersion}, data...)
	return appendSum(out)
}

func FuzzDecodeRecord(f *testing.F) {
	good, _ := encodeRecord(metaRecord{NextSegmentID: 3, Stable: []stablePair{{"k", []byte("v")}}, Segments: []types.SegmentInfo{{ID: 1}}})
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m metaRecord
		if decodeRecord(data, &m) != nil {
			return
		}
		if _, err := encodeRecord(m); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzSegment reads any bytes as the last segment: no panic, and what is found whole lies within them.
func FuzzSegment(f *testing.F) {
	d := disk.NewForgetful()
	n, err := Open(cutOptions(d), newWords())
	if err != nil {
		f.Fatal(err)
	}
	_ = newHistory().write(n, "p")
	_ = n.Close(context.Background())
	rec := n.log.meta.record()
	names, _ := d.List("/data/raft/log")
	for _, name := range names {
		if data, err := disk.ReadFile(d, filepath.Join("/data/raft/log", name)); err == nil {
			f.Add(bytes.TrimRight(data, "\x00"))
		}
	}
	info := rec.Segments[0]
	f.Fuzz(func(t *testing.T, data []byte) {
		found, _ := walkSegment(bytes.NewReader(data), info)
		if found.end > int64(len(data)) {
			t.Fatalf("%+v in %d bytes", found, len(data))
		}
		holdsAppend(data)
	})
}
