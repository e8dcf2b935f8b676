package agent

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"rostra/engine/gossip"
	"rostra/feature/member"
)

// gossipSettings are what the gossip pools obey.
type gossipSettings struct {
	Encrypt       string `key:"encrypt" flag:"encrypt" help:"gossip key, base64 of 16, 24 or 32 bytes; only the first start uses it, then the keyring file holds the keys"`
	VerifyIn      bool   `key:"encrypt_verify_incoming" default:"true" help:"refuse gossip that is not encrypted; false while encryption is switched on agent by agent"`
	VerifyOut     bool   `key:"encrypt_verify_outgoing" default:"true" help:"encrypt gossip; false while the others do not have the key yet"`
	NoKeyringFile bool   `key:"disable_keyring_file" flag:"disable-keyring-file" dev:"true" help:"keep the gossip keys in memory only"`

	LANBind     string   `key:"serf_lan" flag:"serf-lan-bind" sockaddr:"one" help:"IP address for gossip; bind_addr if empty"`
	WANBind     string   `key:"serf_wan" flag:"serf-wan-bind" sockaddr:"one" help:"IP address for gossip between datacenters; bind_addr if empty"`
	LANNetworks []string `key:"serf_lan_allowed_cidrs" flag:"serf-lan-allowed-cidrs" help:"networks that members may have their address in; all if empty"`
	WANNetworks []string `key:"serf_wan_allowed_cidrs" flag:"serf-wan-allowed-cidrs" help:"the same for members of other datacenters"`

	Rejoin       bool          `key:"rejoin_after_leave" flag:"rejoin" help:"after a start, join the members known before even if this agent had left"`
	Reconnect    time.Duration `key:"reconnect_timeout" default:"72h" help:"how long a failed member is dialled before it is forgotten, at least 8h"`
	ReconnectWAN time.Duration `key:"reconnect_timeout_wan" default:"72h" help:"the same for members of other datacenters"`
	Advertise    time.Duration `key:"advertise_reconnect_timeout" help:"how long the others keep this agent after it failed; for client agents"`

	NoCoordinates bool `key:"disable_coordinates" help:"estimate no round-trip times; /v1/coordinate answers 401 and near sorts nothing"`

	LAN struct {
		GossipInterval time.Duration `key:"gossip_lan.gossip_interval" default:"200ms" dev:"100ms" help:"time between rounds of gossip"`
		GossipNodes    int           `key:"gossip_lan.gossip_nodes" default:"3" help:"members told in a round"`
		ProbeInterval  time.Duration `key:"gossip_lan.probe_interval" default:"1s" dev:"100ms" help:"time between probes of some member"`
		ProbeTimeout   time.Duration `key:"gossip_lan.probe_timeout" default:"500ms" dev:"100ms" help:"how long a probed member has to answer"`
		SuspicionMult  int           `key:"gossip_lan.suspicion_mult" default:"4" dev:"3" help:"how long a suspect may object: suspicion_mult × log(members) × probe_interval"`
		RetransmitMult int           `key:"gossip_lan.retransmit_mult" default:"4" help:"how often news is passed on: retransmit_mult × log(members)"`
	}
	WAN struct {
		GossipInterval time.Duration `key:"gossip_wan.gossip_interval" default:"500ms" dev:"100ms" help:"as gossip_lan.gossip_interval"`
		GossipNodes    int           `key:"gossip_wan.gossip_nodes" default:"3" help:"as gossip_lan.gossip_nodes"`
		ProbeInterval  time.Duration `key:"gossip_wan.probe_interval" default:"5s" dev:"100ms" help:"as gossip_lan.probe_interval"`
		ProbeTimeout   time.Duration `key:"gossip_wan.probe_timeout" default:"3s" dev:"100ms" help:"as gossip_lan.probe_timeout"`
		SuspicionMult  int           `key:"gossip_wan.suspicion_mult" default:"6" dev:"3" help:"as gossip_lan.suspicion_mult"`
		RetransmitMult int           `key:"gossip_wan.retransmit_mult" default:"4" help:"as gossip_lan.retransmit_mult"`
	}
}

// leastReconnect is the shortest time after which failed members may be forgotten: a night's repair must not cost them their
// place.
const leastReconnect = 8 * time.Hour

