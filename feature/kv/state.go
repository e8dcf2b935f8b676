package kv

import (
	"strings"

	"rostra/engine/room"
	"rostra/feature/session"
	"rostra/kit/authz"
	"rostra/kit/store"
)

//go:generate go tool msgp -file state.go -o state_gen.go -tests=false -io=false

// table is the subject that every change of an entry touches. Keys and prefixes are subjects too, but only woken: their
// indexes are those of entries and tombstones (spec http/conventions.md §8).
var table = store.Subject{Kind: "kv"}

func keySubject(key string) store.Subject { return store.Subject{Kind: "kv", Name: key} }

func prefixSubject(prefix string) store.Subject {
	if prefix == "" {
		return table
	}
	return store.Subject{Kind: "kv", Name: prefix, Prefix: true}
}

var sessionsFreeKeys = store.OnChange("sessions → kv", session.Sessions, func(tx *store.Tx, before, after *session.Session) {
	if after != nil {
		return
	}
	for e := range Entries.By(tx, "session", before.ID) {
		if last := before.Delay(tx); last > 0 {
			delays.Put(tx, &delay{Key: e.Key, Set: tx.Time(), For: last})
		}
		if before.Behavior == session.Delete {
			remove(tx, e.Key)
			continue
		}
		free := *e
		free.Session = ""
		put(tx, &free)
	}
})

// put writes an entry, whose CreateIndex is set if it existed.
func put(tx *store.Tx, e *Entry) {
	e.ModifyIndex = tx.Index()
	if e.CreateIndex == 0 {
		e.CreateIndex = tx.Index()
	}
	Entries.Put(tx, e)
	tx.Touch(table)
	tx.Wake(keySubject(e.Key))
}

// remove deletes a key that exists.
func remove(tx *store.Tx, key string) {
	Entries.Delete(tx, key)
	tombstones.Put(tx, &tombstone{Key: key, Index: tx.Index(), Time: tx.Time()})
	tx.Touch(table)
	tx.Wake(keySubject(key))
}

// removeTree deletes the keys that start with prefix. One tombstone speaks for all of them and for what was deleted
// there before; for the whole store none is needed, its index is the table's.
func removeTree(tx *store.Tx, prefix string) {
	gone := false
	for e := range Entries.Prefix(tx, prefix) {
		Entries.Delete(tx, e.Key)
		tx.Wake(keySubject(e.Key))
		gone = true
	}
	if !gone {
		return
	}
	tx.Touch(table)
	for t := range tombstones.Prefix(tx, prefix) {
		tombstones.Delete(tx, t.Key)
	}
	for t := range trees.Prefix(tx, prefix) {
		trees.Delete(tx, t.Key)
	}
	if prefix != "" {
		trees.Put(tx, &tombstone{Key: prefix, Index: tx.Index(), Time: tx.Time()})
	}
}

// delayed reports whether a lock-delay forbids to lock the key at the reader's time.
func delayed(r store.Reader, key string) bool {
	d := delays.Get(r, key)
	return d != nil && !d.over(r.Time())
}

// KeyQuery asks for one key. Its Value is a Found.
type KeyQuery struct {
	Key string `msg:"Key"`
}

// Allowed asks key:read.
func (q KeyQuery) Allowed(d authz.Decider) error {
	return authz.Require(d, authz.Key, authz.Read, q.Key)
}

// Subjects is the key's.
func (q KeyQuery) Subjects() []store.Subject { return []store.Subject{keySubject(q.Key)} }

// Point: it is one row.
func (q KeyQuery) Point() {}

// Run finds the entry. Without one the index is the table's.
func (q KeyQuery) Run(r store.Reader) room.Answer {
	e := Entries.Get(r, q.Key)
	if e == nil {
		return room.Answer{Value: Found{}, Index: r.Touched(table), Missing: true}
	}
	return room.Answer{Value: Found{e}, Index: e.ModifyIndex}
}

// ListQuery asks for the entries whose keys start with Prefix. Its Value is a List. Keys that the caller may not read
// are filtered from the answer.
type ListQuery struct {
	Prefix string `msg:"Prefix"`
}

