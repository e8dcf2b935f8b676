package connect

import (
	"bytes"
	"testing"

	"rostra/engine/room/roomtest"
)

func travelling() []roomtest.Case {
	return []roomtest.Case{{Query: rootsQuery{}, Answers: []any{answer{}, answer{&Root{}}, answer{&Root{ID: "8b:c1", Name: "n", Serial: 1 << 52,
		KeyID: "aa", ClusterID: "c", NotBefore: -1, NotAfter: 1 << 40, Cert: "-----BEGIN\n", CreateIndex: 4, ModifyIndex: 5}}}}}
}

func TestTravel(t *testing.T) {
	roomtest.Travel(t, Room, travelling()...)
	roomtest.Results(t, Room, map[string][]any{"connect.root": {true, false}})
}

func FuzzTravel(f *testing.F) { roomtest.Fuzz(f, Room, travelling()...) }

// TestKeyStays: the root's key is in no answer, and the stored root keeps it.
func TestKeyStays(t *testing.T) {
	root := &Root{ID: "r", Key: []byte("secret")}
	b, err := Room.Queries[0].Answer.Append(nil, answer{root})
	if err != nil || bytes.Contains(b, []byte("secret")) || string(root.Key) != "secret" {
		t.Errorf("%q, %v; the root has %q", b, err, root.Key)
	}
	v, _, err := Room.Queries[0].Answer.Read(b)
	if err != nil || len(v.(answer).root.Key) > 0 || v.(answer).root.ID != "r" {
		t.Errorf("%+v, %v", v, err)
	}
}
