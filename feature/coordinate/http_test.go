package coordinate

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"rostra/engine/room"
	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
)

func apply(t *testing.T, a *servertest.Agent, c room.Command) {
	t.Helper()
	if _, _, err := a.Door.Apply(t.Context(), c, room.Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestUpdateOverHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startInside(t)
		apply(t, a, register("Ext"))
		place := func(vec string) string {
			return `"Coord":{"Vec":` + vec + `,"Error":1,"Adjustment":0.5,"Height":0.25}`
		}
		eight := "[1,2,3,4,5,6,7,8]"
		for _, c := range []struct {
			body, text string
			code       int
		}{
			{`{"Node":"ext",` + place(eight) + `}`, "", 200},
			{`{"Node":"nobody",` + place(eight) + `}`, "", 200}, // dropped later
			{`{"Node":"ext",` + place("[1]") + `}`, "incompatible coordinate", 500},
			{`{"Node":"ext",` + place("null") + `}`, "incompatible coordinate", 500},
			{`{"Node":"ext"}`, `Missing coordinate: the member "Coord" says where the node is`, 400},
			{`{` + place(eight) + `}`, "Missing node name", 400},
			{`{"Node":"ext","Segment":"a",` + place(eight) + `}`, "Network segments are not supported in this version of Consul", 500},
			{`{"Node":"ext","Odd":1,` + place(eight) + `}`, `Request decode failed: json: unknown field "Odd"`, 400},
			{`{"Node":"ext",` + place("[1e999,2,3,4,5,6,7,8]") + `}`, "", 400},
			{`x`, "", 400},
			{`{"Node":"ext","Datacenter":"dc9",` + place(eight) + `}`, "No path to datacenter", 500},
		} {
			code, _, text := a.Do("PUT", "/v1/coordinate/update", c.body)
			if code != c.code || c.text != "" && text != c.text || code == 200 && text != "" {
				t.Errorf("%s: %d %s", c.body, code, text)
			}
		}
		if code, _, _ := a.Do("PUT", "/v1/coordinate/update?dc=dc1", `{"Node":"ext","Datacenter":"dc9",`+place(eight)+`}`); code != 200 {
			t.Errorf("the parameter does not override the body: %d", code)
		}
		if code, h, text := a.Do("GET", "/v1/coordinate/node/ext", ""); code != 404 || text != "" || h.Get("X-Consul-Index") != "1" {
			t.Errorf("before the batch: %d %q %v", code, text, h)
		}
		code, h, text := a.Do("GET", "/v1/coordinate/nodes?index=1&wait=1m", "")
		want := `[{"Node":"Ext","Segment":"","Coord":{"Vec":[1,2,3,4,5,6,7,8],"Error":1,"Adjustment":0.5,"Height":0.25}}]`
		if code != 200 || text != want || h.Get("X-Consul-Index") == "1" || h.Get("X-Consul-Effective-Consistency") != "" {
			t.Errorf("nodes: %d %s %v", code, text, h)
		}
		if _, _, text := a.Do("GET", "/v1/coordinate/node/EXT?stale", ""); text != want {
			t.Errorf("node: %s", text)
		}
		if code, _, text := a.Do("GET", "/v1/coordinate/nodes?segment=a", ""); code != 200 || text != "[]" {
			t.Errorf("another segment: %d %s", code, text)
		}
		if code, _, text := a.Do("GET", "/v1/coordinate/node/ext?segment=a", ""); code != 404 || text != "" {
			t.Errorf("another segment of a node: %d %s", code, text)
		}
		if code, _, text := a.Do("GET", "/v1/coordinate/nodes?dc=dc9", ""); code != 500 || text != "No path to datacenter" {
			t.Errorf("another datacenter: %d %s", code, text)
		}
	})
}

// names lists the values of a member in the order of the text.
func names(member, text string) string {
	list := ""
	for _, m := range regexp.MustCompile(`"`+member+`":"([^"]*)"`).FindAllStringSubmatch(text, -1) {
		list += m[1] + " "
	}
	return list
}