// Allowed is always nil.
func (q ListQuery) Allowed(authz.Decider) error { return nil }

// Subjects is the prefix's.
func (q ListQuery) Subjects() []store.Subject { return []store.Subject{prefixSubject(q.Prefix)} }

// Run lists the entries by key.
func (q ListQuery) Run(r store.Reader) room.Answer {
	list, newest := List(nil), uint64(0)
	for e := range Entries.Prefix(r, q.Prefix) {
		list = append(list, e)
		newest = max(newest, e.ModifyIndex)
	}
	return room.Answer{Value: list, Index: prefixIndex(r, q.Prefix, newest)}
}

// NamesQuery asks for the keys that start with Prefix, each cut after the first Separator that follows the prefix; an
// empty Separator cuts nothing. Its Value is a Names.
type NamesQuery struct {
	Prefix    string `msg:"Prefix"`
	Separator string `msg:"Separator"`
}

// Allowed is always nil; see ListQuery.
func (q NamesQuery) Allowed(authz.Decider) error { return nil }

// Subjects is the prefix's.
func (q NamesQuery) Subjects() []store.Subject { return []store.Subject{prefixSubject(q.Prefix)} }

// Run lists the names in order, each once.
func (q NamesQuery) Run(r store.Reader) room.Answer {
	names, newest := Names(nil), uint64(0)
	for e := range Entries.Prefix(r, q.Prefix) {
		newest = max(newest, e.ModifyIndex)
		name := e.Key
		if q.Separator != "" {
			if at := strings.Index(name[len(q.Prefix):], q.Separator); at >= 0 {
				name = name[:len(q.Prefix)+at+len(q.Separator)]
			}
		}
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return room.Answer{Value: names, Index: prefixIndex(r, q.Prefix, newest)}
}

// prefixIndex is the index of an answer about a prefix; newest is the highest ModifyIndex below it. The deletion of a
// tree counts for what lies inside it too: else an older tombstone there would let the index fall behind it.
func prefixIndex(r store.Reader, prefix string, newest uint64) uint64 {
	if prefix == "" {
		return r.Touched(table)
	}
	for t := range tombstones.Prefix(r, prefix) {
		newest = max(newest, t.Index)
	}
	for t := range trees.Prefix(r, prefix) {
		newest = max(newest, t.Index)
	}
	if trees.Len(r) > 0 {
		for n := 1; n < len(prefix); n++ {
			if t := trees.Get(r, prefix[:n]); t != nil {
				newest = max(newest, t.Index)
			}
		}
	}
	if newest == 0 {
		return r.Touched(table)
	}
	return newest
}

// timeQuery asks for the log's time, of the newest entry; only the leader's loop does, and it does not travel. Its Value is an
// int64, Unix nanoseconds.
type timeQuery struct{}

// Allowed is always nil.
func (timeQuery) Allowed(authz.Decider) error { return nil }

// Subjects is the table.
func (timeQuery) Subjects() []store.Subject { return []store.Subject{table} }

// Point: time touches no subject.
func (timeQuery) Point() {}

// Run looks at the clock.
func (timeQuery) Run(r store.Reader) room.Answer { return room.Answer{Value: r.Time()} }

// staleQuery asks whether there is something that Reap with the same Before would collect; only the leader's loop does,
// and it does not travel. Its Value is a bool. It is a Point because nobody else asks, and time touches no subject.
type staleQuery struct{ Before, Now int64 }

// Allowed is always nil.
func (q staleQuery) Allowed(authz.Decider) error { return nil }

// Subjects is the table.
func (q staleQuery) Subjects() []store.Subject { return []store.Subject{table} }

// Point: see there.
func (q staleQuery) Point() {}

// Run looks at the oldest tombstones and at the delays.
func (q staleQuery) Run(r store.Reader) room.Answer {
	for _, t := range []*store.Table[tombstone, *tombstone]{tombstones, trees} {
		for oldest := range t.Keys(r, "age") {
			if oldest < age(q.Before) {
				return room.Answer{Value: true}
			}
			break
		}
	}
	for d := range delays.All(r) {
		if d.over(q.Now) {
			return room.Answer{Value: true}
		}
	}
	return room.Answer{Value: false}
}
