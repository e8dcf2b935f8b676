package kv

import (
	"reflect"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"rostra/feature/session"
	"rostra/kit/fault"
	"rostra/kit/store"
)

// TestVerbs holds the table of spec http/txn.md, and the answers of spec http/kv.md where an operation is alone.
func TestVerbs(t *testing.T) {
	const s1, s2 = "aaaaaaaa-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000"
	tests := []struct {
		name   string
		op     Op
		alone  any    // the Result of Put or Delete, or an error's text; nil: not a Command
		failed string // what a transaction says; "" is success
		value  string // of the key afterwards, "-" for no key
		lock   string
	}{
		{"set a new key", Op{Verb: Set, Key: "new", Value: []byte("v")}, true, "", "v", ""},
		{"set keeps the lock", Op{Verb: Set, Key: "held", Value: []byte("v")}, true, "", "v", s1},
		{"cas 0 on a new key", Op{Verb: CAS, Key: "new", Value: []byte("v")}, true, "", "v", ""},
		{"cas 0 on a key", Op{Verb: CAS, Key: "free", Value: []byte("v")}, false, `failed to set key "free", index is stale`, "x", ""},
		{"cas with the index", Op{Verb: CAS, Key: "free", Value: []byte("v"), Index: 4}, true, "", "v", ""},
		{"cas with another", Op{Verb: CAS, Key: "free", Value: []byte("v"), Index: 3}, false, `failed to set key "free", index is stale`, "x", ""},
		{"cas n on no key", Op{Verb: CAS, Key: "new", Value: []byte("v"), Index: 3}, false, `failed to set key "new", index is stale`, "-", ""},
		{"lock a new key", Op{Verb: Lock, Key: "new", Value: []byte("v"), Session: s1}, true, "", "v", s1},
		{"lock by a session spelled in capitals", Op{Verb: Lock, Key: "new", Session: "AAAAAAAA-0000-0000-0000-000000000000"}, true, "", "", s1},
		{"lock a free key", Op{Verb: Lock, Key: "free", Value: []byte("v"), Session: s1}, true, "", "v", s1},
		{"lock again", Op{Verb: Lock, Key: "held", Value: []byte("v"), Session: s1}, true, "", "v", s1},
		{"lock what another holds", Op{Verb: Lock, Key: "held", Value: []byte("v"), Session: s2}, false, `failed to lock key "held", lock is already held`, "h", s1},
		{"lock without session", Op{Verb: Lock, Key: "free"}, "raft apply failed: missing session", "missing session", "x", ""},
		{"lock by nobody", Op{Verb: Lock, Key: "free", Session: "gone"}, `raft apply failed: invalid session "gone"`, `invalid session "gone"`, "x", ""},
		{"unlock", Op{Verb: Unlock, Key: "held", Value: []byte("v"), Session: s1}, true, "", "v", ""},
		{"unlock another's", Op{Verb: Unlock, Key: "held", Session: s2}, false, `failed to unlock key "held", lock isn't held, or is held by another session`, "h", s1},
		{"unlock no key", Op{Verb: Unlock, Key: "new", Session: s1}, false, `failed to unlock key "new", lock isn't held, or is held by another session`, "-", ""},
		{"unlock a free key", Op{Verb: Unlock, Key: "free", Session: s1}, false, `failed to unlock key "free", lock isn't held, or is held by another session`, "x", ""},
		{"unlock without session", Op{Verb: Unlock, Key: "held"}, "raft apply failed: missing session", "missing session", "h", s1},
		{"delete", Op{Verb: DeleteKey, Key: "held"}, true, "", "-", ""},
		{"delete no key", Op{Verb: DeleteKey, Key: "new"}, true, "", "-", ""},
		{"delete-cas", Op{Verb: DeleteCAS, Key: "free", Index: 4}, true, "", "-", ""},
		{"delete-cas stale", Op{Verb: DeleteCAS, Key: "free", Index: 3}, false, `failed to delete key "free", index is stale`, "x", ""},
		{"delete-cas 0", Op{Verb: DeleteCAS, Key: "free"}, false, `failed to delete key "free", index is stale`, "x", ""},
		{"delete-cas on no key", Op{Verb: DeleteCAS, Key: "new", Index: 9}, true, "", "-", ""},
		{"delete-tree", Op{Verb: DeleteTree, Key: "fr"}, true, "", "-", ""},
		{"get", Op{Verb: Get, Key: "free"}, nil, "", "x", ""},
		{"get no key", Op{Verb: Get, Key: "new"}, nil, `key "new" doesn't exist`, "-", ""},
		{"get-or-empty", Op{Verb: GetOrEmpty, Key: "new"}, nil, "", "-", ""},
		{"get-tree of nothing", Op{Verb: GetTree, Key: "new"}, nil, "", "-", ""},
		{"check-index", Op{Verb: CheckIndex, Key: "free", Index: 4}, nil, "", "x", ""},
		{"check-index wrong", Op{Verb: CheckIndex, Key: "free", Index: 1}, nil, `failed index check for key "free", current modify index 4 != 1`, "x", ""},
		{"check-index no key", Op{Verb: CheckIndex, Key: "new", Index: 1}, nil, `failed to check index, key "new" doesn't exist`, "-", ""},
		{"check-session", Op{Verb: CheckSession, Key: "held", Session: s1}, nil, "", "h", s1},
		{"check-session wrong", Op{Verb: CheckSession, Key: "free", Session: "x"}, nil, `failed session check for key "free", current session "" != "x"`, "x", ""},
		{"check-session no key", Op{Verb: CheckSession, Key: "new"}, nil, `failed to check session, key "new" doesn't exist`, "-", ""},
		{"check-not-exists", Op{Verb: CheckNotExists, Key: "new"}, nil, "", "-", ""},
		{"check-not-exists on a key", Op{Verb: CheckNotExists, Key: "free"}, nil, `key "free" exists`, "x", ""},
		{"no key", Op{Verb: Set}, "Must provide key", "Must provide key", "-", ""},
		{"unknown verb", Op{Verb: "foo", Key: "free"}, "unknown KV operation: foo", "unknown KV operation: foo", "x", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			setUp := func() *lab {
				l := newLab(t)                                                     // index 1
				l.session(s1, session.Release, 0)                                  // 2
				l.session(s2, session.Release, 0)                                  // 3
				l.put("free", "x")                                                 // 4
				l.op(Op{Verb: Lock, Key: "held", Value: []byte("h"), Session: s1}) // 5
				return l
			}
			state := func(l *lab) {
				t.Helper()
				value, lock := "-", ""
				key := tt.op.Key
				if key == "fr" {
					key = "free"
				}
				if e := l.entry(key); e != nil {
					value, lock = string(e.Value), e.Session
				}
				if value != tt.value || lock != tt.lock {
					t.Errorf("the key holds %q locked by %q, want %q, %q", value, lock, tt.value, tt.lock)
				}
			}
			if tt.alone != nil {
				l := setUp()
				var got any
				var err error
				if tt.op.Verb == DeleteKey || tt.op.Verb == DeleteCAS || tt.op.Verb == DeleteTree {
					got, err = l.run(&Delete{tt.op})
				} else {
					got, err = l.run(&Put{tt.op})
				}
				if err != nil {
					got = err.Error()
				}
				if got != tt.alone {
					t.Errorf("alone it gave %v, want %v", got, tt.alone)
				}
				state(l)
			}
			l := setUp()
			b := l.store.Begin(l.now)
			err := b.Run(func(tx *store.Tx) error {
				if err := tt.op.Check(); err != nil {
					return err
				}
				_, err := tt.op.Run(tx)
				return err
			})
			b.Commit()
			said := ""
			if err != nil {
				said = err.Error()
				if fault.Status(err) != 500 {
					t.Errorf("status %d", fault.Status(err))
				}
			}
			if said != tt.failed {
				t.Errorf("a transaction says %q, want %q", said, tt.failed)
			}
			state(l)
		})
	}
}

