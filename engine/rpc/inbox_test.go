package rpc

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestBigBodiesWait: while a connection's calls hold as much memory as they may, its next big one is not received; small
// calls, streams and other connections do not wait for that, and who waits gives up at his deadline.
func TestBigBodiesWait(t *testing.T) {
	const big = inboxBytes/2 + 1
	var serving atomic.Int32
	var let chan struct{} // one for each call that may end; made in the bubble
	h := handler{call: func(_ context.Context, _ Peer, _ string, body []byte) ([]byte, error) {
		if len(body) == big {
			serving.Add(1)
			<-let
		}
		return nil, nil
	}}
	bubble(t, h, func(t *testing.T, m *memory, _, client *Port, _ func()) {
		let = make(chan struct{})
		call := func(c *Port, ctx context.Context, size int) error {
			_, err := c.Call(ctx, Target{Address: "s"}, "m", make([]byte, size))
			return err
		}
		served := func(want int32, when string) {
			t.Helper()
			synctest.Wait()
			if got := serving.Load(); got != want {
				t.Fatalf("%s: %d big calls have been served, want %d", when, got, want)
			}
		}
		ended := make(chan error, 3)
		for range 2 {
			go func() { ended <- call(client, t.Context(), big) }()
			synctest.Wait()
		}
		served(1, "two of one connection")
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := call(client, impatient, big); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one that waits longer than it may: %v", err)
		}
		if err := call(client, t.Context(), 100); err != nil {
			t.Error(err)
		}
		s, err := client.Stream(t.Context(), Target{Address: "s"}, "echo")
		if err == nil {
			err = s.Send([]byte("x"))
		}
		if err == nil {
			_, err = s.Recv()
		}
		if err != nil {
			t.Errorf("a stream: %v", err)
		}
		other, stop := begin(t, Options{Dial: m.dial})
		defer stop()
		go func() { ended <- call(other, t.Context(), big) }()
		served(2, "one of another connection")
		for i := range 3 {
			let <- struct{}{}
			if err := <-ended; err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		}
		served(3, "at the end")
	})
}

// TestManyBigBodies: more calls with big bodies than a connection may have streams, all at once.
func TestManyBigBodies(t *testing.T) {
	bubble(t, handler{}, func(t *testing.T, _ *memory, _, client *Port, _ func()) {
		ended := make(chan error)
		const many = maxStreams + 40
		for i := range many {
			go func() {
				body := slices.Repeat([]byte{byte(i)}, laneBody+1)
				reply, err := client.Call(t.Context(), Target{Address: "s"}, "m", body)
				if err == nil && !slices.Equal(reply, body) {
					t.Errorf("call %d got another's reply", i)
				}
				ended <- err
			}()
		}
		for range many {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}
