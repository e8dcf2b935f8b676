package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// The world of these tests: items, with two indexes, and logs, a brief table that counts how often each item went. The
// triggers feed each other: an item that went is counted, and a count of 3, 6, … takes all items below its key along.

type item struct {
	Key   string
	Group string
	Tags  []string
	Value []byte
}

func (x *item) MarshalMsg(b []byte) ([]byte, error) {
	b = msgp.AppendArrayHeader(b, 4)
	b = msgp.AppendString(msgp.AppendString(b, x.Key), x.Group)
	b = msgp.AppendArrayHeader(b, uint32(len(x.Tags)))
	for _, t := range x.Tags {
		b = msgp.AppendString(b, t)
	}
	return msgp.AppendBytes(b, x.Value), nil
}

func (x *item) UnmarshalMsg(b []byte) (_ []byte, err error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err == nil && n != 4 {
		err = msgp.ArrayError{Wanted: 4, Got: n}
	}
	if err == nil {
		x.Key, b, err = msgp.ReadStringBytes(b)
	}
	if err == nil {
		x.Group, b, err = msgp.ReadStringBytes(b)
	}
	if err == nil {
		n, b, err = msgp.ReadArrayHeaderBytes(b)
	}
	x.Tags = nil
	for ; err == nil && n > 0; n-- {
		var t string
		if t, b, err = msgp.ReadStringBytes(b); err == nil {
			x.Tags = append(x.Tags, t)
		}
	}
	if err == nil {
		x.Value, b, err = msgp.ReadBytesBytes(b, nil)
	}
	return b, err
}

func (x *item) Msgsize() int {
	n := 20 + len(x.Key) + len(x.Group) + len(x.Value)
	for _, t := range x.Tags {
		n += 5 + len(t)
	}
	return n
}

func (x *item) String() string {
	return fmt.Sprintf("%s[%s %v %x]", x.Key, x.Group, x.Tags, x.Value)
}

type logRow struct {
	Key string
	N   uint64
}

func (x *logRow) MarshalMsg(b []byte) ([]byte, error) {
	b = msgp.AppendString(msgp.AppendMapHeader(b, 2), "Key")
	b = msgp.AppendString(msgp.AppendString(b, x.Key), "N")
	return msgp.AppendUint64(b, x.N), nil
}

func (x *logRow) UnmarshalMsg(b []byte) (_ []byte, err error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	for ; err == nil && n > 0; n-- {
		var f string
		if f, b, err = msgp.ReadStringBytes(b); err != nil {
			break
		}
		switch f {
		case "Key":
			x.Key, b, err = msgp.ReadStringBytes(b)
		case "N":
			x.N, b, err = msgp.ReadUint64Bytes(b)
		default:
			b, err = msgp.Skip(b)
		}
	}
	return b, err
}

func (x *logRow) Msgsize() int { return 20 + len(x.Key) }

var (
	items = NewTable[item]("items", Schema[item]{
		Key: func(x *item) string {
			if x.Key == "bad key" {
				panic("bad key")
			}
			return x.Key
		},
		Indexes: []Index[item]{
			{Name: "group", Keys: func(x *item) []string {
				if x.Group == "" {
					return nil
				}
				return []string{x.Group}
			}},
			{Name: "tag", Keys: func(x *item) []string {
				if slices.Contains(x.Tags, "bad tag") {
					panic("bad tag")
				}
				return x.Tags
			}},
		},
	})
	logs = NewTable[logRow]("logs", Schema[logRow]{Key: func(x *logRow) string { return x.Key }, Brief: true})

	worldTables   = []AnyTable{items, logs}
	worldTriggers = []Trigger{
		OnChange("items → logs", items, func(tx *Tx, before, after *item) {
			if after == nil {
				n := uint64(1)
				if old := logs.Get(tx, before.Key); old != nil {
					n += old.N
				}
				logs.Put(tx, &logRow{before.Key, n})
			}
		}),
		OnChange("logs → items", logs, func(tx *Tx, _, after *logRow) {
			if after != nil && after.N%3 == 0 {
				for x := range items.Prefix(tx, after.Key) {
					items.Delete(tx, x.Key)
				}
			}
		}),
	}
)

// world is the naive model: what the store must look like. Records are compared by pointer where it put them itself.
type world struct {
	index   uint64
	lineage string
	time    int64
	items   map[string]*item
	logs    map[string]uint64
	touched map[Subject]uint64
}

func newWorld() *world {
	return &world{items: map[string]*item{}, logs: map[string]uint64{}, touched: map[Subject]uint64{}}
}

func (w *world) clone() *world {
	c := *w
	c.items, c.logs, c.touched = maps.Clone(w.items), maps.Clone(w.logs), maps.Clone(w.touched)
	return &c
}

// op is one step of a random Command.
type op struct {
	kind    string // put, delete, touch, forget, wake, lineage, look
	key     string
	item    *item
	subject Subject
}

