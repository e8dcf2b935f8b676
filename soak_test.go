package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var soakFor = flag.Duration("soak", 3*time.Second, "how long TestSoak loads an agent; from a minute on it looks for growth")

// sample is what an agent took at one moment.
type sample map[string]float64

// grown says how much more of each a process may have taken in the last third of its time than in the first: the median times
// a factor, and some. What is kept of the past (history of the store, log until it is cut) fills up in the minutes before that.
var grown = []struct {
	what   string
	factor float64
	more   float64
	unit   float64
}{
	{"process_resident_memory_bytes", 1.1, 8 << 20, 1 << 20},
	{"consul_runtime_alloc_bytes", 1.15, 8 << 20, 1 << 20},
	{"go_goroutines", 1.05, 10, 1},
	{"process_open_fds", 1.05, 10, 1},
	{"files", 1.05, 10, 1},
	{"directory", 1.5, 64 << 20, 1 << 20}, // bytes; the log is cut when 64 MiB have been written
}

// sample asks a process what it takes, and looks at its data directory.
func (p *process) sample(t *testing.T, dir string) sample {
	t.Helper()
	_, _, text := p.request(t, "GET", "/v1/agent/metrics?format=prometheus", "")
	s := sample{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if slices.ContainsFunc(grown, func(g struct {
			what   string
			factor float64
			more   float64
			unit   float64
		}) bool {
			return g.what == name
		}) {
			s[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // a file that is gone meanwhile
		}
		s["files"]++
		if info, err := e.Info(); err == nil {
			s["directory"] += float64(info.Size())
		}
		return nil
	})
	return s
}

// TestSoak loads a real agent with all that one does in its life at once: registrations, checks that flap, reloads, writes, sessions,
// blocking queries that come and go, questions, backups. Nothing of it may fail, when it has ended the agent is as before, and
// over a long time (go test -run TestSoak -soak 1h -timeout 2h .) it takes no more than at its beginning.
func TestSoak(t *testing.T) {
	dir := t.TempDir()
	s := newSoak(t, dir)
	before := s.p.sample(t, s.data)
	ctx, stop := context.WithTimeout(t.Context(), *soakFor)
	defer stop()
	var group sync.WaitGroup
	for _, j := range soakJobs {
		for n := range j.times {
			group.Go(func() { s.work(ctx, stop, &j, n) })
		}
	}
	samples := []sample{}
	pace := max(*soakFor/300, 500*time.Millisecond)
	for tick := time.NewTicker(pace); ctx.Err() == nil; {
		select {
		case <-tick.C:
			samples = append(samples, s.p.sample(t, s.data))
		case <-ctx.Done():
			tick.Stop()
		}
	}
	group.Wait()
	s.report(t)
	if t.Failed() {
		return
	}
	s.tidy(t)
	await(t, "the agent to be as before", func() error {
		now := s.p.sample(t, s.data)
		for _, what := range []string{"go_goroutines", "process_open_fds", "files"} {
			if now[what] > before[what]+20 {
				return fmt.Errorf("%s: %.0f, before %.0f", what, now[what], before[what])
			}
		}
		return nil
	})
	compareThirds(t, samples)
}

// compareThirds leaves the first sixth out, cuts the rest into three and compares.
func compareThirds(t *testing.T, samples []sample) {
	t.Helper()
	samples = samples[len(samples)/6:]
	third := len(samples) / 3
	if third == 0 {
		return
	}
	for _, g := range grown {
		var median [3]float64
		for i := range median {
			part := []float64{}
			for _, s := range samples[i*third : (i+1)*third] {
				part = append(part, s[g.what])
			}
			slices.Sort(part)
			median[i] = part[len(part)/2]
		}
		t.Logf("%s: %.1f, %.1f, %.1f", g.what, median[0]/g.unit, median[1]/g.unit, median[2]/g.unit)
		if median[0] == 0 {
			t.Errorf("%s is not known", g.what)
		}
		if *soakFor >= time.Minute && median[2] > median[0]*g.factor+g.more {
			t.Errorf("%s grows", g.what)
		}
	}
}

// TestCompareThirds: what grows is found.
func TestCompareThirds(t *testing.T) {
	was := *soakFor
	defer func() { *soakFor = was }()
	*soakFor = time.Hour
	for _, c := range []struct {
		by    float64 // each time
		grows bool
	}{{0, false}, {1, true}} {
		list := []sample{}
		for i := range 60 {
			s := sample{}
			for _, g := range grown {
				s[g.what] = 100*g.unit + c.by*float64(i)*g.unit*10
			}
			list = append(list, s)
		}
		inner := new(testing.T)
		compareThirds(inner, list)
		if inner.Failed() != c.grows {
			t.Errorf("growth by %v each time: found %v", c.by, inner.Failed())
		}
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
