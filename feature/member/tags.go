package member

import (
	"strconv"

	"rostra/engine/build"
	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/kit/fault"
)

// The values of the tag "role".
const (
	roleServer = "consul"
	roleClient = "node"
)

// Tags are what an agent says of itself in gossip (spec agent.md §1). wanPort is that of the WAN pool, below 1 without one.
func Tags(self *room.Identity, wanPort int) map[string]string {
	t := map[string]string{"role": roleClient, "dc": self.Datacenter, "id": self.ID, "vsn": strconv.Itoa(build.Protocol),
		"vsn_min": strconv.Itoa(build.ProtocolMin), "vsn_max": strconv.Itoa(build.ProtocolMax), "build": build.Tag(), "segment": ""}
	if self.Reconnect > 0 {
		t["rc_tm"] = self.Reconnect.String()
	}
	if !self.Server {
		return t
	}
	t["role"], t["raft_vsn"], t["port"] = roleServer, "3", strconv.Itoa(self.ServerPort)
	t["acls"], t["ft_fs"], t["ft_si"] = "0", "1", "1"
	t["rostra_level"] = strconv.Itoa(self.Level)
	for tag, set := range map[string]bool{"bootstrap": self.Bootstrap, "use_tls": self.TLS, "read_replica": self.Replica} {
		if set {
			t[tag] = "1"
		}
	}
	if self.Expect > 0 {
		t["expect"] = strconv.Itoa(self.Expect)
	}
	if wanPort > 0 {
		t["wan_join_port"] = strconv.Itoa(wanPort)
	}
	return t
}

// AcceptLAN says who belongs to the pool of the datacenter dc: its agents.
func AcceptLAN(dc string) func(gossip.Member) error {
	return func(m gossip.Member) error {
		if its := m.Tags["dc"]; its != dc {
			return fault.New(fault.Refused, "Member '%s' part of wrong datacenter '%s'; this pool is of '%s'", m.Name, its, dc)
		}
		return nil
	}
}

// AcceptWAN says who belongs to the pool between datacenters: servers.
func AcceptWAN(m gossip.Member) error {
	if m.Tags["role"] != roleServer {
		return fault.New(fault.Refused, "Member '%s' is not a server; client agents join the LAN pool of their datacenter", m.Name)
	}
	return nil
}
