// Package shelf holds what the features of one agent cannot reach along the imports: what a feature keeps for its
// Procedures, which are called with no more than a Host, and what a later feature does for an earlier one, which declares the
// type. Every Host has a Shelf.
package shelf

import (
	"reflect"
	"sync"
)

// Shelf holds one value of each type. The zero value is empty; a nil one, as in tests of one feature, keeps nothing. Safe for
// concurrent use.
type Shelf struct{ byType sync.Map }

// Put leaves v on the shelf, in place of what was there under the same type. Features do it while they are opened.
func Put[T any](s *Shelf, v T) {
	if s != nil {
		s.byType.Store(reflect.TypeFor[T](), v)
	}
}

// Find returns what lies on the shelf under the type T; the zero value and false if nothing does.
func Find[T any](s *Shelf) (T, bool) {
	var none T
	if s == nil {
		return none, false
	}
	v, ok := s.byType.Load(reflect.TypeFor[T]())
	if !ok {
		return none, false
	}
	return v.(T), true
}
