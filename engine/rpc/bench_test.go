package rpc

import (
	"context"
	"testing"
)

// body is as big as a usual answer.
var benchBody = make([]byte, 150)

func BenchmarkCall(b *testing.B) {
	_, client, to := pair(b, handler{})
	ctx := context.Background()
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.Call(ctx, to, "kv.put", benchBody); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(next *testing.PB) {
			for next.Next() {
				if _, err := client.Call(ctx, to, "kv.put", benchBody); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkStream is one message from the server to the client, of a stream that is never idle.
func BenchmarkStream(b *testing.B) {
	_, client, to := pair(b, handler{stream: func(ctx context.Context, _ Peer, _ string, s Stream) error {
		for {
			if err := s.Send(benchBody); err != nil {
				return nil
			}
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := client.Stream(ctx, to, "m")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Recv(); err != nil {
			b.Fatal(err)
		}
	}
}
