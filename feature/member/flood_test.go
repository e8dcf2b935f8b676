package member

import (
	"context"
	"strconv"
	"testing"

	"rostra/engine/gossip"
)

// TestFlood: one link between two datacenters brings all their servers together.
func TestFlood(t *testing.T) {
	type server struct{ lan, wan *gossip.Pool }
	open := func(name string) server {
		wan := pool(t, name+".dc1", 0)
		lan := pool(t, name, 0)
		tags := lan.Local().Tags
		tags["wan_join_port"] = strconv.Itoa(int(wan.Local().Port))
		if err := lan.SetTags(tags); err != nil {
			t.Fatal(err)
		}
		return server{lan, wan}
	}
	a, b, far := open("a"), open("b"), pool(t, "x.dc2", 0)
	if _, err := b.wan.Join(t.Context(), []string{addr(far)}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&flooder{a.lan, a.wan, (&lines{}).logger()}).run(ctx) }()
	if _, err := a.lan.Join(t.Context(), []string{addr(b.lan)}); err != nil {
		t.Fatal(err)
	}
	for _, wan := range []*gossip.Pool{a.wan, b.wan, far} {
		eventually(t, "all servers are in the WAN pool", func() bool { return len(wan.Members()) == 3 })
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := (&flooder{lan: a.lan, wan: a.wan}).missing(); len(got) != 0 {
		t.Errorf("still missing: %v", got)
	}
	if err := (&flooder{lan: a.lan}).run(t.Context()); err != nil {
		t.Error(err)
	}
}
