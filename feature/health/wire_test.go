package health

import (
	"fmt"
	"testing"

	"rostra/engine/room/roomtest"
	"rostra/feature/catalog"
	"rostra/kit/wire"
)

// travelling are all Queries with answers that have everything, nothing, and null beside empty.
func travelling() []roomtest.Case {
	n1 := &catalog.Node{ID: "8f2b", Node: "n1", Address: "10.0.0.1", Meta: wire.Pairs{}, CreateIndex: 1, ModifyIndex: 2}
	n2 := &catalog.Node{Node: "n2", TaggedAddresses: wire.Pairs{{Key: "lan", Value: "10.0.0.2"}}}
	web := &catalog.Service{Node: "n1", ID: "web", Service: "web", Tags: []string{"a"}, Meta: wire.Pairs{{Key: "k", Value: "v"}}, Port: 80}
	bare := &catalog.Service{Node: "n2", ID: "web", Service: "web"}
	own := &catalog.Check{Node: "n1", CheckID: "serfHealth", Name: "Serf Health Status", Status: "passing", Output: "Agent <alive>"}
	full := &catalog.Check{Node: "n1", CheckID: "c", Name: "C", Status: "critical", Notes: "n", Output: "o", ServiceID: "web",
		ServiceName: "web", ServiceTags: []string{"a"}, Type: "http", Interval: "10s", Timeout: "1s", ExposedPort: 3,
		Definition: []byte(`{"HTTP":"x"}`), CreateIndex: 4, ModifyIndex: 5}
	empty := &catalog.Check{Node: "n2", CheckID: "e", ServiceTags: []string{}, Definition: []byte{}}
	checks := []any{CheckList{}, CheckList(nil), CheckList{own, full, empty, {}}}
	return []roomtest.Case{
		{Query: ServiceQuery{}},
		{Query: ServiceQuery{Service: "web", Tags: catalog.WordsOf([]string{"a", "b"}), Meta: "x\x01y", Passing: true},
			Answers: []any{EntryList{}, EntryList(nil), EntryList{{n1, web, []*catalog.Check{own, full}}, {n2, bare, nil},
				{n2, bare, []*catalog.Check{}}, {n1, bare, []*catalog.Check{own, empty}}}}},
		{Query: EveryQuery{}, Answers: []any{EntryList{}, EntryList{{n1, web, []*catalog.Check{own, full}}, {n2, bare, nil}}}},
		{Query: NodeChecksQuery{Node: "n1"}, Answers: checks},
		{Query: ServiceChecksQuery{Service: "web", Meta: "x"}, Answers: checks},
		{Query: StateQuery{State: "any", Meta: "x"}, Answers: checks},
	}
}

func TestTravel(t *testing.T) { roomtest.Travel(t, Room, travelling()...) }

func FuzzTravel(f *testing.F) { roomtest.Fuzz(f, Room, travelling()...) }

// TestShared: a node and its own check, in a thousand entries, are sent once and are one record each on arrival.
func TestShared(t *testing.T) {
	long := fmt.Sprintf("%1000d", 1)
	node, own, list := &catalog.Node{Node: "n", Address: long}, &catalog.Check{Output: long}, EntryList{}
	for i := range 1000 {
		list = append(list, &Entry{node, &catalog.Service{ID: fmt.Sprint(i)}, []*catalog.Check{own, {CheckID: fmt.Sprint(i)}}})
	}
	b, err := list.MarshalMsg(nil)
	if err != nil || len(b) > 700_000 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	var got EntryList
	if _, err := got.UnmarshalMsg(b); err != nil || len(got) != 1000 {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	if got[0].Node != got[999].Node || got[0].Checks[0] != got[999].Checks[0] || got[0].Checks[1] == got[999].Checks[1] {
		t.Error("other records are shared than were")
	}
}

// TestBrokenAnswers: what no server says is refused, and does not fail where it is shown.
func TestBrokenAnswers(t *testing.T) {
	service, nodes := &catalog.Service{}, catalog.NodeList{{}}
	for _, p := range []packedEntries{
		{List: []packedEntry{{Service: service}}},
		{Nodes: nodes, List: []packedEntry{{Service: service, Node: 1}}},
		{Nodes: nodes, List: []packedEntry{{}}},
		{Nodes: nodes, List: []packedEntry{{Service: service, Checks: []uint32{0}}}},
	} {
		b, err := p.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := new(EntryList).UnmarshalMsg(b); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}
