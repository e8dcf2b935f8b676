package member

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"rostra/engine/gossip"
)

// floodPeriod is how often a server looks whether all servers of its datacenter are in the pool between datacenters.
const floodPeriod = 60 * time.Second

// flooder brings the servers of the LAN pool into the WAN pool, so that one join between two datacenters suffices for all
// their servers. It works on servers.
type flooder struct {
	lan, wan *gossip.Pool // wan is nil where there is none
	log      *slog.Logger
}

// run works until ctx ends.
func (f *flooder) run(ctx context.Context) error {
	if f.wan == nil {
		return nil
	}
	tick := time.NewTicker(floodPeriod)
	defer tick.Stop()
	changed := make(chan struct{}, 1)
	var events sync.WaitGroup
	defer events.Wait()
	events.Go(func() {
		_ = f.lan.Run(ctx, func(e gossip.Event) { // ends with ctx or the pool; the tick catches what it may have missed
			if e.Kind != gossip.Joined && e.Kind != gossip.Resync {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	})
	for {
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		for _, addr := range f.missing() {
			if _, err := f.wan.Join(ctx, []string{addr}); err != nil && ctx.Err() == nil {
				f.log.Warn("cannot bring a server of this datacenter into the WAN pool", "address", addr, "error", oneLine(err))
			}
		}
	}
}

// missing are the WAN addresses of live servers of the LAN pool that the WAN pool does not have.
func (f *flooder) missing() (addrs []string) {
	there := map[string]bool{}
	for _, m := range f.wan.Members() {
		there[m.Name] = m.Status == gossip.StatusAlive
	}
	for _, m := range f.lan.Members() {
		port, err := strconv.Atoi(m.Tags["wan_join_port"])
		if m.Status != gossip.StatusAlive || m.Tags["role"] != roleServer || err != nil || port < 1 || port > 65535 {
			continue
		}
		if !there[m.Name+"."+m.Tags["dc"]] {
			addrs = append(addrs, net.JoinHostPort(m.Addr, strconv.Itoa(port)))
		}
	}
	return addrs
}
