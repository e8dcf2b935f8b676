package local

import (
	"strings"
	"testing"

	"rostra/engine/room"
)

func def(file, key string, value map[string]any, lines map[string]int) room.Definition {
	return room.Definition{File: file, Line: 3, Key: key, Value: value, Lines: lines}
}

type obj = map[string]any

// ids lists the local services and then the checks.
func (a *agent) ids() string {
	var all []string
	for _, i := range sorted(a.items()) {
		all = append(all, i.id)
	}
	return strings.Join(all, " ")
}

func (a *agent) items() map[item]bool {
	a.k.mu.Lock()
	defer a.k.mu.Unlock()
	set := map[item]bool{}
	for id := range a.k.services {
		set[item{id: id}] = true
	}
	for id := range a.k.checks {
		set[item{true, id}] = true
	}
	return set
}

func with(defs ...room.Definition) *Settings {
	s := defaults()
	for _, d := range defs {
		if strings.HasPrefix(d.Key, "service") {
			s.Services = append(s.Services, d)
		} else {
			s.Checks = append(s.Checks, d)
		}
	}
	return s
}

func (a *agent) reload(s *Settings) {
	a.t.Helper()
	if err := a.k.part().Reload(s); err != nil {
		a.t.Fatal(err)
	}
}

// settle compares with the catalog and sends all that differs, as the loops do.
func (a *agent) settle() {
	a.t.Helper()
	for range 2 { // the first may find that the catalog has lost the service of a check
		if err := a.k.compare(a.t.Context()); err != nil {
			a.t.Fatal(err)
		}
		a.k.pushAll(a.t.Context(), a.k.takeDirty())
	}
}

func TestReload(t *testing.T) {
	l := newLab(t)
	web := def("f", "service", obj{"name": "web", "check": obj{"ttl": "1h"}, "checks": []any{obj{"ttl": "2h"}}}, nil)
	db := def("f", "service", obj{"name": "db", "check": obj{"ttl": "1h"}}, nil)
	disk := def("f", "check", obj{"name": "disk", "ttl": "1h"}, nil)
	a := l.must(nil, "", with(web, db, disk, def("f", "check", obj{"name": "of-db", "service_id": "db", "ttl": "1h"}, nil)))
	a.settle()
	l.agree(a)
	a.put("service/register", `{"Name":"api","Check":{"TTL":"1h"}}`)
	a.put("check/register", `{"Name":"extra","ServiceID":"web","TTL":"1h"}`)
	a.put("service/maintenance/web?enable=true", "")
	for _, id := range []string{"service:web:1", "service:web:2", "service:db", "disk", "extra", "of-db"} {
		a.put("check/pass/"+id+"?note="+id, "")
	}
	running := a.runnerOf("disk")
	changed := def("f", "service", obj{"name": "web", "tags": []any{"new"}, "checks": []any{obj{"id": "service:web:1", "ttl": "3h"}}}, nil)
	before := a.ids()
	s := with(web, db, changed, disk)
	s.Services[2].Key = "services"
	s.DiscardOutput = true
	if err := a.k.part().Reload(with(web, def("f", "service", obj{"name": "x", "y": "z"}, nil))); err == nil || a.ids() != before {
		t.Fatalf("a reload with a mistake: %v, %s", err, a.ids())
	}
	a.reload(s)
	a.settle()
	l.agree(a)
	if got, want := a.ids(), "api db web _service_maintenance:web disk extra service:api service:db service:web:1"; got != want {
		t.Fatalf("after a reload %s, want %s", got, want)
	}
	for _, id := range []string{"service:web:1", "service:db", "disk", "extra"} {
		if c := a.checks()[id]; c.Status != "passing" || c.Output != id {
			t.Errorf("%s lost its status: %s", id, show(c))
		}
	}
	if a.runnerOf("disk") != running {
		t.Error("a check that did not change was started anew")
	}
	if !strings.Contains(a.logged(), "defines this twice") {
		t.Error("nothing is said of the service defined twice")
	}
	a.put("check/pass/disk?note=y", "")
	a.put("check/fail/disk?note=z", "")
	if got := a.checks()["disk"].Output; got != "" {
		t.Errorf("discard_check_output was not taken over: %q", got)
	}
	a.reload(with())
	a.settle()
	l.agree(a)
	if got, want := a.ids(), "api service:api"; got != want {
		t.Fatalf("without definitions %s, want %s", got, want)
	}
}

func (a *agent) runnerOf(id string) any {
	a.k.mu.Lock()
	defer a.k.mu.Unlock()
	return a.k.checks[id].runner
}

func TestFileTakesOverWhatCameOverHTTP(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	a := l.must(osDisk, dir, with())
	a.put("service/register", `{"Name":"web","Port":1,"Checks":[{"TTL":"1h","CheckID":"old"},{"TTL":"1h","CheckID":"both"}]}`)
	a.put("check/register", `{"Name":"own","ServiceID":"web","TTL":"1h"}`)
	a.put("check/register", `{"Name":"lone","TTL":"1h"}`)
	for _, id := range []string{"old", "both", "own", "lone"} {
		a.put("check/pass/"+id, "")
	}
	s := with(def("f", "service", obj{"name": "web", "port": int64(2), "check": obj{"id": "both", "ttl": "1h"}}, nil),
		def("f", "check", obj{"name": "lone", "ttl": "1h"}, nil))
	for _, how := range []string{"reload", "start"} {
		if how == "reload" {
			a.reload(s)
		} else {
			a.stop()
			a = l.must(osDisk, dir, s)
		}
		a.settle()
		l.agree(a)
		if got, want := a.ids(), "web both lone own"; got != want {
			t.Fatalf("%s: %s, want %s", how, got, want)
		}
		if _, text := a.do("GET", "services", ""); !strings.Contains(text, `"Port":2`) {
			t.Errorf("%s: %s", how, text)
		}
		if got := dirNames(t, dir); got != "checks/1 services/0" {
			t.Errorf("%s: files %s", how, got)
		}
	}
	a.stop()
	a = l.must(osDisk, dir, with())
	if got := a.ids(); got != "" {
		t.Errorf("without the file: %s", got)
	}
	if got := dirNames(t, dir); got != "checks/0 services/0" {
		t.Errorf("without the file: files %s", got)
	}
}
