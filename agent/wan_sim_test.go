package agent

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/feature/kv"
	"rostra/kit/httpd"
	"rostra/kit/simnet"
)

// wan is a world of two datacenters, dc1 of three servers and dc2 of one, with a client agent each, 20 ms apart. One of
// the servers of dc1 was told of dc2, nobody else.
type wan struct {
	*world
	here, there []*simNode // servers first
	doors       map[*Agent]*httpd.Server
}

func simulateWAN(t *testing.T, seed uint64, f func(w *wan)) {
	inWorld(t, seed, func(one *world) {
		w := &wan{world: one, doors: map[*Agent]*httpd.Server{}}
		far := simnet.Link{Delay: 20 * time.Millisecond, Jitter: time.Millisecond}
		for i := range 4 {
			for k := range 2 {
				here, there := fmt.Sprintf("10.0.0.%d", i+1), fmt.Sprintf("10.1.0.%d", k+1)
				one.net.Link(here, there, far)
				one.net.Link(there, here, far)
			}
		}
		w.here = one.add("dc1", 0, 3, 1)
		w.there = one.add("dc2", 1, 1, 1, "-retry-join-wan=10.0.0.2")
		servers := append(slices.Clone(w.here[:3]), w.there[0])
		took := w.until("all servers in one pool", 3*time.Minute, func() bool {
			return !slices.ContainsFunc(servers, func(n *simNode) bool { return n.alive() != 4 })
		})
		t.Logf("all servers in one pool after %v", took)
		for _, n := range []*simNode{w.here[3], w.there[1]} {
			w.until("an agent that serves", time.Minute, func() bool { return n.found() && w.ask(n, "GET", "/v1/kv/none", "").status == 404 })
		}
		f(w)
	})
}

// alive counts the live servers of all datacenters that a server knows.
func (n *simNode) alive() (count int) {
	for _, m := range n.host.WAN.Members() {
		if m.Status == gossip.StatusAlive {
			count++
		}
	}
	return count
}

// found reports whether an agent knows servers.
func (n *simNode) found() bool { return len(n.host.Roster.Servers("")) > 0 }

// answer is what HTTP gave, and how long it took.
type answer struct {
	status int
	body   string
	index  string
	took   time.Duration
}

// ask asks an agent over its HTTP interface, without the network between client and agent.
func (w *wan) ask(n *simNode, method, path, body string) answer {
	w.t.Helper()
	if w.doors[n.Agent] == nil {
		var routes []httpd.Route
		for _, p := range n.parts {
			if p != nil {
				routes = append(routes, p.Routes...)
			}
		}
		s, err := httpd.New(httpd.Options{Logger: n.log.WithGroup("http")}, routes)
		if err != nil {
			w.t.Fatal(err)
		}
		w.doors[n.Agent] = s
	}
	return ask(w.doors[n.Agent], method, path, body)
}

func ask(s *httpd.Server, method, path, body string) answer {
	r := httptest.NewRecorder()
	began := time.Now()
	s.Handler().ServeHTTP(r, httptest.NewRequest(method, path, strings.NewReader(body)))
	return answer{r.Code, strings.TrimSpace(r.Body.String()), r.Header().Get("X-Consul-Index"), time.Since(began)}
}

// want asks and compares: the status, unless it is 0, and what the body must hold.
func (w *wan) want(n *simNode, method, path, body string, status int, holds string) answer {
	w.t.Helper()
	a := w.ask(n, method, path, body)
	if status != 0 && a.status != status || !strings.Contains(a.body, holds) {
		w.t.Errorf("%s.%s: %s %s: %d %q after %v, want %d with %q", n.name, n.host.Self.Datacenter, method, path, a.status, a.body, a.took, status, holds)
	}
	return a
}

const (
	noPath     = "No path to datacenter"
	noneIsLeft = "Remote DC has no server currently reachable"
	atOnce     = 200 * time.Millisecond
)

