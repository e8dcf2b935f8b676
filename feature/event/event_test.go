package event

import (
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/tinylib/msgp/msgp"
	"go.uber.org/goleak"

	"rostra/engine/room/roomtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const someID = "655b87d2-444a-67db-172d-a2b72dc9a7ac"

func TestTravel(t *testing.T) {
	roomtest.Results(t, Room, map[string][]any{"event.fire": {nil}})
}

func TestDecode(t *testing.T) {
	whole := event{ID: someID, Name: "deploy", Payload: []byte("pay"), NodeFilter: "n", ServiceFilter: "web", TagFilter: "a", Version: 1}
	bare := event{ID: someID, Name: "deploy", Version: 1}
	bytes := func(e event) []byte {
		b, err := e.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, e := range []event{whole, bare} {
		got, err := decode(bytes(e))
		if err != nil || fmt.Sprint(*got) != fmt.Sprint(e) {
			t.Errorf("%+v became %+v, %v", e, got, err)
		}
	}
	keys := map[string]bool{}
	n, b, _ := msgp.ReadMapHeaderBytes(bytes(whole))
	for range n {
		var key string
		key, b, _ = msgp.ReadStringBytes(b)
		keys[key] = true
		b, _ = msgp.Skip(b)
	}
	if fmt.Sprint(keys) != "map[ID:true n:true nf:true p:true sf:true tf:true v:true]" {
		t.Errorf("keys on the wire: %v", keys)
	}
	newer := msgp.AppendString(msgp.AppendString(append([]byte{0x84}, bytes(bare)[1:]...), "later"), "x")
	if e, err := decode(newer); err != nil || e.Name != "deploy" {
		t.Errorf("a member that is not known: %+v, %v", e, err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "half": bytes(whole)[:20], "more": append(bytes(whole), 1), "no map": msgp.AppendInt(nil, 7),
		"no ID": bytes(event{Name: "n", Version: 1}), "upper case": bytes(event{ID: "655B87D2-444a-67db-172d-a2b72dc9a7ac", Name: "n", Version: 1}),
		"dashes": bytes(event{ID: "655b87d2-444a-67db-172da2b7-2dc9a7ac", Name: "n", Version: 1}), "no name": bytes(event{ID: someID, Version: 1}),
		"another version": bytes(event{ID: someID, Name: "n", Version: 2}),
	} {
		if e, err := decode(b); err == nil {
			t.Errorf("%s: taken as %+v", name, e)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range []event{{ID: someID, Name: "deploy", Payload: []byte("pay"), NodeFilter: "n", ServiceFilter: "web", TagFilter: "a", Version: 1}, {}} {
		b, _ := e.MarshalMsg(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decode(b)
		if err != nil {
			return
		}
		e.meant("n1", map[string][]string{"web": {"a"}})
		again, err := e.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode(again)
		if err != nil || fmt.Sprint(*back) != fmt.Sprint(*e) {
			t.Errorf("%+v became %+v, %v", e, back, err)
		}
	})
}

// TestIndex: clients compute the same index from the ID.
func TestIndex(t *testing.T) {
	for _, id := range []string{someID, "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-0000-000000000001"} {
		got, err := indexOf(id)
		if want := (&api.Event{}).IDToIndex(id); err != nil || got != want {
			t.Errorf("%s: %d, want %d, %v", id, got, want, err)
		}
	}
}

func TestRing(t *testing.T) {
	r := newRing()
	id := func(i int) string { return fmt.Sprintf("655b87d2-444a-67db-172d-%012x", i) }
	_, changed := r.list("")
	for i := range ringSize + 5 {
		if !r.add(&event{ID: id(i), Name: fmt.Sprint("e", i%2)}) {
			t.Fatal("a new event is not taken")
		}
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was woken")
	}
	_, changed = r.list("")
	if r.add(&event{ID: id(7), Name: "other"}) {
		t.Error("an event twice")
	}
	select {
	case <-changed:
		t.Error("woken by an event that was there")
	default:
	}
	all, _ := r.list("")
	even, _ := r.list("e0")
	none, _ := r.list("e")
	if len(all) != ringSize || all[0].ID != id(5) || all[ringSize-1].ID != id(ringSize+4) || len(even) != ringSize/2 || none == nil || len(none) != 0 {
		t.Errorf("%d events from %s, %d of a name, %v of no name", len(all), all[0].ID, len(even), none)
	}
}

func TestMeant(t *testing.T) {
	here := map[string][]string{"web-1": {"v1", "blue"}, "db": {"v2"}, "bare": nil}
	for _, c := range []struct {
		node, service, tag string
		want               bool
	}{
		{"", "", "", true}, {"dge", "", "", true}, {"^dge", "", "", false}, {"", "web", "", true}, {"", "^eb", "", false},
		{"", "web", "v1", true}, {"", "web", "v2", false}, {"", "web|db", "v2", true}, {"", "bare", "x", false}, {"", "bare", "", true},
		{"edge", "db", "2$", true}, {"other", "db", "2$", false}, {"(", "", "", false}, {"", "web", "[", false}, {"", "*", "", false},
	} {
		e := event{NodeFilter: c.node, ServiceFilter: c.service, TagFilter: c.tag}
		if got := e.meant("edge-1", here); got != c.want {
			t.Errorf("node %q service %q tag %q: %v", c.node, c.service, c.tag, got)
		}
	}
	if (&event{ServiceFilter: "web"}).meant("edge-1", nil) {
		t.Error("a service where there is none")
	}
}