// startCity runs a server whose catalog has n1 to n4 with an instance of web and a check each; n1 is the agent, n3 the
// nearest to it, n2 the farthest, and nobody knows where n4 is.
func startCity(t *testing.T) *servertest.Agent {
	a := startInside(t)
	for i, node := range []string{"n1", "n2", "n3", "n4"} {
		r := register(node)
		r.Service = &catalog.Service{ID: "web", Service: "web", Port: 80 + i, Weights: catalog.Weights{Passing: 1, Warning: 1}}
		r.Checks = []*catalog.Check{{CheckID: "up", Name: "up", Status: "passing", ServiceID: "web"}}
		apply(t, a, r)
	}
	apply(t, a, &Update{Entries: []Entry{at("n1", 0), at("n2", 0.9), at("n3", 0.1)}})
	return a
}

func TestNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startCity(t)
		for _, path := range []string{"/v1/catalog/nodes", "/v1/catalog/service/web", "/v1/health/service/web", "/v1/health/checks/web", "/v1/health/state/any"} {
			for _, c := range []struct{ near, want string }{
				{"", "n1 n2 n3 n4 "},
				{"near=_agent", "n1 n3 n2 n4 "},
				{"near=N2", "n2 n3 n1 n4 "},
				{"near=n4", "n1 n2 n3 n4 "},     // known, but not where
				{"near=nobody", "n1 n2 n3 n4 "}, // not known
				{"near=n2&dc=dc1", "n2 n3 n1 n4 "},
				{"near=n2&stale", "n2 n3 n1 n4 "},
				{"near=n2&pretty", "n2 n3 n1 n4 "},
				{"near=n2&filter=" + filterOf(path), "n2 n3 n4 "},
				{"", "n1 n2 n3 n4 "}, // the shared answer is what it was
			} {
				code, h, text := a.Do("GET", path+"?"+c.near, "")
				got := names("Node", strings.ReplaceAll(text, `": "`, `":"`))
				if strings.Contains(path, "health/service") { // each entry and its check name the node
					f := strings.Fields(got)
					got = ""
					for i := 0; i < len(f); i += 2 {
						got += f[i] + " "
					}
				}
				if code != 200 || got != c.want || h.Get("X-Consul-Index") == "" {
					t.Errorf("%s?%s: %d %s, want %s", path, c.near, code, got, c.want)
				}
			}
		}
		plain := fragments(a, "/v1/catalog/service/web")
		for f := range fragments(a, "/v1/catalog/service/web?near=n2") {
			if !plain[f] {
				t.Errorf("no fragment of the plain answer: %s", f)
			}
		}
	})
}

// TestNearAddress: the origin may be an address; the first node that has it and whose place is known counts.
func TestNearAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startCity(t)
		for node, address := range map[string]string{"n1": "10.0.0.1", "n2": "10.0.0.2", "n3": "2001:db8::3", "n0": "10.0.0.2"} {
			r := register(node)
			r.Row.Address = address
			apply(t, a, r)
		}
		list := catalog.NodeList{{Node: "n1"}, {Node: "n2"}, {Node: "n3"}, {Node: "n4"}}
		for _, c := range []struct {
			address string
			want    []int // nil: as it is
		}{
			{"10.0.0.2", []int{1, 2, 0, 3}},
			{"::ffff:10.0.0.2", []int{1, 2, 0, 3}},
			{"2001:DB8:0::3", []int{2, 0, 1, 3}},
			{"10.0.0.9", nil},
			{"", nil},
		} {
			if got := (sorter{a.Door}).Near(t.Context(), room.Options{}, "", c.address, list); !slices.Equal(got, c.want) {
				t.Errorf("%q: %v, want %v", c.address, got, c.want)
			}
		}
	})
}

func filterOf(path string) string {
	if strings.Contains(path, "health/service") {
		return "Node.Node!=n1"
	}
	return "Node!=n1"
}