// TestDatacenters: through every agent of a datacenter everything can be asked and changed in the other one, and nothing of
// that happens at home.
func TestDatacenters(t *testing.T) {
	simulateWAN(t, 11, func(w *wan) {
		for i, n := range w.here {
			key := fmt.Sprintf("k%d", i)
			w.want(n, "PUT", "/v1/kv/"+key+"?dc=dc2", "there", 200, "true")
			w.want(n, "GET", "/v1/kv/"+key+"?raw&dc=dc2", "", 200, "there")
			w.want(w.there[1], "GET", "/v1/kv/"+key+"?raw", "", 200, "there")
			w.want(n, "GET", "/v1/kv/"+key, "", 404, "")
			w.want(n, "PUT", "/v1/txn?dc=dc2", `[{"KV":{"Verb":"set","Key":"txn`+key+`","Value":"eA=="}},{"KV":{"Verb":"get","Key":"`+key+`"}}]`, 200, `"dGhlcmU="`)
			w.want(w.there[1], "GET", "/v1/kv/txn"+key+"?raw", "", 200, "x")
			w.want(n, "PUT", "/v1/catalog/register", `{"Datacenter":"dc2","Node":"`+key+`","Address":"192.0.2.1","Service":{"Service":"web","ID":"`+key+`"},
				"Check":{"CheckID":"up","Status":"passing","ServiceID":"`+key+`"}}`, 200, "true")
			for _, path := range []string{"/v1/catalog/nodes", "/v1/catalog/service/web", "/v1/catalog/node/" + key, "/v1/health/service/web",
				"/v1/health/node/" + key, "/v1/health/checks/web", "/v1/health/state/passing"} {
				w.want(n, "GET", path+"?dc=dc2", "", 200, key)
				w.want(n, "GET", path+"?datacenter=dc2&stale", "", 200, key)
				if a := w.ask(n, "GET", path, ""); a.status != 200 || strings.Contains(a.body, `"`+key+`"`) {
					t.Errorf("%s at home: %d %s", path, a.status, a.body)
				}
			}
			w.want(n, "GET", "/v1/catalog/services?dc=dc2", "", 200, `"web"`)
			status, text := 200, `"ID"`
			if i == 3 {
				status, text = 500, "cross datacenter lock must be created at server agent"
			}
			w.want(n, "PUT", "/v1/session/create?dc=dc2", `{"Node":"`+key+`","Checks":[],"NodeChecks":[]}`, status, text)
			if i < 3 {
				w.want(n, "GET", "/v1/session/node/"+key+"?dc=dc2", "", 200, `"`+key+`"`)
				w.want(n, "GET", "/v1/session/list", "", 200, "[]")
			}
			w.want(n, "PUT", "/v1/catalog/deregister", `{"Datacenter":"dc2","Node":"`+key+`"}`, 200, "true")
			w.want(w.there[0], "GET", "/v1/catalog/node-services/"+key, "", 200, "null")
			w.want(n, "DELETE", "/v1/kv/"+key+"?dc=dc2", "", 200, "true")
			w.want(n, "GET", "/v1/kv/"+key+"?dc=dc2", "", 404, "")
			w.want(n, "GET", "/v1/status/leader?dc=dc2", "", 200, `"10.1.0.1:8300"`)
			w.want(n, "GET", "/v1/status/peers?dc=dc2", "", 200, `["10.1.0.1:8300"]`)
			w.want(n, "GET", "/v1/catalog/datacenters", "", 200, `["dc1","dc2"]`)
			w.want(n, "GET", "/v1/coordinate/datacenters", "", 200, `"Datacenter":"dc2"`)
			w.want(n, "GET", "/v1/coordinate/nodes?dc=dc2", "", 200, "[")
			w.want(n, "GET", "/v1/operator/raft/configuration?dc=dc2", "", 200, w.there[0].id)
			w.want(n, "GET", "/v1/operator/autopilot/configuration?dc=dc2", "", 200, "CleanupDeadServers")
			w.want(n, "GET", "/v1/operator/autopilot/health?dc=dc2", "", 0, w.there[0].id)
			w.want(n, "GET", "/v1/operator/autopilot/state?dc=dc2", "", 200, w.there[0].id)
			w.want(n, "GET", "/v1/operator/usage?dc=dc2", "", 200, "dc2")
			w.want(n, "GET", "/v1/operator/raft/configuration?dc=dc3", "", 500, noPath)
			w.want(n, "GET", "/v1/operator/autopilot/health?dc=dc3", "", 500, noPath)
			w.want(w.there[1], "GET", "/v1/kv/none?dc=dc1", "", 404, "")
			for _, path := range []string{"/v1/kv/k?dc=dc3", "/v1/kv/k?dc=dc3&index=1&wait=60s", "/v1/kv/k?dc=dc3&consistent", "/v1/catalog/nodes?dc=dc3&stale",
				"/v1/health/service/web?dc=dc3&cached", "/v1/session/list?dc=dc3", "/v1/status/leader?dc=dc3", "/v1/snapshot?dc=dc3"} {
				if a := w.want(n, "GET", path, "", 500, noPath); a.took > atOnce {
					t.Errorf("%s took %v", path, a.took)
				}
			}
			w.want(n, "PUT", "/v1/kv/k?dc=dc3", "x", 500, noPath)
			w.want(n, "PUT", "/v1/catalog/register", `{"Datacenter":"dc3","Node":"x","Address":"192.0.2.1"}`, 500, noPath)
		}
	})
}

