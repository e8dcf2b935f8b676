package member

import (
	"maps"
	"strings"
	"testing"
	"time"

	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/roster"
)

func TestTags(t *testing.T) {
	server := room.Identity{Datacenter: "dc1", ID: "id", ServerPort: 8300, Server: true, Level: 1}
	all := server
	all.Bootstrap, all.Expect, all.TLS, all.Replica = true, 3, true, true
	common := map[string]string{"dc": "dc1", "id": "id", "vsn": "2", "vsn_min": "2", "vsn_max": "3", "segment": ""}
	for _, c := range []struct {
		self room.Identity
		port int
		want map[string]string
	}{
		{room.Identity{Datacenter: "dc1", ID: "id"}, 8302, map[string]string{"role": "node"}},
		{room.Identity{Datacenter: "dc1", ID: "id", Reconnect: 2 * time.Hour}, -1, map[string]string{"role": "node", "rc_tm": "2h0m0s"}},
		{server, -1, map[string]string{"role": "consul", "port": "8300", "raft_vsn": "3", "acls": "0", "ft_fs": "1", "ft_si": "1",
			"rostra_level": "1"}},
		{all, 8302, map[string]string{"role": "consul", "port": "8300", "raft_vsn": "3", "acls": "0", "ft_fs": "1", "ft_si": "1",
			"rostra_level": "1", "wan_join_port": "8302", "bootstrap": "1", "expect": "3", "use_tls": "1", "read_replica": "1"}},
	} {
		got := Tags(&c.self, c.port)
		if !strings.HasPrefix(got["build"], "1.21.4:") {
			t.Errorf("build: %q", got["build"])
		}
		delete(got, "build")
		maps.Copy(c.want, common)
		if !maps.Equal(got, c.want) {
			t.Errorf("%+v: %v\nwant %v", c.self, got, c.want)
		}
	}
	s, is := roster.Parse(gossip.Member{Name: "a", Addr: "10.0.0.1", Tags: Tags(&all, 8302)})
	if !is || s.Level != 1 || s.Expect != 3 || !s.Bootstrap || !s.TLS || s.Voter || s.Address != "10.0.0.1:8300" {
		t.Errorf("the roster reads %+v", s)
	}
	full := Tags(&all, 8302)
	full[roster.TagFull] = "1"
	if f, is := roster.Parse(gossip.Member{Tags: full}); !is || !f.Full || s.Full {
		t.Errorf("the roster reads %+v of one without room, %+v of one with", f, s)
	}
}

func TestAccept(t *testing.T) {
	lan := AcceptLAN("dc1")
	if err := lan(gossip.Member{Tags: map[string]string{"dc": "dc1"}}); err != nil {
		t.Error(err)
	}
	err := lan(gossip.Member{Name: "x", Tags: map[string]string{"dc": "dc2"}})
	if err == nil || err.Error() != "Member 'x' part of wrong datacenter 'dc2'; this pool is of 'dc1'" {
		t.Error(err)
	}
	if err := AcceptWAN(gossip.Member{Tags: map[string]string{"role": "consul"}}); err != nil {
		t.Error(err)
	}
	err = AcceptWAN(gossip.Member{Name: "x", Tags: map[string]string{"role": "node"}})
	if err == nil || !strings.HasPrefix(err.Error(), "Member 'x' is not a server") {
		t.Error(err)
	}
}
