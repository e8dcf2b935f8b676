package operator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/kit/authz"
	"rostra/kit/cli/clitest"
	"rostra/kit/disk"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key1 = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
	key2 = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
)

// between is a Door that answers for the hosts of several datacenters.
type between struct {
	room.Door
	hosts map[string]*room.Host // "" is the own; nil for one that cannot be reached
}

func (b between) Call(ctx context.Context, p room.Procedure, o room.Options) (room.Result, room.Meta, error) {
	h, known := b.hosts[o.Datacenter]
	switch {
	case !known:
		return nil, room.Meta{}, fault.ErrNoPath
	case h == nil:
		return nil, room.Meta{}, fault.New(fault.Internal, "Remote DC has no server currently reachable")
	}
	if err := p.Allowed(authz.AllowAll{}); err != nil {
		return nil, room.Meta{}, err
	}
	// What is asked and answered goes through the codecs, as it does between machines.
	at := slices.IndexFunc(Room.Calls, func(c room.ProcedureType) bool { return c.New().Name() == p.Name() })
	b2, err := p.MarshalMsg(nil)
	if err != nil {
		return nil, room.Meta{}, err
	}
	asked := Room.Calls[at].New()
	if _, err := asked.UnmarshalMsg(b2); err != nil {
		return nil, room.Meta{}, err
	}
	result, err := asked.Call(ctx, h)
	if err != nil {
		return nil, room.Meta{}, err
	}
	b3, err := Room.Calls[at].Result.Append(nil, result)
	if err != nil {
		return nil, room.Meta{}, err
	}
	result, _, err = Room.Calls[at].Result.Read(b3)
	return result, room.Meta{}, err
}

