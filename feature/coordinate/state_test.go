package coordinate

import (
	"fmt"
	"math"
	"testing"

	"rostra/feature/catalog"
)

func TestUpdate(t *testing.T) {
	l := newLab(t)
	l.node("N2")
	l.node("n1")
	if got := l.ask(NodesQuery{}); len(got.Value.(List)) != 0 || got.Index != 0 {
		t.Errorf("before any: %+v", got)
	}
	for _, step := range []struct {
		name    string
		entries []Entry
		moved   bool
		want    string
	}{
		{"unknown nodes only", []Entry{at("gone", 1)}, false, ""},
		{"two, and an unknown one", []Entry{at("n1", 1), at("n2", 2), at("gone", 3)}, true, "n1=1 N2=2 "},
		{"the same again", []Entry{at("n1", 1), at("N2", 2)}, false, "n1=1 N2=2 "},
		{"one has moved", []Entry{at("n1", 1), at("n2", 4)}, true, "n1=1 N2=4 "},
		{"twice: the last counts", []Entry{at("n1", 5), at("n1", 6)}, true, "n1=6 N2=4 "},
		{"none", nil, false, "n1=6 N2=4 "},
	} {
		before, index := l.store.Index(), l.ask(NodesQuery{}).Index
		if err := l.update(step.entries...); err != nil {
			t.Fatal(step.name, err)
		}
		a := l.ask(NodesQuery{})
		if moved := l.store.Index() > before; moved != step.moved || (a.Index > index) != step.moved {
			t.Errorf("%s: state index moved: %v, answer's from %d to %d", step.name, moved, index, a.Index)
		}
		got := ""
		for _, e := range a.Value.(List) {
			got += fmt.Sprintf("%s=%v ", e.Node, e.Coord.Vec[0])
		}
		if got != step.want {
			t.Errorf("%s: %s", step.name, got)
		}
	}
}

func TestUpdateRefuses(t *testing.T) {
	l := newLab(t)
	l.node("n1")
	wrong := at("n1", 1)
	wrong.Coord.Vec[7] = math.NaN()
	for name, entries := range map[string][]Entry{"not a number": {at("n1", 2), wrong}, "infinite": {at("n1", math.Inf(1))},
		"too many": make([]Entry, batchSize+1)} {
		if err := l.update(entries...); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if got := l.ask(NodesQuery{}).Value.(List); len(got) != 0 {
		t.Errorf("a refused Command left %v", got)
	}
}

func TestNodeQuery(t *testing.T) {
	l := newLab(t)
	l.node("Edge")
	if err := l.update(at("edge", 1)); err != nil {
		t.Fatal(err)
	}
	if a := l.ask(NodeQuery{"edge"}); a.Missing || a.Value.(List)[0].Node != "Edge" || a.Index == 0 {
		t.Errorf("known: %+v", a)
	}
	if a := l.ask(NodeQuery{"gone"}); !a.Missing || len(a.Value.(List)) != 0 || a.Index == 0 {
		t.Errorf("unknown: %+v", a)
	}
}

// TestNodesEndPlaces: the place goes in the Command that ends the node, and readers hear of it; a node without a place
// moves nothing of theirs.
func TestNodesEndPlaces(t *testing.T) {
	l := newLab(t)
	l.node("n1")
	l.node("n2")
	if err := l.update(at("n1", 1)); err != nil {
		t.Fatal(err)
	}
	before := l.ask(NodesQuery{}).Index
	for _, step := range []struct {
		node  string
		left  int
		moved bool
	}{{"n2", 1, false}, {"N1", 0, true}} {
		if err := l.run(&catalog.Deregister{Node: step.node}, new(catalog.Deregister)); err != nil {
			t.Fatal(err)
		}
		a := l.ask(NodesQuery{})
		if len(a.Value.(List)) != step.left || (a.Index > before) != step.moved {
			t.Errorf("%s: %+v, before %d", step.node, a, before)
		}
	}
}
