package member

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
	"rostra/feature/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// court is a leader's duty over a real catalog, with members as the test says.
type court struct {
	*reconciler
	t     *testing.T
	agent *servertest.Agent
	log   lines
	now   time.Time
}

func newCourt(t *testing.T) *court {
	k := &court{t: t, agent: servertest.Start(t, []room.Room{catalog.Room, health.Room}, nil), now: time.Now()}
	k.reconciler = newReconciler(&room.Host{Door: k.agent.Door, Log: k.log.logger(), Self: room.Identity{Node: "n1", Datacenter: "dc1"}})
	k.settled = k.now.Add(time.Minute)
	return k
}

func (k *court) round(members ...gossip.Member) {
	k.t.Helper()
	if err := k.pass(k.t.Context(), members, k.now); err != nil {
		k.t.Fatal(err)
	}
}

// quiet expects that a round changes nothing.
func (k *court) quiet(members ...gossip.Member) {
	k.t.Helper()
	before := k.agent.Door.Counters()["index"]
	k.round(members...)
	if after := k.agent.Door.Counters()["index"]; after != before {
		k.t.Errorf("saying the same again moved the index from %d to %d", before, after)
	}
}

func (k *court) get(path string) string {
	_, _, body := k.agent.Do("GET", path, "")
	return body
}

func (k *court) put(path, body string) {
	k.t.Helper()
	if status, _, text := k.agent.Do("PUT", path, body); status != 200 {
		k.t.Fatalf("%s: %d %s", path, status, text)
	}
}

// nodes are the names of the catalog's nodes.
func (k *court) nodes() string {
	var names []string
	for _, part := range strings.Split(k.get("/v1/catalog/nodes"), `"Node":"`)[1:] {
		names = append(names, part[:strings.IndexByte(part, '"')])
	}
	return strings.Join(names, " ")
}

func id(n int) string { return fmt.Sprintf("6f1a2c30-98aa-4d0e-8d7b-%012d", n) }

func client(n int) gossip.Member {
	return gossip.Member{Name: fmt.Sprint("c", n), Addr: fmt.Sprintf("192.0.2.%d", n%250+1), Status: gossip.StatusAlive,
		Tags: map[string]string{"role": "node", "id": id(n), "build": "1.21.4:abc"}}
}

func with(m gossip.Member, status gossip.Status) gossip.Member {
	m.Status = status
	return m
}

// TestReconcile walks a member through its life and looks at what the catalog says (spec agent.md §8).
func TestReconcile(t *testing.T) {
	k := newCourt(t)
	m := gossip.Member{Name: "n2", Addr: "192.0.2.2", Status: gossip.StatusAlive, Tags: map[string]string{"role": "consul",
		"id": id(2), "build": "1.21.4:abc", "port": "8300", "raft_vsn": "3"}}
	k.round(m)
	if got := k.get("/v1/health/service/consul"); !strings.Contains(got, `"Output":"Agent alive and reachable"`) ||
		!strings.Contains(got, `"version":"1.21.4"`) || !strings.Contains(got, `"Port":8300`) || !strings.Contains(got, `"read_replica":"false"`) {
		t.Errorf("an alive server: %s", got)
	}
	k.quiet(m)

	m.Addr = "192.0.2.3"
	k.round(m)
	if got := k.get("/v1/catalog/nodes"); !strings.Contains(got, "192.0.2.3") || strings.Contains(got, "192.0.2.2") {
		t.Errorf("after a move: %s", got)
	}
	k.quiet(m)

	m.Tags["port"], m.Tags["read_replica"] = "8400", "1"
	k.round(m)
	if got := k.get("/v1/health/service/consul"); !strings.Contains(got, `"Port":8400`) || !strings.Contains(got, `"non_voter":"true"`) {
		t.Errorf("a server with another port: %s", got)
	}

	m.Status = gossip.StatusFailed
	k.round(m)
	if got := k.get("/v1/health/node/n2"); !strings.Contains(got, `"Status":"critical"`) || !strings.Contains(got, failedOutput) {
		t.Errorf("a failed member: %s", got)
	}
	k.quiet(m)

	m.Status, m.Tags["role"] = gossip.StatusAlive, "node"
	k.round(m)
	if got := k.get("/v1/health/service/consul"); got != "[]" {
		t.Errorf("a server that became a client agent: %s", got)
	}
	k.quiet(m)

	k.round(with(m, gossip.StatusLeft))
	k.round(with(client(3), gossip.StatusFailed), with(client(4), gossip.StatusLeft), gossip.Member{Name: "n1", Status: gossip.StatusLeft})
	if got := k.get("/v1/catalog/nodes"); got != "[]" {
		t.Errorf("after it left, and some that the catalog never knew: %s", got)
	}
}