func openPool(t *testing.T, name string, wan bool, key string) *gossip.Pool {
	t.Helper()
	ring, _, err := gossip.OpenKeyring(disk.OS(), "", key)
	if err != nil {
		t.Fatal(err)
	}
	dc := name[strings.LastIndex(name, ".")+1:]
	p, err := gossip.Open(gossip.Options{Name: name, WAN: wan, BindAddr: "127.0.0.1", Keyring: ring,
		Tags:   map[string]string{"id": name, "role": "consul", "port": "8300", "dc": dc},
		Timing: gossip.Timing{GossipInterval: 10 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// join returns when both know each other: the one that was joined may take the news a moment later.
func join(t *testing.T, a, b *gossip.Pool) {
	t.Helper()
	if _, err := a.Join(t.Context(), []string{fmt.Sprintf("127.0.0.1:%d", b.Local().Port)}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); len(a.Members()) < 2 || len(b.Members()) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("they do not know each other")
		}
	}
}

// world opens a server in each of two datacenters, with a second agent in the first.
func world(t *testing.T, key string) (url string, hosts map[string]*room.Host) {
	t.Helper()
	hosts = map[string]*room.Host{}
	for _, dc := range []string{"dc1", "dc2"} {
		hosts[dc] = &room.Host{Self: room.Identity{Datacenter: dc}, LAN: openPool(t, "s."+dc, false, key), WAN: openPool(t, "s."+dc, true, key)}
	}
	join(t, hosts["dc1"].WAN, hosts["dc2"].WAN)
	join(t, openPool(t, "c.dc1", false, key), hosts["dc1"].LAN)
	for dc, h := range hosts {
		h.Roster = roster.New(dc, h.LAN, h.WAN)
	}
	hosts[""] = hosts["dc1"]
	h := *hosts["dc1"]
	h.Door = between{hosts: hosts}
	web, err := httpd.New(httpd.Options{}, keyringRoutes(&h))
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(web.Handler())
	t.Cleanup(listener.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return listener.URL, hosts
}

func do(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestKeyring(t *testing.T) {
	url, hosts := world(t, key1)
	url += "/v1/operator/keyring"
	entry := func(wan bool, dc string, n int, keys ...string) string {
		var all []string
		for _, k := range keys {
			all = append(all, fmt.Sprintf("%q:%d", k, n))
		}
		return fmt.Sprintf(`{"WAN":%v,"Datacenter":%q,"Segment":"","Keys":{%s},"PrimaryKeys":{%s},"NumNodes":%d}`, wan, dc, strings.Join(all, ","), all[0], n)
	}
	all := func(keys ...string) string {
		return "[" + entry(true, "dc1", 2, keys...) + "," + entry(false, "dc1", 2, keys...) + "," + entry(false, "dc2", 1, keys...) + "]"
	}
	for _, step := range []struct {
		method, query, body string
		status              int
		want                string
	}{
		{"GET", "", "", 200, all(key1)},
		{"GET", "?relay-factor=5&local-only=true", "", 200, "[" + entry(false, "dc1", 2, key1) + "]"},
		{"GET", "?dc=dc2&local-only=1", "", 200, "[" + entry(false, "dc2", 1, key1) + "]"},
		{"GET", "?dc=dc9", "", 500, "No path to datacenter"},
		{"POST", "", `{"Key":"` + key2 + `"}`, 200, ""},
		{"GET", "?local-only=false", "", 200, all(key1, key2)},
		{"DELETE", "", `{"Key":"` + key1 + `"}`, 500, "8 errors occurred:\n\t* WAN error: 2/2 nodes reported failure\n" +
			"\t* s.dc1: removing the primary key is not allowed\n\t* s.dc2: removing the primary key is not allowed\n" +
			"\t* dc1 (LAN) error: 2/2 nodes reported failure\n\t* c.dc1: removing the primary key is not allowed\n" +
			"\t* s.dc1: removing the primary key is not allowed\n\t* dc2 (LAN) error: 1/1 nodes reported failure\n" +
			"\t* s.dc2: removing the primary key is not allowed\n\n"},
		{"PUT", "?relay-factor=1", `{"Key":"` + key2 + `"}`, 200, ""},
		{"DELETE", "", `{"Key":"` + key1 + `","RelayFactor":3,"LocalOnly":false,"Token":""}`, 200, ""},
		{"GET", "", "", 200, all(key2)},
		{"POST", "", `{"Kay":"x"}`, 400, `Request decode failed: json: unknown field "Kay"`},
		{"POST", "", `{"Key":"x"}`, 400, "Invalid key: the key is no base64; make one with `keygen`"},
		{"GET", "?relay-factor=x", "", 400, `Error parsing relay factor: strconv.Atoi: parsing "x": invalid syntax`},
		{"GET", "?relay-factor=6", "", 400, "Invalid relay-factor: Relay factor must be in range: [0, 5]"},
		{"GET", "?local-only=x", "", 400, `Error parsing local-only: strconv.ParseBool: parsing "x": invalid syntax`},
		{"PUT", "?local-only=true", `{"Key":"` + key2 + `"}`, 400, "Invalid use of local-only: local-only can only be set for list requests"},
	} {
		status, got := do(t, step.method, url+step.query, step.body)
		if status != step.status || got != step.want {
			t.Errorf("%s %s %s: %d %q\nwant %d %q", step.method, step.query, step.body, status, got, step.status, step.want)
		}
	}
	hosts["dc2"] = nil // it is known, and no server of it answers
	status, got := do(t, "GET", url, "")
	if want := "1 error occurred:\n\t* dc2 (LAN) error: Remote DC has no server currently reachable\n\n"; status != 500 || got != want {
		t.Errorf("%d %q, want %q", status, got, want)
	}
}

func TestKeyringWithoutEncryption(t *testing.T) {
	url, _ := world(t, "")
	status, got := do(t, "GET", url+"/v1/operator/keyring?local-only=1", "")
	if want := "3 errors occurred:\n\t* dc1 (LAN) error: 2/2 nodes reported failure\n\t* c.dc1: Keyring is empty (encryption not enabled)\n" +
		"\t* s.dc1: Keyring is empty (encryption not enabled)\n\n"; status != 500 || got != want {
		t.Errorf("%d %q, want %q", status, got, want)
	}
}

// only is a Decider that allows one access to keyrings.
type only authz.Access

func (o only) Allowed(r authz.Resource, a authz.Access, _ string, _ bool) bool {
	return r == authz.Keyring && a == authz.Access(o)
}

func TestKeyringRights(t *testing.T) {
	for op, needs := range map[gossip.KeyOp]authz.Access{gossip.ListKeys: authz.Read, gossip.InstallKey: authz.Write,
		gossip.UseKey: authz.Write, gossip.RemoveKey: authz.Write} {
		k := keyringAsk{Op: int(op)}
		for _, has := range []authz.Access{authz.Read, authz.Write} {
			if err := k.Allowed(only(has)); (err == nil) != (has == needs) || err != nil && !fault.Is(err, fault.Denied) {
				t.Errorf("%v with %s: %v", op, has, err)
			}
		}
	}
}

func FuzzKeyringMessages(f *testing.F) {
	ask := keyringAsk{Op: 1, Key: []byte("k"), WAN: true}
	if b, err := ask.MarshalMsg(nil); err == nil {
		f.Add(b)
	}
	r := keyringReport{Pools: []keyringPool{{Messages: []said{{"a", "b"}}, Keys: []counted{{"k", 1}}}}, Datacenters: []string{"dc1"}}
	if b, err := r.MarshalMsg(nil); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = new(keyringAsk).UnmarshalMsg(b)
		_, _, _ = keyringCall.Result.Read(b)
	})
}

const listed = `[{"WAN":true,"Datacenter":"dc1","Segment":"","Keys":{"` + key1 + `":1},"PrimaryKeys":{"` + key1 + `":1},"NumNodes":1},
 {"WAN":false,"Datacenter":"dc1","Segment":"","Messages":{"b":"text","a":"other"},"Keys":{"` + key2 + `":2,"` + key1 + `":3},"PrimaryKeys":{"` + key1 + `":3},"NumNodes":3}]`

func TestKeyringCLI(t *testing.T) {
	list := map[string]string{"GET /v1/operator/keyring": listed}
	const path = " /v1/operator/keyring"
	body := "\n" + `{"Key":"` + key2 + `"}`
	for _, test := range []struct {
		args      string
		replies   map[string]string
		code      int
		out, errs string
		asked     string
	}{
		{"keyring -list", list, 0, "==> Gathering installed encryption keys...\n\nWAN:\n  " + key1 + " [1/1]\n\ndc1 (LAN):\n" +
			"  ===> a: other\n  ===> b: text\n  " + key1 + " [3/3]\n  " + key2 + " [2/3]\n", "", "GET" + path},
		{"keyring -list-primary -local-only -relay-factor=3", list, 0, "==> Gathering installed primary encryption keys...\n\nWAN:\n  " + key1 +
			" [1/1]\n\ndc1 (LAN):\n  ===> a: other\n  ===> b: text\n  " + key1 + " [3/3]\n", "", "GET" + path + "?local-only=true&relay-factor=3"},
		{"keyring -install " + key2, map[string]string{"POST" + path: ""}, 0, "==> Installing new gossip encryption key...\n", "", "POST" + path + body},
		{"keyring -use " + key2, map[string]string{"PUT" + path: ""}, 0, "==> Changing primary gossip encryption key...\n", "", "PUT" + path + body},
		{"keyring -remove " + key2 + " -relay-factor 2", map[string]string{"DELETE" + path: ""}, 0, "==> Removing gossip encryption key...\n", "",
			"DELETE" + path + "?relay-factor=2" + body},
		{"keyring -remove " + key2, map[string]string{"DELETE" + path: "500 no"}, 1, "==> Removing gossip encryption key...\n",
			"error: Unexpected response code: 500 (no)\n", "DELETE" + path + body},
		{"keyring", nil, 1, "", "Only a single action is allowed: give one of -install, -use, -remove, -list and -list-primary\n", ""},
		{"keyring -list -use=x", nil, 1, "", "Only a single action is allowed: give one of -install, -use, -remove, -list and -list-primary\n", ""},
		{"keyring -list -relay-factor=6", nil, 1, "", "Error parsing relay factor: Relay factor must be in range: [0, 5]\n", ""},
		{"keyring -use=x -local-only", nil, 1, "", "Error validating local-only: local-only can only be set for list requests\n", ""},
		{"keyring -list x", nil, 1, "", "Too many arguments (expected 0, got 1)\n", ""},
	} {
		t.Run(test.args, func(t *testing.T) {
			agent := &clitest.Agent{Replies: test.replies}
			got := clitest.Run(t, keyringVerbs(), agent, "", strings.Fields(test.args)...)
			if want := (clitest.Result{Out: test.out, Err: test.errs, Code: test.code}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if asked := strings.Join(agent.Requests(), " | "); asked != test.asked {
				t.Errorf("asked %q, want %q", asked, test.asked)
			}
		})
	}
}
