package catalog

import (
	"fmt"
	"strings"
	"testing"

	"rostra/kit/fault"
	"rostra/kit/wire"
)

const (
	idOne = "11111111-1111-1111-1111-111111111111"
	idTwo = "22222222-2222-2222-2222-222222222222"
)

func TestRegisterIsIdempotent(t *testing.T) {
	full := func() *Register {
		c := reg("N1", "w1/Web/a/b", "serfHealth:passing", "c1:warning:w1", "c2::w1")
		c.Row.ID, c.Row.Meta = idOne, wire.Pairs{{Key: "rack", Value: "b2"}}
		c.Service.Meta, c.Service.TaggedAddresses = wire.Pairs{{Key: "k", Value: "v"}}, []taggedAddress{{"lan", "10.0.0.1", 80}}
		c.Checks[1].Definition = []byte(`{"HTTP":"http://x"}`)
		return c
	}
	l := newLab(t).must(full())
	l.still(full())
	other := full()
	other.Row.Node = "n1"
	l.still(other)
	weightless := full()
	weightless.Service.Weights = Weights{0, -1}
	l.still(weightless)
	unnamed := reg("n2", "/web")
	l.must(unnamed)
	l.still(reg("n2", "web/web"))
	l.still(&Deregister{Node: "n2", ServiceID: "none"})
	l.still(&Deregister{Node: "n2", CheckID: "none"})
	l.still(&Deregister{Node: "none"})
	l.still(&Deregister{Node: "none", ServiceID: "w1"})
	skip := reg("n1", "")
	skip.SkipNode, skip.Row.Address = true, ""
	l.still(skip)
}

func TestNamesIgnoreCase(t *testing.T) {
	l := newLab(t).must(reg("Node", "ID/Web/T", "Check:passing:id"))
	l.must(reg("nODE", "id/wEB/T", "cHECK:critical:ID"))
	equal(t, "nodes", len(l.ask(NodesQuery{}).Value.(NodeList)), 1)
	list := l.ask(InstancesQuery{Service: "WEB", Tags: WordsOf([]string{"t"})}).Value.(InstanceList)
	if len(list) != 1 || list[0].Service.Service != "wEB" || list[0].Node.Node != "Node" {
		t.Errorf("%s", list.AppendJSON(nil))
	}
	v := l.store.View()
	defer v.Release()
	if c := Checks.Get(v, Key("node", "check")); c == nil || c.Status != Critical || c.ServiceName != "wEB" {
		t.Errorf("the check: %+v", c)
	}
	if findNode(v, "NODE") == nil || Checks.Len(v) != 1 || Services.Len(v) != 1 {
		t.Error("there are two of a kind")
	}
	l.must(&Deregister{Node: "NODE", CheckID: "CHECK"}).must(&Deregister{Node: "NODE", ServiceID: "iD"}).must(&Deregister{Node: "NODE"})
	equal(t, "nodes", l.json(NodesQuery{}), "[]")
}

