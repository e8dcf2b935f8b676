package relay_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/engine/rpc"
	"rostra/engine/server"
	"rostra/kit/fault"
)

// deaf is a port whose other side never answers.
type deaf struct{}

func (deaf) Call(ctx context.Context, _ rpc.Target, _ string, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, fault.New(fault.Unknown, "%s", context.Cause(ctx))
}

func (deaf) Stream(context.Context, rpc.Target, string) (rpc.Stream, error) {
	return nil, errors.New("no stream")
}

// TestTimeout: limits.rpc_client_timeout shortens how long an answer may take, and does not lengthen it; a blocking query
// has its wait besides.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		types, err := server.NewTypes(rooms)
		if err != nil {
			t.Fatal(err)
		}
		clients := relay.NewClients(types, deaf{}, 7*time.Second)
		defer clients.Close()
		to := clients.To(rpc.Target{Address: "192.0.2.1:8300"})
		for _, c := range []struct{ set, wait, want time.Duration }{
			{0, 0, 12 * time.Second}, {60 * time.Second, 0, 12 * time.Second}, {3 * time.Second, 0, 3 * time.Second},
			{3 * time.Second, time.Minute, 63 * time.Second},
		} {
			clients.SetTimeout(c.set)
			o := room.Options{Wait: c.wait}
			if c.wait > 0 {
				o.Index = 1
			}
			began := time.Now()
			if _, _, err := to.Read(t.Context(), last{}, o); !fault.Is(err, fault.Unknown) || time.Since(began) != c.want {
				t.Errorf("%v: an answer that does not come is given up after %v, want %v; %v", c.set, time.Since(began), c.want, err)
			}
		}
	})
}
