package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/go-memdb"
)

func memdbOfItems(t *testing.T) *memdb.MemDB {
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{"items": {
		Name: "items",
		Indexes: map[string]*memdb.IndexSchema{
			"id":    {Name: "id", Unique: true, Indexer: &memdb.StringFieldIndex{Field: "Key"}},
			"group": {Name: "group", AllowMissing: true, Indexer: &memdb.StringFieldIndex{Field: "Group"}},
			"tag":   {Name: "tag", AllowMissing: true, Indexer: &memdb.StringSliceFieldIndex{Field: "Tags"}},
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestAgainstMemdb makes the same changes in both and compares scans of every index, in views as old as the test.
func TestAgainstMemdb(t *testing.T) {
	seeds(t, 3, func(t *testing.T, r *rand.Rand) {
		s, db := New([]AnyTable{items}, nil, Limits{Versions: 10}), memdbOfItems(t)
		type pair struct {
			view *View
			txn  *memdb.Txn
		}
		var pairs []pair
		for range 150 {
			b, txn := s.Begin(1), db.Txn(true)
			for range 1 + r.IntN(5) {
				x := &item{Key: randomKey(r), Group: []string{"", "g", "h", "gg"}[r.IntN(4)], Tags: []string{"x", "y", "xy"}[:r.IntN(4)]}
				del := r.IntN(3) == 0
				err := b.Run(func(tx *Tx) error {
					if del {
						items.Delete(tx, x.Key)
					} else {
						items.Put(tx, x)
					}
					return nil
				})
				if err == nil && !del {
					err = txn.Insert("items", x)
				} else if _, e := txn.DeleteAll("items", "id", x.Key); err == nil {
					err = e
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			b.Commit()
			txn.Commit()
			pairs = append(pairs, pair{s.View(), db.Txn(false)})
		}
		for i, p := range pairs {
			for _, q := range [][2]string{{"group", "g"}, {"group", "h"}, {"group", "gg"}, {"tag", "x"}, {"tag", "y"}, {"tag", "xy"}} {
				it, err := p.txn.Get("items", q[0], q[1])
				if err != nil {
					t.Fatal(err)
				}
				compareScan(t, fmt.Sprint("view ", i, " ", q), items.By(p.view, q[0], q[1]), it)
			}
			for _, k := range []string{"a", "b/", "c/a", "d/b/c"} {
				it, err := p.txn.Get("items", "id_prefix", k)
				if err != nil {
					t.Fatal(err)
				}
				compareScan(t, fmt.Sprint("view ", i, " ", k), items.Prefix(p.view, k), it)
			}
			p.view.Release()
		}
	})
}

func compareScan(t *testing.T, what string, got func(func(*item) bool), want memdb.ResultIterator) {
	t.Helper()
	for x := range got {
		if y := want.Next(); y != x {
			t.Fatalf("%s: got %v, memdb has %v", what, x, y)
		}
	}
	if y := want.Next(); y != nil {
		t.Fatalf("%s: missing %v", what, y)
	}
}