func TestChecksFollowTheirService(t *testing.T) {
	l := newLab(t).must(reg("n1", "w/web/a", "c1:passing:w", "own:passing"))
	l.must(reg("n1", "w/shop/b", "c2:warning:w"))
	v := l.store.View()
	defer v.Release()
	for _, id := range []string{"c1", "c2"} {
		c := Checks.Get(v, Key("n1", id))
		if c.ServiceName != "shop" || fmt.Sprint(c.ServiceTags) != "[b]" || c.ModifyIndex != 2 {
			t.Errorf("%s", c.AppendJSON(nil))
		}
	}
	if c := Checks.Get(v, Key("n1", "c1")); c.CreateIndex != 1 {
		t.Errorf("c1 was created at %d", c.CreateIndex)
	}
	// sent names and tags do not count, and a check of the node has none
	c := reg("n1", "", "c1:passing:w", "own:critical")
	for _, k := range c.Checks {
		k.ServiceName, k.ServiceTags = "liar", []string{"x"}
	}
	l.must(c)
	w := l.store.View()
	defer w.Release()
	if c := Checks.Get(w, Key("n1", "c1")); c.ServiceName != "shop" || c.ModifyIndex != 2 {
		t.Errorf("%s", c.AppendJSON(nil))
	}
	if c := Checks.Get(w, Key("n1", "own")); c.ServiceName != "" || c.ServiceTags != nil || c.Status != Critical {
		t.Errorf("%s", c.AppendJSON(nil))
	}
	l.must(&Deregister{Node: "n1", ServiceID: "w"})
	end := l.store.View()
	defer end.Release()
	if Checks.Get(end, Key("n1", "c1")) != nil || Checks.Get(end, Key("n1", "own")) == nil {
		t.Error("the service's checks did not go with it, or the node's did")
	}
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		what string
		c    *Register
		text string
	}{
		{"no node", &Register{Row: &Node{}}, "Must provide node"},
		{"no row", &Register{}, "Must provide node"},
		{"another node's check", &Register{Row: &Node{Node: "x"}, Checks: []*Check{{Node: "y", CheckID: "c"}}},
			"Node 'y' for check 'c' doesn't match register request node 'x'"},
		{"an unknown service", reg("n1", "w/web", "c:passing:svc"), "Unknown service ID 'svc' for check ID 'c'"},
		{"a nameless check", reg("n1", "", ":passing"), "failed inserting check: it has neither CheckID nor Name"},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			l := newLab(t)
			if err := l.run(c.c); !fault.Is(err, fault.Refused) || err.Error() != c.text {
				t.Errorf("%v", err)
			}
			if l.store.Index() != 0 || l.json(NodesQuery{}) != "[]" {
				t.Error("it left something")
			}
		})
	}
}

func TestNodeIdentity(t *testing.T) {
	const reserved = "failed inserting node: Error while renaming Node ID: "
	cases := []struct {
		what  string
		setup []*Register
		then  *Register
		err   string
		nodes string
	}{
		{"an ID moves to a new name", []*Register{withID("a", idOne, Passing)}, withID("b", idOne, ""), "", "b=" + idOne},
		{"it keeps its case", []*Register{withID("a", idOne, Passing)}, withID("A", idOne, ""), "", "a=" + idOne},
		{"to a name without an ID", []*Register{withID("a", idOne, ""), withID("b", "", "")}, withID("b", idOne, ""), "", "b=" + idOne},
		{"to the name of a dead node", []*Register{withID("a", idOne, ""), withID("b", idTwo, Critical)}, withID("b", idOne, ""), "", "b=" + idOne},
		{"to the name of one without health", []*Register{withID("a", idOne, ""), withID("b", idTwo, "")}, withID("b", idOne, ""), "", "b=" + idOne},
		{"not to a live one's", []*Register{withID("a", idOne, ""), withID("b", idTwo, Passing)}, withID("b", idOne, ""),
			reserved + `"` + idOne + `" (127.0.0.1): Node name b is reserved by node ` + idTwo + " with name b (127.0.0.1)", "a=" + idOne + " b=" + idTwo},
		{"nor to a live one's without an ID", []*Register{withID("a", idOne, ""), withID("b", "", Warning)}, withID("b", idOne, ""),
			reserved + `"` + idOne + `" (127.0.0.1): Node name b is reserved by node  with name b (127.0.0.1)`, "a=" + idOne + " b="},
		{"a new ID takes a name without one", []*Register{withID("a", "", Passing)}, withID("a", idOne, ""), "", "a=" + idOne},
		{"or a dead one's", []*Register{withID("a", idTwo, Critical)}, withID("a", idOne, ""), "", "a=" + idOne},
		{"but not a live one's", []*Register{withID("a", idTwo, Passing)}, withID("a", idOne, ""),
			reserved + `"` + idOne + `": Node name a is reserved by node ` + idTwo + " with name a (127.0.0.1)", "a=" + idTwo},
		{"a node without an ID overwrites by name", []*Register{withID("a", idOne, Passing)}, withID("a", "", ""), "", "a="},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			l := newLab(t)
			for _, s := range c.setup {
				l.must(s)
			}
			if err := l.run(c.then); c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
				t.Errorf("%v", err)
			}
			var got []string
			for _, n := range l.ask(NodesQuery{}).Value.(NodeList) {
				got = append(got, n.Node+"="+n.ID)
			}
			equal(t, "nodes", strings.Join(got, " "), c.nodes)
		})
	}
}

