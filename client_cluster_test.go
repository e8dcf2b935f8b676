package main

import (
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/serf/coordinate"
)

// clientCluster calls what is about members, servers, places and events. The agent is alone, without encryption, so some of
// it must be refused, with Consul's texts.
func clientCluster(t *testing.T, c *client) {
	refused := func(what string, err error, text string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q", what, err, text)
		}
	}
	op := c.Operator()
	raft, err := op.RaftGetConfiguration(nil)
	if err != nil || len(raft.Servers) != 1 || !raft.Servers[0].Leader || !raft.Servers[0].Voter {
		t.Errorf("raft configuration: %+v, %v", raft, err)
	}
	_, err = op.RaftLeaderTransfer("", nil)
	refused("transfer", err, "cannot find peer")
	refused("remove-peer", op.RaftRemovePeerByID("zzz", nil), `id "zzz" was not found in the Raft configuration`)
	conf, err := op.AutopilotGetConfiguration(nil)
	if err != nil || !conf.CleanupDeadServers {
		t.Errorf("autopilot: %+v, %v", conf, err)
	}
	conf.MinQuorum = 3
	must(t, op.AutopilotSetConfiguration(conf, nil))
	if _, err := op.AutopilotServerHealth(nil); err != nil {
		t.Errorf("health of the servers: %v", err)
	}
	if state, err := op.AutopilotState(nil); err != nil || len(state.Servers) != 1 {
		t.Errorf("state of autopilot: %+v, %v", state, err)
	}
	if usage, _, err := op.Usage(nil); err != nil || len(usage.Usage) != 1 {
		t.Errorf("usage: %+v, %v", usage, err)
	}
	const key = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
	_, err = op.KeyringList(nil)
	refused("keyring list", err, "Keyring is empty (encryption not enabled)")
	refused("keyring install", op.KeyringInstall(key, nil), "errors occurred")
	refused("keyring use", op.KeyringUse(key, nil), "errors occurred")
	refused("keyring remove", op.KeyringRemove(key, nil), "errors occurred")
	refused("force-leave", c.Agent().ForceLeave("nobody"), "No node found with name 'nobody'")
	refused("join", c.Agent().Join("127.0.0.1:1", false), "refused")
	clientPlaces(t, c)
	id, _, err := c.Event().Fire(&api.UserEvent{Name: "deploy", Payload: []byte("now")}, nil)
	if err != nil || id == "" {
		t.Errorf("event: %q, %v", id, err)
	}
	await(t, "the event", func() error {
		list, _, err := c.Event().List("deploy", nil)
		if err == nil && (len(list) != 1 || list[0].ID != id) {
			t.Logf("events: %v", list)
		}
		return err
	})
}

func clientPlaces(t *testing.T, c *client) {
	t.Helper()
	if _, err := c.Coordinate().Datacenters(); err != nil {
		t.Errorf("coordinates of datacenters: %v", err)
	}
	if _, _, err := c.Coordinate().Nodes(nil); err != nil {
		t.Errorf("coordinates: %v", err)
	}
	here := &api.CoordinateEntry{Node: "ext", Coord: &coordinate.Coordinate{Vec: make([]float64, 8), Error: 1.5, Height: 1e-5}}
	if _, err := c.Coordinate().Update(here, nil); err != nil {
		t.Errorf("a new coordinate: %v", err)
	}
	if _, _, err := c.Coordinate().Node("ext", nil); err != nil && !strings.Contains(err.Error(), "404") {
		t.Errorf("one coordinate: %v", err) // written in some seconds
	}
}

// clientQuery walks a prepared query and a template through all calls.
func clientQuery(t *testing.T, c *client) {
	q := c.PreparedQuery()
	_, err := c.Catalog().Register(&api.CatalogRegistration{Node: "q1", Address: "192.0.2.9", Service: &api.AgentService{ID: "pq-db", Service: "pq-db", Port: 5432, Tags: []string{"a"}}}, nil)
	must(t, err)
	def := &api.PreparedQueryDefinition{Name: "geo-db", Service: api.ServiceQuery{Service: "pq-db", Tags: []string{"A", "!b"}, Near: "_agent",
		NodeMeta: map[string]string{}, Failover: api.QueryFailoverOptions{NearestN: 2}}, DNS: api.QueryDNSOptions{TTL: "10s"}}
	await(t, "rules for prepared queries", func() (err error) {
		def.ID, _, err = q.Create(def, nil)
		return err
	})
	if _, _, err := q.Create(&api.PreparedQueryDefinition{Name: "GEO-DB", Service: api.ServiceQuery{Service: "x"}}, nil); err == nil || !strings.Contains(err.Error(), "name 'GEO-DB' aliases an existing query name") {
		t.Errorf("a second one of the name: %v", err)
	}
	list, meta, err := q.List(nil)
	if err != nil || len(list) != 1 || list[0].ID != def.ID || list[0].DNS.TTL != "10s" || meta.LastIndex == 0 {
		t.Errorf("list: %+v %+v %v", list, meta, err)
	}
	def.Service.OnlyPassing = true
	_, err = q.Update(def, nil)
	must(t, err)
	if list, _, err := q.Get(def.ID, nil); err != nil || len(list) != 1 || !list[0].Service.OnlyPassing || list[0].Service.Failover.NearestN != 2 {
		t.Errorf("get: %+v %v", list, err)
	}
	for _, name := range []string{def.ID, "Geo-DB"} {
		found, _, err := q.Execute(name, nil)
		if err != nil || len(found.Nodes) != 1 || found.Nodes[0].Service.Port != 5432 || found.DNS.TTL != "10s" || found.Datacenter != "dc1" || found.Failovers != 0 {
			t.Errorf("execute %s: %+v %v", name, found, err)
		}
	}
	template, _, err := q.Create(&api.PreparedQueryDefinition{Name: "t-", Template: api.QueryTemplate{Type: "name_prefix_match", Regexp: "^t-(.*)$"},
		Service: api.ServiceQuery{Service: "${match(1)}"}}, nil)
	must(t, err)
	if found, _, err := q.Execute("t-pq-db", &api.QueryOptions{AllowStale: true}); err != nil || len(found.Nodes) != 1 || found.Service != "pq-db" {
		t.Errorf("template: %+v %v", found, err)
	}
	for _, id := range []string{def.ID, template} {
		_, err = q.Delete(id, nil)
		must(t, err)
	}
	if _, _, err := q.Execute("geo-db", nil); err == nil || !strings.Contains(err.Error(), "Query not found") {
		t.Errorf("a deleted one: %v", err)
	}
}