func TestLockIndexCountsHolders(t *testing.T) {
	l := newLab(t)
	l.session("a", session.Release, 0)
	l.session("b", session.Release, 0)
	steps := []struct {
		op   Op
		want uint64
	}{
		{Op{Verb: Lock, Session: "a"}, 1}, {Op{Verb: Lock, Session: "a", Value: []byte("again")}, 1},
		{Op{Verb: Unlock, Session: "a"}, 1}, {Op{Verb: Set, Value: []byte("x")}, 1}, {Op{Verb: Lock, Session: "b"}, 2},
	}
	for _, s := range steps {
		s.op.Key = "k"
		if !l.op(s.op) {
			t.Fatalf("%+v refused", s.op)
		}
		if e := l.entry("k"); e.LockIndex != s.want {
			t.Errorf("after %+v the lock index is %d, want %d", s.op, e.LockIndex, s.want)
		}
	}
}

func TestIdempotentWritesMoveNothing(t *testing.T) {
	l := newLab(t)
	l.session("s", session.Release, 0)
	same := []Op{
		{Verb: Set, Key: "k", Value: []byte("v"), Flags: 3},
		{Verb: Lock, Key: "l", Value: []byte("v"), Session: "s"},
		{Verb: DeleteKey, Key: "none"},
		{Verb: DeleteTree, Key: "none/"},
	}
	for _, o := range same {
		l.op(o)
		before := l.store.Index()
		w := l.store.Watch([]store.Subject{table, keySubject(o.Key), {Kind: "kv", Name: o.Key, Prefix: true}}, nil)
		if !l.op(o) {
			t.Errorf("%+v: false", o)
		}
		if l.store.Index() != before || touches(w) != 0 {
			t.Errorf("%+v moved the index from %d to %d and woke %d times", o, before, l.store.Index(), touches(w))
		}
		w.Close()
	}
	e := l.entry("k")
	l.op(Op{Verb: Set, Key: "k", Value: []byte("v")})
	if got := l.entry("k"); got.Flags != 0 || got.ModifyIndex == e.ModifyIndex || got.CreateIndex != e.CreateIndex {
		t.Errorf("a plain put must reset the flags and keep CreateIndex: %+v", got)
	}
}

