package event

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/shelf"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/simnet"
)

// member is an agent with nothing but gossip and this feature.
type member struct {
	t     *testing.T
	host  *room.Host
	web   http.Handler
	part  *room.Part
	local *running
}

// running is what runs on a member.
type running struct {
	mu      sync.Mutex // guards both
	tags    map[string][]string
	resyncs int
}

func (r *running) Instances() map[string][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tags
}

func (r *running) runs(tags map[string][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tags = tags
}

func (r *running) Resync() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resyncs++
}

// direct is a door that runs procedures on the member of the datacenter that is a server.
type direct struct {
	room.Door
	servers map[string]*room.Host
}

func (d direct) Call(ctx context.Context, p room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	h := d.servers[o.Datacenter]
	if h == nil {
		return nil, room.Meta{}, fault.ErrNoPath
	}
	result, err := p.Call(ctx, h)
	return result, room.Meta{}, err
}

// cluster, called in a bubble, starts n members, joined, whose door leads to the first of them.
func cluster(t *testing.T, n int, link simnet.Link) []*member {
	t.Helper()
	net := simnet.New(1)
	net.Default(link)
	door := direct{servers: map[string]*room.Host{}}
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	var all []*member
	for i := range n {
		h := net.Host(fmt.Sprintf("10.0.0.%d", i+1))
		packets, err := h.ListenPacket(":8301")
		if err != nil {
			t.Fatal(err)
		}
		streams, err := h.Listen(":8301")
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("n", i+1)
		pool, err := gossip.Open(gossip.Options{Name: name, BindPort: 8301, Transport: gossip.Over(packets, streams, h.Dial)})
		if err != nil {
			t.Fatal(err)
		}
		m := &member{t: t, local: new(running), host: &room.Host{LAN: pool, Door: door, Shelf: new(shelf.Shelf),
			Self: room.Identity{Node: name, Datacenter: "dc1"}, Log: slog.New(slog.DiscardHandler)}}
		shelf.Put[Local](m.host.Shelf, m.local)
		if m.part, err = Room.Open(m.host, nil); err != nil {
			t.Fatal(err)
		}
		web, err := httpd.New(httpd.Options{}, m.part.Routes)
		if err != nil {
			t.Fatal(err)
		}
		m.web = web.Handler()
		work.Go(func() { _ = m.part.Run(ctx) })
		if i > 0 {
			if _, err := pool.Join(t.Context(), []string{"10.0.0.1"}); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, m)
	}
	synctest.Wait() // all hear what is sent from now on
	door.servers[""], door.servers["dc1"] = all[0].host, all[0].host
	t.Cleanup(func() {
		stop()
		work.Wait()
		for _, m := range all {
			if err := m.host.LAN.Close(); err != nil {
				t.Error(err)
			}
		}
		<-time.After(time.Minute) // of the bubble: probes on their way end by themselves
	})
	return all
}

func (m *member) do(method, path, body string) (int, http.Header, string) {
	m.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	w := httptest.NewRecorder()
	m.web.ServeHTTP(w, httptest.NewRequest(method, path, content))
	return w.Code, w.Header(), w.Body.String()
}

// fire fires an event and returns its ID.
func (m *member) fire(path, payload string) string {
	m.t.Helper()
	code, _, text := m.do("PUT", "/v1/event/fire/"+path, payload)
	var e event
	if err := json.Unmarshal([]byte(text), &e); code != 200 || err != nil {
		m.t.Fatalf("%s: %d %s", path, code, text)
	}
	return e.ID
}

// names lists the events that a member has, in order.
func (m *member) names() string {
	_, _, text := m.do("GET", "/v1/event/list", "")
	var list []event
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		m.t.Fatal(err, text)
	}
	out := ""
	for _, e := range list {
		out += e.Name + " "
	}
	return out
}

// TestDelivery: on a network that loses, doubles and reorders, each agent that is meant has each event once.
func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := cluster(t, 5, simnet.Link{Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.05, Duplicate: 0.3, Reorder: 0.3})
		time.Sleep(10 * time.Second) // all know all
		all[1].local.runs(map[string][]string{"web-1": {"v1"}})
		all[2].local.runs(map[string][]string{"web-2": {"v2"}})
		for _, step := range []struct {
			fire string
			want [5]string // what is new on each
		}{
			{"all", [5]string{"all ", "all ", "all ", "all ", "all "}},
			{"nodes?node=n[45]$", [5]string{3: "nodes ", 4: "nodes "}},
			{"services?service=^web", [5]string{1: "services ", 2: "services "}},
			{"tags?service=web&tag=v2", [5]string{2: "tags "}},
			{"none?service=web&node=n1", [5]string{}},
			{"_rexec", [5]string{}}, // the agent's own
		} {
			before := [5]string{}
			for i, m := range all {
				before[i] = m.names()
			}
			all[3].fire(step.fire, "pay")
			time.Sleep(70 * time.Second) // whom each packet of an event missed gets it with an exchange of state, every 30 s
			for i, m := range all {
				if got := m.names(); got != before[i]+step.want[i] {
					t.Errorf("%s: n%d has %q after %q", step.fire, i+1, got, before[i])
				}
			}
		}
	})
}

func TestFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := cluster(t, 1, simnet.Link{})[0]
		for _, c := range []struct {
			path, body, want string
			code             int
		}{
			{"", "", "Missing name", 400},
			{"e?tag=a", "", "Cannot provide tag filter without service filter", 500},
			{"e?node=(", "", "Invalid node filter: error parsing regexp: missing closing ): `(`", 500},
			{"e?service=(", "", "Invalid service filter: error parsing regexp: missing closing ): `(`", 500},
			{"e?service=a&tag=(", "", "Invalid tag filter: error parsing regexp: missing closing ): `(`", 500},
			{"e?dc=dc9", "", "No path to datacenter", 500},
			{"e", strings.Repeat("x", 512), "error broadcasting event: user event exceeds configured limit of 512 bytes before encoding", 500},
		} {
			if code, _, text := m.do("PUT", "/v1/event/fire/"+c.path, c.body); code != c.code || text != c.want {
				t.Errorf("%s: %d %s", c.path, code, text)
			}
		}
		code, h, text := m.do("PUT", "/v1/event/fire/deploy?dc=dc1&node=n&service=web&tag=a", "pay")
		mask := strings.Replace(text, text[7:43], "ID", 1)
		if code != 200 || mask != `{"ID":"ID","Name":"deploy","Payload":"cGF5","NodeFilter":"n","ServiceFilter":"web","TagFilter":"a","Version":1,"LTime":0}` {
			t.Errorf("%d %s", code, mask)
		}
		if h.Get("X-Consul-Index") != "" {
			t.Errorf("headers %v", h)
		}
		m.fire("fits", strings.Repeat("x", 512-2*len("fits")-100))
		time.Sleep(time.Second) // Serf hands events on in goroutines that wait for timers; virtual time
		if _, _, text := m.do("GET", "/v1/event/list?name=fits", ""); !strings.Contains(text, `"Name":"fits"`) || strings.Contains(text, `"LTime":0`) {
			t.Error(text)
		}
	})
}

// TestList: the index is that of the last event, and a reader waits while it is the one that it has seen.
func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := cluster(t, 1, simnet.Link{})[0]
		for path, want := range map[string]string{"?index=x": "Invalid index", "?index=-1": "Invalid index", "?wait=60": "Invalid wait time"} {
			if code, _, text := m.do("GET", "/v1/event/list"+path, ""); code != 400 || text != want {
				t.Errorf("%s: %d %s", path, code, text)
			}
		}
		if code, h, text := m.do("GET", "/v1/event/list?index=7", ""); code != 200 || text != "[]" || h.Get("X-Consul-Index") != "1" || h.Get("X-Consul-KnownLeader") != "" {
			t.Errorf("empty: %d %s %v", code, text, h)
		}
		for query, wait := range map[string]time.Duration{"": 10 * time.Minute, "&wait=1h": 10 * time.Minute, "&wait=-1s": 10 * time.Minute, "&wait=30s": 30 * time.Second} {
			began := time.Now()
			if code, h, _ := m.do("GET", "/v1/event/list?index=1"+query, ""); code != 200 || h.Get("X-Consul-Index") != "1" || time.Since(began) != wait {
				t.Errorf("index=1%s: %d after %v", query, code, time.Since(began))
			}
		}
		type reply struct{ index, text string }
		parked := make(chan reply, 1)
		park := func(query string) {
			go func() {
				_, h, text := m.do("GET", "/v1/event/list?"+query, "")
				parked <- reply{h.Get("X-Consul-Index"), text}
			}()
			synctest.Wait()
		}
		park("index=1&name=b")
		m.fire("a", "")
		synctest.Wait()
		select {
		case r := <-parked:
			t.Fatalf("woken by another name: %v", r)
		default:
		}
		id := m.fire("b", "")
		index, _ := indexOf(id)
		r := <-parked
		if r.index != strconv.FormatUint(index, 10) || strings.Count(r.text, `"ID"`) != 1 || !strings.Contains(r.text, `"Payload":null`) {
			t.Errorf("%v, want index %d", r, index)
		}
		park("index=" + r.index)
		if _, h, _ := m.do("GET", "/v1/event/list?index=99", ""); h.Get("X-Consul-Index") != r.index { // not the same: at once
			t.Errorf("index %s", h.Get("X-Consul-Index"))
		}
		m.fire("c", "")
		if r := <-parked; strings.Count(r.text, `"ID"`) != 3 {
			t.Error(r.text)
		}
	})
}

// TestNewLeader: whoever begins to lead tells all agents, and they compare with the catalog.
func TestNewLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := cluster(t, 3, simnet.Link{Delay: time.Millisecond})
		time.Sleep(10 * time.Second) // all know all
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- all[1].part.Loops[0].Run(ctx) }()
		time.Sleep(10 * time.Second)
		stop()
		if err := <-ended; err != context.Canceled {
			t.Error(err)
		}
		for _, m := range all {
			m.local.mu.Lock()
			told := m.local.resyncs
			m.local.mu.Unlock()
			if told != 1 || m.names() != "" {
				t.Errorf("%s: told %d times, events %q", m.host.Self.Node, told, m.names())
			}
		}
	})
}

// TestGarbage: what cannot be read is thrown away, and told once a minute.
func TestGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := &receiver{host: &room.Host{Log: slog.New(slog.NewTextHandler(&log, nil))}, ring: newRing()}
		throw := func() { r.receive(gossip.Event{Kind: gossip.User, Name: prefix + "x", Payload: []byte("junk")}) }
		throw()
		throw()
		time.Sleep(time.Minute)
		throw()
		r.receive(gossip.Event{Kind: gossip.User, Name: "someone else's", Payload: []byte("junk")})
		r.receive(gossip.Event{Kind: gossip.Joined})
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines: %s", n, log.String())
		}
		if list, _ := r.ring.list(""); len(list) != 0 {
			t.Error(list)
		}
	})
}
