package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rostra/kit/disk"
	"rostra/kit/fault"
)

func TestInMemory(t *testing.T) {
	w := newWords()
	n := mustOpen(t, Options{ID: "s1", Address: "a:1", Bootstrap: true, Logger: quiet}, w)
	for i := range 3 {
		got, err := n.Propose(context.Background(), []byte("a=b"))
		if err != nil || got != i+1 {
			t.Fatalf("Propose = %v, %v", got, err)
		}
	}
	if _, err := n.Propose(context.Background(), []byte("nonsense")); err == nil || err.Error() != "no word: nonsense" {
		t.Fatalf("the Machine's own error: %v", err)
	}
	if err := n.Snapshot(context.Background()); err != nil {
		t.Fatal(err)
	}
	info, r, err := n.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil || string(data) != "seen 4\na=b\n" || info.Size != int64(len(data)) {
		t.Fatalf("snapshot %q, %v", data, err)
	}
	if id, addr := n.Leader(); id != "s1" || addr != "a:1" {
		t.Fatalf("Leader = %s, %s", id, addr)
	}
	mustClose(t, n)
	if _, err := n.Propose(context.Background(), []byte("a=c")); !fault.Is(err, fault.NoLeader) && !fault.Is(err, fault.NotApplied) {
		t.Fatalf("after Close: %v", err)
	}
}

// TestLoneVoterLeadsAtOnce: with an hour's timeout only the shortcut makes it lead within this test.
func TestLoneVoterLeadsAtOnce(t *testing.T) {
	dir := t.TempDir()
	o := options(nil, dir)
	o.HeartbeatTimeout, o.ElectionTimeout = time.Hour, time.Hour
	for range 3 {
		n := mustOpen(t, o, newWords())
		if term, ready := n.Leading(); !ready || term != n.Term() {
			t.Fatalf("Leading = %d, %v", term, ready)
		}
		mustPut(t, n, "a=1")
		mustClose(t, n)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	for _, noSnapshot := range []bool{true, false} {
		t.Run(fmt.Sprint("noSnapshot=", noSnapshot), func(t *testing.T) {
			o := options(nil, t.TempDir())
			o.NoStopSnapshot = noSnapshot
			var first []string
			total := 0
			for round := range 4 {
				w := newWords()
				n := mustOpen(t, o, w)
				if round > 0 && noSnapshot && !slices.Equal(w.log(), first) {
					t.Fatalf("round %d: replay gave %d calls, not the %d of before", round, len(w.log()), len(first))
				}
				for i := range total {
					if got := w.get(fmt.Sprint("k", i)); got != fmt.Sprint(i) {
						t.Fatalf("round %d: k%d = %q", round, i, got)
					}
				}
				for range 300 { // beyond one segment of 64 KiB
					mustPut(t, n, fmt.Sprintf("k%d=%d", total, total))
					total++
				}
				first = w.log()
				if at := n.Progress().Configured; at != 1 {
					t.Errorf("round %d: the servers are those of entry %d", round, at)
				}
				mustClose(t, n)
			}
		})
	}
}

// TestReplayIsTheSame: the same log gives the same Apply calls, entry by entry, with the leader's time.
func TestReplayIsTheSame(t *testing.T) {
	o := options(nil, t.TempDir())
	o.NoStopSnapshot = true
	clock := time.Unix(1_700_000_000, 0)
	o.Now = func() time.Time { clock = clock.Add(-time.Second); return clock } // a clock that runs backwards
	w := newWords()
	n := mustOpen(t, o, w)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				_, _ = n.Propose(context.Background(), fmt.Appendf(nil, "w%d=%d", i, j))
			}
		})
	}
	wg.Wait()
	before := w.log()
	mustClose(t, n)
	w2 := newWords()
	mustOpen(t, o, w2)
	if !slices.Equal(before, w2.log()) || len(before) != 400 {
		t.Fatalf("%d calls before, %d after", len(before), len(w2.log()))
	}
	var last int64
	for _, line := range before {
		var index, at int64
		if _, err := fmt.Sscanf(line, "%d/%d/", &index, &at); err != nil || at < last {
			t.Fatalf("time went back at %s (%v)", line, err)
		}
		last = at
	}
}