// script is a random Command; how says how it ends.
type script struct {
	ops []op
	how string // ok, error, panic, bad key, bad tag
}

func randomKey(r *rand.Rand) string {
	k := string(rune('a' + r.IntN(4)))
	for range r.IntN(4) {
		k += "/" + string(rune('a'+r.IntN(3)))
	}
	return k
}

func randomScript(r *rand.Rand) script {
	s := script{how: "ok"}
	switch r.IntN(12) {
	case 0:
		s.how = "error"
	case 1:
		s.how = "panic"
	case 2:
		s.how = []string{"bad key", "bad tag"}[r.IntN(2)]
	}
	for range r.IntN(7) {
		o := op{key: randomKey(r), subject: Subject{Kind: "k", Name: randomKey(r)}}
		switch n := r.IntN(20); {
		case n < 9:
			o.kind = "put"
			o.item = &item{Key: o.key, Group: []string{"", "g", "h", "gh"}[r.IntN(4)], Value: make([]byte, r.IntN(40))}
			for range r.IntN(3) {
				o.item.Tags = append(o.item.Tags, []string{"x", "y", "z"}[r.IntN(3)])
			}
		case n < 14:
			o.kind = "delete"
		case n < 16:
			o.kind = "touch"
		case n < 17:
			o.kind = "forget"
		case n < 18:
			o.kind = "wake"
		case n == 18 && r.IntN(4) == 0:
			o.kind = "lineage"
		default:
			o.kind = "look"
		}
		s.ops = append(s.ops, o)
	}
	return s
}

var errRefused = errors.New("refused")

// run is the script as a Command. check, if not nil, looks at the state before its end.
func (s script) run(tx *Tx, look func(r Reader)) error {
	for _, o := range s.ops {
		switch o.kind {
		case "put":
			items.Put(tx, o.item)
		case "delete":
			items.Delete(tx, o.key)
		case "touch":
			tx.Touch(o.subject)
		case "forget":
			tx.Forget(o.subject)
		case "wake":
			tx.Wake(o.subject)
		case "lineage":
			tx.SetLineage(o.key)
		case "look":
			if look != nil {
				look(tx)
			}
		}
	}
	switch s.how {
	case "error":
		return errRefused
	case "panic":
		panic("as the script says")
	case "bad key":
		items.Put(tx, &item{Key: "bad key"})
	case "bad tag":
		items.Put(tx, &item{Key: randomKey(rand.New(rand.NewPCG(1, uint64(len(s.ops))))), Group: "g", Tags: []string{"bad tag"}})
	}
	return nil
}

// apply does what the script does to the model, and returns the model after it: w itself if nothing changed.
func (w *world) apply(s script) *world {
	if s.how != "ok" {
		return w
	}
	n, changed := w.clone(), false
	n.index++
	touches := map[Subject]bool{}
	for _, o := range s.ops {
		switch o.kind {
		case "put":
			n.items[o.key], changed = o.item, true
		case "delete":
			changed = changed || n.items[o.key] != nil
			delete(n.items, o.key)
		case "touch":
			touches[o.subject] = true
		case "forget": // of the two the later counts
			delete(touches, o.subject)
		case "lineage":
			n.lineage = o.key
			touches[Subject{Kind: "lineage"}] = true
		}
	}
	n.cascade(w)
	for s := range touches {
		n.touched[s], changed = n.index, true
	}
	for _, o := range s.ops {
		if o.kind == "forget" && !touches[o.subject] && n.touched[o.subject] > 0 {
			delete(n.touched, o.subject)
			changed = true
		}
	}
	if !changed {
		return w
	}
	return n
}

// cascade does what the triggers do: each item that was there before the Command, or after its own writes, and is gone
// now, is counted.
func (n *world) cascade(before *world) {
	seen, counted := maps.Clone(n.items), map[string]bool{}
	maps.Copy(seen, before.items)
	for again := true; again; {
		again = false
		for k := range seen {
			if n.items[k] != nil || counted[k] {
				continue
			}
			counted[k], again = true, true
			if n.logs[k]++; n.logs[k]%3 == 0 {
				maps.DeleteFunc(n.items, func(i string, _ *item) bool { return strings.HasPrefix(i, k) })
			}
		}
	}
}

// select returns the model's items that pass, by key.
func (w *world) where(pass func(*item) bool) []*item {
	var list []*item
	for _, k := range slices.Sorted(maps.Keys(w.items)) {
		if pass(w.items[k]) {
			list = append(list, w.items[k])
		}
	}
	return list
}

