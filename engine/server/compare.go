package server

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/store"
)

// Servers that run the same log must come to the same state. Every few thousand entries the leader asks the voters what they
// came to and writes into the log what most of them did; a server that came to something else stops before it tells
// anybody (design rule 22), also if it is the leader.
const (
	compareEvery  = 4096 // log entries
	marksKept     = 8 * compareEvery
	comparePeriod = time.Second // how often the leader looks whether it is time: far fewer entries than are kept pass meanwhile
	compareTries  = 5           // how often voters are asked who agree neither with the leader nor with one another
	compareCheck  = "rostra:states"
)

// mark is the state after one log entry: its index, and the sum of the digests of all entries up to it since this process
// began. The difference of two sums is the same on every server that has run what lies between.
type mark struct{ index, sum uint64 }

// marks are the newest ones, of different indexes, in order.
type marks struct {
	mu      sync.Mutex
	list    []mark
	entries uint64 // since the last comparison
	until   uint64 // the index up to which that went: the next begins there
	entry   uint64 // of the log, the newest that was run
}

func (m *marks) add(entry, index, digest uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries++
	m.entry = entry
	last := mark{}
	if n := len(m.list); n > 0 {
		last = m.list[n-1]
	}
	if digest == 0 || index == last.index {
		return
	}
	if len(m.list) == 2*marksKept {
		m.list = m.list[:copy(m.list, m.list[marksKept:])]
	}
	m.list = append(m.list, mark{index, last.sum + digest})
}

// clear forgets all: the state was replaced.
func (m *marks) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = m.list[:0]
}

// due returns what to compare, if there is enough of it: what came since the last comparison, up to a log entry.
func (m *marks) due() (c Compare, entry uint64, is bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries < compareEvery || len(m.list) < 2 {
		return Compare{}, 0, false
	}
	m.entries = 0
	from, known := m.find(m.until)
	to := m.list[len(m.list)-1]
	if !known {
		from = m.list[0]
	}
	return Compare{From: from.index, To: to.index, Sum: to.sum - from.sum}, m.entry, from != to
}

// judge reports whether this server came to the same. What it has not run itself it cannot tell.
func (m *marks) judge(c *Compare) (same, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries, m.until = 0, c.To
	sum, known := m.sum(c.From, c.To)
	return sum == c.Sum, known
}

// sum returns, to who holds mu, what this server came to between two indexes. known is false if it has not run that itself; what one came to
// that has no such indexes is 0.
func (m *marks) sum(from, to uint64) (sum uint64, known bool) {
	if len(m.list) == 0 || m.list[0].index > from {
		return 0, false
	}
	a, is := m.find(from)
	b, also := m.find(to)
	if !is || !also {
		return 0, true
	}
	return b.sum - a.sum, true
}

// upTo is sum, once the log has been run up to entry.
func (m *marks) upTo(entry, from, to uint64) (there bool, sum uint64, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entry < entry {
		return false, 0, false
	}
	sum, known = m.sum(from, to)
	return true, sum, known
}

func (m *marks) find(index uint64) (mark, bool) {
	i := sort.Search(len(m.list), func(i int) bool { return m.list[i].index >= index })
	if i == len(m.list) || m.list[i].index != index {
		return mark{}, false
	}
	return m.list[i], true
}

// compare stops this server if its state is not that of the others.
func (m machine) compare(c *Compare) {
	same, known := m.marks.judge(c)
	if !known {
		return
	}
	if !same {
		panic(fmt.Errorf("%w: they differ between index %d and %d. Remove this server from the cluster (operator raft remove-peer), "+
			"move its directory raft away and start it anew", consensus.ErrState, c.From, c.To))
	}
	m.stats.compared.Add(1)
}

// sumPeriod is how often a server that is asked looks whether it has come there.
const sumPeriod = 10 * time.Millisecond

// Sum implements relay.Peer.
func (s *Server) Sum(ctx context.Context, entry, from, to uint64) (sum uint64, known bool) {
	ctx, end := context.WithTimeout(ctx, roundTime)
	defer end()
	tick := time.NewTicker(sumPeriod)
	defer tick.Stop()
	for {
		if there, sum, known := s.marks.upTo(entry, from, to); there {
			return sum, known
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, false
		}
	}
}

// Compare is the Command that says what a leader came to. It changes nothing.
type Compare struct{ From, To, Sum uint64 }

