package consensus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rostra/kit/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// words is a Machine for tests: "k=v" sets a word and answers how many Commands the state has seen.
type words struct {
	mu      sync.Mutex
	m       map[string]string
	seen    int
	applied []string // "index/time/command", of this process
	gate    chan struct{}
	bad     error // what the next Restore answers
}

func newWords() *words { return &words{m: map[string]string{}} }

func (w *words) Apply(b Batch) []Outcome {
	if w.gate != nil {
		<-w.gate
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Outcome, len(b.Commands))
	for i, c := range b.Commands {
		w.applied = append(w.applied, fmt.Sprintf("%d/%d/%s", b.Index, b.Time, c))
		w.seen++
		k, v, ok := strings.Cut(string(c), "=")
		switch {
		case k == "panic":
			panic("unknown command")
		case !ok:
			out[i].Err = errors.New("no word: " + k)
		default:
			w.m[k] = v
			out[i].Value = w.seen
		}
	}
	return out
}

func (w *words) Capture() (Image, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return wordsImage{maps.Clone(w.m), w.seen}, nil
}

func (w *words) Restore(r io.Reader) error {
	if w.bad != nil {
		return w.bad
	}
	m, seen := map[string]string{}, 0
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		if k, v, ok := strings.Cut(sc.Text(), "="); ok {
			m[k] = v
		} else if _, err := fmt.Sscanf(sc.Text(), "seen %d", &seen); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.m, w.seen = m, seen
	return sc.Err()
}

func (w *words) Time() int64 { return 0 }

func (w *words) StateSize() int64 { return 0 }

func (w *words) get(k string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.m[k]
}

func (w *words) log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.applied)
}

type wordsImage struct {
	m    map[string]string
	seen int
}

func (i wordsImage) WriteTo(w io.Writer) (int64, error) {
	total, err := fmt.Fprintf(w, "seen %d\n", i.seen)
	for _, k := range slices.Sorted(maps.Keys(i.m)) {
		n, e := fmt.Fprintf(w, "%s=%s\n", k, i.m[k])
		total, err = total+n, errors.Join(err, e)
	}
	return int64(total), err
}

func (i wordsImage) Release() {}

// quiet is a logger for tests in which errors are expected.
var quiet = slog.New(slog.DiscardHandler)

func options(fs disk.FS, dir string) Options {
	return Options{Dir: dir, FS: fs, ID: "s1", Address: "127.0.0.1:8300", Bootstrap: true, Logger: quiet, Sizes: Sizes{SegmentBytes: 64 << 10}}
}

func mustOpen(t testing.TB, o Options, m Machine) *Node {
	t.Helper()
	n, err := Open(o, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	mustWhole(t, n)
	return n
}

func mustWhole(t testing.TB, n *Node) {
	t.Helper()
	select {
	case <-n.Whole():
	case <-n.Failed():
		t.Fatal(n.Failure())
	case <-time.After(20 * time.Second):
		t.Fatalf("not whole after 20 s: %v", n.Stats())
	}
}

func mustClose(t testing.TB, n *Node) {
	t.Helper()
	if err := n.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func mustPut(t testing.TB, n *Node, command string) {
	t.Helper()
	if _, err := n.Propose(context.Background(), []byte(command)); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
}
