// Package live keeps a value that changes now and then, for those who want to know when it does.
package live

import "sync"

// Value is a value and the news of its change. The zero Value holds T's zero value, and so does a nil pointer. Safe for
// concurrent use; what it holds must not be changed.
type Value[T any] struct {
	mu      sync.Mutex // guards both
	now     T
	changed chan struct{} // closes at a change; nil while nobody waits
}

// Set replaces the value.
func (v *Value[T]) Set(now T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now = now
	if v.changed != nil {
		close(v.changed)
		v.changed = nil
	}
}

// Get returns the value.
func (v *Value[T]) Get() (now T) {
	if v == nil {
		return now
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// Changed returns a channel that closes at the next change. Take it before the value.
func (v *Value[T]) Changed() <-chan struct{} {
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.changed == nil {
		v.changed = make(chan struct{})
	}
	return v.changed
}
