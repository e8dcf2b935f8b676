package health

import (
	"fmt"
	"strings"
	"testing"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/httpd"
	"rostra/kit/store"
)

// base is the state the index table starts from; the Commands get the indexes 1, 2, …
func base() []room.Command {
	return []room.Command{
		reg("n1", "w1/web/a", "serfHealth:passing", "c1:passing:w1"), // 1
		reg("n2", "w2/web", "c2:passing:w2"),                         // 2
		reg("n2", "d1/db"),                                           // 3
		reg("n3", "x1/gone"),                                         // 4
		&catalog.Deregister{Node: "n3", ServiceID: "x1"},             // 5: an extinction
		reg("n4", ""),                   // 6
		&catalog.Deregister{Node: "n4"}, // 7: a node's end
	}
}

// The table of conventions §8, catalog and health rows: which answers get a Command's index (8), which keep theirs.
// Columns: health/service and catalog/service of web and db, of the unknown; catalog/services, with meta; catalog/nodes;
// catalog/node n1, n2, unknown; the lists of checks. One letter each, "." for the ones that stand.
func TestIndexes(t *testing.T) {
	columns := []struct {
		letter string
		q      room.Query
		base   uint64
	}{
		{"W", ServiceQuery{Service: "web"}, 2}, {"w", catalog.InstancesQuery{Service: "web"}, 2},
		{"D", ServiceQuery{Service: "db"}, 3}, {"d", catalog.InstancesQuery{Service: "db"}, 3},
		{"U", ServiceQuery{Service: "none"}, 5}, {"u", catalog.InstancesQuery{Service: "gone"}, 5},
		{"S", catalog.ServicesQuery{}, 5}, {"M", catalog.ServicesQuery{Meta: rack("r")}, 7}, {"N", catalog.NodesQuery{}, 7},
		{"1", catalog.NodeQuery{Node: "n1"}, 1}, {"2", catalog.NodeQuery{Node: "n2"}, 3}, {"?", catalog.NodeQuery{Node: "none"}, 7},
		{"h", NodeChecksQuery{Node: "n1"}, 2}, {"c", ServiceChecksQuery{Service: "web"}, 2}, {"s", StateQuery{State: "any"}, 2},
		{"m", StateQuery{State: "any", Meta: rack("r")}, 7},
	}
	cases := []struct {
		what    string
		command room.Command
		moves   string
	}{
		{"nothing new", reg("n1", "w1/web/a", "serfHealth:passing", "c1:passing:w1"), ""},
		{"an instance changes", reg("n1", "w1/web/b"), "WwSM1hcsm"}, // its check carries the tags
		{"an instance's address changes", func() room.Command { c := reg("n2", "w2/web"); c.Service.Port = 81; return c }(), "WwSM2"},
		{"an instance comes", reg("n2", "w3/web"), "WwSM2"},
		{"one of several goes", &catalog.Deregister{Node: "n1", ServiceID: "w1"}, "WwSM1hcsm"},
		{"the last goes", &catalog.Deregister{Node: "n2", ServiceID: "d1"}, "DdUuSM2"},
		{"the last gets another name", reg("n2", "d1/web"), "WwDdUuSM2"},
		{"a check of an instance", reg("n1", "", "c1:critical:w1"), "Wwhcsm"},
		{"a check of an instance goes", &catalog.Deregister{Node: "n1", CheckID: "c1"}, "Wwhcsm"},
		{"a node's check", reg("n2", "", "own:passing"), "WwDdhcsm"},
		{"a node's check goes", &catalog.Deregister{Node: "n1", CheckID: "serfHealth"}, "WwSMhcsm"},
		{"a node's row", moved(reg("n2", ""), "127.0.0.2"), "WwDdMN2m"},
		{"a node without services", reg("n5", ""), "MNm"},
		{"a node with services goes", &catalog.Deregister{Node: "n1"}, "WwSMN1?hcsm"},
		{"a node with a last instance goes", &catalog.Deregister{Node: "n2"}, "WwDdUuSMN2?hcsm"},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			l := newLab(t, base()...)
			for _, k := range columns {
				if got := l.ask(k.q).Index; got != k.base {
					t.Errorf("at first %s has %d, not %d", k.letter, got, k.base)
				}
			}
			l.must(c.command)
			for name, l := range map[string]*lab{"at once": l, "after a snapshot": l.again()} {
				got := ""
				for _, k := range columns {
					switch index := l.ask(k.q).Index; index {
					case 8:
						got += k.letter
					case k.base:
					default:
						t.Errorf("%s: %s has %d", name, k.letter, index)
					}
				}
				if got != c.moves {
					t.Errorf("%s: moved %q, not %q", name, got, c.moves)
				}
			}
		})
	}
}

// While nothing was ever extinct, the index of an unknown service is that of the tables.
func TestIndexBeforeAnyExtinction(t *testing.T) {
	l := newLab(t, reg("n1", "w1/web"), reg("n2", ""), reg("n1", "", "c:passing:w1"))
	if h, c := l.ask(ServiceQuery{Service: "x"}).Index, l.ask(catalog.InstancesQuery{Service: "x"}).Index; h != 3 || c != 2 {
		t.Errorf("health %d, catalog %d", h, c)
	}
}