func TestSnapshotsUnderLoad(t *testing.T) {
	o := options(nil, t.TempDir())
	o.SnapshotBytes, o.TrailingBytes = 64<<10, 8<<10
	w := newWords()
	n := mustOpen(t, o, w)
	const writers, each = 16, 150
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				if _, err := n.Propose(context.Background(), fmt.Appendf(nil, "w%d-%d=%s", i, j, strings.Repeat("x", 200))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range snapshotsKept + 2 { // as often as somebody asks, also when nothing has changed
		if err := n.Snapshot(context.Background()); err != nil {
			t.Fatalf("snapshot %d of the same index: %v", i, err)
		}
	}
	first, last, err := n.log.span()
	if err != nil || first < 2 || last-first > 100 {
		t.Fatalf("the log was not cut: %d to %d, %v", first, last, err)
	}
	if c := n.Counters(); c.Snapshots < 2 || c.Commands != writers*each {
		t.Fatalf("%+v", c)
	}
	names, err := os.ReadDir(filepath.Join(o.Dir, "snapshots"))
	if err != nil || len(names) > snapshotsKept {
		t.Fatalf("%v, %v", names, err)
	}
	mustClose(t, n)
	w2 := newWords()
	mustOpen(t, o, w2)
	for i := range writers {
		for j := range each {
			if w2.get(fmt.Sprintf("w%d-%d", i, j)) == "" {
				t.Fatalf("w%d-%d is lost", i, j)
			}
		}
	}
}

func TestRestoreReplacesTheState(t *testing.T) {
	o := options(nil, t.TempDir())
	w := newWords()
	n := mustOpen(t, o, w)
	mustPut(t, n, "old=1")
	image := "seen 9\nnew=2\n"
	if err := n.Restore(context.Background(), int64(len(image)), strings.NewReader(image)); err != nil {
		t.Fatal(err)
	}
	if w.get("old") != "" || w.get("new") != "2" {
		t.Fatalf("%v", w.m)
	}
	if got, err := n.Propose(context.Background(), []byte("after=3")); err != nil || got != 10 {
		t.Fatalf("Propose = %v, %v", got, err)
	}
	mustClose(t, n)
	w2 := newWords()
	mustOpen(t, o, w2)
	if w2.get("old") != "" || w2.get("new") != "2" || w2.get("after") != "3" {
		t.Fatalf("after a restart: %v", w2.m)
	}
}

// TestPanicStopsTheNode: nothing is acknowledged nor applied after a Command the Machine does not know.
func TestPanicStopsTheNode(t *testing.T) {
	w := newWords()
	n := mustOpen(t, options(nil, t.TempDir()), w)
	mustPut(t, n, "a=1")
	if _, err := n.Propose(context.Background(), []byte("panic")); !fault.Is(err, fault.Unknown) {
		t.Fatalf("%v", err)
	}
	<-n.Failed()
	if err := n.Failure(); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Fatal(err)
	}
	if _, err := n.Propose(context.Background(), []byte("a=2")); !fault.Is(err, fault.NoLeader) || w.get("a") != "1" {
		t.Fatalf("%v, a=%s", err, w.get("a"))
	}
	if _, ready := n.Leading(); ready {
		t.Fatal("still leading")
	}
}

