package catalog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rostra/engine/room"
	"rostra/kit/httpd"
	"rostra/kit/store"
)

func decodeBody(body string, v any) error { return httpd.DecodeJSON([]byte(body), v, true) }

// model is the catalog as anybody would write it first: node → instance → service name and tag, and node → check → status.
type model map[string]*modelNode

type modelNode struct {
	services map[string]string // ID → "name/tag"
	checks   map[string]string // ID → "service ID:status"
}

func (m model) String() string {
	var lines []string
	for node, n := range m {
		lines = append(lines, node)
		for id, s := range n.services {
			lines = append(lines, node+" service "+id+" "+s)
		}
		for id, c := range n.checks {
			of, _, _ := strings.Cut(c, ":")
			lines = append(lines, node+" check "+id+" "+c+" "+n.services[of])
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (l *lab) lines() string {
	v := l.store.View()
	defer v.Release()
	var lines []string
	for n := range Nodes.All(v) {
		lines = append(lines, n.Node)
	}
	for s := range Services.All(v) {
		lines = append(lines, s.Node+" service "+s.ID+" "+s.Service+"/"+s.Tags[0])
	}
	for c := range Checks.All(v) {
		of := ""
		if c.ServiceID != "" {
			of = c.ServiceName + "/" + c.ServiceTags[0]
		}
		lines = append(lines, c.Node+" check "+c.CheckID+" "+c.ServiceID+":"+c.Status+" "+of)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (m model) step(r *rand.Rand) room.Command {
	node, id, check := fmt.Sprint("n", r.IntN(3)), fmt.Sprint("i", r.IntN(3)), fmt.Sprint("c", r.IntN(3))
	n := m[node]
	switch r.IntN(8) {
	case 0:
		if r.IntN(3) == 0 {
			delete(m, node)
			return &Deregister{Node: node}
		}
		fallthrough
	case 1:
		if n != nil {
			delete(n.services, id)
			for c, text := range n.checks {
				if strings.HasPrefix(text, id+":") {
					delete(n.checks, c)
				}
			}
		}
		return &Deregister{Node: node, ServiceID: id, CheckID: check}
	case 2:
		if n != nil {
			delete(n.checks, check)
		}
		return &Deregister{Node: node, CheckID: check}
	}
	if n == nil {
		n = &modelNode{map[string]string{}, map[string]string{}}
		m[node] = n
	}
	service := ""
	if r.IntN(2) == 0 {
		n.services[id] = fmt.Sprintf("s%d/t%d", r.IntN(3), r.IntN(2))
		service = id + "/" + n.services[id]
	}
	if r.IntN(2) == 0 {
		return reg(node, service)
	}
	status, of := []string{Passing, Critical}[r.IntN(2)], ""
	if _, there := n.services[id]; there {
		of = id
	}
	n.checks[check] = of + ":" + status
	return reg(node, service, check+":"+status+":"+of)
}

// Whatever is registered and deregistered: the state is the model's, no index falls, an answer that changed has a higher
// index, a Command that changed nothing moved nothing, and the same log gives the same bytes.
func TestModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		l, again, m := newLab(t), newLab(t), model{}
		queries := []room.Query{NodesQuery{}, ServicesQuery{}, EveryInstanceQuery{}, NodeQuery{Node: "n0"}, NodeQuery{Node: "n1"}}
		for i := range 3 {
			queries = append(queries, InstancesQuery{Service: fmt.Sprint("s", i)})
		}
		type seen struct {
			index uint64
			text  string
		}
		last := make([]seen, len(queries))
		for step := range 250 {
			before, index, nodes := l.lines(), l.store.Index(), l.json(NodesQuery{})
			c := m.step(r)
			l.must(c)
			again.must(c)
			if got := l.lines(); got != m.String() {
				t.Fatalf("seed %d, step %d, %+v:\n%s\nthe model has:\n%s", seed, step, c, got, m)
			} else if moved := l.store.Index() != index; moved != (got != before || nodes != l.json(NodesQuery{})) {
				t.Fatalf("seed %d, step %d, %+v: index %d → %d", seed, step, c, index, l.store.Index())
			}
			for i, q := range queries {
				a, text := l.ask(q), l.json(q)
				if a.Index < last[i].index || text != last[i].text && a.Index == last[i].index && a.Index > 1 { // 1 is where a server's history begins
					t.Fatalf("seed %d, step %d, %+v: %#v went from %d to %d\n%s\n%s", seed, step, c, q, last[i].index, a.Index, last[i].text, text)
				}
				last[i] = seen{a.Index, text}
			}
		}
		saved := l.snapshot()
		if !bytes.Equal(saved, again.snapshot()) {
			t.Fatalf("seed %d: the same log gives different bytes", seed)
		}
		restored := newLab(t)
		if err := restored.store.Restore(bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		for i, q := range queries {
			if got := restored.ask(q).Index; got != last[i].index || restored.json(q) != last[i].text {
				t.Errorf("seed %d: after a restore %#v has index %d, not %d", seed, q, got, last[i].index)
			}
		}
	}
}

func FuzzCommands(f *testing.F) {
	for _, c := range []room.Command{reg("n", "i/s/t", "c:passing:i"), withID("n", idOne, Passing), &Deregister{Node: "n", CheckID: "c"}} {
		raw, _ := c.MarshalMsg(nil)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, make := range []func() room.Command{func() room.Command { return new(Register) }, func() room.Command { return new(Deregister) }} {
			c := make()
			rest, err := store.DecodeStrict(raw, c)
			if err != nil {
				continue
			}
			again, err := c.MarshalMsg(nil)
			if err != nil || !bytes.Equal(again, raw[:len(raw)-len(rest)]) {
				t.Fatalf("%x became %x, %v", raw, again, err)
			}
			_ = newLab(t).run(c)
		}
	})
}

func FuzzBody(f *testing.F) {
	f.Add(edgeBody)
	f.Add(`{"Node":"n","SkipNodeUpdate":true,"Checks":[null,{"Definition":null}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		var in registration
		if decodeBody(body, &in) != nil {
			return
		}
		if c, err := in.command("dc"); err == nil {
			_ = newLab(t).run(c)
		}
	})
}

func BenchmarkRegister(b *testing.B) {
	for _, moves := range []bool{false, true} {
		b.Run(fmt.Sprint("moves=", moves), func(b *testing.B) {
			l := newLab(b)
			commands := make([]*Register, 2)
			for i := range commands {
				commands[i] = reg("n1", fmt.Sprint("w/web/v", i), "c1:passing:w", "c2:passing:w")
			}
			l.must(commands[0])
			b.ReportAllocs()
			for i := range b.N {
				c := commands[0]
				if moves {
					c = commands[1-i%2]
				}
				batch := l.store.Begin(0)
				if err := batch.Run(func(tx *store.Tx) error { _, err := c.Run(tx); return err }); err != nil {
					b.Fatal(err)
				}
				batch.Commit()
			}
		})
	}
}