// check compares everything the reader can tell with the model.
func (w *world) check(t testing.TB, r Reader) {
	t.Helper()
	same := func(what string, got []*item, pass func(*item) bool) {
		t.Helper()
		want := w.where(pass)
		if !slices.EqualFunc(got, want, func(a, b *item) bool { return a == b || a.String() == b.String() }) {
			t.Fatalf("%s at index %d:\n got %v\nwant %v", what, w.index, got, want)
		}
	}
	same("all", slices.Collect(items.All(r)), func(*item) bool { return true })
	for _, p := range []string{"a", "a/", "b/a", "d/c/b", "zz"} {
		same("prefix "+p, slices.Collect(items.Prefix(r, p)), func(x *item) bool { return strings.HasPrefix(x.Key, p) })
		same("from "+p, slices.Collect(items.From(r, p)), func(x *item) bool { return x.Key >= p })
		if got := items.Get(r, p); got != w.items[p] && (got == nil || w.items[p] == nil || got.String() != w.items[p].String()) {
			t.Fatalf("get %s at index %d: got %v, want %v", p, w.index, got, w.items[p])
		}
	}
	groups, tags := map[string]bool{}, map[string]bool{}
	for _, x := range w.items {
		if x.Group != "" {
			groups[x.Group] = true
		}
		for _, tag := range x.Tags {
			tags[tag] = true
		}
	}
	for _, g := range []string{"g", "h", "gh", "no"} {
		same("group "+g, slices.Collect(items.By(r, "group", g)), func(x *item) bool { return x.Group == g })
	}
	for _, g := range []string{"x", "y", "z"} {
		same("tag "+g, slices.Collect(items.By(r, "tag", g)), func(x *item) bool { return slices.Contains(x.Tags, g) })
	}
	if got, want := slices.Collect(items.Keys(r, "group")), slices.Sorted(maps.Keys(groups)); !slices.Equal(got, want) {
		t.Fatalf("groups: got %v, want %v", got, want)
	}
	if got, want := slices.Collect(items.Keys(r, "tag")), slices.Sorted(maps.Keys(tags)); !slices.Equal(got, want) {
		t.Fatalf("tags: got %v, want %v", got, want)
	}
	counts := map[string]uint64{}
	for x := range logs.All(r) {
		counts[x.Key] = x.N
	}
	if !maps.Equal(counts, w.logs) {
		t.Fatalf("logs at index %d: got %v, want %v", w.index, counts, w.logs)
	}
	rows := 0
	for range touched.All(r) {
		rows++
	}
	if _, writing := r.(*Tx); !writing && rows != len(w.touched) { // the table is written at the end of the batch
		t.Fatalf("%d subjects have an index, want %d", rows, len(w.touched))
	}
	for s, i := range w.touched {
		if got := r.Touched(s); got != i {
			t.Fatalf("touched %v: got %d, want %d", s, got, i)
		}
	}
	if v, ok := r.(*View); ok && (v.Index() != w.index || v.Lineage() != w.lineage || v.Time() != w.time) {
		t.Fatalf("view: index %d lineage %q time %d, want %d %q %d", v.Index(), v.Lineage(), v.Time(), w.index, w.lineage, w.time)
	}
}

// batch runs the scripts as one log entry and returns the model after each of them.
func (w *world) batch(t testing.TB, s *Store, scripts []script, now int64) (after []*world) {
	t.Helper()
	b := s.Begin(now)
	start := w
	for _, c := range scripts {
		next := w.apply(c)
		partial := script{how: "ok"}
		at := 0
		err := b.Run(func(tx *Tx) error {
			if tx.Index() != w.index+1 || tx.Time() != now || tx.Lineage() != w.lineage {
				t.Errorf("the Command has index %d, lineage %q", tx.Index(), tx.Lineage())
			}
			return c.run(tx, func(r Reader) {
				for ; c.ops[at].kind != "look"; at++ {
					if k := c.ops[at].kind; k == "put" || k == "delete" {
						partial.ops = append(partial.ops, c.ops[at])
					}
				}
				at++
				w.within(partial).check(t, r)
			})
		})
		if (err == nil) != (c.how == "ok") {
			t.Fatalf("script that ends with %s: error %v", c.how, err)
		}
		if b.Index() != next.index {
			t.Fatalf("script %+v: index %d, want %d", c, b.Index(), next.index)
		}
		if w = next; w != start {
			w.time = now
		}
		after = append(after, w)
	}
	b.Commit()
	return after
}

// within is the model in the middle of a Command: no triggers have run, no subject has its index.
func (w *world) within(s script) *world {
	n := w.clone()
	for _, o := range s.ops {
		if o.kind == "put" {
			n.items[o.key] = o.item
		} else {
			delete(n.items, o.key)
		}
	}
	return n
}

func snapshotOf(t testing.TB, v *View) []byte {
	t.Helper()
	var b bytes.Buffer
	if n, err := v.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("snapshot: %d bytes of %d, %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// state is the snapshot of the newest view.
func state(t testing.TB, s *Store) []byte {
	t.Helper()
	v := s.View()
	defer v.Release()
	return snapshotOf(t, v)
}

// do runs one Command as a log entry of its own.
func do(t testing.TB, s *Store, f func(tx *Tx)) {
	t.Helper()
	b := s.Begin(int64(time.Second))
	if err := b.Run(func(tx *Tx) error { f(tx); return nil }); err != nil {
		t.Error(err)
	}
	b.Commit()
}