func TestLeadRunsADutyPerTerm(t *testing.T) {
	n := mustOpen(t, options(nil, t.TempDir()), newWords())
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan uint64), make(chan error, 1)
	go func() {
		ended <- n.Lead(ctx, func(ctx context.Context, term uint64) error {
			started <- term
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	if term := <-started; term != n.Term() {
		t.Fatalf("duty of term %d", term)
	}
	n.terms.begin() // the term ends
	stint, _ := n.terms.begin()
	n.becomeReady(stint)
	if term := <-started; term != n.Term() {
		t.Fatalf("second duty of term %d", term)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	want := errors.New("broken")
	if err := n.Lead(context.Background(), func(context.Context, uint64) error { return want }); !errors.Is(err, want) {
		t.Fatal(err)
	}
}

func TestStats(t *testing.T) {
	n := mustOpen(t, options(nil, t.TempDir()), newWords())
	want := strings.Fields(`applied_index commit_index fsm_pending last_contact last_log_index last_log_term last_snapshot_index
		last_snapshot_term latest_configuration latest_configuration_index num_peers protocol_version protocol_version_max
		protocol_version_min snapshot_version_max snapshot_version_min state term`)
	got := n.Stats()
	for _, k := range want {
		if _, ok := got[k]; !ok {
			t.Errorf("%s is missing", k)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d: %v", len(got), len(want), got)
	}
	if p := n.Peers(); len(p) != 1 || p[0] != (Peer{"s1", "127.0.0.1:8300", true, true}) {
		t.Errorf("%+v", p)
	}
}

func TestANewAddressIsStored(t *testing.T) {
	o := options(nil, t.TempDir())
	mustClose(t, mustOpen(t, o, newWords()))
	o.Address = "127.0.0.2:8300"
	n := mustOpen(t, o, newWords())
	deadline := time.Now().Add(10 * time.Second)
	for n.Peers()[0].Address != o.Address {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", n.Peers())
		}
		_ = n.Barrier(context.Background())
	}
}

func TestForeignDirectories(t *testing.T) {
	newer, _ := encodeRecord(formatRecord{formatVersion + 1})
	for _, c := range []struct{ file, data, want string }{
		{"raft.db", "bolt", "another program"},
		{"format", string(newer), "format 2, this program knows 1"},
		{"format", "garbage", "damaged"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.data), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(options(nil, dir), newWords())
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.Join(dir, c.file)) {
			t.Errorf("%s: %v", c.file, err)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, c.file)); string(got) != c.data {
			t.Errorf("%s was touched", c.file)
		}
	}
}

func TestAnotherServersLogIsNotLed(t *testing.T) {
	o := options(nil, t.TempDir())
	mustClose(t, mustOpen(t, o, newWords()))
	o.ID = "s2"
	_, err := Open(o, newWords())
	if err == nil || !strings.Contains(err.Error(), "s1") || !strings.Contains(err.Error(), "s2") {
		t.Fatal(err)
	}
}

// limping is a disk whose fsyncs of the log fail while told to.
type limping struct {
	disk.FS
	broken atomic.Bool
}

type limpingFile struct {
	disk.File
	of *limping
}

func (l *limping) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := l.FS.OpenFile(name, flag, perm)
	if err != nil || filepath.Ext(name) != ".wal" {
		return f, err
	}
	return limpingFile{f, l}, nil
}

func (f limpingFile) Sync() error {
	if f.of.broken.Load() {
		return errors.New("input/output error")
	}
	return f.File.Sync()
}

// TestAFailedFsync: the write's outcome is unknown, and the server stops although the disk works again: what the kernel
// made of the pages that could not be written is not known. Its next life has what was acknowledged.
func TestAFailedFsync(t *testing.T) {
	l := &limping{FS: disk.OS()}
	o := options(l, t.TempDir())
	n := mustOpen(t, o, newWords())
	mustPut(t, n, "a=1")
	l.broken.Store(true)
	if _, err := n.Propose(context.Background(), []byte("b=1")); !fault.Is(err, fault.Unknown) {
		t.Fatal(err)
	}
	l.broken.Store(false)
	<-n.Failed()
	if _, ready := n.Leading(); ready {
		t.Error("it still leads")
	}
	if _, err := n.Propose(context.Background(), []byte("c=1")); !fault.Is(err, fault.NoLeader) {
		t.Errorf("a write after that: %v", err)
	}
	if text := n.Failure().Error(); !strings.HasPrefix(text, "cannot append to the log: ") || !strings.HasSuffix(text, "start this server again") {
		t.Error(text)
	}
	mustClose(t, n)
	w := newWords()
	n = mustOpen(t, o, w)
	mustPut(t, n, "c=1")
	mustClose(t, n)
	if w.get("a") != "1" || w.get("c") != "1" {
		t.Fatal(w.m)
	}
}
