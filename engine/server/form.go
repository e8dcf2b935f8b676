package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/relay"
	"rostra/engine/roster"
)

// formPeriod is how often a server without state looks whether its cluster can be formed.
const formPeriod = 200 * time.Millisecond

// formAgain is how seldom it says the same reason why it cannot.
const formAgain = time.Minute

// form writes the first configuration of a new cluster once as many servers as expected are there and all of them name the
// same ones: then all write the same. Two that saw different servers would begin two clusters. It ends when there is state.
func (s *Server) form(ctx context.Context) {
	tick := time.NewTicker(formPeriod)
	defer tick.Stop()
	said := map[string]time.Time{} // reasons may take turns, each try another
	for tries := 1; !s.node.Begun(); tries++ {
		if tries%compareAgain == 0 {
			s.meet(ctx)
		}
		err := s.tryForm(ctx)
		switch {
		case err == nil:
			return
		case time.Since(said[err.Error()]) > formAgain:
			if len(said) > 16 {
				clear(said)
			}
			said[err.Error()] = time.Now()
			s.opts.Log.Info("cannot form the cluster yet", "reason", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// compareAgain is after how many tries the servers compare their lists of members: news of one may have passed another by,
// and gossip would do it only every half minute.
const compareAgain = 10

// meet exchanges the whole list of members with every server that is known.
func (s *Server) meet(ctx context.Context) {
	if s.host.LAN == nil {
		return
	}
	var addresses []string
	for _, m := range s.host.LAN.Members() {
		if one, is := roster.Parse(m); is && one.ID != s.opts.ID && m.Status == gossip.StatusAlive {
			addresses = append(addresses, net.JoinHostPort(m.Addr, strconv.Itoa(int(m.Port))))
		}
	}
	if len(addresses) == 0 {
		return
	}
	if _, err := s.host.LAN.Join(ctx, addresses); err != nil {
		s.opts.Log.Debug("cannot compare members with the other servers", "error", err)
	}
}

func (s *Server) tryForm(ctx context.Context) error {
	chosen, err := s.chosen()
	if err != nil {
		return err
	}
	mine := idsOf(chosen)
	if !slices.Contains(mine, s.opts.ID) {
		return errors.New("there are more servers than expected; the others form it and add this one")
	}
	var peers []consensus.Peer
	for _, one := range chosen {
		peers = append(peers, consensus.Peer{ID: one.ID, Address: one.Address, Voter: true})
		if one.ID == s.opts.ID {
			continue
		}
		ctx, end := context.WithTimeout(ctx, roundTime)
		begun, with, err := s.ask(one).Forming(ctx, s.opts.ID)
		end()
		switch {
		case err != nil:
			return fmt.Errorf("cannot ask server %s at %s: %w", one.Node, one.Address, err)
		case begun && !slices.Equal(with, mine):
			return fmt.Errorf("server %s belongs to a cluster already, whose leader will add this one", one.Node)
		case !slices.Equal(with, mine):
			return fmt.Errorf("server %s does not see the same servers yet", one.Node)
		}
	}
	err = s.node.Form(ctx, peers)
	if err == nil {
		s.formed.Store(&mine)
	}
	return err
}

func (s *Server) ask(one roster.Server) *relay.Client {
	return s.clients.To(s.target(consensus.Peer{ID: one.ID, Address: one.Address}))
}

// chosen returns the servers that a new cluster would be made of: of those that expect one of this size, as many as it
// needs, by ID.
func (s *Server) chosen() ([]roster.Server, error) {
	var list []roster.Server
	for _, one := range s.host.Roster.Servers("") {
		switch {
		case one.Status != gossip.StatusAlive || !one.Voter:
		case one.Bootstrap && one.ID != s.opts.ID:
			return nil, fmt.Errorf("server %s was started with bootstrap: it is a cluster of its own, whose leader will add this one", one.Node)
		case one.Expect != 0 && one.Expect != s.opts.Expect:
			return nil, fmt.Errorf("server %s has bootstrap_expect %d, this one %d; give all the same", one.Node, one.Expect, s.opts.Expect)
		case one.Expect == s.opts.Expect:
			list = append(list, one)
		}
	}
	if len(list) < s.opts.Expect {
		return nil, fmt.Errorf("%d of %d expected servers are known", len(list), s.opts.Expect)
	}
	slices.SortFunc(list, func(a, b roster.Server) int { return cmp.Compare(a.ID, b.ID) })
	return list[:s.opts.Expect], nil
}

// Forming implements relay.Peer. A server that has just formed the cluster still names who with, so that the others can
// too; one that has been in it before this process does not: who comes without state then is added by the leader.
func (s *Server) Forming() (begun bool, with []string) {
	if s.node.Begun() {
		if ids := s.formed.Load(); ids != nil {
			with = *ids
		}
		return true, with
	}
	chosen, err := s.chosen()
	if err != nil {
		return false, nil
	}
	return false, idsOf(chosen)
}

func idsOf(list []roster.Server) (ids []string) {
	for _, one := range list {
		ids = append(ids, one.ID)
	}
	return ids
}
