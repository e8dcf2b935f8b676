package query

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"rostra/feature/catalog"
	"rostra/feature/session"
	"rostra/kit/authz"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// TestSet is what the state refuses of a definition, in Consul's words.
func TestSet(t *testing.T) {
	ttl := func(d Definition, ttl string) Definition { d.DNS.TTL = ttl; return d }
	with := func(d Definition, session string) Definition { d.Session = session; return d }
	for _, c := range []struct {
		name string
		set  *Set
		want string
	}{
		{"a new one", &Set{named(3, "three"), true}, ""},
		{"two without names", &Set{with(named(3, ""), "s1"), true}, ""},
		{"of a session", &Set{with(named(3, "three"), "S1"), true}, ""},
		{"of no session that is there", &Set{with(named(3, "three"), "s2"), true}, `raft apply failed: invalid session "s2"`},
		{"a name that is taken", &Set{named(3, "ONE"), true}, "raft apply failed: name 'ONE' aliases an existing query name"},
		{"a template's name that is taken", &Set{prefixed(3, "one"), true}, "raft apply failed: name 'one' aliases an existing query name"},
		{"an ID for a name", &Set{named(3, id(2)), true}, "raft apply failed: name '" + id(2) + "' aliases an existing query ID"},
		{"a second template for all", &Set{prefixed(3, ""), true}, "raft apply failed: a query template with an empty name already exists"},
		{"an ID that is taken", &Set{named(1, "three"), true}, "raft apply failed: a query with the ID '" + id(1) + "' exists"},
		{"a change", &Set{named(1, "other"), false}, ""},
		{"a change of the letters", &Set{named(1, "One"), false}, ""},
		{"a change to a name that is taken", &Set{named(2, "one"), false}, "raft apply failed: name 'one' aliases an existing query name"},
		{"a change of the template for all", &Set{ttl(prefixed(4, ""), "1s"), false}, ""},
		{"a change of what is not there", &Set{named(3, "three"), false}, "Cannot modify non-existent prepared query: '" + id(3) + "'"},
	} {
		l := newLab(t)
		l.must(&catalog.Register{Row: &catalog.Node{Node: "n1"}})
		l.must(&session.Create{Session: session.Session{ID: "s1", Node: "n1"}})
		l.must(&Set{named(1, "one"), true})
		l.must(&Set{with(named(2, ""), "s1"), true})
		l.must(&Set{prefixed(4, ""), true})
		before := l.store.Index()
		err := l.run(c.set)
		switch {
		case c.want != "":
			if err == nil || err.Error() != c.want || fault.Status(err) != 500 || l.store.Index() != before {
				t.Errorf("%s: %v, index %d → %d; want %q", c.name, err, before, l.store.Index(), c.want)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		d := l.ask(GetQuery{ID: c.set.Definition.ID}).Value.(List)[0]
		if d.Name != c.set.Definition.Name || d.ModifyIndex != before+1 || (d.CreateIndex == before+1) != c.set.New {
			t.Errorf("%s: stored %+v at index %d", c.name, d, before+1)
		}
		if changed := l.store.Index(); l.run(&Set{Definition: c.set.Definition}) != nil || l.store.Index() != changed {
			t.Errorf("%s: the same once more is a change", c.name)
		}
	}
}

func TestDelete(t *testing.T) {
	l := newLab(t)
	l.must(&Set{Definition{ID: "00000000-0000-0000-0000-00000000000A", Name: "a"}, true})
	l.must(&Delete{ID: "00000000-0000-0000-0000-00000000000A"})
	if list := l.ask(ListQuery{}).Value.(List); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
	if err := l.run(&Delete{ID: "X"}); err == nil || err.Error() != "Cannot modify non-existent prepared query: 'X'" {
		t.Error(err)
	}
}

// TestSessionEnds: a query goes with its session, in the same step.
func TestSessionEnds(t *testing.T) {
	l := newLab(t)
	l.must(&catalog.Register{Row: &catalog.Node{Node: "n1"}})
	l.must(&session.Create{Session: session.Session{ID: "aa", Node: "n1"}})
	for i, of := range []string{"", "AA", "aa"} {
		d := named(i, "q"+id(i))
		d.Session = of
		l.must(&Set{d, true})
	}
	before := l.ask(ListQuery{}).Index
	l.must(&catalog.Deregister{Node: "n1"})
	a := l.ask(ListQuery{})
	if list := a.Value.(List); len(list) != 1 || list[0].ID != id(0) || a.Index <= before {
		t.Errorf("left: %v at %d, before at %d", list, a.Index, before)
	}
}

// TestFind: an ID first, then a name, then the template with the longest prefix, in any case.
func TestFind(t *testing.T) {
	l := newLab(t)
	for i, d := range []Definition{named(0, "Geo"), prefixed(1, "geo-"), prefixed(2, "GEO-db-"), named(3, ""), named(4, "geo-db-x")} {
		d.ID = id(i)
		l.must(&Set{d, true})
	}
	for name, want := range map[string]string{id(0): id(0), id(1): id(1), id(3): id(3), "geo": id(0), "geo-": id(1), "geo-db": id(1), "geo-db-": id(2),
		"geo-db-y": id(2), "geo-db-x": id(4), "ge": "", "": "", "other": ""} {
		d := l.ask(FindQuery{Name: name}).Value.(*Definition)
		if d == nil && want != "" || d != nil && d.ID != want {
			t.Errorf("%s: found %v, want %q", name, d, want)
		}
	}
	names := l.ask(NamesQuery{}).Value.(Names)
	if want := (Names{Exact: []string{id(0), "geo", id(3), id(4), "geo-db-x"}, Prefixes: []string{"geo-", "geo-db-"}}); !reflect.DeepEqual(names, want) {
		t.Errorf("names: %v, want %v", names, want)
	}
	l.must(&Set{prefixed(5, ""), true})
	if d := l.ask(FindQuery{Name: "other"}).Value.(*Definition); d == nil || d.ID != id(5) {
		t.Errorf("the template for all: %v", d)
	}
}

// TestIndexes: a list has the table's index, one query its own (spec http/conventions.md §8).
func TestIndexes(t *testing.T) {
	l := newLab(t)
	l.must(&Set{named(1, "one"), true})
	l.must(&Set{named(2, "two"), true})
	now := l.store.Index()
	for q, want := range map[string]uint64{"list": now, id(1): now - 1, id(2): now, id(3): now} {
		a := l.ask(GetQuery{ID: q})
		if q == "list" {
			a = l.ask(ListQuery{})
		}
		if a.Index != want {
			t.Errorf("%s has the index %d, want %d", q, a.Index, want)
		}
	}
}

// strict allows nothing.
type strict struct{}

func (strict) Allowed(authz.Resource, authz.Access, string, bool) bool { return false }

// TestAllowed: what has a name, or had one, or is a template needs query:write; for the rest it is enough to know the ID.
func TestAllowed(t *testing.T) {
	l := newLab(t)
	l.must(&Set{named(1, "one"), true})
	l.must(&Set{named(2, ""), true})
	v := l.store.View()
	defer v.Release()
	for _, c := range []struct {
		what interface {
			Allowed(store.Reader, authz.Decider) error
		}
		want string
	}{
		{&Set{named(3, ""), true}, ""},
		{&Set{named(3, "x"), true}, `'query:write' on "x"`},
		{&Set{prefixed(3, ""), true}, `'query:write'`},
		{&Set{named(1, ""), false}, `'query:write' on "one"`},
		{&Set{named(2, ""), false}, ""},
		{&Delete{id(1)}, `'query:write' on "one"`},
		{&Delete{id(2)}, ""},
		{&Delete{id(9)}, ""},
	} {
		err := c.what.Allowed(v, strict{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.what, err, c.want)
		}
	}
}

// FuzzStored checks that what decodes encodes to the same bytes again, as snapshots and the log need it.
func FuzzStored(f *testing.F) {
	type stored interface {
		MarshalMsg([]byte) ([]byte, error)
		UnmarshalMsg([]byte) ([]byte, error)
	}
	full := full()
	for _, v := range []stored{full, &Set{*full, true}, &Delete{ID: "a"}} {
		b, _ := v.MarshalMsg(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := msgp.Skip(b); err != nil {
			return // as store.DecodeStrict does before it lets the record read
		}
		for _, v := range []stored{new(Definition), new(Set), new(Delete)} {
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