func fragments(a *servertest.Agent, path string) map[string]bool {
	_, _, text := a.Do("GET", path, "")
	set := map[string]bool{}
	for f := range strings.SplitSeq(strings.Trim(text, "[]"), `,{"ID"`) {
		set[strings.TrimPrefix(f, `{"ID"`)] = true
	}
	return set
}

// TestNearBlocks: near does not change what a reader waits for. It is that of the answer; a place that changes wakes nobody.
func TestNearBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startCity(t)
		_, h, _ := a.Do("GET", "/v1/health/service/web", "")
		index := h.Get("X-Consul-Index")
		got := make(chan string, 1)
		go func() {
			_, h, text := a.Do("GET", "/v1/health/service/web?near=n2&wait=5m&index="+index, "")
			got <- h.Get("X-Consul-Index") + " " + names("Address", text)
		}()
		synctest.Wait()
		apply(t, a, &Update{Entries: []Entry{at("n4", 0.8)}})
		synctest.Wait()
		select {
		case early := <-got:
			t.Fatalf("woken by a place: %s", early)
		default:
		}
		r := register("n1")
		r.Row.Address = "10.0.0.1"
		apply(t, a, r)
		if woken := <-got; strings.HasPrefix(woken, index+" ") {
			t.Errorf("woken with the old index: %s", woken)
		}
		if _, _, text := a.Do("GET", "/v1/catalog/nodes?near=n2", ""); names("Node", text) != "n2 n4 n3 n1 " {
			t.Errorf("after n4 is known: %s", names("Node", text))
		}
	})
}

func TestDatacentersOfALoneServer(t *testing.T) {
	a := startInside
	synctest.Test(t, func(t *testing.T) {
		s := a(t)
		s.Host.Self.Server = true
		for path, want := range map[string]string{"/v1/coordinate/datacenters": "[]", "/v1/catalog/datacenters": `["dc1"]`} {
			if code, _, text := s.Do("GET", path, ""); code != 200 || text != want {
				t.Errorf("%s: %d %s", path, code, text)
			}
		}
		s.Host.Self.Server = false // through the door
		for path, want := range map[string]string{"/v1/coordinate/datacenters": "[]", "/v1/catalog/datacenters": `["dc1"]`} {
			if code, _, text := s.Do("GET", path, ""); code != 200 || text != want {
				t.Errorf("%s through the door: %d %s", path, code, text)
			}
		}
	})
}

// failing is a door that cannot read.
type failing struct{ room.Door }

func (failing) Read(context.Context, room.Query, room.Options) (room.Answer, room.Meta, error) {
	return room.Answer{}, room.Meta{}, fmt.Errorf("no leader")
}

// TestNearIsAFavour: where the places cannot be read, the list is given as it is.
func TestNearIsAFavour(t *testing.T) {
	if order := (sorter{failing{}}).Near(t.Context(), room.Options{}, "", "10.0.0.1", catalog.NodeList{{Node: "n1"}, {Node: "n2"}}); order != nil {
		t.Errorf("order %v", order)
	}
	if order := (sorter{failing{}}).Near(t.Context(), room.Options{}, "n1", "", catalog.NodeList{{Node: "n1"}, {Node: "n2"}}); order != nil {
		t.Errorf("order %v", order)
	}
}

func BenchmarkNear(b *testing.B) {
	var places List
	var list catalog.NodeList
	for i := range 5000 {
		e := at(fmt.Sprintf("n%04d", i), float64(i%97))
		places, list = append(places, &e), append(list, &catalog.Node{Node: e.Node})
	}
	s := sorter{fixed{answer: room.Answer{Value: places}}}
	for b.Loop() {
		if s.Near(b.Context(), room.Options{}, "n0001", "", list) == nil {
			b.Fatal("no order")
		}
	}
}

type fixed struct {
	room.Door
	answer room.Answer
}

func (d fixed) Read(context.Context, room.Query, room.Options) (room.Answer, room.Meta, error) {
	return d.answer, room.Meta{}, nil
}
