package local

import (
	"fmt"
	"strings"
	"sync"
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
	if got := strings.Count(a.logged(), "blocked by access rules"); got != 1 {
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

// TestAComparisonLeavesWhatIsUnderWay: while a write is on its way, the catalog cannot tell whether an item is in step.
func TestAComparisonLeavesWhatIsUnderWay(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.settle()
	a.put("service/register", `{"Name":"w","Port":1}`)
	arrived, leave := make(chan bool), make(chan bool)
	l.door.obey(func(c room.Command, _ room.Options) (before, after error) {
		if r, ok := c.(*catalog.Register); ok && r.Service != nil && r.Service.Port == 2 {
			arrived <- true
			<-leave
		}
		return nil, nil
	})
	var wait sync.WaitGroup
	wait.Go(func() { a.put("service/register", `{"Name":"w","Port":2}`) })
	<-arrived
	wait.Go(func() { a.put("service/register", `{"Name":"w","Port":1}`) })
	waitFor(t, func() bool {
		_, text := a.do("GET", "services", "")
		return strings.Contains(text, `"Port":1,`)
	})
	if err := a.k.compare(t.Context()); err != nil {
		t.Fatal(err)
	}
	leave <- true
	wait.Wait()
	l.agree(a)
}

// TestACheckThatMovedAndWent: the catalog still has it with its former service, so it does not go with its new one.
func TestACheckThatMovedAndWent(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.put("service/register", `{"Name":"one"}`)
	a.put("service/register", `{"Name":"two"}`)
	a.put("check/register", `{"Name":"c","ServiceID":"one","TTL":"1h"}`)
	l.door.obey(func(room.Command, room.Options) (before, after error) { return errLeader, nil })
	a.put("check/register", `{"Name":"c","ServiceID":"two","TTL":"1h"}`)
	a.put("service/deregister/two", "")
	l.door.obey(nil)
	a.k.pushAll(t.Context(), a.k.takeDirty())
	l.agree(a)
}

// TestAServiceThatWentAndCameBack: what went with it and did not come back must go from the catalog by itself.
func TestAServiceThatWentAndCameBack(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.put("service/register", `{"Name":"w","Checks":[{"CheckID":"c1","TTL":"1h"},{"CheckID":"c2","TTL":"1h"},{"CheckID":"c3","TTL":"1h"}]}`)
	l.door.obey(func(room.Command, room.Options) (before, after error) { return errLeader, nil })
	a.put("service/deregister/w", "")
	a.put("check/register", `{"Name":"c3","TTL":"1h"}`)
	l.door.obey(nil)
	a.put("service/register", `{"Name":"w","Check":{"CheckID":"c1","TTL":"1h"}}`)
	a.k.pushAll(t.Context(), a.k.takeQueue())
	a.k.pushAll(t.Context(), a.k.takeDirty())
	l.agree(a)
	if len(a.k.along.checks)+len(a.k.along.service) > 0 {
		t.Errorf("left over: %v", a.k.along)
	}
}
