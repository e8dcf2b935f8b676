// Package wire holds value types that read the same in the log, in snapshots and in JSON: maps with an order, and
// durations in the two forms clients write.
package wire

import (
	"encoding/json"
	"sort"

	"github.com/tinylib/msgp/msgp"
)

// Pair is one entry of Pairs.
type Pair struct{ Key, Value string }

// Pairs is a string map kept as a slice sorted by key, because equal states must have equal bytes and Go's maps have no
// order. In JSON it is an object, null when nil. Treat it as immutable once stored.
type Pairs []Pair

// PairsOf returns the map's entries, sorted; nil for a nil map, so that null and {} stay apart.
func PairsOf(m map[string]string) Pairs {
	if m == nil {
		return nil
	}
	p := make(Pairs, 0, len(m))
	for k, v := range m {
		p = append(p, Pair{k, v})
	}
	sort.Slice(p, func(i, j int) bool { return p[i].Key < p[j].Key })
	return p
}

// Map returns the entries as a new map; nil for nil.
func (p Pairs) Map() map[string]string {
	if p == nil {
		return nil
	}
	m := make(map[string]string, len(p))
	for _, e := range p {
		m[e.Key] = e.Value
	}
	return m
}

// Get returns the value of key and whether there is one.
func (p Pairs) Get(key string) (string, bool) {
	i := sort.Search(len(p), func(i int) bool { return p[i].Key >= key })
	if i < len(p) && p[i].Key == key {
		return p[i].Value, true
	}
	return "", false
}

// Len returns the number of entries.
func (p Pairs) Len() int { return len(p) }

// Contains reports whether every entry of q is also in p.
func (p Pairs) Contains(q Pairs) bool {
	for _, e := range q {
		if v, ok := p.Get(e.Key); !ok || v != e.Value {
			return false
		}
	}
	return true
}

// Equal reports whether both hold the same entries; nil equals empty.
func (p Pairs) Equal(q Pairs) bool {
	if len(p) != len(q) {
		return false
	}
	for i := range p {
		if p[i] != q[i] {
			return false
		}
	}
	return true
}

// MarshalJSON writes an object with sorted keys, or null.
func (p Pairs) MarshalJSON() ([]byte, error) { return json.Marshal(p.Map()) }

// UnmarshalJSON reads an object or null.
func (p *Pairs) UnmarshalJSON(b []byte) error {
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*p = PairsOf(m)
	return nil
}

// MarshalMsg appends a MessagePack map in key order; nil stays nil.
func (p Pairs) MarshalMsg(b []byte) ([]byte, error) {
	if p == nil {
		return msgp.AppendNil(b), nil
	}
	b = msgp.AppendMapHeader(b, uint32(len(p)))
	for _, e := range p {
		b = msgp.AppendString(msgp.AppendString(b, e.Key), e.Value)
	}
	return b, nil
}

// UnmarshalMsg reads what MarshalMsg wrote.
func (p *Pairs) UnmarshalMsg(b []byte) ([]byte, error) {
	if msgp.IsNil(b) {
		*p = nil
		return msgp.ReadNilBytes(b)
	}
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return b, err
	}
	*p = make(Pairs, 0, min(n, 1024))
	for range n {
		var e Pair
		if e.Key, b, err = msgp.ReadStringBytes(b); err != nil {
			return b, err
		}
		if e.Value, b, err = msgp.ReadStringBytes(b); err != nil {
			return b, err
		}
		*p = append(*p, e)
	}
	return b, nil
}

// Msgsize bounds the encoded size, in bytes.
func (p Pairs) Msgsize() int {
	n := 5
	for _, e := range p {
		n += 10 + len(e.Key) + len(e.Value)
	}
	return n
}
