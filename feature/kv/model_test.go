package kv

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/session"
	"rostra/kit/httpd"
	"rostra/kit/store"
	"rostra/kit/wire"
)

// model is the same thing done the naive way: maps, and a loop over everything for each question.
type model struct {
	keys     map[string]*Entry
	sessions map[string]*modelSession
	delays   map[string][2]int64 // set, until
	index    uint64              // of the Command under way
	now      int64
}

type modelSession struct {
	behavior    string
	delay, life int64
	renewed     int64
	checked     bool
}

func (m *model) end(id string) {
	s := m.sessions[id]
	delete(m.sessions, id)
	for _, key := range slices.Sorted(maps.Keys(m.keys)) {
		e := m.keys[key]
		if e.Session != id {
			continue
		}
		if s.delay > 0 {
			m.delays[key] = [2]int64{m.now, m.now + min(s.delay, 60*second)}
		}
		if s.behavior == session.Delete {
			delete(m.keys, key)
		} else {
			e.Session, e.ModifyIndex = "", m.index
		}
	}
}

func (m *model) write(o Op, session string, lockIndex uint64) bool {
	e := m.keys[o.Key]
	if e == nil {
		e = &Entry{Key: o.Key, CreateIndex: m.index}
		m.keys[o.Key] = e
	} else if string(e.Value) == string(o.Value) && e.Flags == o.Flags && e.Session == session && e.LockIndex == lockIndex {
		return true
	}
	e.Value, e.Flags, e.Session, e.LockIndex, e.ModifyIndex = o.Value, o.Flags, session, lockIndex, m.index
	return true
}

// op returns what Put or Delete should answer; wrong is an error.
func (m *model) op(o Op) (done, wrong bool) {
	e := m.keys[o.Key]
	holds, locks, index := "", uint64(0), uint64(0)
	if e != nil {
		holds, locks, index = e.Session, e.LockIndex, e.ModifyIndex
	}
	switch o.Verb {
	case Set:
		return m.write(o, holds, locks), false
	case CAS:
		return index == o.Index && m.write(o, holds, locks), false
	case Lock:
		if d, ok := m.delays[o.Key]; ok && m.now < d[1] && m.now >= d[0]-60*second {
			return false, false
		}
		if m.sessions[o.Session] == nil {
			return false, true
		}
		switch holds {
		case "":
			return m.write(o, o.Session, locks+1), false
		case o.Session:
			return m.write(o, holds, locks), false
		}
		return false, false
	case Unlock:
		return e != nil && holds == o.Session && m.write(o, "", locks), false
	case DeleteCAS:
		if e != nil && index != o.Index {
			return false, false
		}
		delete(m.keys, o.Key)
	case DeleteKey:
		delete(m.keys, o.Key)
	case DeleteTree:
		maps.DeleteFunc(m.keys, func(k string, _ *Entry) bool { return strings.HasPrefix(k, o.Key) })
	}
	return true, false
}