// A renamed node loses what was on it, keeps its age, and a service that was only there is extinct.
func TestRename(t *testing.T) {
	first := withID("a", idOne, Passing)
	first.Service = &Service{Service: "web"}
	l := newLab(t).must(first).must(reg("other", "x/web2"))
	l.must(withID("b", idOne, ""))
	equal(t, "services", l.json(ServicesQuery{}), `{"web2":[]}`)
	if n := l.ask(NodesQuery{}).Value.(NodeList)[0]; n.Node != "b" || n.CreateIndex != 1 || n.ModifyIndex != 3 {
		t.Errorf("%s", n.AppendJSON(nil))
	}
	equal(t, "index of web", l.ask(InstancesQuery{Service: "web"}).Index, 3)
	equal(t, "index of node a", l.ask(NodeQuery{Node: "a"}).Index, 3)
	equal(t, "index of node b", l.ask(NodeQuery{Node: "b"}).Index, 3)
}

func TestFind(t *testing.T) {
	l := newLab(t).must(withID("a", idOne, "")).must(withID("b", "11aaaaaa-1111-1111-1111-111111111111", "")).must(withID("11", "", "")).must(reg("e", ""))
	for ask, want := range map[string]string{"A": "a", idOne: "a", strings.ToUpper("11AA"): "b", "111": "a", "11": "11", "1": "", "": "", "22": "", "1111111": "a"} {
		got := ""
		if n := l.ask(findQuery{NameOrID: ask}).Value.(*Node); n != nil {
			got = n.Node
		}
		if got != want {
			t.Errorf("%q is %q, not %q", ask, got, want)
		}
	}
	l.must(&Deregister{Node: "11"})
	if n := l.ask(findQuery{NameOrID: "11"}).Value.(*Node); n != nil {
		t.Errorf("an ambiguous prefix is %s", n.Node)
	}
}

func TestSelection(t *testing.T) {
	l := newLab(t)
	for i, rack := range []string{"r1", "r2", "r1"} {
		c := reg(fmt.Sprint("n", i), fmt.Sprintf("W%d/Web/v%d/All", i, i))
		c.Row.Meta = wire.Pairs{{Key: "empty"}, {Key: "rack", Value: rack}}
		l.must(c)
	}
	meta := func(kv ...string) Words {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return WordsOf(m)
	}
	cases := []struct {
		tags []string
		meta Words
		want string
	}{
		{nil, "", "W0 W1 W2"}, {[]string{"ALL"}, "", "W0 W1 W2"}, {[]string{"v1"}, "", "W1"}, {[]string{"v1", "all"}, "", "W1"},
		{[]string{"v1", "v2"}, "", ""}, {nil, meta("rack", "r1"), "W0 W2"}, {[]string{"v2"}, meta("rack", "r1", "empty", ""), "W2"},
		{nil, meta("rack", "R1"), ""}, {nil, meta("none", ""), ""},
	}
	for _, c := range cases {
		var got []string
		for _, x := range l.ask(InstancesQuery{Service: "web", Tags: WordsOf(c.tags), Meta: c.meta}).Value.(InstanceList) {
			got = append(got, x.Service.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("tags %v, meta %q: %v", c.tags, c.meta, got)
		}
	}
	equal(t, "services", l.json(ServicesQuery{}), `{"Web":["All","v0","v1","v2"]}`)
	equal(t, "of a rack", l.json(ServicesQuery{Meta: meta("rack", "r2")}), `{"Web":["All","v1"]}`)
	equal(t, "nodes of a rack", len(l.ask(NodesQuery{Meta: meta("rack", "r1")}).Value.(NodeList)), 2)
	if WordsOf([]string{"b", "a"}) != WordsOf([]string{"a", "b"}) {
		t.Error("the order of words matters")
	}
}
