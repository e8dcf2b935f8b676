package local

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHealth walks through spec http/agent.md, "Local health": the status is the aggregate of the service's checks and the
// node's own, as a word, as a code, and as a header.
func TestHealth(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.put("service/register", `{"ID":"web-1","Name":"web","Check":{"TTL":"1h","Status":"passing"}}`)
	a.put("service/register", `{"ID":"web-2","Name":"web","Check":{"TTL":"1h","Status":"warning"}}`)
	a.put("service/register", `{"Name":"bare"}`)
	for _, tt := range []struct {
		change, path string // PUT, then GET
		status       int
		reason       string
	}{
		{"", "id/web-1", 200, "passing"},
		{"", "id/web-2", 429, "warning"},
		{"", "id/bare", 200, "passing"},
		{"", "id/web", 404, "ServiceId web not found"},
		{"", "name/web", 429, "warning"},
		{"", "name/web-1", 404, "ServiceName web-1 Not Found"},
		{"check/fail/service:web-2", "name/web", 503, "critical"},
		{"", "name/bare", 200, "passing"},
		{"service/maintenance/web-1?enable=true", "name/web", 503, "maintenance"},
		{"", "id/web-2", 503, "critical"},
		{"service/maintenance/web-1?enable=false", "id/web-1", 200, "passing"},
		{"maintenance?enable=true", "id/bare", 503, "maintenance"},
		{"maintenance?enable=false", "id/bare", 200, "passing"},
	} {
		if tt.change != "" {
			a.put(tt.change, "")
		}
		for _, accept := range []string{"", "text/plain, */*"} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/v1/agent/health/service/"+tt.path, nil)
			r.Header.Set("Accept", accept)
			a.web.ServeHTTP(w, r)
			status, h, body := w.Code, w.Header(), w.Body.String()
			if status != tt.status || h.Get("X-Consul-Reason") != tt.reason {
				t.Errorf("%s: %d %q, want %d %q", tt.path, status, h.Get("X-Consul-Reason"), tt.status, tt.reason)
			}
			if accept != "" && (body != tt.reason || h.Get("Content-Type") != "text/plain") {
				t.Errorf("%s as text: %q of type %q", tt.path, body, h.Get("Content-Type"))
			}
			if accept == "" && h.Get("Content-Type") != "application/json" {
				t.Errorf("%s: type %q", tt.path, h.Get("Content-Type"))
			}
		}
	}
	for path, want := range map[string]string{"id/": "Missing serviceID", "name/": "Missing service Name"} {
		if status, body := a.do("GET", "health/service/"+path, ""); status != 500 || body != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestHealthBodies: checks have a shape of their own here.
func TestHealthBodies(t *testing.T) {
	l := newLab(t)
	a := l.must(nil, "", defaults())
	a.put("service/register", `{"ID":"web-1","Name":"web","Port":80,"Tags":["a"],"Check":{"TTL":"1h","Status":"passing","Notes":"<n>"}}`)
	a.put("check/register", `{"Name":"node","TTL":"1h","Status":"passing"}`)
	check := func(id, name, notes, service, tags string) string {
		return fmt.Sprintf(`{"Node":"n1","CheckID":%q,"Name":%q,"Status":"passing","Notes":%s,"Output":"","ServiceID":%q,"ServiceName":%q,"ServiceTags":%s,"Type":"","ExposedPort":0,"Definition":`+
			bareDefinition+`,"CreateIndex":0,"ModifyIndex":0}`, id, name, notes, service, strings.TrimSuffix(service, "-1"), tags)
	}
	web := `{"AggregatedStatus":"passing","Service":{"ID":"web-1","Service":"web","Tags":["a"],"Meta":{},"Port":80,"Address":"","Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Datacenter":"dc1"},"Checks":[` +
		check("node", "node", `""`, "", "[]") + "," + check("service:web-1", "Service 'web' check", `"\u003cn\u003e"`, "web-1", `["a"]`) + `]}`
	for path, want := range map[string]string{
		"id/web-1":             web,
		"name/web":             "[" + web + "]",
		"name/web?format=text": "passing",
		"id/x":                 `{"AggregatedStatus":"critical","Service":null,"Checks":null}`,
		"name/x":               `[]`,
	} {
		if _, body := a.do("GET", "health/service/"+path, ""); body != want {
			t.Errorf("%s: %s\nwant %s", path, body, want)
		}
	}
}
