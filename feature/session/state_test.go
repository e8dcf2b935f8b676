package session

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

func TestCreate(t *testing.T) {
	tests := []struct {
		name string
		s    Session
		want string // what refuses it
	}{
		{"bound to nothing", Session{Node: "n1"}, ""},
		{"node in another case", Session{Node: "N1", NodeChecks: []string{"serfHealth"}}, ""},
		{"bound to several", Session{Node: "n1", NodeChecks: []string{"serfHealth"}, Checks: []string{"disk"}, ServiceChecks: []ServiceCheck{{ID: "disk"}}}, ""},
		{"no such node", Session{Node: "n9"}, "apply failed: Missing node registration"},
		{"no such check", Session{Node: "n1", NodeChecks: []string{"x"}}, "apply failed: Missing check 'x' registration"},
		{"another node's check", Session{Node: "n2", NodeChecks: []string{"disk"}}, "apply failed: Missing check 'disk' registration"},
		{"critical check", Session{Node: "n1", ServiceChecks: []ServiceCheck{{ID: "bad"}}}, "apply failed: Check 'bad' is in critical state"},
		{"an ID that is taken", Session{ID: "taken", Node: "n1"}, `apply failed: Session "taken" already exists`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.must(&Create{Session: Session{ID: "taken", Node: "n1"}})
			before := l.store.Index()
			if tt.s.ID == "" {
				tt.s.ID = "s"
			}
			_, err := l.run(&Create{Session: tt.s})
			if tt.want != "" {
				if err == nil || err.Error() != tt.want || fault.Status(err) != 500 || l.store.Index() != before {
					t.Errorf("got %v, index %d → %d; want %q", err, before, l.store.Index(), tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := l.ask(InfoQuery{ID: "s"}).Value.(List)[0]
			if s.CreateIndex != before+1 || s.ModifyIndex != before+1 || s.Node != tt.s.Node {
				t.Errorf("stored %+v at index %d", s, before+1)
			}
		})
	}
}

// TestShows follows a check of type session: it passes while a session of its name is on the node.
func TestShows(t *testing.T) {
	for _, rules := range []int{1, 2} {
		l := newLab(t)
		l.rules = rules
		show := func(id, name string) *catalog.Check {
			return &catalog.Check{CheckID: id, Status: "critical", Type: "session", Definition: []byte(`{"SessionName":"` + name + `"}`)}
		}
		l.register("n1", show("leader", "lead"), show("other", "else"), &catalog.Check{CheckID: "http", Status: "critical", Type: "http"},
			&catalog.Check{CheckID: "void", Status: "critical", Type: "session"})
		status := func(when, want string) {
			t.Helper()
			if rules < 2 {
				want = "critical" // as it was before
			}
			v := l.store.View()
			defer v.Release()
			for _, id := range []string{"leader", "other", "http", "void"} {
				if id != "leader" {
					want = "critical"
				}
				if c := catalog.Checks.Get(v, catalog.Key("n1", id)); c.Status != want || want == "passing" && c.Output == "" {
					t.Errorf("rules %d, %s: %s is %s with %q, not %s", rules, when, id, c.Status, c.Output, want)
				}
			}
		}
		l.must(&Create{Session: Session{ID: "x", Node: "n2", Name: "lead"}})
		l.must(&Create{Session: Session{ID: "y", Node: "n1"}})
		status("elsewhere and without a name", "critical")
		l.must(&Create{Session: Session{ID: "a", Node: "N1", Name: "lead"}})
		l.must(&Create{Session: Session{ID: "b", Node: "n1", Name: "lead", NodeChecks: []string{"disk"}}})
		status("two sessions", "passing")
		l.must(&Destroy{ID: "a"})
		status("one is left", "passing")
		l.must(&catalog.Deregister{Node: "n1", CheckID: "disk"})
		status("none is left", "critical")
		l.must(&Create{Session: Session{ID: "c", Node: "n1", Name: "lead"}})
		l.must(&Create{Session: Session{ID: "d", Node: "n1", Name: "follower", NodeChecks: []string{"serfHealth"}}})
		l.must(&catalog.Deregister{Node: "n1"})
		if list := l.ask(ListQuery{}).Value.(List); len(list) != 1 || list[0].ID != "x" {
			t.Errorf("rules %d: sessions after the node went: %v", rules, list)
		}
	}
}

// TestEnds is the list of causes in spec http/session.md, Life cycle.
func TestEnds(t *testing.T) {
	critical := func(node, check string) room.Command {
		return &catalog.Register{Row: &catalog.Node{Node: node}, SkipNode: true, Checks: []*catalog.Check{{CheckID: check, Status: "critical"}}}
	}
	all := []string{"bound", "free", "n2", "other"}
	tests := []struct {
		name string
		end  room.Command
		left []string
	}{
		{"destroy", &Destroy{ID: "BOUND"}, []string{"free", "n2", "other"}},
		{"destroy an unknown one", &Destroy{ID: "none"}, all},
		{"bound check critical", critical("N1", "disk"), []string{"free", "n2", "other"}},
		{"bound check gone", &catalog.Deregister{Node: "n1", CheckID: "disk"}, []string{"free", "n2", "other"}},
		{"another node's check critical", critical("n2", "serfHealth"), []string{"bound", "free", "other"}},
		{"check only worse", &catalog.Register{Row: &catalog.Node{Node: "n1"}, SkipNode: true, Checks: []*catalog.Check{{CheckID: "disk", Status: "warning", Output: "x"}}}, all},
		{"node failed", critical("n1", "serfHealth"), []string{"bound", "free", "n2"}},
		{"node gone", &catalog.Deregister{Node: "N1"}, []string{"n2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.must(&Create{Session: Session{ID: "bound", Node: "n1", Life: 5, ServiceChecks: []ServiceCheck{{ID: "disk"}}}})
			l.must(&Create{Session: Session{ID: "free", Node: "n1"}})
			l.must(&Create{Session: Session{ID: "other", Node: "N1", NodeChecks: []string{"serfHealth"}}})
			l.must(&Create{Session: Session{ID: "n2", Node: "n2", Life: 5, Checks: []string{"serfHealth"}}})
			index := l.ask(ListQuery{}).Index
			w := l.store.Watch(ListQuery{}.Subjects(), nil)
			l.must(tt.end)
			a := l.ask(ListQuery{})
			if got := ids(a); !slices.Equal(got, tt.left) {
				t.Errorf("left are %v, want %v", got, tt.left)
			}
			touches, _ := w.Touches()
			if moved := len(tt.left) < len(all); (a.Index > index) != moved || (touches > 0) != moved {
				t.Errorf("index %d → %d, woken %d times", index, a.Index, touches)
			}
			expiring := 0
			for _, id := range tt.left {
				if id == "bound" || id == "n2" {
					expiring++
				}
			}
			if got := len(l.ask(renewalsQuery{}).Value.([]*renewal)); got != expiring {
				t.Errorf("%d renewals are left, want %d", got, expiring)
			}
		})
	}
}

// TestIndexes is the line of sessions in spec http/conventions.md §8: every answer has the table's index.
func TestIndexes(t *testing.T) {
	l := newLab(t)
	check := func(want uint64) {
		t.Helper()
		for _, q := range []room.Query{ListQuery{}, NodeQuery{Node: "n1"}, NodeQuery{Node: "none"}, InfoQuery{ID: "a"}, InfoQuery{ID: "none"}} {
			if got := l.ask(q); got.Index != want {
				t.Errorf("%#v: index %d, want %d", q, got.Index, want)
			}
		}
	}
	check(0)
	l.must(&Create{Session: Session{ID: "a", Node: "n1", Life: 10}})
	a := l.store.Index()
	l.register("n3")
	check(a)
	l.must(&Create{Session: Session{ID: "b", Node: "n2"}})
	b := l.store.Index()
	check(b)
	l.must(&Renew{ID: "a"})
	l.must(&Renew{ID: "b"})
	check(b)
	l.must(&Destroy{ID: "b"})
	check(l.store.Index())
	if got := l.ask(InfoQuery{ID: "b"}); !got.Missing || len(got.Value.(List)) != 0 {
		t.Errorf("a session that is gone: %+v", got)
	}
}

// TestRenew: a renewal changes nothing that readers see and wakes nobody (design rule 5), and saves from expiry.
func TestRenew(t *testing.T) {
	l := newLab(t)
	l.must(&Create{Session: Session{ID: "a", Node: "n1", Life: 10}})
	before := l.ask(InfoQuery{ID: "a"})
	seen := Seen{ID: "a", Renewed: l.now}
	w := l.store.Watch(append(ListQuery{}.Subjects(), store.Subject{Kind: "sessions", Prefix: true}), nil)
	l.now += 5
	if got := l.must(&Renew{ID: "A"}); got != before.Value.(List)[0] {
		t.Errorf("renewed %+v", got)
	}
	touches, _ := w.Touches()
	if after := l.ask(InfoQuery{ID: "a"}); !reflect.DeepEqual(after, before) || touches != 0 {
		t.Errorf("%+v became %+v, woken %d times", before, after, touches)
	}
	if ended := l.must(&Expire{[]Seen{seen}}); ended != 0 || len(ids(l.ask(ListQuery{}))) != 1 {
		t.Errorf("%v expired by what was seen before the renewal", ended)
	}
	seen.Renewed = l.now
	if ended := l.must(&Expire{[]Seen{seen, seen, {ID: "none"}}}); ended != 1 || len(ids(l.ask(ListQuery{}))) != 0 {
		t.Errorf("%v expired, want 1", ended)
	}
	_, err := l.run(&Renew{ID: "a"})
	if err == nil || err.Error() != "Session id 'a' not found" || fault.Status(err) != 404 {
		t.Errorf("renewing a session that is gone: %v", err)
	}
}

// deny refuses everything and remembers what it was asked.
type deny struct{ asked string }

func (d *deny) Allowed(r authz.Resource, a authz.Access, name string, _ bool) bool {
	d.asked = fmt.Sprintf("%s:%s %s", r, a, name)
	return false
}

func TestAllowed(t *testing.T) {
	l := newLab(t)
	l.must(&Create{Session: Session{ID: "a", Node: "n2"}})
	v := l.store.View()
	defer v.Release()
	for _, c := range []room.Command{&Create{Session: Session{Node: "n2"}}, &Renew{ID: "A"}, &Destroy{ID: "a"}} {
		d := &deny{}
		if err := c.Allowed(v, d); !fault.Is(err, fault.Denied) || d.asked != "session:write n2" {
			t.Errorf("%s asks %q: %v", c.Name(), d.asked, err)
		}
	}
	for _, c := range []room.Command{&Renew{ID: "none"}, &Destroy{ID: "none"}} {
		if err := c.Allowed(v, &deny{}); err != nil {
			t.Errorf("%s of nothing: %v", c.Name(), err)
		}
	}
}

func TestJSON(t *testing.T) {
	tests := []struct {
		s    Session
		want string
	}{
		{Session{ID: "9f", Name: "web-leader", Node: "edge-7", LockDelay: 15_000_000_000, Behavior: "release", TTL: "15s", NodeChecks: []string{"serfHealth"}, CreateIndex: 42, ModifyIndex: 42},
			`{"ID":"9f","Name":"web-leader","Node":"edge-7","LockDelay":15000000000,"Behavior":"release","TTL":"15s","NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":42,"ModifyIndex":42}`},
		{Session{ServiceChecks: []ServiceCheck{{ID: "service:web-1"}}, Checks: []string{"a"}},
			`{"ID":"","Name":"","Node":"","LockDelay":0,"Behavior":"","TTL":"","NodeChecks":[],"ServiceChecks":[{"ID":"service:web-1","Namespace":""}],"Checks":["a"],"CreateIndex":0,"ModifyIndex":0}`},
	}
	for _, tt := range tests {
		if got := string(tt.s.AppendJSON(nil)); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// FuzzStored checks that what decodes encodes to the same bytes again, as snapshots and the log need it.
func FuzzStored(f *testing.F) {
	type stored interface {
		MarshalMsg([]byte) ([]byte, error)
		UnmarshalMsg([]byte) ([]byte, error)
	}
	for _, v := range []stored{&Create{Session: Session{ID: "a", NodeChecks: []string{"b"}, ServiceChecks: []ServiceCheck{{ID: "c"}}}},
		&Renew{ID: "a"}, &Expire{[]Seen{{ID: "a", Renewed: 3}}}, &renewal{ID: "a", Life: 3}} {
		b, _ := v.MarshalMsg(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := msgp.Skip(b); err != nil {
			return // as store.DecodeStrict does before it lets the record read
		}
		for _, v := range []stored{new(Create), new(Destroy), new(Renew), new(Expire), new(Session), new(renewal)} {
			if _, err := v.UnmarshalMsg(b); err != nil {
				continue
			}
			once, _ := v.MarshalMsg(nil)
			again := reflect.New(reflect.TypeOf(v).Elem()).Interface().(stored)
			if _, err := again.UnmarshalMsg(once); err != nil {
				t.Fatalf("%T: cannot read its own bytes: %v", v, err)
			}
			if twice, _ := again.MarshalMsg(nil); string(twice) != string(once) {
				t.Fatalf("%T: %x then %x", v, once, twice)
			}
		}
	})
}
