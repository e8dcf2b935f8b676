// Package filter is the language of ?filter=: boolean expressions over the fields of a struct, as go-bexpr 0.1.2 reads
// them. Compile checks an expression against the type of the elements to choose from; Match decides about one element.
// The HTTP kit and the features that filter inner lists call it.
//
// The language is written here and not taken from go-bexpr because its later releases dropped what users rely on:
// selectors that descend into lists, selectors checked before anything is matched, strings that begin with a slash.
package filter

import (
	"fmt"
	"reflect"
)

// MaxLength is the longest expression accepted, in bytes.
const MaxLength = 64 << 10

// maxDepth bounds parentheses and "not" within each other.
const maxDepth = 256

// Error says why an expression was refused. Its text starts with Consul's words; Unwrap gives the reason alone.
type Error struct{ reason error }

// Error returns the text for the client.
func (e *Error) Error() string {
	return "Failed to create boolean expression evaluator: " + e.reason.Error()
}

// Unwrap returns the error whose text is the reason without Consul's words in front.
func (e *Error) Unwrap() error { return e.reason }

// Map is a field type that is selectable like a map of strings without being one. It is asked of the field's type, so
// its methods have value receivers.
type Map interface {
	Len() int
	Get(key string) (string, bool)
}

// Filter is a compiled expression. It never changes and may be used by any number of goroutines.
type Filter struct {
	root node
	typ  reflect.Type
}

// Compile parses expr and checks its selectors, operators and values against the type of sample: a struct or a pointer
// to one (a nil pointer will do). A field's selector is its name, or its bexpr tag; the tag "-" hides it; fields of an
// embedded struct without a tag are selectable as if they were the outer one's. Selectable are strings, booleans,
// numbers, structs, pointers to, lists of and maps from strings to these, and Maps. An error is always an *Error.
func Compile(expr string, sample any) (*Filter, error) {
	if len(expr) > MaxLength {
		return nil, &Error{fmt.Errorf("the expression has %d bytes, the limit is %d", len(expr), MaxLength)}
	}
	typ := reflect.TypeOf(sample)
	for typ != nil && typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ == nil || typ.Kind() != reflect.Struct {
		return nil, &Error{fmt.Errorf("cannot filter values of type %T", sample)}
	}
	root, err := parse(expr, func(m *match) error { return m.bind(typ) })
	if err != nil {
		return nil, &Error{err}
	}
	return &Filter{root, typ}, nil
}

// Match reports whether item fulfils the expression. An item of another type than Compile's sample, or a nil pointer, is
// an error.
func (f *Filter) Match(item any) (bool, error) {
	v := reflect.ValueOf(item)
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if !v.IsValid() || v.Type() != f.typ {
		return false, fmt.Errorf("cannot filter a %T: the expression is about %s", item, f.typ)
	}
	return f.root.eval(v), nil
}

// node is a part of an expression.
type node interface{ eval(v reflect.Value) bool }

type (
	all  []node            // "and"
	some []node            // "or"
	not  struct{ of node } // "not"
)

func (a all) eval(v reflect.Value) bool {
	for _, n := range a {
		if !n.eval(v) {
			return false
		}
	}
	return true
}

func (s some) eval(v reflect.Value) bool {
	for _, n := range s {
		if n.eval(v) {
			return true
		}
	}
	return false
}

func (n not) eval(v reflect.Value) bool { return !n.of.eval(v) }