// TestNeverItself: whatever gossip says of this leader, its node stays.
func TestNeverItself(t *testing.T) {
	k := newCourt(t)
	self := gossip.Member{Name: "n1", Addr: "192.0.2.1", Status: gossip.StatusAlive, Tags: map[string]string{"id": id(1)}}
	k.round(self)
	k.now = k.now.Add(time.Hour)
	k.round(with(self, gossip.StatusLeft))
	k.round()
	k.reaped["n1"] = true
	k.round()
	if got := k.nodes(); got != "n1" {
		t.Errorf("nodes: %s", got)
	}
}

// TestOutsiders: nodes that were registered over HTTP, without gossip's check, are nobody's to take out.
func TestOutsiders(t *testing.T) {
	k := newCourt(t)
	k.put("/v1/catalog/register", `{"Node":"db","Address":"192.0.2.9","Service":{"Service":"pg","Port":1}}`)
	k.put("/v1/catalog/register", `{"Node":"c5","Address":"192.0.2.9"}`)
	k.now = k.now.Add(time.Hour)
	k.round(with(client(5), gossip.StatusLeft))
	k.now = k.now.Add(time.Hour)
	k.quiet()
	if got := k.nodes(); got != "c5 db" {
		t.Errorf("nodes: %s", got)
	}
}

// TestReinstalled: a machine under the name of another that is no more takes its place; the old one's services go.
func TestReinstalled(t *testing.T) {
	k := newCourt(t)
	k.round(client(1))
	k.put("/v1/catalog/register", `{"Node":"c1","Address":"192.0.2.2","SkipNodeUpdate":true,"Service":{"Service":"old","Port":1}}`)
	m := client(1)
	m.Tags["id"] = id(99)
	k.round(m)
	if got := k.get("/v1/catalog/node/c1"); !strings.Contains(got, id(99)) || strings.Contains(got, `"old"`) {
		t.Errorf("after the new install: %s", got)
	}
	k.quiet(m)
	k.quiet(with(client(1), gossip.StatusLeft)) // news of the old machine
	k.quiet(with(client(1), gossip.StatusFailed))
	if got := k.get("/v1/health/node/c1"); !strings.Contains(got, `"passing"`) {
		t.Errorf("health: %s", got)
	}
}

func TestRenamed(t *testing.T) {
	k := newCourt(t)
	k.round(client(1))
	m := client(1)
	m.Name = "fresh"
	k.round(with(client(1), gossip.StatusFailed), m)
	if got := k.nodes(); got != "fresh" {
		t.Errorf("nodes: %s", got)
	}
}

