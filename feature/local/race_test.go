package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/fault"
)

// TestWhatIsInStepIsSo has clients, comparisons and failures at the same time, but nobody else who writes to the catalog:
// then what does not count as different is not, without a comparison at the end that would repair it. Only the last
// things done to an item can be found wrong, so there are many short rounds.
func TestWhatIsInStepIsSo(t *testing.T) {
	const seed, rounds, clients, acts = 5, 150, 6, 5
	l := newLab(t)
	s := defaults()
	s.UpdateInterval = 0
	a := l.start(s)
	var calls atomic.Uint64
	rule := func(room.Command, room.Options) (before, after error) {
		n := calls.Add(1)
		if n%3 == 0 { // one Command may overtake another
			<-time.After(time.Duration(n%7) * 100 * time.Microsecond)
		}
		switch (n*2654435761 + seed) % 13 {
		case 0:
			return fault.New(fault.NotApplied, "not applied"), nil
		case 1:
			return nil, fault.New(fault.Unknown, "unknown")
		}
		return nil, nil
	}
	for round := range uint64(rounds) {
		l.door.obey(rule)
		var wait, compares sync.WaitGroup
		stop := make(chan struct{})
		for n := range uint64(clients) {
			wait.Go(func() {
				r := rand.New(rand.NewPCG(round, n))
				for range acts {
					clientAct(a, r, 2, "1h")
				}
			})
		}
		compares.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = a.k.compare(context.Background())
				}
			}
		})
		wait.Wait()
		close(stop)
		compares.Wait()
		l.door.obey(nil)
		waitFor(t, func() bool {
			a.k.pushAll(context.Background(), a.k.takeDirty())
			a.k.mu.Lock()
			defer a.k.mu.Unlock()
			return len(a.k.dirty)+len(a.k.flying) == 0
		})
		l.agree(a)
	}
}

// TestEverythingAtOnce lets clients register, update and deregister, the configuration be reloaded, strangers write to
// the catalog and the door fail, all at the same time; once that ends, the catalog says what the agent says, and a
// restart brings it back.
func TestEverythingAtOnce(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { everythingAtOnce(t, seed) })
	}
}

func everythingAtOnce(t *testing.T, seed uint64) {
	l := newLab(t)
	dir := t.TempDir()
	s := defaults()
	s.UpdateInterval = time.Millisecond
	a := l.must(osDisk, dir, s)
	a.run()
	var calls atomic.Uint64
	l.door.obey(func(room.Command, room.Options) (before, after error) {
		switch n := calls.Add(1); (n*2654435761 + seed) % 11 {
		case 0:
			return fault.ErrNoLeader, nil
		case 1:
			return fault.New(fault.NotApplied, "not applied"), nil
		case 2:
			return nil, fault.New(fault.Unknown, "unknown")
		case 3:
			return fault.New(fault.Denied, "Permission denied"), nil
		}
		return nil, nil
	})
	var wait sync.WaitGroup
	act := func(n int, do func(r *rand.Rand)) {
		id := rand.NewPCG(seed, calls.Add(1))
		wait.Go(func() {
			r := rand.New(id)
			for range n {
				do(r)
			}
		})
	}
	for range 8 {
		act(120, func(r *rand.Rand) { clientAct(a, r, 5, "1h", "2h", "3ms") })
	}
	act(30, func(r *rand.Rand) { a.reload(randomFiles(r)) })
	act(60, func(r *rand.Rand) { tamper(l, r) })
	act(60, func(*rand.Rand) { _ = a.k.compare(context.Background()) })
	act(60, func(*rand.Rand) { a.k.pushAll(context.Background(), a.k.takeDirty()) })
	act(20, func(*rand.Rand) { a.k.saveStates() })
	wait.Wait()
	l.door.obey(nil)
	a.settle()
	// Outputs may still wait for their time; it is short.
	waitFor(t, func() bool { a.settle(); return l.differences(a) == "" })
	a.k.mu.Lock()
	sources := map[source]int{}
	for id, c := range a.k.checks {
		sources[c.source]++
		if s := c.row.ServiceID; s != "" && (a.k.services[s] == nil || a.k.bound[s][id] != c) {
			t.Errorf("the check %s hangs in the air", id)
		}
	}
	if len(a.k.flying) > 0 {
		t.Errorf("still flying: %v", a.k.flying)
	}
	a.k.mu.Unlock()
	a.reload(with())
	sameAfterRestart(t, l, a, dir)
}