// check refuses what no pool could obey. The errors begin with the key.
func (g *gossipSettings) check(server bool) error {
	var all []error
	add := func(key string, err error) {
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", key, err))
		}
	}
	if g.Encrypt != "" {
		_, err := gossip.ParseKey(g.Encrypt)
		add("encrypt", err)
	}
	_, err := networks(g.LANNetworks)
	add("serf_lan_allowed_cidrs", err)
	_, err = networks(g.WANNetworks)
	add("serf_wan_allowed_cidrs", err)
	add("serf_lan", address(g.LANBind))
	add("serf_wan", address(g.WANBind))
	add("reconnect_timeout", longEnough(g.Reconnect))
	add("reconnect_timeout_wan", longEnough(g.ReconnectWAN))
	if g.Advertise != 0 && server {
		add("advertise_reconnect_timeout", errors.New("it can only be used on a client agent; remove it here"))
	}
	for _, pool := range []struct {
		name string
		t    gossip.Timing
	}{{"gossip_lan", g.timing(false)}, {"gossip_wan", g.timing(true)}} {
		for _, n := range []struct {
			key  string
			zero bool
		}{{"gossip_interval", pool.t.GossipInterval == 0}, {"gossip_nodes", pool.t.GossipNodes == 0},
			{"probe_interval", pool.t.ProbeInterval == 0}, {"probe_timeout", pool.t.ProbeTimeout == 0},
			{"suspicion_mult", pool.t.SuspicionMult == 0}, {"retransmit_mult", pool.t.RetransmitMult == 0}} {
			if n.zero {
				add(pool.name+"."+n.key, errors.New("it must be more than 0; leave it out for the default"))
			}
		}
	}
	return errors.Join(all...)
}

// address refuses what is no IP address; "" stands for another setting.
func address(text string) error {
	if _, err := netip.ParseAddr(text); text != "" && err != nil {
		return fmt.Errorf("%q is no IP address; write one like 127.0.0.1", text)
	}
	return nil
}

func longEnough(d time.Duration) error {
	if d < leastReconnect {
		return fmt.Errorf("%v is too short; use %v or more", d, leastReconnect)
	}
	return nil
}

// timing is the clockwork of one pool.
func (g *gossipSettings) timing(wan bool) gossip.Timing {
	if wan {
		t := g.WAN
		return gossip.Timing{GossipInterval: t.GossipInterval, GossipNodes: t.GossipNodes, ProbeInterval: t.ProbeInterval,
			ProbeTimeout: t.ProbeTimeout, SuspicionMult: t.SuspicionMult, RetransmitMult: t.RetransmitMult, ReconnectTimeout: g.ReconnectWAN}
	}
	t := g.LAN
	return gossip.Timing{GossipInterval: t.GossipInterval, GossipNodes: t.GossipNodes, ProbeInterval: t.ProbeInterval,
		ProbeTimeout: t.ProbeTimeout, SuspicionMult: t.SuspicionMult, RetransmitMult: t.RetransmitMult, ReconnectTimeout: g.Reconnect}
}

func networks(list []string) ([]net.IPNet, error) {
	var all []net.IPNet
	for _, text := range list {
		_, n, err := net.ParseCIDR(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no network; write one like 10.0.0.0/8", text)
		}
		all = append(all, *n)
	}
	return all, nil
}

// openGossip opens the LAN pool and, on servers, the WAN pool.
func (a *Agent) openGossip(s *Settings) error {
	self := &a.host.Self
	if s.DataDir != "" {
		if err := a.host.Disk.MkdirAll(filepath.Join(s.DataDir, "serf"), 0o700); err != nil {
			return fmt.Errorf("cannot make the data directory: %w", err)
		}
	}
	lan := gossip.Options{Name: self.Node, BindAddr: orElse(s.Gossip.LANBind, s.BindAddr), BindPort: s.SerfLANPort,
		AdvertiseAddr: self.Address, Accept: member.AcceptLAN(self.Datacenter)}
	var err error
	if a.host.LAN, err = a.openPool(s, lan, "local", "serf_lan", s.Gossip.LANNetworks); err != nil {
		return err
	}
	if self.Server && s.SerfWANPort > 0 {
		wan := gossip.Options{Name: self.Node + "." + self.Datacenter, WAN: true, BindAddr: orElse(s.Gossip.WANBind, s.BindAddr),
			BindPort: s.SerfWANPort, AdvertiseAddr: self.Tagged["wan"], Accept: member.AcceptWAN}
		a.host.WAN, err = a.openPool(s, wan, "remote", "serf_wan", s.Gossip.WANNetworks)
	}
	return err
}