// A service that was touched and lost its last instance in one step is as extinct as any.
func TestTouchedAndExtinct(t *testing.T) {
	l := newLab(t, reg("n1", "w1/web"), reg("n2", "d/db"), moved(reg("n1", "w1/shop"), "127.0.0.9"))
	if i := l.ask(ServiceQuery{Service: "web"}).Index; i != 3 {
		t.Errorf("the index is %d", i)
	}
	l.must(&catalog.Deregister{Node: "n2", ServiceID: "d"})
	if i := l.ask(ServiceQuery{Service: "web"}).Index; i != 4 {
		t.Errorf("after a later extinction the index is %d", i)
	}
}

func TestJoin(t *testing.T) {
	l := newLab(t,
		racked(reg("N2", "b/web/x", "zz:passing", "AA:passing", "m:passing:b"), "r2"),
		racked(reg("n1", "B/web/x/y", "serfHealth:passing", "c:warning:B", "a:passing:B"), "r1"),
		racked(reg("n1", "a/web", "other:passing:a"), "r1"), reg("n3", "w/web", "down:critical"), reg("n3", "x/else", "e:passing:x"))
	join := func(q ServiceQuery) string {
		var out []string
		for _, e := range l.ask(q).Value.(EntryList) {
			s := e.Node.Node + "/" + e.Service.ID + ":"
			for _, c := range e.Checks {
				s += c.CheckID + ","
			}
			out = append(out, s+e.Status())
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		q    ServiceQuery
		want string
	}{
		{ServiceQuery{Service: "web"}, "n1/a:serfHealth,other,passing n1/B:serfHealth,a,c,warning N2/b:AA,zz,m,passing n3/w:down,critical"},
		{ServiceQuery{Service: "web", Passing: true}, "n1/a:serfHealth,other,passing N2/b:AA,zz,m,passing"},
		{ServiceQuery{Service: "web", Tags: catalog.WordsOf([]string{"X"})}, "n1/B:serfHealth,a,c,warning N2/b:AA,zz,m,passing"},
		{ServiceQuery{Service: "web", Meta: rack("r2")}, "N2/b:AA,zz,m,passing"},
		{ServiceQuery{Service: "none"}, ""},
	} {
		if got := join(c.q); got != c.want {
			t.Errorf("%+v:\n%s", c.q, got)
		}
	}
	ids := func(q room.Query) string {
		var out []string
		for _, c := range l.ask(q).Value.(CheckList) {
			out = append(out, c.CheckID)
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		q    room.Query
		want string
	}{
		{NodeChecksQuery{Node: "n1"}, "a c other serfHealth"}, {NodeChecksQuery{Node: "n"}, ""},
		{ServiceChecksQuery{Service: "web"}, "a c other m"}, {ServiceChecksQuery{Service: "web", Meta: rack("r2")}, "m"},
		{StateQuery{State: "critical"}, "down"}, {StateQuery{State: "any", Meta: rack("r1")}, "a c other serfHealth"},
		{StateQuery{State: "Passing"}, ""}, {StateQuery{State: "warning"}, "c"},
	} {
		if got := ids(c.q); got != c.want {
			t.Errorf("%+v: %s", c.q, got)
		}
	}
}

func benchService(b *testing.B, each func(l *lab, i int) *room.Shared) {
	l := newLab(b)
	for i := range 50 {
		l.must(reg(fmt.Sprintf("node-%02d", i), fmt.Sprintf("w%d/web/v1/primary", i), "serfHealth:passing", fmt.Sprintf("w%d:passing:w%d", i, i)))
	}
	l.ask(ServiceQuery{Service: "web"}).Value.(httpd.Appender).AppendJSON(nil)
	b.ReportAllocs()
	b.ResetTimer()
	size := 0
	for i := range b.N {
		if s := each(l, i); s != nil {
			size = len(s.JSON())
		}
	}
	b.ReportMetric(float64(size), "bytes")
}

// BenchmarkService50 is an evaluation with its encoding: with every record's JSON at hand, and after one check changed.
func BenchmarkService50(b *testing.B) {
	q := ServiceQuery{Service: "web"}
	b.Run("cached", func(b *testing.B) {
		benchService(b, func(l *lab, _ int) *room.Shared { return room.NewShared(l.ask(q).Value) })
	})
	b.Run("changed", func(b *testing.B) {
		benchService(b, func(l *lab, i int) *room.Shared {
			c := reg("node-07", "", "w7:"+[]string{"critical", "passing"}[i%2]+":w7")
			batch := l.store.Begin(0)
			if err := batch.Run(func(tx *store.Tx) error { _, err := c.Run(tx); return err }); err != nil {
				b.Fatal(err)
			}
			batch.Commit()
			return room.NewShared(l.ask(q).Value)
		})
	})
}
