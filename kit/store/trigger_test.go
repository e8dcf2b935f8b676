package store

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestCascadeOrder prints every run of the triggers of a cascade and compares it with the golden file: features in
// order, rows in key order, round after round until nothing changes.
func TestCascadeOrder(t *testing.T) {
	var out strings.Builder
	trace := func(name string) Trigger {
		return OnChange(name, items, func(_ *Tx, before, after *item) { fmt.Fprintf(&out, "%s: %v → %v\n", name, before, after) })
	}
	row := func(x *logRow) string {
		if x == nil {
			return "<nil>"
		}
		return fmt.Sprintf("%s×%d", x.Key, x.N)
	}
	triggers := []Trigger{trace("first"), worldTriggers[0], worldTriggers[1], OnChange("counts", logs, func(_ *Tx, before, after *logRow) {
		fmt.Fprintf(&out, "counts: %s → %s\n", row(before), row(after))
	}), trace("last")}
	s := New(worldTables, triggers, Limits{})
	step := func(what string, f func(tx *Tx)) {
		fmt.Fprintf(&out, "\n# %s\n", what)
		do(t, s, f)
	}
	keys := []string{"c", "a", "b", "a/2", "a/1", "c/1"}
	step("put, in no order", func(tx *Tx) {
		for _, k := range keys {
			items.Put(tx, &item{Key: k})
		}
	})
	step("put and deleted: nothing to see", func(tx *Tx) { items.Put(tx, &item{Key: "x"}); items.Delete(tx, "x") })
	step("deleted and put: a change", func(tx *Tx) { old := items.Delete(tx, "b"); items.Put(tx, &item{Key: old.Key, Group: "g"}) })
	step("put back as it was: nothing to see", func(tx *Tx) {
		old := items.Delete(tx, "b")
		items.Put(tx, &item{Key: "b"})
		items.Put(tx, old)
	})
	for range 2 {
		step("deleted", func(tx *Tx) { items.Delete(tx, "c"); items.Delete(tx, "a") })
		do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "a"}); items.Put(tx, &item{Key: "c"}) })
	}
	step("the third time takes those below along, in two rounds", func(tx *Tx) { items.Delete(tx, "c"); items.Delete(tx, "a") })
	fmt.Fprint(&out, "\n# the triggers\n")
	for _, tr := range triggers {
		fmt.Fprintln(&out, tr.Name)
	}
	golden, err := os.ReadFile("testdata/cascade.txt")
	if err != nil || out.String() != string(golden) {
		t.Errorf("not as in testdata/cascade.txt (%v):\n%s", err, out.String())
	}
}

// TestEndlessCascade: triggers that never come to rest are refused, and undone.
func TestEndlessCascade(t *testing.T) {
	again := OnChange("items → items", items, func(tx *Tx, _, after *item) {
		items.Put(tx, &item{Key: after.Key, Value: append([]byte("x"), after.Value...)})
	})
	s := New(worldTables, []Trigger{again}, Limits{})
	b := s.Begin(1)
	err := b.Run(func(tx *Tx) error { items.Put(tx, &item{Key: "a"}); return nil })
	b.Commit()
	if err == nil || !strings.Contains(err.Error(), "without end") || s.Index() != 0 || s.Bytes() != 0 {
		t.Errorf("index %d, %d bytes, %v", s.Index(), s.Bytes(), err)
	}
}

// TestMistakes: a store that could not work is not made.
func TestMistakes(t *testing.T) {
	for name, f := range map[string]func(){
		"two tables are named items": func() { New([]AnyTable{items, items}, nil, Limits{}) },
		"a table that the store lacks": func() {
			New([]AnyTable{logs}, worldTriggers[:1], Limits{})
		},
		"has no index colour": func() {
			v := New(worldTables, nil, Limits{}).View()
			items.By(v, "colour", "red")
		},
		"released more often": func() {
			s := New(worldTables, nil, Limits{})
			v := s.View()
			v.Release()
			v.Release()
			v.Release()
		},
	} {
		func() {
			defer func() {
				if p := fmt.Sprint(recover()); !strings.Contains(p, name) {
					t.Errorf("%s: %s", name, p)
				}
			}()
			f()
		}()
	}
}

// TestLoopsMayWrite: in a Tx every loop may change the table it runs over.
func TestLoopsMayWrite(t *testing.T) {
	s := New(worldTables, nil, Limits{})
	do(t, s, func(tx *Tx) {
		for i := range 500 {
			items.Put(tx, &item{Key: fmt.Sprintf("k%03d", i), Group: fmt.Sprint("g", i%100)})
		}
		n := 0
		for g := range items.Keys(tx, "group") {
			for x := range items.By(tx, "group", g) {
				items.Put(tx, &item{Key: x.Key, Group: "new " + g})
				items.Put(tx, &item{Key: x.Key + "+", Group: g})
				n++
			}
		}
		for x := range items.Prefix(tx, "k") {
			items.Delete(tx, x.Key+"+")
		}
		if slots := items.in(tx).primary.Len(); n != 500 || slots != 1000 || items.Len(tx) != 500 {
			t.Errorf("%d items seen, %d slots, length %d", n, slots, items.Len(tx))
		}
	})
	v := s.View()
	defer v.Release()
	n := 0
	for x := range items.All(v) {
		if n++; !strings.HasPrefix(x.Group, "new g") {
			t.Fatalf("%v", x)
		}
	}
	if slots := items.in(v).primary.Len(); n != 500 || slots != 500 || items.Len(v) != 500 { // what nobody ever saw is collected
		t.Errorf("%d items, %d slots, length %d", n, slots, items.Len(v))
	}
}