// sameAfterRestart restarts an agent without configuration files and compares.
func sameAfterRestart(t *testing.T, l *lab, a *agent, dir string) {
	t.Helper()
	want := a.picture()
	a.stop()
	b := l.must(osDisk, dir, with())
	if got := b.picture(); got != want {
		t.Errorf("a restart brings back\n%s\ninstead of\n%s", got, want)
	}
	services, checks := 0, 0
	for i := range b.items() {
		if i.check {
			checks++
		} else {
			services++
		}
	}
	if files := countFiles(t, filepath.Join(dir, servicesDir)); files != services {
		t.Errorf("%d files of %d services", files, services)
	}
	if files := countFiles(t, filepath.Join(dir, checksDir)); files > checks {
		t.Errorf("%d files of %d checks", files, checks)
	}
	entries, _ := os.ReadDir(filepath.Join(dir, statesDir))
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") {
			t.Errorf("left over: %s", e.Name())
		}
	}
}

// clientAct does one of the things that clients do to one of few services and checks.
func clientAct(a *agent, r *rand.Rand, few int, ttls ...string) {
	svc, chk := fmt.Sprintf("s%d", r.IntN(few)), fmt.Sprintf("c%d", r.IntN(few))
	ttl := ttls[r.IntN(len(ttls))]
	path, body := "", ""
	switch r.IntN(10) {
	case 0, 1, 2:
		path = "service/register" + []string{"", "?replace-existing-checks", "?token=t"}[r.IntN(3)]
		body = fmt.Sprintf(`{"Name":%q,"Port":%d,"EnableTagOverride":%v,"Tags":["%d"],"Checks":[{"CheckID":%q,"TTL":%q}]}`,
			svc, r.IntN(3), svc == "s1", r.IntN(3), chk, ttl)
		if r.IntN(3) == 0 {
			body = fmt.Sprintf(`{"Name":%q,"Check":{"HTTP":"http://127.0.0.1:1/","Interval":"1s"}}`, svc)
		}
	case 3:
		path = "service/deregister/" + svc
	case 4:
		path = "check/register"
		body = fmt.Sprintf(`{"Name":%q,"ServiceID":%q,"TTL":%q}`, chk, []string{"", svc}[r.IntN(2)], ttl)
	case 5:
		path = "check/deregister/" + chk
	case 6:
		path = fmt.Sprintf("service/maintenance/%s?enable=%v", svc, r.IntN(2) == 0)
	case 7:
		path = fmt.Sprintf("maintenance?enable=%v", r.IntN(2) == 0)
	default:
		path = fmt.Sprintf("check/%s/%s?note=%d", []string{"pass", "warn", "fail"}[r.IntN(3)], chk, r.IntN(3))
	}
	if status, text := a.do("PUT", path, body); status != 200 && status != 404 && !strings.Contains(text, "associated TTL") {
		a.t.Errorf("PUT %s %s: %d %s", path, body, status, text)
	}
}

func randomFiles(r *rand.Rand) *Settings {
	var defs []room.Definition
	for i := range r.IntN(3) {
		defs = append(defs, def("f", "service", obj{"name": fmt.Sprintf("s%d", i), "port": int64(r.IntN(2) + 10),
			"check": obj{"id": fmt.Sprintf("c%d", r.IntN(5)), "ttl": "1h"}}, nil))
	}
	if r.IntN(2) == 0 {
		defs = append(defs, def("f", "check", obj{"name": fmt.Sprintf("c%d", r.IntN(5)), "ttl": "1h"}, nil))
	}
	s := with(defs...)
	s.UpdateInterval = time.Millisecond
	s.DiscardOutput = r.IntN(2) == 0
	return s
}

func tamper(l *lab, r *rand.Rand) {
	svc, chk := fmt.Sprintf("s%d", r.IntN(6)), fmt.Sprintf("c%d", r.IntN(7))
	var c room.Command
	switch r.IntN(12) {
	case 0:
		c = &catalog.Deregister{Node: "n1"}
	case 1, 2, 3:
		c = &catalog.Deregister{Node: "n1", ServiceID: svc}
	case 4, 5:
		c = &catalog.Deregister{Node: "n1", CheckID: chk}
	case 6, 7:
		c = &catalog.Register{Row: &catalog.Node{Node: "n1"}, SkipNode: true, Checks: []*catalog.Check{{CheckID: chk, Status: "warning"}}}
	default:
		c = &catalog.Register{Row: &catalog.Node{Node: "n1"}, SkipNode: true, Service: &catalog.Service{ID: svc, Service: svc, Tags: []string{"x"}},
			Checks: []*catalog.Check{{CheckID: chk, ServiceID: svc, Status: "passing"}}}
	}
	l.apply(c)
}
