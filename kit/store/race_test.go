package store

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// TestReadersWhileWriting lets readers take, keep and read views over and over while the writer goes on and now and then
// restores: what a view showed first it shows always. Every item's group is that of the index that wrote it, so a torn
// view would show two commits at once.
func TestReadersWhileWriting(t *testing.T) {
	s := New(worldTables, worldTriggers, Limits{Versions: 50})
	do(t, s, func(tx *Tx) { round(tx, 0) })
	var readers sync.WaitGroup
	var stop atomic.Bool
	var reads atomic.Int64
	for n := range 4 {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(n)))
			for !stop.Load() {
				v := s.View()
				first := slices.Collect(items.All(v))
				for _, x := range first {
					if x.Group != first[0].Group {
						t.Errorf("a view of two commits: %v and %v", first[0], x)
						stop.Store(true)
					}
				}
				image := snapshotOf(t, v)
				for range 1 + r.IntN(20) {
					if !slices.Equal(slices.Collect(items.All(v)), first) ||
						!slices.Equal(slices.Collect(items.By(v, "group", first[0].Group)), first) {
						t.Error("a view moved")
						stop.Store(true)
					}
					k := first[r.IntN(len(first))].Key
					if x := items.Get(v, k); x == nil || x.Group != first[0].Group {
						t.Errorf("%s in a view of %s: %v", k, first[0].Group, x)
					}
					if v.Index() > 3 {
						_, _ = items.At(v, k, v.Index()-r.Uint64N(3))
					}
				}
				if !bytes.Equal(snapshotOf(t, v), image) {
					t.Error("a view's snapshot moved")
				}
				v.Release()
				_ = s.Verify(bytes.NewReader(image))
				reads.Add(1)
			}
		})
	}
	for n := 1; n < 1500 && !stop.Load() || reads.Load() < 20; n++ {
		b := s.Begin(int64(n))
		for range 3 {
			if err := b.Run(func(tx *Tx) error { round(tx, n); return nil }); err != nil {
				t.Error(err)
			}
		}
		_ = b.Run(func(tx *Tx) error { round(tx, -1); return io.EOF })
		b.Commit()
		if n%100 == 0 {
			if err := s.Restore(bytes.NewReader(state(t, s))); err != nil {
				t.Error(err)
			}
		}
	}
	stop.Store(true)
	readers.Wait()
}

// round replaces all items by others: some keys go, some come, all are of one group.
func round(tx *Tx, n int) {
	for x := range items.All(tx) {
		if (n+int(x.Key[0]))%3 == 0 {
			items.Delete(tx, x.Key)
		}
	}
	g := "round " + string(rune('0'+n%7)) + string(rune('a'+n%11))
	for k := range 40 {
		if (n+k)%3 != 0 || k == 0 {
			items.Put(tx, &item{Key: string(rune('A' + k)), Group: g})
		}
	}
	for x := range items.All(tx) {
		if x.Group != g {
			items.Put(tx, &item{Key: x.Key, Group: g})
		}
	}
}

// TestNoMissedWake: whoever registers, notes the count and then takes a view has the newest state for as long as the
// count stays; so a reader that waits for wake-ups alone sees the last write.
func TestNoMissedWake(t *testing.T) {
	s := New(worldTables, nil, Limits{})
	subject := Subject{Kind: "k", Name: "n"}
	const last = 2000
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for seen := uint64(0); seen < last; {
				woken := make(chan struct{}, 1)
				w := s.Watch([]Subject{subject}, func() {
					select {
					case woken <- struct{}{}:
					default:
					}
				})
				for range 50 {
					before := touches(w)
					v := s.View()
					seen = v.Touched(subject)
					v.Release()
					if seen >= last {
						break
					}
					if touches(w) == before {
						<-woken
					}
				}
				w.Close()
			}
		})
	}
	for range last {
		do(t, s, func(tx *Tx) { tx.Touch(subject) })
	}
	readers.Wait()
	if len(s.registry.waiters) != 0 || len(s.registry.lengths) != 0 {
		t.Error("closed waiters are still registered")
	}
}
