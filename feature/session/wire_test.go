package session

import (
	"testing"

	"rostra/engine/room/roomtest"
)

func travelling() []roomtest.Case {
	full := &Session{ID: "8f2b", Name: "n<1>", Node: "N1", LockDelay: 15_000_000_000, Behavior: Release, TTL: "10s", Life: 10_000_000_000,
		NodeChecks: []string{"serfHealth"}, ServiceChecks: []ServiceCheck{{ID: "c", Namespace: "d"}}, Checks: []string{"x"},
		CreateIndex: 3, ModifyIndex: 1 << 60, Shows: true, Outlasts: true}
	empty := &Session{ID: "e", NodeChecks: []string{}, ServiceChecks: []ServiceCheck{}, Checks: []string{}}
	lists := []any{List{}, List(nil), List{full, empty, {}}}
	return []roomtest.Case{
		{Query: ListQuery{}, Answers: lists},
		{Query: NodeQuery{Node: "n1"}, Answers: lists},
		{Query: InfoQuery{ID: "8f2b"}, Answers: lists},
	}
}

func TestTravel(t *testing.T) {
	roomtest.Travel(t, Room, travelling()...)
	roomtest.Results(t, Room, map[string][]any{"session.create": {"8f2b"}, "session.destroy": {true},
		"session.renew": {&Session{ID: "8f2b", TTL: "10s"}, &Session{}}, "session.expire": {0, 3}})
}

func FuzzTravel(f *testing.F) { roomtest.Fuzz(f, Room, travelling()...) }
