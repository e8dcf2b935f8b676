package consensus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"rostra/kit/fault"
)

// press is a packer over a log that is a channel: nothing is done until the test says so.
type press struct {
	packer
	sent chan []byte
	done chan any // []Outcome or error, for each that was sent
}

func newPress(t *testing.T) *press {
	p := &press{sent: make(chan []byte, 16), done: make(chan any)}
	p.packer = packer{stamp: (&stamper{wall: time.Now}).stamp, slow: func() bool { return false }, maximum: 1 << 20,
		refuse: (&Node{raft: nil}).refusal,
		submit: func(entry []byte) raft.ApplyFuture { p.sent <- entry; return pressFuture{p.done, new(any)} }}
	p.start()
	t.Cleanup(func() { p.close(errors.New("closed")); p.wait() })
	return p
}

type pressFuture struct {
	done chan any
	got  *any
}

func (f pressFuture) Error() error {
	*f.got = <-f.done
	err, _ := (*f.got).(error)
	return err
}

func (f pressFuture) Response() any { return *f.got }

func (f pressFuture) Index() uint64 { return 0 }

// ok answers an entry with as many outcomes as it has Commands.
func ok(t *testing.T, entry []byte) []Outcome {
	t.Helper()
	_, commands, err := decodeEntry(entry)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]Outcome, len(commands))
	for i, c := range commands {
		out[i].Value = string(c)
	}
	return out
}

// queued waits until count Commands are in the queue.
func (p *press) queued(t *testing.T, count int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		p.mu.Lock()
		n := len(p.queue)
		p.mu.Unlock()
		if n == count {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d in the queue, want %d", n, count)
		}
	}
}

func TestCommandsThatWaitTravelTogether(t *testing.T) {
	p := newPress(t)
	var wg sync.WaitGroup
	put := func(c string) {
		wg.Go(func() {
			if got, err := p.propose(context.Background(), []byte(c)); err != nil || got != c {
				t.Errorf("%s: %v, %v", c, got, err)
			}
		})
	}
	put("first")
	first := <-p.sent
	for i := range 1500 {
		put(fmt.Sprint("c", i))
	}
	p.queued(t, 1500)
	p.done <- ok(t, first)
	for _, want := range []int{1024, 476} {
		entry := <-p.sent
		outs := ok(t, entry)
		if len(outs) != want {
			t.Fatalf("%d commands in an entry, want %d", len(outs), want)
		}
		if len(p.sent) > 0 {
			t.Fatal("two in flight on a fast disk")
		}
		p.done <- outs
	}
	wg.Wait()
}

func TestAnEntryIsBoundedInBytes(t *testing.T) {
	p := newPress(t)
	var wg sync.WaitGroup
	put := func(size int) {
		wg.Go(func() { _, _ = p.propose(context.Background(), make([]byte, size)) })
	}
	put(1)
	first := <-p.sent
	var sizes []int
	for i, size := range []int{100 << 10, 100 << 10, 100 << 10, 400 << 10, 1} {
		put(size)
		p.queued(t, i+1)
	}
	p.done <- ok(t, first)
	for range 4 {
		entry := <-p.sent
		outs := ok(t, entry)
		sizes = append(sizes, len(outs))
		p.done <- outs
	}
	wg.Wait()
	if fmt.Sprint(sizes) != "[2 1 1 1]" { // the large one alone
		t.Fatal(sizes)
	}
}

func TestThreeInFlightOnASlowDisk(t *testing.T) {
	p := newPress(t)
	p.mu.Lock()
	p.slow = func() bool { return true }
	p.mu.Unlock()
	var wg sync.WaitGroup
	for range slots {
		wg.Go(func() { _, _ = p.propose(context.Background(), []byte("x")) })
		<-p.sent // each leaves although none is done
	}
	wg.Go(func() { _, _ = p.propose(context.Background(), []byte("y")) })
	p.queued(t, 1)
	p.done <- []Outcome{{}}
	<-p.sent
	for range slots {
		p.done <- []Outcome{{}}
	}
	wg.Wait()
}

