package kv

import (
	"fmt"
	"testing"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/session"
	"rostra/kit/store"
	"rostra/kit/wire"
)

// TestIndexes is the kv part of the table in spec http/conventions.md §8.
func TestIndexes(t *testing.T) {
	l := newLab(t) // 1
	check := func(what string, q room.Query, want uint64) {
		t.Helper()
		if got := l.ask(q).Index; got != want {
			t.Errorf("%s: index %d, want %d", what, got, want)
		}
	}
	check("single key in a store never written", KeyQuery{"a/x"}, 0)
	check("prefix in a store never written", ListQuery{"a/"}, 0)
	l.put("a/x", "1") // 2
	l.put("b/y", "1") // 3
	check("single key, present: its ModifyIndex, other keys never wake it", KeyQuery{"a/x"}, 2)
	check("single key, absent: the table's", KeyQuery{"a/none"}, 3)
	check("prefix: the highest ModifyIndex below", ListQuery{"a/"}, 2)
	check("keys: the same", NamesQuery{"a/", "/"}, 2)
	check("prefix without anything: the table's", ListQuery{"none/"}, 3)
	check(`prefix "": the table's`, ListQuery{""}, 3)
	l.op(Op{Verb: DeleteKey, Key: "a/x"}) // 4
	l.put("b/y", "2")                     // 5
	check("single key, deleted: the table's", KeyQuery{"a/x"}, 5)
	check("prefix, all deleted: the tombstone's", ListQuery{"a/"}, 4)
	check("the tombstone counts for every prefix of its key", NamesQuery{"a", ""}, 4)
	l.put("a/d/1", "1")                     // 6
	l.put("a/d/2", "1")                     // 7
	l.op(Op{Verb: DeleteKey, Key: "a/d/2"}) // 8
	l.op(Op{Verb: DeleteTree, Key: "a/"})   // 9
	l.put("c", "1")                         // 10
	check("a tree's tombstone", ListQuery{"a/"}, 9)
	check("a prefix of the tree's", ListQuery{"a"}, 9)
	check("below the tree: not the older tombstone there", ListQuery{"a/d/"}, 9)
	check(`prefix ""`, NamesQuery{"", ""}, 10)
	v := l.store.View()
	if n := len(collectAll(tombstones.All(v))) + len(collectAll(trees.All(v))); n != 1 {
		t.Errorf("%d tombstones, want the tree's alone", n)
	}
	v.Release()
	l.op(Op{Verb: DeleteTree, Key: ""}) // 11
	check(`everything deleted: no tombstone, the table's index`, ListQuery{"a/"}, 11)
	check("single key after it", KeyQuery{"c"}, 11)
}

func collectAll[T any](seq func(func(T) bool)) (all []T) {
	seq(func(v T) bool { all = append(all, v); return true })
	return all
}

func TestNames(t *testing.T) {
	l := newLab(t)
	for _, key := range []string{"cfg/db/host", "cfg/db/port", "cfg/top", "cfg-other", "x"} {
		l.put(key, "1")
	}
	tests := []struct{ prefix, separator, want string }{
		{"cfg/", "/", "[cfg/db/ cfg/top]"},
		{"cfg/", "", "[cfg/db/host cfg/db/port cfg/top]"},
		{"cfg", "/", "[cfg-other cfg/]"},
		{"", "/", "[cfg-other cfg/ x]"},
		{"cfg/db/host", "/", "[cfg/db/host]"},
		{"cfg/", "db/", "[cfg/db/ cfg/top]"},
		{"none", "/", "[]"},
	}
	for _, tt := range tests {
		got := fmt.Sprint(l.ask(NamesQuery{tt.prefix, tt.separator}).Value)
		if got != tt.want {
			t.Errorf("%q cut at %q: %s, want %s", tt.prefix, tt.separator, got, tt.want)
		}
	}
}

