package consensus

import (
	"sync"
	"time"
)

// slew is by which part of the time that passes the log's clock may be faster or slower while it goes after the machine's.
const slew = 16

// stamper gives entries their times. What is measured in them (lock-delays, the age of tombstones) must not be cut short because
// the clock of one machine was set, or that of the next leader is ahead. So the log has a clock of its own: it goes on from
// the newest entry that this server knows by what has passed here since, which no setting of a clock changes, and follows the
// machine's clock by a sixteenth of that at most. After a time without any server it stands where it stood.
type stamper struct {
	wall func() time.Time // the machine's clock

	mu   sync.Mutex // guards the rest
	last int64      // time of the newest entry, unix nanoseconds; 0: none is known
	seen time.Time  // when it was known here
}

// saw takes note of an entry, or of a state, of that time.
func (s *stamper) saw(at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at > s.last {
		s.last, s.seen = at, time.Now()
	}
}

// stamp returns the time of the next entry; each has one of its own.
func (s *stamper) stamp() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, at := time.Now(), s.wall().UnixNano()
	if s.last > 0 {
		passed := int64(now.Sub(s.seen))
		slowest, fastest := s.last+passed-passed/slew, s.last+passed+passed/slew
		at = max(s.last+1, min(max(at, slowest), fastest))
	}
	s.last, s.seen = at, now
	return at
}
