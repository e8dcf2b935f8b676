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

func msgpValue[T any](v T, rest []byte, err error) (any, []byte, error) { return v, rest, err }

// QueryType lets a Query and its answer travel. A Query without one can be asked only where the state is: on servers, by
// their own loops.
type QueryType struct {
	Name   string       // on the wire; never reused for anything else
	Type   reflect.Type // of the Query
	Query  Codec
	Answer Codec // of Answer.Value
}

// QueryOf describes the Query type Q.
func QueryOf[Q Query, P packed[Q]](name string, answer Codec) QueryType {
	return QueryType{Name: name, Type: reflect.TypeFor[Q](), Query: Packed[Q, P](), Answer: answer}
}

// ProcedureType lets a Procedure and its result travel.
type ProcedureType struct {
	New    func() Procedure
	Result Codec
}