// TestWaking checks that writes wake exactly the watchers whose answer they change.
func TestWaking(t *testing.T) {
	l := newLab(t)
	l.put("a/b/1", "1")
	l.put("a/b/2", "1")
	queries := []room.Query{KeyQuery{"a/b/1"}, KeyQuery{"a/b/2"}, ListQuery{"a/"}, ListQuery{"a/b/2"}, NamesQuery{"a/b/", "/"}, ListQuery{""}, ListQuery{"z"}}
	steps := []struct {
		op   Op
		want string // which of the queries wake
	}{
		{Op{Verb: Set, Key: "a/b/1", Value: []byte("2")}, "1010110"},
		{Op{Verb: Set, Key: "zz"}, "0000011"},
		{Op{Verb: DeleteKey, Key: "zz"}, "0000011"},
		{Op{Verb: DeleteTree, Key: "a"}, "1111110"},
		{Op{Verb: DeleteTree, Key: "a"}, "0000000"},
		{Op{Verb: Set, Key: "a/b/3"}, "0010110"},
		{Op{Verb: DeleteTree, Key: ""}, "0010110"},
	}
	for _, s := range steps {
		var waiters []*store.Waiter
		for _, q := range queries {
			waiters = append(waiters, l.store.Watch(q.Subjects(), nil))
		}
		l.op(s.op)
		got := ""
		for _, w := range waiters {
			got += fmt.Sprint(min(touches(w), 1))
			w.Close()
		}
		if got != s.want {
			t.Errorf("%s %q wakes %s, want %s", s.op.Verb, s.op.Key, got, s.want)
		}
	}
}

// TestSessionEnds follows nodes → sessions → kv, and what comes of lock-delays (spec http/kv.md, Locking rules).
func TestSessionEnds(t *testing.T) {
	ends := map[string]room.Command{
		"destroyed":      &session.Destroy{ID: "s"},
		"node gone":      &catalog.Deregister{Node: "N1"},
		"check gone":     &catalog.Deregister{Node: "n1", CheckID: "disk"},
		"check critical": &catalog.Register{Row: &catalog.Node{Node: "n1"}, SkipNode: true, Checks: []*catalog.Check{{CheckID: "disk", Status: "critical"}}},
	}
	for name, end := range ends {
		for _, behavior := range []string{session.Release, session.Delete} {
			t.Run(name+" "+behavior, func(t *testing.T) {
				l := newLab(t)
				l.session("s", behavior, 15*second, "disk")
				l.op(Op{Verb: Lock, Key: "k", Session: "s", Value: []byte("v")})
				before := l.entry("k").ModifyIndex
				watch := l.store.Watch(KeyQuery{"k"}.Subjects(), nil)
				l.must(end)
				e := l.entry("k")
				switch {
				case touches(watch) == 0:
					t.Error("watchers of the key were not woken")
				case behavior == session.Delete && e != nil:
					t.Errorf("the key is still there: %+v", e)
				case behavior == session.Release && (e == nil || e.Session != "" || e.LockIndex != 1 || string(e.Value) != "v" || e.ModifyIndex <= before):
					t.Errorf("the key was not released: %+v", e)
				}
			})
		}
	}
}

func TestLockDelay(t *testing.T) {
	tests := []struct {
		name  string
		delay int64
		after int64 // from the session's end to the next try
		want  bool
	}{
		{"no delay", 0, 0, true},
		{"at once", 15 * second, 0, false},
		{"just before", 15 * second, 15*second - 1, false},
		{"in time", 15 * second, 15 * second, true},
		{"capped", 3600 * second, 60*second - 1, false},
		{"capped in time", 3600 * second, 60 * second, true},
		{"the clock ran back a little", 15 * second, -60 * second, false},
		{"the clock ran back by more than a minute", 15 * second, -60*second - 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.session("a", session.Release, tt.delay)
			l.session("b", session.Release, tt.delay)
			l.op(Op{Verb: Lock, Key: "k", Session: "a"})
			l.must(&session.Destroy{ID: "a"})
			if !l.op(Op{Verb: Set, Key: "k", Value: []byte("a plain put is allowed")}) {
				t.Error("a plain put was refused")
			}
			l.now += tt.after
			if got := l.op(Op{Verb: Lock, Key: "k", Session: "b"}); got != tt.want {
				t.Errorf("locked: %v, want %v", got, tt.want)
			}
		})
	}
	l := newLab(t)
	l.session("a", session.Release, 15*second)
	l.op(Op{Verb: Lock, Key: "k", Session: "a"})
	l.op(Op{Verb: Unlock, Key: "k", Session: "a"})
	if !l.op(Op{Verb: Lock, Key: "k", Session: "a"}) {
		t.Error("a clean release armed a lock-delay")
	}
}