// TestOneServerThere: who asks for one server of another datacenter gets that one's answer, or is told that there is none.
func TestOneServerThere(t *testing.T) {
	simulateWAN(t, 15, func(w *wan) {
		w.want(w.here[0], "PUT", "/v1/kv/a", "x", 200, "true")
		ask := func(from *simNode, dc, server string) error {
			_, _, err := from.host.Door.Read(context.Background(), kv.KeyQuery{Key: "a"}, room.Options{Datacenter: dc, Server: server})
			return err
		}
		for _, from := range w.there {
			for _, to := range w.here[:3] {
				if err := ask(from, "dc1", to.id); err != nil {
					t.Errorf("%s asks %s: %v", from.name, to.name, err)
				}
			}
			if err := ask(from, "dc1", w.there[0].id); err == nil || !strings.Contains(err.Error(), "no server with the ID") {
				t.Errorf("a server that is not there: %v", err)
			}
			if err := ask(from, "dc3", w.there[0].id); err == nil || err.Error() != noPath {
				t.Errorf("a datacenter that is not there: %v", err)
			}
		}
		dead := w.here[2]
		w.kill(dead)
		for _, from := range w.there {
			began := time.Now()
			if err := ask(from, "dc1", dead.id); err == nil || err.Error() != noneIsLeft || time.Since(began) > 10*time.Second {
				t.Errorf("a dead server, after %v: %v", time.Since(began), err)
			}
			if err := ask(from, "dc1", ""); err != nil {
				t.Errorf("the others: %v", err)
			}
		}
	})
}

// TestFarBlocking: a blocking query waits in the other datacenter, is woken there, and ends in time when nothing happens.
func TestFarBlocking(t *testing.T) {
	simulateWAN(t, 12, func(w *wan) {
		w.want(w.there[0], "PUT", "/v1/kv/wait", "1", 200, "true")
		for _, n := range w.here {
			path := "/v1/kv/wait?raw&dc=dc2&index=" + w.want(n, "GET", "/v1/kv/wait?dc=dc2", "", 200, "").index
			if a := w.want(n, "GET", path+"&wait=20s", "", 200, ""); a.took < 20*time.Second || a.took > 22*time.Second {
				t.Errorf("%s: 20 s of waiting took %v", n.name, a.took)
			}
			woken := make(chan answer)
			s := w.doors[n.Agent]
			go func() { woken <- ask(s, "GET", path, "") }() // received below
			time.Sleep(100 * time.Second)
			w.want(w.there[1], "PUT", "/v1/kv/wait", n.name, 200, "true")
			if a := <-woken; a.status != 200 || a.body != n.name || a.took < 100*time.Second || a.took > 101*time.Second {
				t.Errorf("%s: woken with %d %q after %v", n.name, a.status, a.body, a.took)
			}
		}
	})
}

