package gossip

import (
	"slices"
	"time"
)

// A member that starts again at another address, perhaps reinstalled and with another ID, knocks at whom it knew, once, and is
// refused while its old address is believed to live. If all servers move at once, they find one another again, and nobody
// else finds them: the others know the old addresses only. So who refused such a member calls it back when the old address has failed.

// mover is a member that has failed, and the address at which it may be now.
type mover struct{ name, addr string }

// seek calls a mover until it is let in, or forgotten. While others of its pool are believed to live at old addresses, it
// refuses the call; the name is free for its new address only reclaim after the failure. So one call may not do.
func (p *Pool) seek(m mover) {
	p.log.log.Info("a member failed that was refused at another address before; calling there", "member", m.name, "address", m.addr)
	again := time.NewTicker(reclaim)
	defer again.Stop()
	for p.failed(m.name) {
		// Its error is in memberlist's log, if anybody wants to know: who has moved on again is called for nothing.
		_, _ = p.call([]string{m.addr}, false)
		select {
		case <-again.C:
		case <-p.stop:
			return
		}
	}
}

func (p *Pool) failed(name string) bool {
	return slices.ContainsFunc(p.Members(), func(m Member) bool { return m.Name == name && m.Status == StatusFailed })
}
