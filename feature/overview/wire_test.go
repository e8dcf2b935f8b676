package overview

import (
	"testing"

	"rostra/engine/room/roomtest"
	"rostra/feature/catalog"
)

func travelling() []roomtest.Case {
	n := &Node{Node: &catalog.Node{Node: "n"}, Services: []*catalog.Service{{Node: "n", ID: "s", Service: "web"}}, Checks: []*catalog.Check{{Node: "n", CheckID: "c"}}}
	return []roomtest.Case{
		{Query: nodesQuery{}, Answers: []any{NodeList{}, NodeList{n, {Node: &catalog.Node{Node: "bare"}}}}},
		{Query: nodeQuery{Node: "n"}, Answers: []any{(*Node)(nil), n}},
		{Query: servicesQuery{}, Answers: []any{SummaryList{}, SummaryList{{Name: "web", Nodes: []string{"n"}, Tags: []string{"a"}, Instances: 1, Checks: count{Total: 1, Passing: 1}}, {Kind: "k", Name: "x", Nodes: []string{}}}}},
		{Query: totalsQuery{}, Answers: []any{totals{}, totals{Nodes: []count{{Total: 1, Critical: 1}}, Services: []count{{Name: "web", Total: 1}}, Checks: []count{{Name: "c", Warning: 2}}}}},
		{Query: gatewayQuery{Gateway: "g"}, Answers: []any{nothing{}}},
		{Query: topologyQuery{Service: "s"}, Answers: []any{topology{}}},
	}
}

func TestTravel(t *testing.T) { roomtest.Travel(t, Room, travelling()...) }

func FuzzTravel(f *testing.F) { roomtest.Fuzz(f, Room, travelling()...) }
