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
	"rostra/kit/wire"
)

var errLeader = fault.ErrNoLeader

func TestNodeRow(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.settle()
	row := func() *catalog.Node {
		t.Helper()
		ns, _ := l.remote()
		if ns == nil {
			t.Fatal("no node")
		}
		return ns.Node
	}
	want := func(n *catalog.Node) {
		t.Helper()
		if n.ID != self.ID || n.Address != self.Address || n.Meta.Map()["consul-version"] != "1.21.4" || n.TaggedAddresses.Map()["lan"] != "127.0.0.1" {
			t.Errorf("row %s", show(n))
		}
	}
	want(row())
	index := row().ModifyIndex
	a.settle()
	if got := row().ModifyIndex; got != index {
		t.Error("a row that is right was written again")
	}
	l.apply(&catalog.Register{Row: &catalog.Node{ID: self.ID, Node: "n1", Address: "10.0.0.1",
		TaggedAddresses: wire.PairsOf(map[string]string{"consul-virtual": "240.0.0.1", "lan": "x"})}})
	a.settle()
	want(row())
	if row().TaggedAddresses.Map()["consul-virtual"] != "240.0.0.1" {
		t.Errorf("a tagged address of others is lost: %s", show(row()))
	}
	index = row().ModifyIndex
	a.settle()
	if got := row().ModifyIndex; got != index {
		t.Error("a row with addresses of others was written again")
	}
	l.apply(&catalog.Deregister{Node: "n1"})
	a.put("service/register", `{"Name":"w"}`)
	a.settle()
	want(row())
	l.agree(a)
}

func TestTampering(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.put("service/register", `{"Name":"w","Tags":["a"],"Check":{"TTL":"1h"}}`)
	a.put("check/register", `{"Name":"c","TTL":"1h"}`)
	a.put("check/register", `{"Name":"d","TTL":"1h","ServiceID":"w"}`)
	a.settle()
	node := &catalog.Node{Node: "n1"}
	for name, c := range map[string]room.Command{
		"service gone":    &catalog.Deregister{Node: "n1", ServiceID: "w"},
		"check gone":      &catalog.Deregister{Node: "n1", CheckID: "c"},
		"node gone":       &catalog.Deregister{Node: "n1"},
		"service changed": &catalog.Register{Row: node, SkipNode: true, Service: &catalog.Service{ID: "w", Service: "w", Tags: []string{"b"}}},
		"service renamed": &catalog.Register{Row: node, SkipNode: true, Service: &catalog.Service{ID: "w", Service: "other"}},
		"check changed":   &catalog.Register{Row: node, SkipNode: true, Checks: []*catalog.Check{{CheckID: "c", Status: "passing"}}},
		"check moved":     &catalog.Register{Row: node, SkipNode: true, Checks: []*catalog.Check{{CheckID: "d", Status: "critical"}}},
		"more": &catalog.Register{Row: node, SkipNode: true, Service: &catalog.Service{ID: "x", Service: "x"},
			Checks: []*catalog.Check{{CheckID: "x1", ServiceID: "x"}, {CheckID: "x2"}, {CheckID: "x3", ServiceID: "w"}}},
	} {
		l.apply(c)
		if l.differences(a) == "" {
			t.Errorf("%s: no difference to repair", name)
		}
		a.settle()
		if diff := l.differences(a); diff != "" {
			t.Errorf("%s: not repaired\n%s", name, diff)
		}
		before := l.door.commands()
		a.settle()
		if n := l.door.commands() - before; n != 0 {
			t.Errorf("%s: %d writes for nothing", name, n)
		}
	}
	l.apply(&catalog.Register{Row: node, SkipNode: true, Service: &catalog.Service{ID: "consul", Service: "consul"},
		Checks: []*catalog.Check{{CheckID: "serfHealth", Status: "passing"}}})
	a.settle()
	ns, checks := l.remote()
	if len(ns.Services) != 2 || checks["serfHealth"] == nil {
		t.Error("what belongs to the servers was removed")
	}
}

func TestOneRegistrationIsOneWrite(t *testing.T) {
	l := newLab(t)
	a := l.start(defaults())
	waitFor(t, func() bool { ns, _ := l.remote(); return ns != nil })
	for i := range 20 {
		before := l.door.commands()
		a.put("service/register", fmt.Sprintf(`{"ID":"w%d","Name":"w","Check":{"TTL":"1h"},"Checks":[{"TTL":"1h"}]}`, i))
		l.agree(a)
		if n := l.door.commands() - before; n != 1 {
			t.Errorf("registration %d: %d writes", i, n)
		}
	}
	before := l.door.commands()
	a.put("check/pass/service:w0:1", "")
	l.agree(a)
	a.put("service/deregister/w1", "")
	l.agree(a)
	if n := l.door.commands() - before; n != 2 {
		t.Errorf("an update and a deregistration: %d writes", n)
	}
}

