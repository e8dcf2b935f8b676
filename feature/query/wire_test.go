package query

import (
	"testing"

	"rostra/engine/room/roomtest"
	"rostra/feature/catalog"
	"rostra/feature/health"
	"rostra/kit/wire"
)

// full has something in each field.
func full() *Definition {
	return &Definition{ID: id(7), Name: "n<1>", Session: "s", Token: "t", Template: Template{PrefixMatch, "^(a)", true},
		Service: Service{Service: "db", SamenessGroup: "g", Failover: Failover{2, []string{"dc2"}, []Target{{"p", "dc3"}}}, OnlyPassing: true,
			IgnoreCheckIDs: []string{"c"}, Near: "_agent", Tags: []string{"a", "!b"}, NodeMeta: wire.Pairs{{Key: "k", Value: "v"}},
			ServiceMeta: wire.Pairs{{Key: "x", Value: ""}}, Connect: true, Peer: "q"},
		DNS: DNS{"10s"}, CreateIndex: 3, ModifyIndex: 1 << 60}
}

func travelling() []roomtest.Case {
	lists := []any{List{}, List(nil), List{full(), {}}}
	return []roomtest.Case{
		{Query: ListQuery{}, Answers: lists},
		{Query: GetQuery{ID: id(1)}, Answers: lists},
		{Query: FindQuery{Name: "geo-db"}, Answers: []any{(*Definition)(nil), full(), &Definition{}}},
		{Query: NamesQuery{}, Answers: []any{Names{}, Names{Exact: []string{"a", "b"}, Prefixes: []string{"", "c"}}}},
	}
}

func TestTravel(t *testing.T) {
	roomtest.Travel(t, Room, travelling()...)
	entry := &health.Entry{Node: &catalog.Node{Node: "n"}, Service: &catalog.Service{ID: "s"}, Checks: []*catalog.Check{{CheckID: "c"}}}
	outcomes := []any{&Outcome{}, &Outcome{Service: "db", Nodes: health.EntryList{entry, entry}, TTL: "1s", Datacenter: "dc2", Failovers: 3}}
	roomtest.Results(t, Room, map[string][]any{"query.set": {nil}, "query.delete": {nil}, "query.execute": outcomes, "query.gather": outcomes})
}

func FuzzTravel(f *testing.F) { roomtest.Fuzz(f, Room, travelling()...) }

// TestShape holds the JSON of spec http/prepared-query.md.
func TestShape(t *testing.T) {
	const want = `{"ID":"00000000-0000-0000-0000-000000000007","Name":"n\u003c1\u003e","Session":"s","Token":"t",` +
		`"Template":{"Type":"name_prefix_match","Regexp":"^(a)","RemoveEmptyTags":true},` +
		`"Service":{"Service":"db","SamenessGroup":"g","Failover":{"NearestN":2,"Datacenters":["dc2"],"Targets":[{"Peer":"p","Datacenter":"dc3"}]},` +
		`"OnlyPassing":true,"IgnoreCheckIDs":["c"],"Near":"_agent","Tags":["a","!b"],"NodeMeta":{"k":"v"},"ServiceMeta":{"x":""},"Connect":true,"Peer":"q"},` +
		`"DNS":{"TTL":"10s"},"CreateIndex":3,"ModifyIndex":1152921504606846976}`
	if got := string(full().AppendJSON(nil)); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	const empty = `{"ID":"","Name":"","Session":"","Token":"","Template":{"Type":"","Regexp":"","RemoveEmptyTags":false},` +
		`"Service":{"Service":"","SamenessGroup":"","Failover":{"NearestN":0,"Datacenters":null,"Targets":null},"OnlyPassing":false,"IgnoreCheckIDs":null,` +
		`"Near":"","Tags":null,"NodeMeta":null,"ServiceMeta":null,"Connect":false,"Peer":""},"DNS":{"TTL":""},"CreateIndex":0,"ModifyIndex":0}`
	if got := string(new(Definition).AppendJSON(nil)); got != empty {
		t.Errorf("%s\nwant %s", got, empty)
	}
}
