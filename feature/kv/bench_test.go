package kv

import (
	"fmt"
	"testing"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/session"
	"rostra/kit/store"
)

// BenchmarkApply measures what a busy log costs each server for every write: entries of 64 Commands that set keys, from
// their bytes to the published view, among 100,000 keys; again writes other values, new other keys, as 256 clients that count do.
func BenchmarkApply(b *testing.B) {
	const keys, batch = 100_000, 64
	value := func(i, v int) []byte { return append(make([]byte, 92), fmt.Sprintf("%08d", i+v)...) }
	count := func(i int) []byte { return raw(b, fmt.Sprintf("bench/kv/%03d/%d", i%256, i/256), value(i, 0)) }
	b.Run("again", func(b *testing.B) {
		s := open()
		var round [2][][]byte // so that no Command finds what it would write
		for r := range round {
			for i := range keys {
				round[r] = append(round[r], raw(b, fmt.Sprintf("bench/kv/%03d/%08d", i%100, i*7919%keys), value(i, r)))
			}
			for at := 0; at+batch <= keys; at += batch {
				apply(b, s, 1, round[r][at:at+batch])
			}
		}
		n := 0
		timed(b, batch, func() {
			at := n % (keys / batch) * batch
			apply(b, s, int64(n), round[n/(keys/batch)%2][at:at+batch])
			n++
		})
	})
	b.Run("new", func(b *testing.B) {
		s := open()
		n := 0
		entry := func() (list [][]byte) {
			for range batch {
				list = append(list, count(n))
				n++
			}
			return list
		}
		for n < keys {
			apply(b, s, 1, entry())
		}
		timed(b, batch, func() {
			b.StopTimer()
			if n > 2*keys {
				s, n = open(), 0
				for n < keys {
					apply(b, s, 1, entry())
				}
			}
			list := entry()
			b.StartTimer()
			apply(b, s, 1, list)
		})
	})
}

func open() *store.Store {
	var tables []store.AnyTable
	var triggers []store.Trigger
	for _, r := range []room.Room{catalog.Room, session.Room, Room} {
		tables, triggers = append(tables, r.Tables...), append(triggers, r.Triggers...)
	}
	return store.New(tables, triggers, store.Limits{})
}

func raw(b *testing.B, key string, value []byte) []byte {
	out, err := (&Put{Op{Verb: Set, Key: key, Value: value}}).MarshalMsg(nil)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

func apply(b *testing.B, s *store.Store, now int64, list [][]byte) {
	entry := s.Begin(now)
	for _, bytes := range list {
		c := &Put{}
		if _, err := store.DecodeStrict(bytes, c); err != nil {
			b.Fatal(err)
		}
		if err := entry.Run(func(tx *store.Tx) error { _, err := c.Run(tx); return err }); err != nil {
			b.Fatal(err)
		}
	}
	entry.Commit()
}

func timed(b *testing.B, batch int, once func()) {
	b.ReportAllocs()
	b.ResetTimer()
	n := 0
	for ; n < b.N; n++ {
		once()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*batch), "ns/write")
}
