package member

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/kit/wire"
)

// The texts of the check that gossip keeps on every agent's node.
const (
	serfHealthName = "Serf Health Status"
	aliveOutput    = "Agent alive and reachable"
	failedOutput   = "Agent not live or unreachable"
)

// change is what the catalog has to be told about one node, in order.
type change struct {
	node     string
	commands []room.Command
	refused  error // why there can be none
}

// plan compares the members with the catalog and returns what differs; nothing of a node means that all is so already. self
// is never taken out. strangers are nodes that gossip once spoke of and no longer knows, by name.
func plan(self *room.Identity, members []gossip.Member, rows map[string]nodeRow) (changes []change, strangers []string) {
	known := make(map[string]bool, len(members))
	lives := owners(members, rows)
	for i := range members {
		m := &members[i]
		known[strings.ToLower(m.Name)] = true
		if name, is := lives[m.Tags["id"]]; is && name != m.Name {
			if m.Status == gossip.StatusAlive {
				changes = append(changes, change{node: m.Name, refused: fmt.Errorf("it has the node ID %s of the live member %s", m.Tags["id"], name)})
			}
			continue // else it has another name now, and its node gets that when it is registered
		}
		row := rows[strings.ToLower(m.Name)]
		var commands []room.Command
		switch m.Status {
		case gossip.StatusAlive:
			commands = alive(self, m, row)
		case gossip.StatusFailed:
			commands = failed(m, row)
		case gossip.StatusLeft:
			commands = left(self, m, row)
		}
		if len(commands) > 0 {
			changes = append(changes, change{node: m.Name, commands: commands})
		}
	}
	for name, row := range rows {
		if row.health != nil && !known[name] && !strings.EqualFold(row.node.Node, self.Node) {
			strangers = append(strangers, row.node.Node)
		}
	}
	slices.Sort(strangers)
	return changes, strangers
}

// owners says which live member has an ID. Should there be two, it is the one that the catalog has under the ID: their node
// must not change its name to and fro.
func owners(members []gossip.Member, rows map[string]nodeRow) map[string]string {
	lives := make(map[string]string, len(members))
	for i := range members {
		m := &members[i]
		id := m.Tags["id"]
		if m.Status != gossip.StatusAlive || id == "" {
			continue
		}
		if row := rows[strings.ToLower(m.Name)]; lives[id] == "" || row.node != nil && row.node.ID == id {
			lives[id] = m.Name
		}
	}
	return lives
}

// alive registers the node, its health and, for a server, the service of that name. The rest of the node's row is the
// agent's own to write.
func alive(self *room.Identity, m *gossip.Member, row nodeRow) (commands []room.Command) {
	node := &catalog.Node{ID: m.Tags["id"], Node: m.Name, Address: m.Addr, Datacenter: self.Datacenter,
		Meta: wire.PairsOf(map[string]string{"consul-version": version(m)})}
	if row.node != nil && another(m, row) {
		// The pool has refused it while the machine before it lived: what the catalog has is of one that is no more.
		commands, row = append(commands, &catalog.Deregister{Node: row.node.Node}), nodeRow{}
	}
	moved := row.node != nil && (row.node.ID != node.ID || row.node.Address != node.Address)
	if moved {
		node.TaggedAddresses, node.Meta = row.node.TaggedAddresses, row.node.Meta
		node.Region, node.Zone = row.node.Region, row.node.Zone
	}
	r := &catalog.Register{Row: node, SkipNode: !moved}
	if row.node == nil || row.health == nil || row.health.Status != catalog.Passing || row.health.Output != aliveOutput {
		r.Checks = []*catalog.Check{serfHealth(m.Name, catalog.Passing, aliveOutput)}
	}
	if m.Tags["role"] == roleServer {
		if s := consulService(m); row.server == nil || !sameServer(row.server, s) {
			r.Service = s
		}
	} else if row.server != nil && row.server.Service == serverService {
		commands = append(commands, &catalog.Deregister{Node: row.node.Node, ServiceID: serverService}) // it was a server once
	}
	if moved || len(r.Checks) > 0 || r.Service != nil {
		commands = append(commands, r)
	}
	return commands
}

// another says that the member is not the machine that the catalog has under its name.
func another(m *gossip.Member, row nodeRow) bool {
	return row.node.ID != "" && m.Tags["id"] != "" && row.node.ID != m.Tags["id"]
}

// failed marks the node's health critical, if the catalog knows the node.
func failed(m *gossip.Member, row nodeRow) []room.Command {
	if row.node == nil || another(m, row) ||
		row.health != nil && row.health.Status == catalog.Critical && row.health.Output == failedOutput {
		return nil
	}
	return []room.Command{&catalog.Register{Row: &catalog.Node{ID: row.node.ID, Node: row.node.Node}, SkipNode: true,
		Checks: []*catalog.Check{serfHealth(row.node.Node, catalog.Critical, failedOutput)}}}
}

// left takes the node out, if it is the member's: nodes that were registered from outside are not touched.
func left(self *room.Identity, m *gossip.Member, row nodeRow) []room.Command {
	if row.node == nil || strings.EqualFold(m.Name, self.Node) || another(m, row) || row.health == nil && row.node.ID == "" {
		return nil
	}
	return []room.Command{&catalog.Deregister{Node: row.node.Node}}
}

func serfHealth(node, status, output string) *catalog.Check {
	return &catalog.Check{Node: node, CheckID: catalog.SerfHealth, Name: serfHealthName, Status: status, Output: output}
}

func version(m *gossip.Member) string {
	v, _, _ := strings.Cut(m.Tags["build"], ":")
	return v
}

// consulService is the instance of the service "consul" that every server is.
func consulService(m *gossip.Member) *catalog.Service {
	port, _ := strconv.Atoi(m.Tags["port"])
	replica := strconv.FormatBool(m.Tags["read_replica"] != "" || m.Tags["nonvoter"] != "")
	return &catalog.Service{Node: m.Name, ID: serverService, Service: serverService, Tags: []string{}, Port: port,
		Weights: catalog.Weights{Passing: 1, Warning: 1}, Meta: wire.PairsOf(map[string]string{
			"version": version(m), "raft_version": m.Tags["raft_vsn"], "serf_protocol_current": strconv.Itoa(int(m.ProtocolCur)),
			"serf_protocol_min": strconv.Itoa(int(m.ProtocolMin)), "serf_protocol_max": strconv.Itoa(int(m.ProtocolMax)),
			"non_voter": replica, "read_replica": replica})}
}

func sameServer(have, want *catalog.Service) bool {
	return have.Service == want.Service && have.Port == want.Port && have.Address == want.Address && have.Meta.Equal(want.Meta)
}