func TestTagOverride(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	a := l.must(osDisk, dir, defaults())
	a.put("service/register", `{"Name":"w","Tags":["a"],"EnableTagOverride":true,"Check":{"TTL":"1h"}}`)
	a.put("service/register", `{"Name":"v","Tags":["a"],"Check":{"TTL":"1h"}}`)
	set := func(tags ...string) {
		for _, id := range []string{"w", "v"} {
			l.apply(&catalog.Register{Row: &catalog.Node{Node: "n1"}, SkipNode: true, Service: &catalog.Service{ID: id, Service: id,
				Tags: tags, Weights: catalog.Weights{Passing: 1, Warning: 1}, EnableTagOverride: id == "w"}})
		}
	}
	tags := func(want string) {
		t.Helper()
		l.agree(a)
		ns, checks := l.remote()
		for _, s := range ns.Services {
			w := want
			if s.ID == "v" {
				w = "a"
			}
			if got := strings.Join(s.Tags, " "); got != w {
				t.Errorf("%s has the tags %q, want %q", s.ID, got, w)
			}
			if got := strings.Join(checks["service:"+s.ID].ServiceTags, " "); got != w {
				t.Errorf("the check of %s has the tags %q, want %q", s.ID, got, w)
			}
		}
	}
	set("b", "c")
	a.settle()
	tags("b c")
	a.stop()
	set("d")
	a = l.must(osDisk, dir, defaults()) // tags set through the catalog stick, also while the agent was away
	a.settle()
	tags("d")
	l.door.obey(func(room.Command, room.Options) (before, after error) { return errLeader, nil })
	a.put("service/register", `{"Name":"w","Tags":["e"],"EnableTagOverride":true,"Check":{"TTL":"1h"}}`)
	l.door.obey(nil)
	a.settle() // what was set here since wins
	tags("e")
}

func TestOutputWaits(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.put("check/register", `{"Name":"c","TTL":"1h"}`)
	a.put("check/pass/c?note=one", "")
	there := func(status, output string) {
		t.Helper()
		_, checks := l.remote()
		if c := checks["c"]; c.Status != status || c.Output != output {
			t.Errorf("%s", show(c))
		}
	}
	there("passing", "one")
	a.put("check/pass/c?note=two", "")
	there("passing", "one")
	if got := a.checks()["c"].Output; got != "two" {
		t.Errorf("here it is %q", got)
	}
	a.settle()
	there("passing", "one")
	a.put("check/warn/c?note=three", "")
	there("warning", "three")
	l.agree(a)

	s := defaults()
	s.UpdateInterval = time.Millisecond
	b := l.start(s)
	b.put("check/register", `{"Name":"c","TTL":"1h"}`)
	b.put("check/pass/c?note=one", "")
	b.put("check/pass/c?note=two", "")
	waitFor(t, func() bool { _, checks := l.remote(); return checks["c"].Output == "two" })
	s.UpdateInterval = 0
	e := l.must(nil, "", s)
	e.put("check/register", `{"Name":"c","TTL":"1h"}`)
	e.put("check/pass/c?note=one", "")
	e.put("check/pass/c?note=three", "")
	there("passing", "three")
}

func TestDeniedIsNotTriedUntilTheNextComparison(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.settle()
	l.door.obey(func(c room.Command, o room.Options) (before, after error) {
		if o.Token == "bad" {
			return fault.New(fault.Denied, "Permission denied"), nil
		}
		return nil, nil
	})
	a.put("service/register?token=bad", `{"Name":"w","Check":{"TTL":"1h"}}`)
	a.put("service/register?token=good", `{"Name":"v"}`)
	before := l.door.commands()
	a.k.pushAll(t.Context(), a.k.takeDirty())
	if n := l.door.commands() - before; n != 0 {
		t.Errorf("%d tries", n)
	}
	if got := strings.Count(a.log.String(), "blocked by access rules"); got != 1 {
		t.Errorf("%d warnings", got)
	}
	a.settle()
	l.door.obey(nil)
	a.settle()
	l.agree(a)
}

// TestTokensGoApart: a check with another token than its service's goes by itself, after its service.
func TestTokensGoApart(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	l.door.obey(func(room.Command, room.Options) (before, after error) { return errLeader, nil })
	a.put("service/register?token=s", `{"Name":"w","Check":{"TTL":"1h"}}`)
	a.put("check/register?token=c", `{"Name":"c","ServiceID":"w","TTL":"1h"}`)
	var sent []string
	l.door.obey(func(c room.Command, o room.Options) (before, after error) {
		if r, ok := c.(*catalog.Register); ok && (r.Service != nil || len(r.Checks) > 0) {
			sent = append(sent, fmt.Sprintf("%s %v %d", o.Token, r.Service != nil, len(r.Checks)))
		}
		return nil, nil
	})
	a.k.sendNow(t.Context(), item{true, "c"})
	if got := strings.Join(sent, ", "); got != "s true 1, c false 1" {
		t.Errorf("sent %s", got)
	}
	a.settle()
	l.agree(a)
}