// script makes random steps on a lab and a model.
type script struct {
	*lab
	m        *model
	r        *rand.Rand
	made     int
	anyCheck bool // the bound check is passing
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func (s *script) someSession() string {
	return fmt.Sprintf("s%d", max(0, s.made-s.r.IntN(4)))
}

func (s *script) step() (what string) {
	switch n := s.r.IntN(20); {
	case n < 11:
		return s.stepOp()
	case n < 13:
		return s.stepCreate()
	case n == 13:
		id := s.someSession()
		s.must(&session.Destroy{ID: id})
		if s.m.sessions[id] != nil {
			s.m.end(id)
		}
		return "destroy " + id
	case n == 14:
		id := s.someSession()
		_, err := s.run(&session.Renew{ID: id})
		if have := s.m.sessions[id]; (have == nil) != (err != nil) {
			s.t.Fatalf("renew %s: %v", id, err)
		} else if have != nil {
			have.renewed = s.now
		}
		return "renew " + id
	case n == 15:
		return s.stepExpire()
	case n < 19:
		s.now += pick(s.r, second, 10*second, 40*second, 100*second, -5*second, -120*second)
		s.m.now = s.now
		return fmt.Sprintf("clock %d", s.now/second)
	}
	s.anyCheck = !s.anyCheck
	status := "critical"
	if s.anyCheck {
		status = "passing"
	}
	s.must(&catalog.Register{Row: &catalog.Node{Node: "n1"}, SkipNode: true, Checks: []*catalog.Check{{CheckID: "disk", Status: status}}})
	for _, id := range slices.Sorted(maps.Keys(s.m.sessions)) {
		if !s.anyCheck && s.m.sessions[id].checked {
			s.m.end(id)
		}
	}
	return "check " + status
}

func (s *script) stepOp() string {
	o := Op{Verb: pick(s.r, Set, Set, CAS, Lock, Lock, Lock, Unlock, DeleteKey, DeleteCAS, DeleteTree), Session: s.someSession(),
		Key: pick(s.r, "a", "a/1", "a/2", "a/b/1", "a/b/2", "b"), Value: []byte(pick(s.r, "", "x", "y")), Flags: uint64(s.r.IntN(2))}
	switch o.Verb {
	case CAS, DeleteCAS:
		if e := s.m.keys[o.Key]; e != nil && s.r.IntN(3) > 0 {
			o.Index = e.ModifyIndex
		}
	case DeleteTree:
		o.Key = pick(s.r, "a/", "a/b", "a", "c", "b", "")
	}
	var c room.Command = &Put{o}
	if strings.HasPrefix(o.Verb, "delete") {
		c = &Delete{o}
	}
	done, err := s.run(c)
	want, wrong := s.m.op(o)
	if wrong != (err != nil) || err == nil && done != want {
		s.t.Fatalf("%+v: got %v, %v; want %v, error %v", o, done, err, want, wrong)
	}
	return fmt.Sprintf("%+v: %v", o, want)
}

func (s *script) stepCreate() string {
	s.made++
	id := fmt.Sprintf("s%d", s.made)
	n := &modelSession{behavior: pick(s.r, session.Release, session.Delete), delay: pick[int64](s.r, 0, 15, 90) * second,
		life: pick[int64](s.r, 0, 10) * second, renewed: s.now, checked: s.r.IntN(2) == 0}
	row := session.Session{ID: id, Node: "n1", Behavior: n.behavior, LockDelay: wire.Duration(n.delay), Life: wire.Duration(n.life)}
	if n.checked {
		row.NodeChecks = []string{"disk"}
	}
	_, err := s.run(&session.Create{Session: row})
	if (err != nil) != (n.checked && !s.anyCheck) {
		s.t.Fatalf("create %+v: %v", row, err)
	}
	if err == nil {
		s.m.sessions[id] = n
	}
	return fmt.Sprintf("create %+v: %v", row, err)
}

// stepExpire proposes to end every session; only those seen with their newest renewal may end.
func (s *script) stepExpire() string {
	var seen []session.Seen
	want := 0
	for _, id := range slices.Sorted(maps.Keys(s.m.sessions)) {
		n := s.m.sessions[id]
		at := n.renewed - int64(s.r.IntN(2))
		seen = append(seen, session.Seen{ID: id, Renewed: at})
		if n.life > 0 && at == n.renewed {
			s.m.end(id)
			want++
		}
	}
	if got := s.must(&session.Expire{Seen: seen}); got != want {
		s.t.Fatalf("expired %v, want %d", got, want)
	}
	return fmt.Sprintf("expire %v", seen)
}

// watched is what a client that follows a question has last seen.
type watched struct {
	q      room.Query
	json   string
	index  uint64
	waiter *store.Waiter
}

func (s *script) look(w *watched) {
	a := s.ask(w.q)
	w.json, w.index = string(a.Value.(httpd.Appender).AppendJSON(nil)), a.Index
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := &script{lab: newLab(t), r: rand.New(rand.NewPCG(seed, 1)), anyCheck: true}
			s.m = &model{keys: map[string]*Entry{}, sessions: map[string]*modelSession{}, delays: map[string][2]int64{}, now: s.now}
			var watches []*watched
			for _, q := range []room.Query{KeyQuery{"a"}, KeyQuery{"a/b/1"}, KeyQuery{"b"}, ListQuery{"a/"}, ListQuery{"a/b/"}, ListQuery{"a/b/1"},
				ListQuery{""}, NamesQuery{"a", "/"}, NamesQuery{"a/", ""}, session.ListQuery{}, session.InfoQuery{ID: "s2"}} {
				w := &watched{q: q, waiter: s.store.Watch(q.Subjects(), nil)}
				s.look(w)
				watches = append(watches, w)
			}
			var said []string
			for range 250 {
				s.m.index = s.store.Index() + 1
				touches := make([]uint64, len(watches))
				for i, w := range watches {
					touches[i], _ = w.waiter.Touches()
				}
				said = append(said, s.step())
				if t.Failed() {
					return
				}
				if got, want := listJSON(s.ask(ListQuery{""}).Value.(List)), s.m.json(); got != want {
					t.Fatalf("the store holds\n%s\nwant\n%s\nafter %s", got, want, strings.Join(said, "\n"))
				}
				for i, w := range watches {
					old := *w
					s.look(w)
					touched, _ := w.waiter.Touches()
					if w.json != old.json && (w.index <= old.index || touched == touches[i]) || w.index < old.index {
						t.Fatalf("%#v: %s at %d became %s at %d, woken %v\nafter %s", w.q, old.json, old.index, w.json, w.index,
							touched != touches[i], strings.Join(said, "\n"))
					}
				}
			}
			s.restored(watches)
		})
	}
}

// restored checks that a snapshot gives the same answers with the same indexes.
func (s *script) restored(watches []*watched) {
	var image bytes.Buffer
	v := s.store.View()
	if _, err := v.WriteTo(&image); err != nil {
		s.t.Fatal(err)
	}
	v.Release()
	fresh := newLab(s.t)
	if err := fresh.store.Restore(&image); err != nil {
		s.t.Fatal(err)
	}
	s.lab = fresh
	for _, w := range watches {
		old := *w
		if s.look(w); w.json != old.json || w.index != old.index {
			s.t.Errorf("%#v: %s at %d came back as %s at %d", w.q, old.json, old.index, w.json, w.index)
		}
	}
}

func (m *model) json() string {
	var list List
	for _, key := range slices.Sorted(maps.Keys(m.keys)) {
		list = append(list, m.keys[key])
	}
	return listJSON(list)
}

func listJSON(l List) string { return string(l.AppendJSON(nil)) }
