package kv

import (
	"testing"

	"rostra/engine/room/roomtest"
)

func travelling() []roomtest.Case {
	full := &Entry{Key: "a/b<", Value: []byte("v\x00\xff"), Flags: 1 << 63, Session: "8f2b", LockIndex: 2, CreateIndex: 3, ModifyIndex: 4}
	empty := &Entry{Key: "", Value: []byte{}}
	return []roomtest.Case{
		{Query: KeyQuery{}},
		{Query: KeyQuery{Key: "a/\xff"}, Answers: []any{Found{}, Found{full}, Found{empty}, Found{&Entry{}}}},
		{Query: ListQuery{Prefix: "a"}, Answers: []any{List(nil), List{}, List{full, empty, {}}}},
		{Query: NamesQuery{Prefix: "a", Separator: "/"}, Answers: []any{Names(nil), Names{}, Names{"a", "", "a/<"}}},
	}
}

func TestTravel(t *testing.T) {
	roomtest.Travel(t, Room, travelling()...)
	both := []any{true, false}
	roomtest.Results(t, Room, map[string][]any{"kv.put": both, "kv.delete": both, "kv.reap": both})
}

func FuzzTravel(f *testing.F) { roomtest.Fuzz(f, Room, travelling()...) }
