package room

import (
	"encoding/json"
	"sync"

	"rostra/kit/httpd"
)

// Answer is what a Query found.
type Answer struct {
	Value   any     // immutable; its type is the Query's own affair
	Index   uint64  // of the last change to the Query's subjects
	Missing bool    // the one thing asked for does not exist (conventions §8, the not-found rule)
	Shared  *Shared // the same Value with its encodings, made once for all readers; nil for unshared answers
}

// Reply makes an HTTP answer of it, taking the shared encodings where there are any.
func (a Answer) Reply(m Meta) httpd.Reply {
	if a.Shared != nil {
		return httpd.Reply{Value: a.Shared, Meta: &m}
	}
	return httpd.Reply{Value: a.Value, Meta: &m}
}

// Shared is an answer's value together with its JSON, plain and gzipped, each made at most once. Safe for concurrent use.
type Shared struct {
	value any
	plain func() []byte
	zip   func() []byte
}

// NewShared wraps an immutable value.
func NewShared(value any) *Shared {
	s := &Shared{value: value}
	s.plain = sync.OnceValue(func() []byte { return encode(value) })
	s.zip = sync.OnceValue(func() []byte { return httpd.Compress(s.plain()) })
	return s
}

// Unwrap returns the value itself.
func (s *Shared) Unwrap() any { return s.value }

// JSON returns the value's compact JSON. The bytes are shared: do not change them.
func (s *Shared) JSON() []byte { return s.plain() }

// Gzip returns the JSON compressed. The bytes are shared: do not change them.
func (s *Shared) Gzip() []byte { return s.zip() }

func encode(v any) []byte {
	if a, ok := v.(httpd.Appender); ok {
		return a.AppendJSON(nil)
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("cannot encode an answer: " + err.Error()) // stored types always encode
	}
	return b
}