// TestTTLOutlastsNode: a holder whose node is taken out goes on believing in its TTL, and nobody gets the lock before that is over.
func TestTTLOutlastsNode(t *testing.T) {
	gone := &catalog.Deregister{Node: "n1"}
	for _, c := range []struct {
		name      string
		rules     int
		life      int64
		lockDelay int64
		end       room.Command
		waits     int64
	}{
		{"a TTL, and an eighth of it", 3, 16 * second, 0, gone, 18 * second},
		{"under a longer lock-delay", 3, 16 * second, 30 * second, gone, 30 * second},
		{"ten minutes at most", 3, 3600 * second, 0, gone, 600 * second},
		{"who destroys a session knows what he does", 3, 16 * second, 0, &session.Destroy{ID: "a"}, 0},
		{"no TTL", 3, 0, 0, gone, 0},
		{"by older rules", 2, 16 * second, 0, gone, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.rules = c.rules
			l.must(&catalog.Register{Row: &catalog.Node{Node: "n2", Address: "10.0.0.2"}})
			begin := func(id, node string) {
				l.must(&session.Create{Session: session.Session{ID: id, Node: node, Behavior: session.Release,
					Life: wire.Duration(c.life), LockDelay: wire.Duration(c.lockDelay)}})
			}
			begin("a", "N1")
			begin("b", "n2")
			l.op(Op{Verb: Lock, Key: "k", Session: "a"})
			l.must(c.end)
			l.now += c.waits - 1
			if c.waits > 0 && l.op(Op{Verb: Lock, Key: "k", Session: "b"}) {
				t.Error("locked too early")
			}
			l.now++
			if !l.op(Op{Verb: Lock, Key: "k", Session: "b"}) {
				t.Error("not locked in time")
			}
		})
	}
}

func TestReap(t *testing.T) {
	l := newLab(t)
	l.session("s", session.Delete, 15*second)
	for i := range 3000 {
		key := fmt.Sprintf("old/%d", i)
		l.put(key, "")
		l.op(Op{Verb: DeleteKey, Key: key})
	}
	l.put("tree/1", "")
	l.op(Op{Verb: DeleteTree, Key: "tree/"})
	l.op(Op{Verb: Lock, Key: "locked", Session: "s"})
	l.must(&session.Destroy{ID: "s"})
	l.now += 60 * second
	l.put("young", "")
	l.op(Op{Verb: DeleteKey, Key: "young"})
	l.put("last", "")
	table, tree := l.ask(ListQuery{""}).Index, l.ask(ListQuery{"tree/"}).Index
	if tree >= table {
		t.Fatal("the tree's tombstone should be older than the last write")
	}
	w := l.store.Watch([]store.Subject{{Kind: "kv"}, {Kind: "kv", Prefix: true}}, nil)
	cut := l.now - 30*second
	if l.ask(staleQuery{cut - 60*second, l.now - 60*second}).Value != false {
		t.Error("something is stale before its time")
	}
	rounds := 0
	for more := true; more && rounds < 10; rounds++ {
		if l.ask(staleQuery{cut, l.now}).Value != true {
			t.Error("nothing is stale")
		}
		more = l.must(&Reap{Before: cut}).(bool)
	}
	if rounds != 2 {
		t.Errorf("it took %d rounds, want 2", rounds)
	}
	if l.ask(staleQuery{cut, l.now}).Value != false {
		t.Error("something is stale after reaping")
	}
	v := l.store.View()
	defer v.Release()
	if a, b, c := len(collectAll(tombstones.All(v))), len(collectAll(trees.All(v))), len(collectAll(delays.All(v))); a != 1 || b != 0 || c != 0 {
		t.Errorf("%d tombstones, %d trees, %d delays are left; want young's alone", a, b, c)
	}
	if touches(w) != 0 || l.ask(ListQuery{""}).Index != table {
		t.Error("reaping woke watchers or moved the table's index")
	}
	if got := l.ask(ListQuery{"tree/"}).Index; got != table {
		t.Errorf("after reaping the prefix has index %d, want the table's %d", got, table)
	}
}
