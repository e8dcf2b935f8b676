// Package roomtest holds what a feature says about travelling to its word: the harness of the features' tests of their
// Queries, answers and results. Nothing else imports it.
package roomtest

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"rostra/engine/room"
)

// Case is a Query with values that may answer it.
type Case struct {
	Query   room.Query
	Answers []any
}

// Travel sends each Query and each answer through its codec, and expects what arrives to be the same: equal, or with
// the same JSON byte for byte. Hostile bytes must not make a codec claim
// memory. Each Query type of the room wants a case.
func Travel(t *testing.T, r room.Room, cases ...Case) {
	t.Helper()
	left := map[string]bool{}
	for _, q := range r.Queries {
		left[q.Name] = true
	}
	for _, c := range cases {
		q, is := typeOf(r, c.Query)
		if !is {
			t.Errorf("%T is not among the queries of %s", c.Query, r.Name)
			continue
		}
		delete(left, q.Name)
		if got, err := through(q.Query, c.Query); err != nil || !same(q.Query, got, c.Query) {
			t.Errorf("%s: %+v became %+v, %v", q.Name, c.Query, got, err)
		}
		hostile(t, q.Name+" (query)", q.Query, c.Query)
		for _, v := range c.Answers {
			carries(t, q.Name, q.Answer, v)
		}
	}
	for name := range left {
		t.Errorf("no case has the query %s", name)
	}
}

func typeOf(r room.Room, q room.Query) (room.QueryType, bool) {
	for _, known := range r.Queries {
		if known.Type == reflect.TypeOf(q) {
			return known, true
		}
	}
	return room.QueryType{}, false
}

// Results sends what Commands and Procedures give back, by their names, through the codecs. Each Command and each
// Procedure of the room wants a list.
func Results(t *testing.T, r room.Room, values map[string][]any) {
	t.Helper()
	codecs := map[string]room.Codec{}
	for _, c := range r.Commands {
		codecs[c.New().Name()] = c.Result
	}
	for _, c := range r.Calls {
		codecs[c.New().Name()] = c.Result
	}
	for name, codec := range codecs {
		if len(values[name]) == 0 {
			t.Errorf("no result of %s is given", name)
		}
		if codec.Append == nil {
			codec = room.Nothing
		}
		for _, v := range values[name] {
			carries(t, name, codec, v)
		}
	}
}

func carries(t *testing.T, name string, codec room.Codec, v any) {
	t.Helper()
	got, err := through(codec, v)
	if err != nil || !same(codec, got, v) {
		t.Errorf("%s: %s became %s, %v", name, show(v), show(got), err)
	}
	hostile(t, name, codec, v)
}

// through encodes and decodes a value between other bytes.
func through(codec room.Codec, v any) (any, error) {
	before, after := []byte("before"), []byte("after")
	b, err := codec.Append(before, v)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(b, before) {
		return nil, fmt.Errorf("what stood before the value is gone")
	}
	got, rest, err := codec.Read(append(b[len(before):], after...))
	if err == nil && !bytes.Equal(rest, after) {
		err = fmt.Errorf("%q is left, want %q", rest, after)
	}
	return got, err
}

// same reports whether both are equal, or else have the same JSON, or, where they have none, the same bytes on the wire:
// nil and empty bytes are one there.
func same(codec room.Codec, got, v any) bool {
	if reflect.DeepEqual(got, v) {
		return true
	}
	if reflect.TypeOf(got) != reflect.TypeOf(v) || none(got) || none(v) {
		return false
	}
	if !reflect.TypeOf(v).Implements(appender) {
		a, errA := codec.Append(nil, got)
		b, errB := codec.Append(nil, v)
		return errA == nil && errB == nil && bytes.Equal(a, b)
	}
	return bytes.Equal(room.NewShared(got).JSON(), room.NewShared(v).JSON())
}

var appender = reflect.TypeFor[interface{ AppendJSON([]byte) []byte }]()

func none(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil()
}

func show(v any) string {
	if v == nil || none(v) || !reflect.TypeOf(v).Implements(appender) {
		return fmt.Sprintf("%#v", v)
	}
	return string(room.NewShared(v).JSON())
}

// lies are headers that promise 4,294,967,295 elements or bytes: an array, a map, bytes, a text.
var lies = [][]byte{{0xdd, 255, 255, 255, 255}, {0xdf, 255, 255, 255, 255}, {0xc6, 255, 255, 255, 255}, {0xdb, 255, 255, 255, 255}}

// hostile puts a lie at each place of the encoded value, and cuts the value there.
func hostile(t *testing.T, name string, codec room.Codec, v any) {
	t.Helper()
	b, err := codec.Append(nil, v)
	if err != nil || len(b) > 4096 {
		return // through has told
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tries := uint64(0)
	for at := range b {
		for _, lie := range append(lies, nil) {
			_, _, _ = codec.Read(append(b[:at:at], lie...))
			tries++
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / max(tries, 1); each > 256<<10 {
		t.Errorf("%s: %d bytes are claimed for each %d hostile ones", name, each, len(b))
	}
}

// Fuzz reads whatever bytes as any Query, answer, Procedure or result of the room. What can be read can be shown, and
// arrives the same when it is sent once more.
func Fuzz(f *testing.F, r room.Room, cases ...Case) {
	names, codecs := all(r)
	add := func(name string, v any) {
		which := slices.Index(names, name)
		if which < 0 {
			f.Fatalf("nothing of %s is a %s", r.Name, name)
		}
		b, err := codecs[which].Append(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(which), b)
	}
	for _, c := range cases {
		q, _ := typeOf(r, c.Query)
		add("query "+q.Name, c.Query)
		for _, v := range c.Answers {
			add("answer "+q.Name, v)
		}
	}
	for _, c := range r.Calls {
		add("call "+c.New().Name(), c.New())
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		at := int(which) % len(codecs)
		v, _, err := codecs[at].Read(b)
		if err != nil {
			return
		}
		if q, is := v.(room.Query); is {
			_ = q.Subjects()
		}
		if got, err := through(codecs[at], v); err != nil || !same(codecs[at], got, v) {
			t.Fatalf("%s: %s became %s, %v", names[at], show(v), show(got), err)
		}
	})
}

// all returns the codecs of everything of the room that travels but Commands, which the log's reader reads.
func all(r room.Room) (names []string, codecs []room.Codec) {
	add := func(name string, c room.Codec) {
		if c.Append != nil {
			names, codecs = append(names, name), append(codecs, c)
		}
	}
	for _, q := range r.Queries {
		add("query "+q.Name, q.Query)
		add("answer "+q.Name, q.Answer)
	}
	for _, c := range r.Commands {
		add("result "+c.New().Name(), c.Result)
	}
	for _, c := range r.Calls {
		add("call "+c.New().Name(), calling(c))
		add("result "+c.New().Name(), c.Result)
	}
	return names, codecs
}

// calling carries Procedures as servers read them.
func calling(c room.ProcedureType) room.Codec {
	return room.Codec{
		Append: func(b []byte, v any) ([]byte, error) { return v.(room.Procedure).MarshalMsg(b) },
		Read: func(b []byte) (any, []byte, error) {
			p := c.New()
			rest, err := room.ReadKnown(b, p)
			return p, rest, err
		},
	}
}
