package store

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// plain is a table without indexes, like the KV store's.
var plain = NewTable[item]("plain", Schema[item]{Key: func(x *item) string { return x.Key }})

func benchKey(i int) string { return fmt.Sprintf("service/web/instances/%08d", i) } // 30 bytes

// filled returns a store of n entries, committed a thousand at a time.
func filled(b testing.TB, t *Table[item, *item], n int) *Store {
	s := New([]AnyTable{t}, nil, Limits{})
	for i := 0; i < n; i += 1000 {
		do(b, s, func(tx *Tx) {
			for j := i; j < min(n, i+1000); j++ {
				t.Put(tx, &item{Key: benchKey(j * 7919 % n), Group: fmt.Sprint("g", j%100), Value: make([]byte, 64)})
			}
		})
	}
	return s
}

// BenchmarkPut measures one Command with one Put; batched commits 64 Commands at once, as a busy log does.
func BenchmarkPut(b *testing.B) {
	value := make([]byte, 64)
	for _, batch := range []int{1, 64} {
		for name, t := range map[string]*Table[item, *item]{"plain": plain, "indexed": items} {
			run := func(kind string, s *Store, key func(i int) string) {
				b.Run(fmt.Sprintf("%s/%s/batch=%d", kind, name, batch), func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; b.Loop(); {
						entry := s.Begin(int64(i))
						for range batch {
							x := &item{Key: key(i), Group: "g1", Value: value}
							_ = entry.Run(func(tx *Tx) error { t.Put(tx, x); return nil })
							i++
						}
						entry.Commit()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/put")
				})
			}
			keys := make([]string, 10000)
			for i := range keys {
				keys[i] = benchKey(i)
			}
			run("update", filled(b, t, 10000), func(i int) string { return keys[i*7919%10000] })
			run("insert", filled(b, t, 10000), func(i int) string { return benchKey(10000 + i*7919%10000019) })
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := filled(b, plain, 100000)
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = benchKey(i * 97)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		v := s.View()
		if plain.Get(v, keys[i%1000]) == nil {
			b.Fatal("missing")
		}
		v.Release()
	}
}

// BenchmarkGetUnderWrites reads while another goroutine commits without pause.
func BenchmarkGetUnderWrites(b *testing.B) {
	s := filled(b, plain, 100000)
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = benchKey(i * 97)
	}
	var stop atomic.Bool
	var writer sync.WaitGroup
	writes := 0
	writer.Go(func() {
		for ; !stop.Load(); writes++ {
			do(b, s, func(tx *Tx) { plain.Put(tx, &item{Key: keys[writes%1000]}) })
		}
	})
	for i := 0; b.Loop(); i++ {
		v := s.View()
		if plain.Get(v, keys[i%1000]) == nil {
			b.Fatal("missing")
		}
		v.Release()
	}
	stop.Store(true)
	writer.Wait()
	b.ReportMetric(float64(writes)/b.Elapsed().Seconds(), "writes/s")
}

func BenchmarkScan(b *testing.B) {
	s := filled(b, items, 100000)
	v := s.View()
	defer v.Release()
	scan := func(name string, want int, run func() int) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if n := run(); n != want {
					b.Fatalf("%d rows", n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*want), "ns/row")
		})
	}
	scan("prefix of 10k", 10000, func() (n int) {
		for range items.Prefix(v, "service/web/instances/0001") {
			n++
		}
		return n
	})
	scan("index key of 1k", 1000, func() (n int) {
		for range items.By(v, "group", "g7") {
			n++
		}
		return n
	})
	scan("keys of 100", 100, func() (n int) {
		for range items.Keys(v, "group") {
			n++
		}
		return n
	})
}

func BenchmarkSnapshot(b *testing.B) {
	s := filled(b, items, 100000)
	v := s.View()
	defer v.Release()
	var image bytes.Buffer
	if _, err := v.WriteTo(&image); err != nil {
		b.Fatal(err)
	}
	b.Run("write 100k", func(b *testing.B) {
		for b.Loop() {
			if _, err := v.WriteTo(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("restore 100k", func(b *testing.B) {
		for b.Loop() {
			if err := s.Restore(bytes.NewReader(image.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMemory reports what an entry costs in memory, key and value included: fresh, after as many updates as there
// are entries with the history of them gone, and restored.
func BenchmarkMemory(b *testing.B) {
	const n = 100000
	for name, t := range map[string]*Table[item, *item]{"plain": plain, "indexed": items} {
		measure := func(kind string, build func() *Store) {
			b.Run(name+"/"+kind, func(b *testing.B) {
				for b.Loop() {
					before := heap()
					s := build()
					b.ReportMetric(float64(heap()-before)/n, "B/entry")
					runtime.KeepAlive(s)
				}
			})
		}
		measure("fresh", func() *Store { return filled(b, t, n) })
		image := state(b, filled(b, t, n))
		measure("restored", func() *Store {
			s := New([]AnyTable{t}, nil, Limits{})
			if err := s.Restore(bytes.NewReader(image)); err != nil {
				b.Fatal(err)
			}
			return s
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkWake measures a commit that touches one of 1,000 watched subjects, and one that touches none.
func BenchmarkWake(b *testing.B) {
	s := New([]AnyTable{items}, nil, Limits{Age: time.Nanosecond})
	for i := range 1000 {
		defer s.Watch([]Subject{{Kind: "k", Name: fmt.Sprint(i)}, {Kind: "p", Name: fmt.Sprint(i), Prefix: true}}, func() {}).Close()
	}
	for name, subject := range map[string]Subject{"one": {Kind: "k", Name: "7"}, "prefix": {Kind: "p", Name: "77/x"}, "none": {Kind: "q"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				do(b, s, func(tx *Tx) { tx.Touch(subject) })
			}
		})
	}
}
