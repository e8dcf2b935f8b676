package query

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/server/servertest"
	"rostra/feature/catalog"
	"rostra/feature/session"
)

var uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// post creates a query and returns its ID.
func post(t *testing.T, a *servertest.Agent, body string) string {
	t.Helper()
	status, _, got := a.Do("POST", "/v1/query", body)
	id := uuid.FindString(got)
	if status != 200 || got != `{"ID":"`+id+`"}` {
		t.Fatalf("%s: %d %s", body, status, got)
	}
	return id
}

// TestRefused holds the texts of spec http/prepared-query.md, and ours for what is not there.
func TestRefused(t *testing.T) {
	const invalid = "Invalid prepared query: "
	const failed = "raft apply failed: failed compiling template: "
	template := func(service string) string {
		return `{"Name":"x","Template":{"Type":"name_prefix_match"},"Service":{"Service":"db",` + service + `}}`
	}
	service := func(service string) string { return `{"Name":"x","Service":{"Service":"db",` + service + `}}` }
	synctest.Test(t, func(t *testing.T) {
		a := startInside(t)
		post(t, a, `{"Name":"q1","Service":{"Service":"db"}}`)
		for _, c := range []struct {
			body   string
			status int
			want   string
		}{
			{``, 500, invalid + "Must be bound to a session"},
			{`{}`, 500, invalid + "Must be bound to a session"},
			{`{"ID":"` + id(1) + `","Name":"x","Service":{"Service":"db"}}`, 500, "ID must be empty when creating a new prepared query"},
			{`{"Name":"x"}`, 500, invalid + "Must provide a Service name to query"},
			{`{"Template":{"Type":"name_prefix_match"}}`, 500, invalid + "Must provide a Service name to query"},
			{service(`"Failover":{"NearestN":-1}`), 500, invalid + "Bad NearestN '-1', must be >= 0"},
			{service(`"Failover":{"NearestN":1,"Targets":[{"Datacenter":"dc2"}]}`), 500, invalid + "Targets cannot be populated with NearestN or Datacenters"},
			{service(`"Failover":{"Datacenters":["dc2"],"Targets":[{"Datacenter":"dc2"}]}`), 500, invalid + "Targets cannot be populated with NearestN or Datacenters"},
			{service(`"Failover":{"Targets":[{"Datacenter":"dc2"},{"Peer":"p"}]}`), 500, invalid + "Service.Failover.Targets[1].Peer 'p': there is no cluster peering, name a Datacenter"},
			{service(`"Failover":{"Targets":[{}]}`), 500, invalid + "Service.Failover.Targets[0] must name a Datacenter"},
			{service(`"Connect":true`), 500, invalid + "Service.Connect: there is no service mesh, leave it out"},
			{service(`"Peer":"p"`), 500, invalid + "Service.Peer 'p': there is no cluster peering, leave it out"},
			{service(`"SamenessGroup":"g"`), 500, invalid + "Service.SamenessGroup is for Consul Enterprise: name datacenters in Service.Failover"},
			{service(`"NodeMeta":{"a b":"c"}`), 500, invalid + "Invalid NodeMeta filter: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters"},
			{`{"Name":"x","Service":{"Service":"db"},"DNS":{"TTL":"x"}}`, 500, invalid + `Bad DNS TTL 'x': time: invalid duration "x"`},
			{`{"Name":"x","Service":{"Service":"db"},"DNS":{"TTL":"-1s"}}`, 500, invalid + "DNS TTL '-1000000000', must be >=0"},
			{`{"Name":"x","Token":"<hidden>","Service":{"Service":"db"}}`, 500,
				invalid + "Bad Token '<hidden>', it looks like a query definition with a redacted token was submitted"},
			{`{"Name":"q1","Service":{"Service":"db"}}`, 500, "raft apply failed: name 'q1' aliases an existing query name"},
			{`{"Session":"8f2b","Service":{"Service":"db"}}`, 500, `raft apply failed: invalid session "8f2b"`},
			{`{"Template":{"Type":"zz"},"Service":{"Service":"db"}}`, 500, failed + "Bad Template.Type 'zz'"},
			{`{"Template":{"Type":"name_prefix_match","Regexp":"("},"Service":{"Service":"db"}}`, 500, failed + "Bad Regexp: error parsing regexp: missing closing ): `(`"},
			{`{"Template":{"Type":"name_prefix_match"},"Service":{"Service":"${"}}`, 500, failed + "Bad format '${' in Service.Service: the ${ is never closed by a }"},
			{template(`"Tags":["a","${b}"]`), 500, failed + `Bad format '${b}' in Service.Tags[1]: unknown word "b": there are name.full, name.prefix, name.suffix, match(N) and agent.segment`},
			{template(`"NodeMeta":{"k":"${match(x)}"}`), 500,
				failed + "Bad format '${match(x)}' in Service.NodeMeta[k]: match(x): the number of a group must stand between the parentheses, as in match(1)"},
			{`{"Name":"x","Service":{"Service":"db"},"Odd":1}`, 400, `Request decode failed: json: unknown field "Odd"`},
			{`{"Name":1}`, 400, "Request decode failed: json: cannot unmarshal number into Go struct field Definition.Name of type string"},
			{`{`, 400, "Request decode failed: unexpected EOF"},
		} {
			if status, _, got := a.Do("POST", "/v1/query", c.body); status != c.status || got != c.want {
				t.Errorf("%s: %d %s\nwant %d %s", c.body, status, got, c.status, c.want)
			}
		}
		if _, _, got := a.Do("GET", "/v1/query", ""); strings.Count(got, `"ID"`) != 1 {
			t.Errorf("something was stored: %s", got)
		}
	})
}