func TestTheThreeOutcomes(t *testing.T) {
	p := newPress(t)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 2)
	go func() { _, err := p.propose(ctx, []byte("in flight")); result <- err }()
	entry := <-p.sent
	late, cancelLate := context.WithCancel(context.Background())
	go func() { _, err := p.propose(late, []byte("waiting")); result <- err }()
	p.queued(t, 1)
	cancelLate()
	if err := <-result; !fault.Is(err, fault.NotApplied) {
		t.Fatalf("given up while waiting: %v", err)
	}
	cancel()
	if err := <-result; !fault.Is(err, fault.Unknown) {
		t.Fatalf("given up in flight: %v", err)
	}
	p.done <- ok(t, entry)
	go func() { _, err := p.propose(context.Background(), []byte("after")); result <- err }()
	entry = <-p.sent
	if outs := ok(t, entry); len(outs) != 1 || outs[0].Value != "after" {
		t.Fatalf("what was withdrawn travelled: %v", outs)
	}
	go func() { _, err := p.propose(context.Background(), []byte("stopped")); result <- err }()
	p.queued(t, 1)
	p.close(fault.New(fault.NotApplied, "stopping"))
	if err := <-result; !fault.Is(err, fault.NotApplied) {
		t.Fatalf("waiting at the stop: %v", err)
	}
	p.done <- raft.ErrRaftShutdown
	if err := <-result; !fault.Is(err, fault.Unknown) {
		t.Fatalf("in flight at the stop: %v", err)
	}
	if _, err := p.propose(context.Background(), nil); !fault.Is(err, fault.NotApplied) {
		t.Fatalf("after the stop: %v", err)
	}
}

func TestLimitsNameThemselves(t *testing.T) {
	p := newPress(t)
	if _, err := p.propose(context.Background(), make([]byte, maxCommandBytes+1)); !fault.Is(err, fault.TooLarge) {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _, _ = p.propose(context.Background(), []byte("a")) })
	entry := <-p.sent
	wg.Go(func() { _, _ = p.propose(context.Background(), make([]byte, 1<<20)) })
	p.queued(t, 1)
	_, err := p.propose(context.Background(), []byte("b"))
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "1048576") {
		t.Fatal(err)
	}
	p.done <- ok(t, entry)
	p.done <- ok(t, <-p.sent)
}

func TestHoldKeepsBatchesBack(t *testing.T) {
	p := newPress(t)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = p.propose(context.Background(), []byte("a")) })
	entry := <-p.sent
	held := make(chan struct{})
	wg.Go(func() { p.hold(); close(held) })
	select {
	case <-held:
		t.Fatal("held while one is in flight")
	default:
	}
	p.done <- ok(t, entry)
	<-held
	wg.Go(func() { _, _ = p.propose(context.Background(), []byte("b")) })
	p.queued(t, 1)
	if len(p.sent) > 0 {
		t.Fatal("a batch left while held")
	}
	p.release()
	p.done <- ok(t, <-p.sent)
	wg.Wait()
}

func TestRefusalsTellTheFate(t *testing.T) {
	n := mustOpen(t, Options{ID: "s1", Address: "a:1", Bootstrap: true, Logger: quiet}, newWords())
	for _, c := range []struct {
		err  error
		kind fault.Kind
	}{
		{raft.ErrNotLeader, fault.NotApplied}, // another leads, as far as this one knows
		{raft.ErrLeadershipTransferInProgress, fault.NotApplied},
		{raft.ErrEnqueueTimeout, fault.NotApplied},
		{raft.ErrAbortedByRestore, fault.NotApplied},
		{raft.ErrLeadershipLost, fault.Unknown},
		{raft.ErrRaftShutdown, fault.Unknown},
		{errors.New("disk on fire"), fault.Unknown},
	} {
		if got := n.refusal(c.err); !fault.Is(got, c.kind) || got.Error() != c.err.Error() {
			t.Errorf("%v became %v of kind %v", c.err, got, fault.KindOf(got))
		}
	}
	mustClose(t, n)
	if got := n.refusal(raft.ErrNotLeader); !errors.Is(got, fault.ErrNoLeader) {
		t.Errorf("without a leader: %v", got)
	}
}

// nothing is a Machine that costs nothing, so that the figures are the log's own.
type nothing struct{ words }

func (*nothing) Apply(b Batch) []Outcome { return make([]Outcome, len(b.Commands)) }

// BenchmarkPropose writes 150-byte Commands to a real disk.
func BenchmarkPropose(b *testing.B) {
	for _, writers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			o := options(nil, b.TempDir())
			o.SegmentBytes, o.NoStopSnapshot = 0, true
			n := mustOpen(b, o, &nothing{})
			command := []byte(strings.Repeat("c", 150))
			before, cpu := n.Counters(), cpuTime()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := n.Propose(context.Background(), command); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			c := n.Counters()
			b.ReportMetric(float64(c.Commands-before.Commands)/float64(c.Syncs-before.Syncs), "writes/fsync")
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N)/1000, "cpu-µs/op")
			mustClose(b, n)
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOpen replays a log of single-Command entries.
func BenchmarkOpen(b *testing.B) {
	const entries = 100_000
	o := options(nil, b.TempDir())
	o.SegmentBytes, o.NoStopSnapshot = 0, true
	n := mustOpen(b, o, &nothing{})
	command := []byte(strings.Repeat("c", 200))
	for range entries {
		if _, err := n.Propose(context.Background(), command); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, n)
	b.ReportAllocs()
	for b.Loop() {
		n := mustOpen(b, o, &nothing{})
		b.StopTimer()
		mustClose(b, n)
		b.StartTimer()
	}
}