// Name is the Command's name in the log.
func (c *Compare) Name() string { return "rostra.compare" }

// Allowed is always nil: only a leader proposes it.
func (c *Compare) Allowed(store.Reader, authz.Decider) error { return nil }

// Run does nothing: the comparison is with what this process knows of itself, not with the state.
func (c *Compare) Run(*store.Tx) (room.Result, error) { return nil, nil }

// MarshalMsg appends the fields.
func (c *Compare) MarshalMsg(b []byte) ([]byte, error) {
	b = msgp.AppendUint64(msgp.AppendArrayHeader(b, 3), c.From)
	return msgp.AppendUint64(msgp.AppendUint64(b, c.To), c.Sum), nil
}

// UnmarshalMsg reads the fields.
func (c *Compare) UnmarshalMsg(b []byte) (rest []byte, err error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err == nil && n != 3 {
		err = msgp.ArrayError{Wanted: 3, Got: n}
	}
	for _, field := range []*uint64{&c.From, &c.To, &c.Sum} {
		if err == nil {
			*field, b, err = msgp.ReadUint64Bytes(b)
		}
	}
	return b, err
}

// proposeCompare is a duty of the leader.
func (s *Server) proposeCompare(ctx context.Context) error {
	tick := time.NewTicker(comparePeriod)
	defer tick.Stop()
	defer s.report("")
	for {
		if c, entry, is := s.marks.due(); is {
			s.decide(ctx, &c, entry)
			if _, _, err := s.Apply(ctx, &c, room.Options{}); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// decide sets c.Sum to what most voters came to. While some differ and there is no majority, it asks again: others may not
// have been reached. In the end the leader's own word counts.
func (s *Server) decide(ctx context.Context, c *Compare, entry uint64) {
	voters := s.node.Voters()
	own := c.Sum
	for range compareTries {
		sums := s.askSums(ctx, c, entry)
		sums[s.opts.ID] = own
		sum, certain := mostCommon(sums, voters, own)
		s.report(s.odd(sums, sum))
		if c.Sum = sum; certain || ctx.Err() != nil {
			return
		}
		select {
		case <-time.After(comparePeriod):
		case <-ctx.Done():
		}
	}
}

// askSums asks the other voters what they came to. Who does not answer, or cannot tell, is not in the result.
func (s *Server) askSums(ctx context.Context, c *Compare, entry uint64) map[string]uint64 {
	sums := map[string]uint64{}
	if s.clients == nil {
		return sums
	}
	ctx, end := context.WithTimeout(ctx, roundTime)
	defer end()
	var mu sync.Mutex // guards sums
	var wait sync.WaitGroup
	for _, p := range s.others() {
		wait.Go(func() {
			if sum, known := s.clients.To(s.target(p)).Sum(ctx, entry, c.From, c.To); known {
				mu.Lock()
				defer mu.Unlock()
				sums[p.ID] = sum
			}
		})
	}
	wait.Wait()
	return sums
}

// mostCommon returns the sum that most of all voters have. If there is none it is the leader's own, which is certain only if
// nobody differs.
func mostCommon(sums map[string]uint64, voters int, own uint64) (sum uint64, certain bool) {
	count := map[uint64]int{}
	for _, one := range sums {
		if count[one]++; count[one] > voters/2 {
			return one, true
		}
	}
	return own, len(count) == 1
}

// odd names the servers that came to something else.
func (s *Server) odd(sums map[string]uint64, sum uint64) string {
	var names []string
	for id, one := range sums {
		if one == sum {
			continue
		}
		if s.host != nil && s.host.Roster != nil {
			if known, is := s.host.Roster.Find(id); is {
				id = known.Node
			}
		}
		names = append(names, id)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

// report tells, in the log and by a check of this node, which servers have another state than the rest; "" is none.
func (s *Server) report(odd string) {
	if odd != "" {
		s.opts.Log.Error("the state of a server is not that of the others; it stops", "server", odd)
	}
	if s.host == nil || s.host.Reports == nil {
		return
	}
	if odd == "" {
		s.host.Reports.Drop(compareCheck)
		return
	}
	s.host.Reports.Set(room.Report{ID: compareCheck, Name: "States of the servers", Status: "warning",
		Output: "the state of " + odd + " is not that of the other servers; it stops. Its log says what to do"})
}