// TestLife walks through all calls on one query.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startInside(t)
		if status, h, got := a.Do("GET", "/v1/query", ""); status != 200 || got != "[]" || h.Get("X-Consul-Effective-Consistency") != "leader" || h.Get("X-Consul-Index") != "1" {
			t.Errorf("none: %d %s %v", status, got, h)
		}
		first := post(t, a, `{"name":"geo-db","service":{"service":"db","tags":[],"nodemeta":{},"failover":{"targets":[],"datacenters":[]}},"dns":{"ttl":"10s"}}`)
		shape := func(name, ttl string, created, modified int) string {
			return fmt.Sprintf(`[{"ID":%q,"Name":%q,"Session":"","Token":"","Template":{"Type":"","Regexp":"","RemoveEmptyTags":false},`+
				`"Service":{"Service":"db","SamenessGroup":"","Failover":{"NearestN":0,"Datacenters":null,"Targets":null},"OnlyPassing":false,"IgnoreCheckIDs":null,`+
				`"Near":"","Tags":null,"NodeMeta":null,"ServiceMeta":null,"Connect":false,"Peer":""},"DNS":{"TTL":%q},"CreateIndex":%d,"ModifyIndex":%d}]`,
				first, name, ttl, created, modified)
		}
		const unknown = "00000000-0000-0000-0000-000000000000"
		_, h, _ := a.Do("GET", "/v1/query", "")
		index, err := strconv.Atoi(h.Get("X-Consul-Index"))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			method, path, body string
			status             int
			want               string
		}{
			{"GET", "/v1/query", "", 200, shape("geo-db", "10s", index, index)},
			{"GET", "/v1/query/" + first, "", 200, shape("geo-db", "10s", index, index)},
			{"GET", "/v1/query/" + strings.ToUpper(first) + "?stale", "", 200, shape("geo-db", "10s", index, index)},
			{"GET", "/v1/query/geo-db", "", 500, "failed prepared query lookup: index error: UUID must be 36 characters"},
			{"GET", "/v1/query/", "", 500, "failed prepared query lookup: index error: UUID must be 36 characters"},
			{"GET", "/v1/query/" + unknown, "", 404, "Query not found"},
			{"GET", "/v1/query/" + unknown + "?index=99&wait=1m", "", 404, "Query not found"},
			{"GET", "/v1/query?index=x", "", 400, "Invalid index"},
			{"GET", "/v1/query?stale&consistent", "", 400, "Cannot specify ?stale with ?consistent, conflicting semantics."},
			{"GET", "/v1/query?dc=dc9", "", 500, "No path to datacenter"},
			{"POST", "/v1/query?dc=dc9", `{"Name":"x","Service":{"Service":"db"}}`, 500, "No path to datacenter"},
			{"PUT", "/v1/query/" + unknown, `{"Name":"x","Service":{"Service":"db"}}`, 500, "Cannot modify non-existent prepared query: '" + unknown + "'"},
			{"PUT", "/v1/query/" + unknown, ``, 500, "Cannot modify non-existent prepared query: '" + unknown + "'"},
			{"PUT", "/v1/query/" + unknown + "?dc=dc9", ``, 500, "No path to datacenter"},
			{"DELETE", "/v1/query/" + unknown, "", 500, "Cannot modify non-existent prepared query: '" + unknown + "'"},
			{"DELETE", "/v1/query/x", "", 500, "Cannot modify non-existent prepared query: 'x'"},
			{"PUT", "/v1/query/" + first, ``, 500, "Invalid prepared query: Must be bound to a session"},
			{"PUT", "/v1/query/" + first, `{"ID":"` + unknown + `","Name":"new","Service":{"Service":"db"},"CreateIndex":77,"ModifyIndex":77}`, 200, ""},
			{"GET", "/v1/query/" + first, "", 200, shape("new", "", index, index+1)},
			{"GET", "/v1/query/geo-db/execute", "", 404, "Query not found"},
			{"GET", "/v1/query/NEW/explain", "", 200, `{"Query":` + strings.Trim(shape("new", "", index, index+1), "[]") +
				`,"Index":1,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"leader","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`},
			{"GET", "/v1/query/x/explain", "", 404, "Query not found"},
			{"POST", "/v1/query/" + first, "", 405, "method POST not allowed"},
			{"PUT", "/v1/query/" + first + "/execute", "", 405, "method PUT not allowed"},
			{"OPTIONS", "/v1/query/" + first, "", 200, "{}"},
			{"OPTIONS", "/v1/query/" + first + "/explain", "", 200, "{}"},
			{"HEAD", "/v1/query/" + first, "", 405, "method HEAD not allowed"},
			{"PUT", "/v1/query", "", 405, "method PUT not allowed"},
			{"DELETE", "/v1/query/" + first, "", 200, ""},
			{"GET", "/v1/query", "", 200, "[]"},
		} {
			began := time.Now()
			status, h, got := a.Do(c.method, c.path, c.body)
			if status != c.status || got != c.want || time.Since(began) > 0 {
				t.Errorf("%s %s after %v: %d %s\nwant %d %s at once", c.method, c.path, time.Since(began), status, got, c.status, c.want)
			}
			allow := map[string]string{"OPTIONS /v1/query/" + first: "OPTIONS,GET,PUT,DELETE", "OPTIONS /v1/query/" + first + "/explain": "OPTIONS,GET",
				"POST /v1/query/" + first: "GET,PUT,DELETE", "PUT /v1/query/" + first + "/execute": "GET", "PUT /v1/query": "OPTIONS,GET,POST"}
			if got := h.Get("Allow"); got != allow[c.method+" "+c.path] {
				t.Errorf("%s %s allows %q", c.method, c.path, got)
			}
		}
	})
}

