package server

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/room"
	"rostra/kit/authz"
	"rostra/kit/store"
)

// Servers that run the same log must come to the same state. Every few thousand entries the leader writes into the log what
// it came to, and a server that came to something else stops before it tells anybody (design rule 22).
const (
	compareEvery  = 4096 // log entries
	marksKept     = 4 * compareEvery
	comparePeriod = 5 * time.Second // how often the leader looks whether it is time
)

// mark is the state after one log entry: its index, and the sum of the digests of all entries up to it since this process
// began. The difference of two sums is the same on every server that has run what lies between.
type mark struct{ index, sum uint64 }

// marks are the newest ones, of different indexes, in order.
type marks struct {
	mu      sync.Mutex
	list    []mark
	entries uint64 // since the last comparison
}

func (m *marks) add(index, digest uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries++
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

// due returns what to compare, if there is enough of it.
func (m *marks) due() (Compare, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries < compareEvery || len(m.list) < 2 {
		return Compare{}, false
	}
	m.entries = 0
	from, to := m.list[max(0, len(m.list)-compareEvery-1)], m.list[len(m.list)-1]
	return Compare{From: from.index, To: to.index, Sum: to.sum - from.sum}, true
}

// judge reports whether this server came to the same. What it has not run itself it cannot tell.
func (m *marks) judge(c *Compare) (same, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = 0
	if len(m.list) == 0 || m.list[0].index > c.From {
		return false, false
	}
	from, is := m.find(c.From)
	to, also := m.find(c.To)
	return is && also && to.sum-from.sum == c.Sum, true
}

func (m *marks) find(index uint64) (mark, bool) {
	i := sort.Search(len(m.list), func(i int) bool { return m.list[i].index >= index })
	if i == len(m.list) || m.list[i].index != index {
		return mark{}, false
	}
	return m.list[i], true
}

// compare stops this server if its state is not the leader's.
func (m machine) compare(c *Compare) {
	same, known := m.marks.judge(c)
	if !known {
		return
	}
	if !same {
		panic(fmt.Errorf("the state of this server is not the leader's: they differ between index %d and %d; stop this server, "+
			"remove it from the cluster (operator raft remove-peer), move its directory raft away and start it anew", c.From, c.To))
	}
	m.stats.compared.Add(1)
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
	for {
		if c, is := s.marks.due(); is {
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
