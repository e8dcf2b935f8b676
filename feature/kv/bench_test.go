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
// their bytes to the published view, among 100,000 keys.
func BenchmarkApply(b *testing.B) {
	const keys, batch = 100_000, 64
	var tables []store.AnyTable
	var triggers []store.Trigger
	for _, r := range []room.Room{catalog.Room, session.Room, Room} {
		tables, triggers = append(tables, r.Tables...), append(triggers, r.Triggers...)
	}
	s := store.New(tables, triggers, store.Limits{})
	raw := func(i int, value byte) []byte {
		c := &Put{Op{Verb: Set, Key: fmt.Sprintf("bench/kv/%03d/%08d", i%100, i), Value: make([]byte, 100)}}
		c.Op.Value[0] = value
		out, err := c.MarshalMsg(nil)
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
	apply := func(now int64, list [][]byte) {
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
	// Two rounds of every key, so that no Command finds what it would write.
	var round [2][][]byte
	for r := range round {
		for i := range keys {
			round[r] = append(round[r], raw(i*7919%keys, byte(r)))
		}
		for at := 0; at+batch <= keys; at += batch {
			apply(1, round[r][at:at+batch])
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	n := 0
	for b.Loop() {
		at := n % (keys / batch) * batch
		apply(int64(n), round[n/(keys/batch)%2][at:at+batch])
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*batch), "ns/write")
}