// TestBlocking: who waits for one query hears of its change and its end, and of no other query.
func TestBlocking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startInside(t)
		apply(t, a, &catalog.Register{Row: &catalog.Node{Node: "n1"}})
		apply(t, a, &session.Create{Session: session.Session{ID: "8f2b", Node: "n1"}})
		mine, other := post(t, a, `{"Session":"8f2b","Service":{"Service":"a"}}`), post(t, a, `{"Name":"o","Service":{"Service":"b"}}`)
		type answer struct {
			status int
			h      http.Header
			body   string
		}
		wait := func(path, index string) chan answer {
			got := make(chan answer, 1)
			go func() {
				status, h, body := a.Do("GET", path+"?wait=60s&index="+index, "")
				got <- answer{status, h, body}
			}()
			synctest.Wait()
			return got
		}
		_, h, _ := a.Do("GET", "/v1/query/"+mine, "")
		one := wait("/v1/query/"+mine, h.Get("X-Consul-Index"))
		_, h, _ = a.Do("GET", "/v1/query", "")
		all := wait("/v1/query", h.Get("X-Consul-Index"))
		a.Do("PUT", "/v1/query/"+other, `{"Name":"o","Service":{"Service":"c"}}`)
		if got := <-all; !strings.Contains(got.body, `"Service":"c"`) {
			t.Errorf("the list: %+v", got)
		}
		time.Sleep(time.Second)
		select {
		case got := <-one:
			t.Errorf("another query woke it: %+v", got)
		default:
		}
		a.Do("PUT", "/v1/query/"+mine, `{"Session":"8f2b","Service":{"Service":"d"}}`)
		got := <-one
		if got.status != 200 || !strings.Contains(got.body, `"Service":"d"`) {
			t.Errorf("the change: %+v", got)
		}
		one = wait("/v1/query/"+mine, got.h.Get("X-Consul-Index"))
		apply(t, a, &session.Destroy{ID: "8f2b"})
		if got := <-one; got.status != 404 || got.body != "Query not found" {
			t.Errorf("the end: %+v", got)
		}
	})
}
