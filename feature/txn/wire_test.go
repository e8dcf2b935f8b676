package txn

import (
	"testing"

	"rostra/engine/room/roomtest"
	"rostra/feature/catalog"
	"rostra/feature/kv"
	"rostra/kit/authz"
	"rostra/kit/fault"
)

func travelling() []roomtest.Case {
	e := &kv.Entry{Key: "a", Value: []byte("v"), Flags: 1, Session: "s", LockIndex: 2, CreateIndex: 3, ModifyIndex: 4}
	return []roomtest.Case{
		{Query: readQuery{&Txn{Ops: []Op{}}}, Answers: []any{
			outcome{results: Results{}},
			outcome{results: Results{ofKey(e, true), ofKey(e, false), ofKey(&kv.Entry{Key: "b", Value: []byte{}}, false)}},
			outcome{results: rows()},
			outcome{err: conflict([]failure{{1, `key "x" doesn't exist`}})},
			outcome{err: conflict([]failure{{0, "Must provide key"}}), vetoed: true},
		}},
		{Query: readQuery{&Txn{Ops: []Op{{KV: &kv.Op{Verb: kv.Get, Key: "a", Value: []byte{}}},
			{KV: &kv.Op{Verb: kv.CheckSession, Key: "a", Value: []byte("v"), Flags: 1, Index: 2, Session: "s"}},
			{Catalog: &catalog.Op{Verb: "get", Record: rows()[1].Catalog}}}}}},
	}
}

func ofKey(e *kv.Entry, whole bool) Result { return Result{KV: kv.Result{Entry: e, Whole: whole}} }

func rows() Results {
	return Results{
		{Catalog: catalog.Record{Node: &catalog.Node{Node: "n", ID: "i", ModifyIndex: 3}}},
		{Catalog: catalog.Record{Service: &catalog.Service{Node: "n", ID: "s", Service: "web", Tags: []string{"a"}, Port: 80}}},
		{Catalog: catalog.Record{Check: &catalog.Check{Node: "n", CheckID: "c", ServiceID: "s", Definition: []byte(`{"TTL":1}`)}}},
	}
}

func TestTravel(t *testing.T) {
	roomtest.Travel(t, Room, travelling()...)
	roomtest.Results(t, Room, map[string][]any{"txn": {Results{}, Results(nil), rows(), Results{ofKey(&kv.Entry{Key: "a", Value: []byte("v")}, true),
		ofKey(&kv.Entry{Key: "b", Value: []byte("v")}, false), ofKey(&kv.Entry{}, false)}}})
}

// TestOutcome: what a reading transaction came to is shown alike wherever it ran.
func TestOutcome(t *testing.T) {
	for _, v := range travelling()[0].Answers {
		o := v.(outcome)
		b, err := o.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		var got outcome
		if _, err := got.UnmarshalMsg(b); err != nil || got.vetoed != o.vetoed || string(got.results.AppendJSON(nil)) != string(o.results.AppendJSON(nil)) {
			t.Errorf("%+v became %+v, %v", o, got, err)
		}
		if (got.err == nil) != (o.err == nil) || o.err != nil && (got.err.Error() != o.err.Error() || !fault.Is(got.err, fault.Conflict)) {
			t.Errorf("%v became %v", o.err, got.err)
		}
	}
}

func FuzzTravel(f *testing.F) { roomtest.Fuzz(f, Room, travelling()...) }

// TestNoOperation: an operation that is none is refused before anybody looks into it.
func TestNoOperation(t *testing.T) {
	empty := &Txn{Ops: []Op{{}}}
	b, err := empty.MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := new(readQuery).UnmarshalMsg(b); err == nil {
		t.Error("a reading transaction takes it")
	}
	if err := empty.Allowed(nil, authz.AllowAll{}); err != nil {
		t.Errorf("%v", err) // Run refuses it
	}
	if err := empty.vet(nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
}
