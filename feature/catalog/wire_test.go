package catalog

import (
	"fmt"
	"testing"

	"rostra/engine/room/roomtest"
	"rostra/kit/wire"
)

// travelling are all Queries with answers that have everything, nothing, and null beside empty.
func travelling() []roomtest.Case {
	full := &Node{ID: "8f2b", Node: "Web<1>", Address: "10.0.0.1", Datacenter: "dc1", CreateIndex: 7, ModifyIndex: 1 << 60,
		TaggedAddresses: wire.Pairs{{Key: "lan", Value: "10.0.0.1"}}, Meta: wire.Pairs{}}
	bare := &Node{Node: "bare"}
	meta := &Node{Node: "n", Meta: wire.Pairs{{Key: "a", Value: ""}, {Key: "b", Value: "é"}}, TaggedAddresses: wire.Pairs{}}
	web := &Service{Node: "Web<1>", Kind: "connect-proxy", ID: "web-1", Service: "web", Tags: []string{"a", "b"}, Address: "10.0.0.2",
		TaggedAddresses: []taggedAddress{{"lan", "10.0.0.3", 8}}, Meta: wire.Pairs{{Key: "v", Value: "1"}}, Port: 80,
		SocketPath: "/run/x", Weights: Weights{3, 4}, EnableTagOverride: true, CreateIndex: 8, ModifyIndex: 9}
	empty := &Service{Node: "bare", ID: "web", Service: "web", Tags: []string{}, TaggedAddresses: []taggedAddress{}, Meta: wire.Pairs{}}
	null := &Service{Node: "bare", ID: "null", Service: "web"}
	instances := []any{InstanceList{}, InstanceList(nil),
		InstanceList{{full, web}, {bare, empty}, {bare, null}, {full, null}, {meta, web}}}
	return []roomtest.Case{
		{Query: NodesQuery{}},
		{Query: NodesQuery{Meta: WordsOf(map[string]string{"a": "1", "b": ""})},
			Answers: []any{NodeList{}, NodeList(nil), NodeList{full, bare, meta}}},
		{Query: ServicesQuery{Meta: "x\x01y"}, Answers: []any{ServiceTags{}, ServiceTags(nil),
			ServiceTags{"web": {"a", "b"}, "api": {}, "null": nil, "<x>": {""}}}},
		{Query: EveryInstanceQuery{Meta: "x"}, Answers: instances},
		{Query: InstancesQuery{Service: "web", Tags: WordsOf([]string{"a", "b"}), Meta: "x\x01y"}, Answers: instances},
		{Query: NodeQuery{Node: "n"}, Answers: []any{(*NodeServices)(nil), &NodeServices{Node: bare},
			&NodeServices{Node: full, Services: []*Service{web, empty, null}}}},
		{Query: findQuery{NameOrID: "8f"}, Answers: []any{(*Node)(nil), full, bare, meta}},
	}
}

func TestTravel(t *testing.T) {
	roomtest.Travel(t, Room, travelling()...)
	roomtest.Results(t, Room, map[string][]any{"catalog.register": {true}, "catalog.deregister": {true},
		"catalog.datacenters": {DatacenterNames{"dc1", "dc2"}, DatacenterNames{}}})
}

func FuzzTravel(f *testing.F) { roomtest.Fuzz(f, Room, travelling()...) }

// TestSharedNode: the node of a thousand instances is sent once, and is one record on arrival.
func TestSharedNode(t *testing.T) {
	node, list := &Node{Node: "n", Meta: wire.Pairs{{Key: "long", Value: fmt.Sprintf("%1000d", 1)}}}, InstanceList{}
	for i := range 1000 {
		list = append(list, instance{node, &Service{ID: fmt.Sprint(i)}})
	}
	b, err := list.MarshalMsg(nil)
	if err != nil || len(b) > 400_000 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	var got InstanceList
	if _, err := got.UnmarshalMsg(b); err != nil || len(got) != 1000 || got[0].Node != got[999].Node {
		t.Errorf("%d instances, %v; the node is shared: %v", len(got), err, got[0].Node == got[999].Node)
	}
}

// TestBrokenAnswers: what no server says is refused, and does not fail where it is shown.
func TestBrokenAnswers(t *testing.T) {
	for _, p := range []packedInstances{
		{List: []packedInstance{{Service: &Service{}}}},
		{Nodes: NodeList{{}}, List: []packedInstance{{Service: &Service{}, Node: 1}}},
		{Nodes: NodeList{{}}, List: []packedInstance{{}}},
	} {
		b, err := p.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := new(InstanceList).UnmarshalMsg(b); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
	b, err := (&packedNode{}).MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := new(NodeServices).UnmarshalMsg(b); err == nil {
		t.Error("services without a node are taken")
	}
}
