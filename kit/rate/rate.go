// Package rate bounds how often something may happen: a token bucket that can be changed while it is used.
package rate

import (
	"math"
	"sync"
	"time"
)

// Limit allows Rate events a second in the long run, and Burst at once. The zero value allows everything. Safe for
// concurrent use; it must not be copied once it is used.
type Limit struct {
	mu     sync.Mutex // guards the rest
	rate   float64    // 0 allows everything
	burst  float64
	tokens float64
	filled time.Time // when tokens was true
}

// Set changes the limit. A rate below 0 allows everything. burst is at least 1. A limit that is set again as it was keeps
// what was used of it.
func (l *Limit) Set(rate float64, burst int) {
	rate = max(0, rate)
	most := float64(max(1, burst))
	l.mu.Lock()
	defer l.mu.Unlock()
	if rate == l.rate && most == l.burst {
		return
	}
	l.rate, l.burst, l.tokens, l.filled = rate, most, most, time.Time{}
}

// Allow reports whether one more event is allowed at that time, and counts it if so.
func (l *Limit) Allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate == 0 || math.IsInf(l.rate, 1) {
		return true
	}
	if l.filled.IsZero() {
		l.filled = now
	}
	if since := now.Sub(l.filled); since > 0 {
		l.tokens = min(l.burst, l.tokens+since.Seconds()*l.rate)
		l.filled = now
	}
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}