// openPool completes the options of a pool, whose files are called name and whose settings key, and opens it.
func (a *Agent) openPool(s *Settings, o gossip.Options, name, key string, allowed []string) (*gossip.Pool, error) {
	g := &s.Gossip
	o.Dev, o.Timing, o.AdvertisePort = a.host.Self.Dev, g.timing(o.WAN), o.BindPort
	o.Tags = member.Tags(&a.host.Self, s.SerfWANPort)
	o.RejoinAfterLeave, o.AcceptPlain, o.SendPlain = g.Rejoin, !g.VerifyIn, !g.VerifyOut
	o.DisableCoordinates = g.NoCoordinates
	o.Logger = a.log.WithGroup("serf")
	var err error
	if o.Networks, err = networks(allowed); err != nil {
		return nil, fmt.Errorf("%s_allowed_cidrs: %w", key, err)
	}
	if s.DataDir != "" {
		o.SnapshotPath = filepath.Join(s.DataDir, "serf", name+".snapshot")
	}
	has := true
	if o.Keyring, has, err = gossip.OpenKeyring(a.host.Disk, keyringFile(s, name), g.Encrypt); err != nil {
		return nil, err
	}
	if !has {
		a.log.Warn("the key of encrypt is not in the keyring; the keyring counts, encrypt only begins one", "keyring", keyringFile(s, name))
	}
	if _, real := a.net.(system); !real {
		if err = a.carry(&o); err != nil {
			return nil, err
		}
	}
	p, err := gossip.Open(o)
	if err != nil {
		return nil, fmt.Errorf("%w; free the address, or set ports.%s, %s or bind_addr", err, key, key)
	}
	a.closes = append(a.closes, p.Close)
	return p, nil
}

// keyringFile is where the keys of a pool are kept, "" for nowhere.
func keyringFile(s *Settings, name string) string {
	if s.DataDir == "" || s.Gossip.NoKeyringFile {
		return ""
	}
	return filepath.Join(s.DataDir, "serf", name+".keyring")
}

// debug is the part of agent/self's DebugConfig that is about gossip.
func (g *gossipSettings) debug(out map[string]any) {
	key := ""
	if g.Encrypt != "" {
		key = "hidden"
	}
	maps.Copy(out, map[string]any{"EncryptKey": key, "EncryptVerifyIncoming": g.VerifyIn, "EncryptVerifyOutgoing": g.VerifyOut,
		"DisableKeyringFile": g.NoKeyringFile, "SerfAllowedCIDRsLAN": g.LANNetworks, "SerfAllowedCIDRsWAN": g.WANNetworks,
		"RejoinAfterLeave": g.Rejoin, "ReconnectTimeoutLAN": g.Reconnect.String(), "ReconnectTimeoutWAN": g.ReconnectWAN.String(),
		"DisableCoordinates": g.NoCoordinates, "AdvertiseReconnectTimeout": g.Advertise.String(), "GossipLANGossipInterval": g.LAN.GossipInterval.String(),
		"GossipLANGossipNodes": g.LAN.GossipNodes, "GossipLANProbeInterval": g.LAN.ProbeInterval.String(),
		"GossipLANProbeTimeout": g.LAN.ProbeTimeout.String(), "GossipLANSuspicionMult": g.LAN.SuspicionMult,
		"GossipLANRetransmitMult": g.LAN.RetransmitMult, "GossipWANGossipInterval": g.WAN.GossipInterval.String(),
		"GossipWANGossipNodes": g.WAN.GossipNodes, "GossipWANProbeInterval": g.WAN.ProbeInterval.String(),
		"GossipWANProbeTimeout": g.WAN.ProbeTimeout.String(), "GossipWANSuspicionMult": g.WAN.SuspicionMult,
		"GossipWANRetransmitMult": g.WAN.RetransmitMult})
}

// carry takes a pool to a network that is not the machine's.
func (a *Agent) carry(o *gossip.Options) error {
	at := net.JoinHostPort(o.BindAddr, strconv.Itoa(o.BindPort))
	packets, err := a.net.ListenPacket(at)
	if err != nil {
		return err
	}
	streams, err := a.net.Listen(at)
	if err != nil {
		return errors.Join(err, packets.Close())
	}
	o.Transport = gossip.Over(packets, streams, a.net.Dial)
	return nil
}