func TestResultsInJSON(t *testing.T) {
	e := &Entry{Key: "cfg/<x>", Value: []byte("db1.local"), Flags: 42, Session: "9f", LockIndex: 1, CreateIndex: 52, ModifyIndex: 53}
	tests := []struct {
		got  []byte
		want string
	}{
		{Found{e}.AppendJSON(nil), `[{"LockIndex":1,"Key":"cfg/\u003cx\u003e","Flags":42,"Value":"ZGIxLmxvY2Fs","Session":"9f","CreateIndex":52,"ModifyIndex":53}]`},
		{List{{Key: "a"}, {Key: "b", Flags: 16210313421097356768}}.AppendJSON(nil), `[{"LockIndex":0,"Key":"a","Flags":0,"Value":null,"CreateIndex":0,"ModifyIndex":0},` +
			`{"LockIndex":0,"Key":"b","Flags":16210313421097356768,"Value":null,"CreateIndex":0,"ModifyIndex":0}]`},
		{Names(nil).AppendJSON(nil), `[]`},
		{Names{"a/", "b"}.AppendJSON(nil), `["a/","b"]`},
		{Result{Entry: e}.AppendJSON(nil), `{"LockIndex":1,"Key":"cfg/\u003cx\u003e","Flags":42,"Value":null,"Session":"9f","CreateIndex":52,"ModifyIndex":53}`},
	}
	for _, tt := range tests {
		if string(tt.got) != tt.want {
			t.Errorf("got  %s\nwant %s", tt.got, tt.want)
		}
	}
}

// FuzzStored checks that what decodes encodes to the same bytes again, as snapshots and the log need it.
func FuzzStored(f *testing.F) {
	for _, v := range []interface {
		MarshalMsg([]byte) ([]byte, error)
	}{&Put{Op{Verb: Set, Key: "k", Value: []byte("v")}}, &Reap{Before: 5}, &Entry{Key: "k"}, &tombstone{Key: "k"}, &delay{For: 3}} {
		b, _ := v.MarshalMsg(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := msgp.Skip(b); err != nil {
			return // as store.DecodeStrict does before it lets the record read
		}
		for _, v := range []interface {
			MarshalMsg([]byte) ([]byte, error)
			UnmarshalMsg([]byte) ([]byte, error)
		}{new(Put), new(Delete), new(Reap), new(Entry), new(tombstone), new(delay)} {
			if _, err := v.UnmarshalMsg(b); err != nil {
				continue
			}
			once, _ := v.MarshalMsg(nil)
			again := reflect.New(reflect.TypeOf(v).Elem()).Interface().(interface {
				MarshalMsg([]byte) ([]byte, error)
				UnmarshalMsg([]byte) ([]byte, error)
			})
			if _, err := again.UnmarshalMsg(once); err != nil {
				t.Fatalf("%T: cannot read its own bytes: %v", v, err)
			}
			if twice, _ := again.MarshalMsg(nil); string(twice) != string(once) {
				t.Fatalf("%T: %x then %x", v, once, twice)
			}
		}
	})
}
