package health

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"rostra/engine/room"
	"rostra/feature/catalog"
)

const (
	node1   = `{"ID":"","Node":"n1","Address":"127.0.0.1","Datacenter":"dc","TaggedAddresses":null,"Meta":{"rack":"r1"},"CreateIndex":3,"ModifyIndex":3}`
	web1    = `{"ID":"w1","Service":"web","Tags":["a"],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":3,"ModifyIndex":3}`
	own1    = `{"Node":"n1","CheckID":"serfHealth","Name":"serfHealth","Status":"passing","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":3,"ModifyIndex":3}`
	check1  = `{"Node":"n1","CheckID":"c1","Name":"c1","Status":"warning","Notes":"","Output":"","ServiceID":"w1","ServiceName":"web","ServiceTags":["a"],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":3,"ModifyIndex":3}`
	entry1  = `{"Node":` + node1 + `,"Service":` + web1 + `,"Checks":[` + own1 + `,` + check1 + `]}`
	node2   = `{"ID":"","Node":"n2","Address":"127.0.0.1","Datacenter":"dc","TaggedAddresses":null,"Meta":null,"CreateIndex":4,"ModifyIndex":4}`
	web2    = `{"ID":"w2","Service":"web","Tags":[],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":4,"ModifyIndex":4}`
	entry2  = `{"Node":` + node2 + `,"Service":` + web2 + `,"Checks":[]}`
	missing = "Missing service name"
)

func filled(t testing.TB) *agent {
	a := newAgent(t)
	a.apply(racked(reg("n1", "w1/web/a", "serfHealth:passing", "c1:warning:w1"), "r1"))
	a.apply(reg("n2", "w2/web"))
	return a
}

func TestBodies(t *testing.T) {
	a := filled(t)
	for path, want := range map[string]string{
		"service/web":                               `[` + entry1 + `,` + entry2 + `]`,
		"service/WEB?passing":                       `[` + entry2 + `]`,
		"service/web?passing=1":                     `[` + entry2 + `]`,
		"service/web?peer=other":                    `[]`,
		"service/web?passing=false":                 `[` + entry1 + `,` + entry2 + `]`,
		"service/web?passing=0&tag=A":               `[` + entry1 + `]`,
		"service/web?tag=a&tag=b":                   `[]`,
		"service/web?node-meta=rack:r1":             `[` + entry1 + `]`,
		"service/web?filter=Checks.Status==warning": `[` + entry1 + `]`,
		`service/web?filter=Node.Meta.rack!=r1`:     `[` + entry2 + `]`,
		`service/web?filter=a+in+Service.Tags`:      `[` + entry1 + `]`,
		"service/none":                              `[]`,
		"node/N1":                                   `[` + check1 + `,` + own1 + `]`,
		"node/none":                                 `[]`,
		"node/n1?filter=ServiceName==web":           `[` + check1 + `]`,
		"checks/Web":                                `[` + check1 + `]`,
		"checks/web?node-meta=rack:r2":              `[]`,
		"checks/none":                               `[]`,
		"state/any?consistent":                      `[` + check1 + `,` + own1 + `]`,
		"state/warning":                             `[` + check1 + `]`,
		"state/any?node-meta=rack:r1":               `[` + check1 + `,` + own1 + `]`,
		"state/what":                                `[]`,
	} {
		if status, got := a.get("/v1/health/" + path); status != 200 || got != want {
			t.Errorf("%s: %d\n got %s\nwant %s", path, status, got, want)
		}
	}
	for path, want := range map[string]string{
		"service/": missing, "checks/": missing, "node/": "Missing node name", "state/": "Missing check state",
		"service/web?passing=junk": "Invalid value for ?passing",
		"service/web?peer=a&sg=b":  "peer-name and sameness-group are mutually exclusive",
	} {
		if status, got := a.get("/v1/health/" + path); status != 400 || got != want {
			t.Errorf("%s: %d %s", path, status, got)
		}
	}
}

