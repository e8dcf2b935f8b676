package wire

import "github.com/tinylib/msgp/msgp"

// Record is a pointer to T with generated MessagePack code.
type Record[T any] interface {
	*T
	msgp.Marshaler
	msgp.Unmarshaler
	msgp.Sizer
}

// AppendList appends the records, none of which is nil, as a MessagePack array.
func AppendList[T any, P Record[T]](b []byte, list []*T) ([]byte, error) {
	b = msgp.AppendArrayHeader(b, uint32(len(list)))
	for _, t := range list {
		var err error
		if b, err = P(t).MarshalMsg(b); err != nil {
			return b, err
		}
	}
	return b, nil
}

// ReadList reads what AppendList wrote. Neither the list nor a record in it is nil. It believes no length that the bytes
// do not bear out.
func ReadList[T any, P Record[T]](b []byte) (list []*T, rest []byte, err error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, b, err
	}
	list = make([]*T, 0, min(n, 1024))
	for i := range n {
		t := new(T)
		if b, err = P(t).UnmarshalMsg(b); err != nil {
			return nil, b, msgp.WrapError(err, i)
		}
		list = append(list, t)
	}
	return list, b, nil
}

// ListSize bounds the size of what AppendList appends, in bytes.
func ListSize[T any, P Record[T]](list []*T) int {
	n := msgp.ArrayHeaderSize
	for _, t := range list {
		n += P(t).Msgsize()
	}
	return n
}

// Places numbers records in the order they are first asked for.
type Places[T any] struct {
	List []*T
	at   map[*T]uint32
}

// Of returns the place of a record in List.
func (p *Places[T]) Of(t *T) uint32 {
	at, known := p.at[t]
	if !known {
		if p.at == nil {
			p.at = map[*T]uint32{}
		}
		at = uint32(len(p.List))
		p.List, p.at[t] = append(p.List, t), at
	}
	return at
}
