package store

import "testing"

// TestDigest: whatever a Command leaves otherwise shows in the digest. The digest itself is compared between servers of
// different versions, so that it must stay what it is.
func TestDigest(t *testing.T) {
	run := func(f func(*Tx)) uint64 {
		s := New(worldTables, worldTriggers, Limits{})
		do(t, s, func(tx *Tx) { items.Put(tx, &item{Key: "there", Group: "g"}) })
		b := s.Begin(7)
		defer b.Commit()
		if err := b.Run(func(tx *Tx) error { f(tx); return nil }); err != nil {
			t.Fatal(err)
		}
		return b.Digest()
	}
	put := func(key, value string) func(*Tx) {
		return func(tx *Tx) { items.Put(tx, &item{Key: key, Group: "g", Value: []byte(value)}) }
	}
	seen := map[uint64]string{0: "no change"}
	for _, c := range []struct {
		what string
		f    func(*Tx)
	}{
		{"a row", put("a", "1")},
		{"another value", put("a", "2")},
		{"another key", put("b", "1")},
		{"a row that goes", func(tx *Tx) { items.Delete(tx, "there") }},
		{"a subject", func(tx *Tx) { put("a", "1")(tx); tx.Touch(Subject{Kind: "k", Name: "n"}) }},
		{"another subject", func(tx *Tx) { put("a", "1")(tx); tx.Touch(Subject{Kind: "k", Name: "m"}) }},
	} {
		got := run(c.f)
		if got != run(c.f) {
			t.Errorf("%s: not always the same", c.what)
		}
		if other, is := seen[got]; is {
			t.Errorf("%s has the digest of %s", c.what, other)
		}
		seen[got] = c.what
	}
	if got := run(put("a", "1")); got != 17867412255462111250 {
		t.Errorf("the digest has become %d: servers of two versions would take each other for wrong", got)
	}
}