// TestDatacenterCutOff: while a datacenter cannot be reached, requests for it end in bounded time with a text that says so,
// at once when gossip knows; the others are as fast as ever, the log stays small, and it heals by itself.
func TestDatacenterCutOff(t *testing.T) {
	simulateWAN(t, 13, func(w *wan) {
		client := w.here[3]
		w.want(client, "PUT", "/v1/kv/home?dc=dc2", "2", 200, "true")
		w.want(client, "PUT", "/v1/kv/home", "1", 200, "true")
		before := w.ownTimes(time.Minute)
		index := w.want(client, "GET", "/v1/kv/home?dc=dc2", "", 200, "").index
		parked := make(chan answer)
		s := w.doors[client.Agent]
		go func() { parked <- ask(s, "GET", "/v1/kv/home?dc=dc2&index="+index+"&wait=9m", "") }() // received below
		time.Sleep(time.Second)

		w.net.Partition([]string{"10.1.0.1", "10.1.0.2"})
		lines := w.log.count("level=WARN")
		stop, ended := make(chan struct{}), make(chan []answer)
		for _, n := range w.here {
			s := w.doors[n.Agent]
			if s == nil {
				w.ask(n, "GET", "/v1/kv/home", "")
				s = w.doors[n.Agent]
			}
			go func() { ended <- hammer(s, stop) }() // received below
		}
		during := w.ownTimes(5 * time.Minute)
		close(stop)
		for range w.here {
			w.judge(<-ended)
		}
		if a := <-parked; a.status != 500 || !strings.Contains(a.body, noneIsLeft) || a.took > 30*time.Second {
			t.Errorf("the parked query ended with %d %q after %v", a.status, a.body, a.took)
		}
		t.Logf("99 of 100 own requests took at most %v before, %v while the other datacenter was away", before, during)
		if during > before+5*time.Millisecond {
			t.Error("the own requests became slower")
		}
		if n := w.log.count("level=WARN") - lines; n > 120 {
			t.Errorf("%d warnings", n)
		}
		w.net.Heal()
		took := w.until("an answer from the other datacenter", 10*time.Minute, func() bool {
			a := w.ask(client, "GET", "/v1/kv/home?raw&dc=dc2", "")
			return a.status == 200 && a.body == "2"
		})
		t.Logf("healed after %v", took)
	})
}

// ownTimes asks a client agent for its own datacenter's data for a while and returns what 99 of 100 requests took at most.
func (w *wan) ownTimes(span time.Duration) time.Duration {
	w.t.Helper()
	var all []time.Duration
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		all = append(all, w.want(w.here[3], "GET", "/v1/kv/home?raw", "", 200, "1").took,
			w.want(w.here[3], "PUT", "/v1/kv/own", "x", 200, "true").took)
	}
	slices.Sort(all)
	if longest := all[len(all)-1]; longest > time.Second {
		w.t.Errorf("an own request took %v", longest)
	}
	return all[len(all)*99/100]
}

// hammer reads and writes in the other datacenter until it is told to stop.
func hammer(s *httpd.Server, stop <-chan struct{}) (all []answer) {
	for {
		select {
		case <-stop:
			return all
		case <-time.After(500 * time.Millisecond):
		}
		all = append(all, ask(s, "GET", "/v1/kv/home?dc=dc2", ""), ask(s, "PUT", "/v1/kv/lost?dc=dc2", "x"))
	}
}

// judge looks at what was answered while the other datacenter was away.
func (w *wan) judge(all []answer) {
	w.t.Helper()
	var longest time.Duration
	slow := 0
	for _, a := range all {
		longest = max(longest, a.took)
		if a.took > atOnce {
			slow++
		}
		if a.status != 500 || !strings.Contains(a.body, noneIsLeft) && !strings.Contains(a.body, "cannot call") || a.took > 10*time.Second {
			w.t.Errorf("%d %q after %v", a.status, a.body, a.took)
		}
	}
	last := all[len(all)-1]
	if last.took > atOnce || !strings.HasSuffix(last.body, noneIsLeft) {
		w.t.Errorf("after five minutes it still takes %v to say %q", last.took, last.body)
	}
	w.t.Logf("%d of %d requests waited, at most %v", slow, len(all), longest)
}

// count counts lines.
func (l *simLog) count(holding string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.lines.String(), holding)
}

// TestDatacenterLeaves: when its servers have left, nobody knows the datacenter any more, and nobody waits for it.
func TestDatacenterLeaves(t *testing.T) {
	simulateWAN(t, 14, func(w *wan) {
		gone := w.there[0]
		if err := gone.host.WAN.Leave(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, n := range w.here {
			w.until("a datacenter that is unknown", time.Minute, func() bool { return strings.HasSuffix(w.ask(n, "GET", "/v1/kv/x?dc=dc2", "").body, noPath) })
		}
	})
}
