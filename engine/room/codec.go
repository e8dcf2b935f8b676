package room

import (
	"fmt"
	"reflect"

	"github.com/tinylib/msgp/msgp"
)

// Codec carries values of one Go type between machines. The bytes are one MessagePack value. Both functions are safe for
// concurrent use. Read allocates nothing on the word of a length that the bytes do not bear out.
type Codec struct {
	Append func(b []byte, v any) ([]byte, error)
	Read   func(b []byte) (v any, rest []byte, err error)
}

// packed is a pointer to T with generated MessagePack code.
type packed[T any] interface {
	*T
	msgp.Marshaler
	msgp.Unmarshaler
}

// Packed carries values of type T.
func Packed[T any, P packed[T]]() Codec {
	return Codec{
		Append: func(b []byte, v any) ([]byte, error) {
			t, ok := v.(T)
			if !ok {
				return b, mismatch[T](v)
			}
			return P(&t).MarshalMsg(b)
		},
		Read: func(b []byte) (any, []byte, error) {
			t := new(T)
			rest, err := readInto(b, P(t))
			return *t, rest, err
		},
	}
}

// Pointer carries values of type *T; nil arrives as nil.
func Pointer[T any, P packed[T]]() Codec {
	return Codec{
		Append: func(b []byte, v any) ([]byte, error) {
			t, ok := v.(*T)
			if !ok {
				return b, mismatch[*T](v)
			}
			if t == nil {
				return msgp.AppendNil(b), nil
			}
			return P(t).MarshalMsg(b)
		},
		Read: func(b []byte) (any, []byte, error) {
			if msgp.IsNil(b) {
				rest, err := msgp.ReadNilBytes(b)
				return (*T)(nil), rest, err
			}
			t := new(T)
			rest, err := readInto(b, P(t))
			return t, rest, err
		},
	}
}

// readInto skips first: generated code makes slices of whatever length it reads.
func readInto(b []byte, t msgp.Unmarshaler) (rest []byte, err error) {
	if _, err := msgp.Skip(b); err != nil {
		return b, fmt.Errorf("cannot decode %T: %w", t, err)
	}
	rest, err = t.UnmarshalMsg(b)
	if err != nil {
		return b, fmt.Errorf("cannot decode %T: %w", t, err)
	}
	return rest, nil
}

func mismatch[T any](v any) error {
	return fmt.Errorf("cannot encode a %T as a %s", v, reflect.TypeFor[T]())
}

// Nothing carries nil.
var Nothing = Codec{
	Append: func(b []byte, v any) ([]byte, error) { return msgp.AppendNil(b), nil },
	Read: func(b []byte) (any, []byte, error) {
		rest, err := msgp.ReadNilBytes(b)
		return nil, rest, err
	},
}

// Bool carries a bool.
var Bool = Codec{
	Append: func(b []byte, v any) ([]byte, error) {
		t, ok := v.(bool)
		if !ok {
			return b, mismatch[bool](v)
		}
		return msgp.AppendBool(b, t), nil
	},
	Read: func(b []byte) (any, []byte, error) { return msgpValue(msgp.ReadBoolBytes(b)) },
}

// String carries a string.
var String = Codec{
	Append: func(b []byte, v any) ([]byte, error) {
		t, ok := v.(string)
		if !ok {
			return b, mismatch[string](v)
		}
		return msgp.AppendString(b, t), nil
	},
	Read: func(b []byte) (any, []byte, error) { return msgpValue(msgp.ReadStringBytes(b)) },
}

// Int carries an int.
var Int = Codec{
	Append: func(b []byte, v any) ([]byte, error) {
		t, ok := v.(int)
		if !ok {
			return b, mismatch[int](v)
		}
		return msgp.AppendInt(b, t), nil
	},
	Read: func(b []byte) (any, []byte, error) { return msgpValue(msgp.ReadIntBytes(b)) },
}

func msgpValue[T any](v T, rest []byte, err error) (any, []byte, error) { return v, rest, err }

// QueryType lets a Query and its answer travel. A Query without one can be asked only where the state is: on servers, by
// their own loops.
type QueryType struct {
	Name   string       // on the wire; never reused for anything else
	Type   reflect.Type // of the Query
	Query  Codec
	Answer Codec // of Answer.Value
}

// QueryOf describes the Query type Q. A Query with a field that this program does not know is refused: it is narrower
// than the answer would be.
func QueryOf[Q Query, P packed[Q]](name string, answer Codec) QueryType {
	codec := Packed[Q, P]()
	codec.Read = func(b []byte) (any, []byte, error) {
		q := new(Q)
		rest, err := ReadKnown(b, P(q))
		return *q, rest, err
	}
	return QueryType{Name: name, Type: reflect.TypeFor[Q](), Query: codec, Answer: answer}
}

// ReadKnown reads a question from the front of b and returns what follows. A field that t does not know is an error, for
// whoever skips one answers another question; one that is not there, because the asker is older, stays as it is in t.
func ReadKnown(b []byte, t interface {
	msgp.Marshaler
	msgp.Unmarshaler
}) (rest []byte, err error) {
	if rest, err = readInto(b, t); err != nil {
		return b, err
	}
	again, err := t.MarshalMsg(nil)
	if err != nil {
		return b, fmt.Errorf("cannot decode %T: %w", t, err)
	}
	if !within(b, again) {
		return b, fmt.Errorf("cannot decode %T: it holds a field that this version does not know; upgrade this server", t)
	}
	return rest, nil
}

// within reports whether b, which is well-formed, has each field of a, at any depth.
func within(a, b []byte) bool {
	kind := msgp.NextType(a)
	if kind != msgp.NextType(b) {
		return kind != msgp.MapType && kind != msgp.ArrayType // numbers and texts have several forms
	}
	switch kind {
	case msgp.ArrayType:
		n, a, errA := msgp.ReadArrayHeaderBytes(a)
		m, b, errB := msgp.ReadArrayHeaderBytes(b)
		if errA != nil || errB != nil || n != m {
			return false
		}
		for range n {
			if !within(a, b) {
				return false
			}
			a, b = skip(a), skip(b)
		}
	case msgp.MapType:
		n, a, errA := msgp.ReadMapHeaderBytes(a)
		m, b, errB := msgp.ReadMapHeaderBytes(b)
		if errA != nil || errB != nil {
			return false
		}
		known := make(map[string][]byte, m)
		for range m {
			known[key(b)] = skip(b)
			b = skip(skip(b))
		}
		for range n {
			value, is := known[key(a)]
			if a = skip(a); !is || !within(a, value) {
				return false
			}
			a = skip(a)
		}
	}
	return true
}

// key returns the text of the map key at the front of b.
func key(b []byte) string {
	k, _, _ := msgp.ReadMapKeyZC(b)
	return string(k)
}

// skip returns what follows the value at the front of b; b was skipped as a whole before, so that there is no error.
func skip(b []byte) []byte {
	rest, _ := msgp.Skip(b)
	return rest
}

// ProcedureType lets a Procedure and its result travel.
type ProcedureType struct {
	New    func() Procedure
	Result Codec
}