func TestCriticalForTooLong(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	a := l.must(osDisk, dir, defaults())
	a.put("service/register", `{"Name":"w","Checks":[{"TTL":"1h","DeregisterCriticalServiceAfter":"1s"},{"TTL":"1h"}]}`)
	a.put("service/register", `{"Name":"v","Check":{"TTL":"1h","DeregisterCriticalServiceAfter":"1s","Status":"passing"}}`)
	a.put("check/register", `{"Name":"c","TTL":"1h","DeregisterCriticalServiceAfter":"1s"}`)
	ago := func(d time.Duration) {
		a.k.mu.Lock()
		defer a.k.mu.Unlock()
		for _, c := range a.k.checks {
			if !c.since.IsZero() {
				c.since = time.Now().Add(-d)
			}
		}
	}
	ago(50 * time.Second)
	a.k.reap()
	if got := a.ids(); got != "v w c service:v service:w:1 service:w:2" {
		t.Errorf("after less than a minute: %s", got)
	}
	ago(70 * time.Second)
	a.k.reap()
	if got := a.ids(); got != "v c service:v" {
		t.Errorf("after more than a minute: %s", got)
	}
	a.settle()
	l.agree(a)
	if got := dirNames(t, dir); got != "checks/1 services/1" {
		t.Errorf("files %s", got)
	}
}

func TestScale(t *testing.T) {
	for nodes, want := range map[int]int{0: 1, 1: 1, 128: 1, 129: 2, 256: 2, 257: 3, 512: 3, 513: 4} {
		if got := scaleOf(nodes); got != want {
			t.Errorf("%d nodes: %d, want %d", nodes, got, want)
		}
	}
}

func TestHashWait(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.put("service/register", `{"Name":"w"}`)
	a.put("service/register", `{"Name":"v"}`)
	_, text := a.do("GET", "service/w", "")
	hash := text[strings.Index(text, `"ContentHash":"`)+15:][:16]
	if _, again := a.do("GET", "service/w?wait=5ms&hash="+hash, ""); again != text {
		t.Errorf("after the wait: %s", again)
	}
	if status, text := a.do("GET", "service/w?wait=x", ""); status != 400 || text != "Invalid wait time" {
		t.Errorf("%d %s", status, text)
	}
	answer := make(chan string)
	go func() {
		_, text := a.do("GET", "service/w?wait=1m&hash="+hash, "")
		answer <- text
	}()
	waitFor(t, func() bool { a.k.mu.Lock(); defer a.k.mu.Unlock(); return a.k.services["w"].changed != nil })
	a.put("service/register", `{"Name":"v","Port":1}`)
	select {
	case text := <-answer:
		t.Errorf("woken for another service: %s", text)
	default:
	}
	a.put("service/register", `{"Name":"w","Port":1}`)
	if text := <-answer; !strings.Contains(text, `"Port":1`) {
		t.Errorf("%s", text)
	}
}

// TestWhatIsInStepIsSo has clients, reloads, comparisons and failures at the same time, but nobody else who writes to the
// catalog: then what does not count as different is not, without a comparison at the end that would repair it.
func TestWhatIsInStepIsSo(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := newLab(t)
			s := defaults()
			s.UpdateInterval = 0
			a := l.start(s)
			var calls atomic.Uint64
			l.door.obey(func(room.Command, room.Options) (before, after error) {
				switch n := calls.Add(1); (n*2654435761 + seed) % 13 {
				case 0:
					return fault.New(fault.NotApplied, "not applied"), nil
				case 1:
					return nil, fault.New(fault.Unknown, "unknown")
				}
				return nil, nil
			})
			var wait sync.WaitGroup
			for n := range uint64(8) {
				wait.Go(func() {
					r := rand.New(rand.NewPCG(seed, n))
					for range 150 {
						clientAct(a, r)
					}
				})
			}
			stop := make(chan struct{})
			var compares sync.WaitGroup
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
			a.stop()
			l.door.obey(nil)
			a.k.pushAll(context.Background(), a.k.takeDirty())
			a.k.pushAll(context.Background(), a.k.takeDirty()) // checks whose service came after them
			l.agree(a)
		})
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
		act(120, func(r *rand.Rand) { clientAct(a, r) })
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

func clientAct(a *agent, r *rand.Rand) {
	svc, chk := fmt.Sprintf("s%d", r.IntN(4)), fmt.Sprintf("c%d", r.IntN(5))
	ttl := []string{"1h", "2h", "3ms"}[r.IntN(3)]
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