// Lists that depend on the nodes' meta follow it.
func TestMetaChanges(t *testing.T) {
	a := filled(t)
	for _, path := range []string{"/v1/health/checks/web", "/v1/health/state/any", "/v1/health/service/web", "/v1/catalog/service/web", "/v1/catalog/nodes"} {
		path += "?node-meta=rack:r9"
		if _, got := a.get(path); got != "[]" {
			t.Errorf("%s: %s", path, got)
		}
	}
	a.get("/v1/catalog/services?filter=NodeMeta.rack==r9")
	a.apply(racked(reg("n1", ""), "r9"))
	for _, path := range []string{"/v1/health/checks/web", "/v1/health/state/any", "/v1/health/service/web", "/v1/catalog/service/web", "/v1/catalog/nodes"} {
		path += "?node-meta=rack:r9"
		if _, got := a.get(path); got == "[]" {
			t.Errorf("%s misses the change", path)
		}
	}
	if _, got := a.get("/v1/catalog/services?filter=NodeMeta.rack==r9"); got != `{"web":["a"]}` {
		t.Errorf("the filtered names: %s", got)
	}
}

func TestOfficialClient(t *testing.T) {
	a := filled(t)
	list, meta, err := a.api.Health().Service("web", "a", false, nil)
	if err != nil || len(list) != 1 || list[0].Checks.AggregatedStatus() != "warning" || meta.LastIndex != 4 {
		t.Fatalf("%+v, %+v, %v", list, meta, err)
	}
	woken := make(chan int, 1)
	go func() {
		now, _, err := a.api.Health().Service("web", "", true, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
		if err != nil {
			t.Error(err)
		}
		woken <- len(now)
	}()
	a.apply(reg("n1", "", "c1:passing:w1"))
	if n := <-woken; n != 2 {
		t.Errorf("%d are passing", n)
	}
	if checks, _, err := a.api.Health().State("any", nil); err != nil || len(checks) != 2 {
		t.Errorf("%v, %v", checks, err)
	}
}

// What does not show in an answer wakes nobody who waits for it, and what shows wakes everybody.
func TestUnrelatedWritesWakeNobody(t *testing.T) {
	a := filled(t)
	ctx := context.Background()
	queries := []room.Query{ServiceQuery{Service: "web"}, ServiceQuery{Service: "web", Passing: true}, ServiceQuery{Service: "none"},
		catalog.InstancesQuery{Service: "web"}, catalog.ServicesQuery{}, catalog.NodeQuery{Node: "n1"}, catalog.NodeQuery{Node: "none"},
		NodeChecksQuery{Node: "n1"}, ServiceChecksQuery{Service: "web"}, StateQuery{State: "warning"}, catalog.NodesQuery{Meta: rack("r1")}}
	woken := make([]chan struct{}, len(queries))
	for i, q := range queries {
		now, _, err := a.door.Read(ctx, q, room.Options{})
		if err != nil {
			t.Fatal(err)
		}
		woken[i] = make(chan struct{})
		go func() {
			defer close(woken[i])
			if _, _, err := a.door.Read(ctx, q, room.Options{Index: now.Index, Wait: time.Minute}); err != nil {
				t.Error(err)
			}
		}()
	}
	for a.door.Counters()["blocking_queries"] < uint64(len(queries)) {
		<-time.After(time.Millisecond)
	}
	for _, c := range []room.Command{reg("n3", ""), reg("n3", "", "x:passing"), reg("n1", "w1/web/a", "c1:warning:w1"),
		&catalog.Deregister{Node: "n3", CheckID: "x"}, reg("n3", "", "y:critical"), &catalog.Deregister{Node: "n3"}} {
		if r, is := c.(*catalog.Register); is && r.Row.Node == "n1" {
			r.Row.Meta = racked(reg("", ""), "r1").Row.Meta
		}
		a.apply(c)
	}
	<-time.After(50 * time.Millisecond)
	for i, q := range queries {
		select {
		case <-woken[i]:
			t.Errorf("%#v is woken", q)
		default:
		}
	}
	a.apply(racked(moved(reg("n1", "w1/web/b", "c1:passing:w1"), "127.0.0.3"), "r1"))
	a.apply(reg("none", "z/none"))
	for i, q := range queries {
		select {
		case <-woken[i]:
		case <-time.After(10 * time.Second):
			t.Errorf("%#v is not woken", q)
		}
	}
}
