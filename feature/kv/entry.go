package kv

import (
	"bytes"
	"encoding/binary"

	"github.com/tinylib/msgp/msgp"

	"rostra/kit/httpd"
	"rostra/kit/store"
	"rostra/kit/wire"
)

//go:generate go tool msgp -file entry.go -o entry_gen.go -tests=false -io=false -unexported

// Entry is a key with its value: the row, and the JSON shape of /v1/kv/.
type Entry struct {
	Key         string `msg:"Key"`
	Value       []byte `msg:"Value"`
	Flags       uint64 `msg:"Flags"`
	Session     string `msg:"Session"`   // who holds the lock; "" if nobody does
	LockIndex   uint64 `msg:"LockIndex"` // how often a new holder took the lock
	CreateIndex uint64 `msg:"CreateIndex"`
	ModifyIndex uint64 `msg:"ModifyIndex"`
}

// tombstone remembers a deletion, so that the index of a list that held the key rises. It is a row of tombstones (one
// key) or of trees (all keys that start with Key).
type tombstone struct {
	Key   string `msg:"Key"`
	Index uint64 `msg:"Index"`
	Time  int64  `msg:"Time"` // the log's clock, Unix nanoseconds
}

// delay forbids to lock a key for a while after the session that held it ended.
type delay struct {
	Key string        `msg:"Key"`
	Set int64         `msg:"Set"` // the log's clock, Unix nanoseconds
	For wire.Duration `msg:"For"`
}

// Entries is the table of keys, filed by the session that holds the lock.
var Entries = store.NewTable[Entry]("kv", store.Schema[Entry]{
	Key: func(e *Entry) string { return e.Key },
	Indexes: []store.Index[Entry]{{Name: "session", Keys: func(e *Entry) []string {
		if e.Session == "" {
			return nil
		}
		return []string{e.Session}
	}}},
})

// tombstones and trees are filed by age, oldest first.
var (
	tombstones = store.NewTable[tombstone]("kv.tombstones", byAge)
	trees      = store.NewTable[tombstone]("kv.trees", byAge)
	delays     = store.NewTable[delay]("kv.delays", store.Schema[delay]{Key: func(d *delay) string { return d.Key }, Brief: true})
)

var byAge = store.Schema[tombstone]{
	Key:     func(t *tombstone) string { return t.Key },
	Indexes: []store.Index[tombstone]{{Name: "age", Keys: func(t *tombstone) []string { return []string{age(t.Time)} }}},
	Brief:   true,
}

// ageStep is how exactly the age of tombstones is known, in nanoseconds.
const ageStep = 30_000_000_000

// age orders times bytewise, in steps.
func age(t int64) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(t/ageStep)))
}

// minute in nanoseconds: a clock that ran back by more is not believed.
const minute = 60_000_000_000

// over reports whether the delay has passed at a time of the log's clock.
func (d *delay) over(now int64) bool { return now >= d.Set+int64(d.For) || now < d.Set-minute }

// same reports whether both say the same, indexes apart.
func (e *Entry) same(o *Entry) bool {
	return e.Flags == o.Flags && e.Session == o.Session && e.LockIndex == o.LockIndex && bytes.Equal(e.Value, o.Value)
}

// AppendJSON appends the entry as encoding/json would write it.
func (e *Entry) AppendJSON(b []byte) []byte { return e.append(b, e.Value) }

func (e *Entry) append(b, value []byte) []byte {
	b = httpd.AppendUint(append(b, `{"LockIndex":`...), e.LockIndex)
	b = httpd.AppendString(append(b, `,"Key":`...), e.Key)
	b = httpd.AppendUint(append(b, `,"Flags":`...), e.Flags)
	if b = append(b, `,"Value":`...); len(value) == 0 {
		b = append(b, "null"...)
	} else {
		b = httpd.AppendBase64(b, value)
	}
	if e.Session != "" {
		b = httpd.AppendString(append(b, `,"Session":`...), e.Session)
	}
	b = httpd.AppendUint(append(b, `,"CreateIndex":`...), e.CreateIndex)
	b = httpd.AppendUint(append(b, `,"ModifyIndex":`...), e.ModifyIndex)
	return append(b, '}')
}

// Found is the Value of KeyQuery: the entry, nil if there is none.
//
//msgp:ignore Found
type Found struct{ *Entry }

// AppendJSON appends an array of the one entry.
func (f Found) AppendJSON(b []byte) []byte {
	if f.Entry == nil {
		return append(b, '[', ']')
	}
	return append(f.Entry.AppendJSON(append(b, '[')), ']')
}

// List is the Value of ListQuery: entries by key.
//
//msgp:ignore List
type List []*Entry

// AppendJSON appends the array.
func (l List) AppendJSON(b []byte) []byte {
	return httpd.AppendArray(b, l)
}

// Names is the Value of NamesQuery: keys, or beginnings of keys, in order.
type Names []string

// AppendJSON appends the array; [] if there is none.
func (n Names) AppendJSON(b []byte) []byte {
	if n == nil {
		return append(b, '[', ']')
	}
	return httpd.AppendStrings(b, n)
}

// MarshalMsg appends the entry, or nil.
func (f Found) MarshalMsg(b []byte) ([]byte, error) {
	if f.Entry == nil {
		return msgp.AppendNil(b), nil
	}
	return f.Entry.MarshalMsg(b)
}

// UnmarshalMsg reads an entry, or nil.
func (f *Found) UnmarshalMsg(b []byte) ([]byte, error) {
	if f.Entry = nil; msgp.IsNil(b) {
		return msgp.ReadNilBytes(b)
	}
	e := new(Entry)
	rest, err := e.UnmarshalMsg(b)
	if err == nil {
		f.Entry = e
	}
	return rest, err
}

// MarshalMsg appends the list.
func (l List) MarshalMsg(b []byte) ([]byte, error) { return wire.AppendList(b, l) }

// UnmarshalMsg reads the list.
func (l *List) UnmarshalMsg(b []byte) (rest []byte, err error) {
	*l, rest, err = wire.ReadList[Entry](b)
	return rest, err
}