// TestRefusedOnce: two members whom the catalog cannot tell apart are told of once, and the others are not kept waiting.
func TestRefusedOnce(t *testing.T) {
	k := newCourt(t)
	twin := client(2)
	twin.Tags["id"] = id(1) // of c1, which is alive
	k.round(client(1))
	k.round(client(1), twin, client(3))
	k.quiet(client(1), twin, client(3))
	k.quiet(twin, client(1), client(3))
	if k.nodes() != "c1 c3" || k.log.count("node ID "+id(1)+" of the live member c1") != 1 {
		t.Errorf("nodes: %s, log: %s", k.nodes(), k.log.buf.String())
	}
	bad := client(4)
	bad.Name = ""
	for range 3 {
		k.round(bad, client(5))
	}
	if n := k.log.count("the catalog refuses a member"); n != 2 || !strings.Contains(k.nodes(), "c5") {
		t.Errorf("told %d times: %s", n, k.log.buf.String())
	}
}

// TestStrangers: nodes that gossip does not know go only once the leader has seen the pool for long enough, and a third at
// a time; those that it was told are forgotten go at once.
func TestStrangers(t *testing.T) {
	k := newCourt(t)
	var all []gossip.Member
	for n := range 9 {
		all = append(all, client(n))
	}
	k.round(all...)
	k.quiet(all[:2]...)
	k.hear(gossip.Event{Kind: gossip.Reaped, Members: all[8:]})
	k.quiet(all...) // a list that was read just before
	k.round(all[:2]...)
	if got := k.nodes(); got != "c0 c1 c2 c3 c4 c5 c6 c7" {
		t.Errorf("a fresh leader has left %s", got)
	}
	k.settle(k.now, 3*time.Minute) // the pool has grown
	k.settle(k.now, time.Minute)   // and shrinks
	k.now = k.now.Add(6*time.Minute - 1)
	k.quiet(all[:2]...)
	k.now = k.now.Add(1)
	for _, want := range []string{"c0 c1 c4 c5 c6 c7", "c0 c1 c6 c7", "c0 c1 c7", "c0 c1", "c0 c1"} {
		k.round(all[:2]...)
		k.quiet(all[:2]...) // another event within the minute
		if got := k.nodes(); got != want {
			t.Errorf("left %s, want %s", got, want)
		}
		k.now = k.now.Add(reconcilePeriod)
	}
	if k.log.count("many nodes of the catalog are unknown to gossip") != 3 {
		t.Errorf("log: %s", k.log.buf.String())
	}
	k.hear(gossip.Event{Kind: gossip.Reaped, Members: all[1:2]})
	k.hear(gossip.Event{Kind: gossip.Joined, Members: all[1:2]}) // and came back
	k.quiet(all[:2]...)
}

// TestReconcileRuns follows a real pool: a member comes, fails, is forced out.
func TestReconcileRuns(t *testing.T) {
	k := newCourt(t)
	lan, b := pool(t, "n1", 0), pool(t, "b", 0)
	k.host.LAN, k.host.Cluster = lan, k.agent.Door
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.run(ctx) }()
	eventually(t, "n1 is registered", func() bool { return k.nodes() == "n1" })
	if _, err := b.Join(t.Context(), []string{addr(lan)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b is registered", func() bool { return k.nodes() == "b n1" })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b is critical", func() bool { return strings.Contains(k.get("/v1/health/node/b"), failedOutput) })
	if err := lan.ForceLeave("b", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b is gone", func() bool { return k.nodes() == "n1" })
	stop()
	if err := <-ended; err != context.Canceled {
		t.Error(err)
	}
}

// BenchmarkPlan is the part of a round over 1,000 members that happens when nothing differs.
func BenchmarkPlan(b *testing.B) {
	self := room.Identity{Node: "c0", Datacenter: "dc1"}
	rows := map[string]nodeRow{}
	var members []gossip.Member
	for n := range 1000 {
		m := client(n)
		members = append(members, m)
		rows[m.Name] = nodeRow{&catalog.Node{Node: m.Name, ID: m.Tags["id"], Address: m.Addr}, serfHealth(m.Name, catalog.Passing, aliveOutput), nil}
	}
	b.ReportAllocs()
	for b.Loop() {
		if changes, strangers := plan(&self, members, rows); len(changes)+len(strangers) != 0 {
			b.Fatal("something differs")
		}
	}
}
