package server

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/caller"
	"rostra/engine/relay"
	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/metric"
)

// TestRequestLimits: what others ask for is bounded, what the server does of its own accord is not.
func TestRequestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bubble(t, Options{Metrics: metric.New(), Limits: Limits{Mode: LimitsEnforcing, Read: 1, Write: -1}})
		defer b.stop()
		asked := caller.With(context.Background(), "192.0.2.1:5")
		tries := func(ctx context.Context, n int) (served int, last error) {
			for range n {
				if _, _, err := b.Read(ctx, read{name: "a"}, room.Options{}); err != nil {
					last = err
				} else {
					served++
				}
			}
			return served, last
		}
		n, err := tries(asked, 100)
		if n != burst || !fault.Is(err, fault.Elsewhere) || fault.Status(err) != 429 ||
			!strings.Contains(err.Error(), "rate limit exceeded, try again later or against a different server") ||
			!strings.Contains(err.Error(), "limits.request_limits.read_rate") {
			t.Errorf("%d of 100 are served; %v", n, err)
		}
		if n, _ := tries(context.Background(), 100); n != 100 {
			t.Errorf("%d of the server's own 100 are served", n)
		}
		if err := b.within(asked, true, func() string { return "note.write" }); err != nil {
			t.Errorf("writes are not limited, and one is refused: %v", err)
		}
		time.Sleep(3 * time.Second)
		if n, _ := tries(asked, 100); n != 3 {
			t.Errorf("%d after 3 s, want 3", n)
		}
		if got := b.limits.over.Load(); got != 90+97 {
			t.Errorf("%d are counted", got)
		}
		b.SetLimits(Limits{Mode: LimitsPermissive, Read: 1, Write: 1})
		if n, _ := tries(asked, 50); n != 50 || b.limits.over.Load() != 90+97+50 {
			t.Errorf("permissive: %d served, %d counted", n, b.limits.over.Load())
		}
		b.SetLimits(Limits{Mode: LimitsDisabled, Read: 1, Write: 1})
		if n, _ := tries(asked, 50); n != 50 || b.limits.over.Load() != 90+97+50 {
			t.Errorf("disabled: %d served, %d counted", n, b.limits.over.Load())
		}
		if told := string(b.opts.Metrics.Prometheus(nil, 0)); !strings.Contains(told, `rpc_rate_limit_exceeded{limit_type="global/read",op="",mode="permissive"} 50`) {
			t.Errorf("metrics:\n%s", told)
		}
	})
}

// TestWriteLimit: the leader says that nobody else can help; and so it counts what followers send on.
func TestWriteLimit(t *testing.T) {
	b := start(t, Options{Metrics: metric.New(), Limits: Limits{Mode: LimitsEnforcing, Read: -1, Write: 0.001}})
	b.write("first", "own") // once it leads
	asked := caller.With(context.Background(), "192.0.2.1:5")
	w := func() room.Command { return &write{note{Name: "a", Text: "x"}} }
	if _, _, err := b.Apply(asked, w(), room.Options{}); err != nil {
		t.Fatal(err)
	}
	_, _, err := b.Apply(asked, w(), room.Options{})
	if !fault.Is(err, fault.Unavailable) || fault.Status(err) != 503 || !strings.Contains(err.Error(),
		"rate limit exceeded for operation that can only be performed by the leader, try again later") {
		t.Errorf("over the limit: %v", err)
	}
	for _, final := range []bool{false, true} {
		if outs, _ := b.Propose(asked, []relay.Proposal{{Command: w()}}, final); !fault.Is(outs[0].Err, fault.Unavailable) {
			t.Errorf("sent on, %v: %v", final, outs[0].Err)
		}
	}
	if outs, _ := b.Propose(context.Background(), []relay.Proposal{{Command: w()}}, true); outs[0].Err != nil {
		t.Errorf("its own: %v", outs[0].Err)
	}
	if b.read(read{name: "a"}, room.Options{}).Value != line("x") {
		t.Error("what was allowed is not there")
	}
}
