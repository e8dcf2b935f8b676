package coordinate

import (
	"math"
	"testing"

	"rostra/engine/room/roomtest"
)

func travelling() []roomtest.Case {
	two := List{{Node: "n1", Coord: at("", 1).Coord}, {Node: "N2", Coord: at("", -2).Coord}}
	return []roomtest.Case{
		{Query: NodesQuery{}, Answers: []any{List{}, two}},
		{Query: NodeQuery{Node: "n1"}, Answers: []any{List{}, two[:1]}},
	}
}

func TestTravel(t *testing.T) {
	roomtest.Travel(t, Room, travelling()...)
	space := Map{{Name: "dc1", Servers: []Server{{Node: "s1", Coord: at("", 2).Coord}}}, {Name: "dc2"}}
	roomtest.Results(t, Room, map[string][]any{"coordinate.update": {nil}, "coordinate.report": {nil}, "coordinate.datacenters": {Map{}, space}})
}

func FuzzTravel(f *testing.F) { roomtest.Fuzz(f, Room, travelling()...) }

func TestJSON(t *testing.T) {
	wild := at("n2", 0)
	wild.Coord.Height = math.NaN()
	one := at("n1", 1)
	if got := string(List{&one, &wild}.AppendJSON(nil)); got != `[{"Node":"n1","Segment":"","Coord":{"Vec":[1,0,0,0,0,0,0,0],"Error":1.5,`+
		`"Adjustment":0,"Height":0.00001}},{"Node":"n2","Segment":"","Coord":null}]` {
		t.Error(got)
	}
	space := Map{{Name: "dc1", Servers: []Server{{Node: "s1", Coord: at("", 2).Coord}}}, {Name: "dc2"}}
	if got := string(space.AppendJSON(nil)); got != `[{"Datacenter":"dc1","AreaID":"wan","Coordinates":[{"Node":"s1","Segment":"","Coord":`+
		`{"Vec":[2,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}}]},{"Datacenter":"dc2","AreaID":"wan","Coordinates":[]}]` {
		t.Error(got)
	}
}
