package gossip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"rostra/kit/fault"
)

// Join connects this pool with those of the members at the addresses, host[:port], where a host name stands for all its
// IPs. It returns how many answered, and no error if one did; else a fault with Consul's text. It takes as long as the
// dials do, up to some ten seconds each. It cannot be called off: when ctx ends first, Join returns its error and the
// dialling goes on until the pool is closed. User events from before are not delivered.
func (p *Pool) Join(ctx context.Context, addrs []string) (int, error) {
	type outcome struct {
		n   int
		err error
	}
	done := make(chan outcome, 1)
	p.ending.Lock()
	if p.closed {
		p.ending.Unlock()
		return 0, fmt.Errorf("cannot join: %w", errClosed)
	}
	p.work.Go(func() {
		n, err := p.call(addrs, true)
		done <- outcome{n, err}
		if n > 0 {
			p.announceAgain()
		}
	})
	p.ending.Unlock()
	select {
	case o := <-done:
		if o.err == nil {
			return o.n, nil
		}
		return o.n, p.joinFault(addrs, o.err)
	case <-ctx.Done():
		return 0, fmt.Errorf("cannot wait for the end of joining: %w", ctx.Err())
	}
}

// call joins by Serf, one call after the other. Only who is new ignores the user events from before: for another member they
// are some that it missed.
func (p *Pool) call(addrs []string, isNew bool) (int, error) {
	select {
	case p.joining <- struct{}{}:
	case <-p.stop:
		return 0, errClosed
	}
	defer func() { <-p.joining }()
	return p.serf.Join(addrs, isNew)
}

func (p *Pool) joinFault(addrs []string, err error) error {
	// memberlist 0.5 wrote its errors with a capital; the text is part of the HTTP API.
	text := strings.ReplaceAll(err.Error(), "\t* failed to ", "\t* Failed to ")
	for _, sign := range signs[:3] { // those of kindKey
		if strings.Contains(text, sign.words) {
			p.tally.note(kindKey, strings.Join(addrs, " "), oneLine(text))
			text = strings.ReplaceAll(text, sign.words, sign.words+" (the keys of that agent and of this one differ; see `encrypt` and `keyring -list`)")
		}
	}
	return &fault.Error{Kind: fault.Internal, Text: text}
}

// announceTimes are how long after a join the member is announced again, and up to twice that: all have heard by then that
// it had been forced to leave, most of them at the first time.
var announceTimes = [...]time.Duration{5 * time.Second, 30 * time.Second}

// announceAgain tells all members once more that this one is here. Where somebody forces a failed member to leave at the
// moment of its return, both news may carry one Lamport time. Who hears of the leaving first then ignores the return, as no
// newer (serf.go, handleNodeJoinIntent), and the member itself ignores the leaving: it would be leaving there for ever. An
// exchange of lists adds one to the time of a leaving, so each announcement is made twice, at two times.
//
// A member that joins itself tells the others that it has joined, which costs them nothing else.
func (p *Pool) announceAgain() {
	self := hostPort(p.self.Addr, int(p.self.Port))
	for _, wait := range announceTimes {
		timer := time.NewTimer(wait + rand.N(wait))
		select {
		case <-timer.C:
		case <-p.stop:
			timer.Stop()
			return
		}
		for range 2 {
			_, _ = p.call([]string{self}, false)
		}
	}
}
