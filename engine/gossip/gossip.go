// Package gossip keeps the pools in which agents find one another and notice each other's death: one pool for the
// agents of a datacenter (LAN) and one for the servers of all datacenters (WAN). It hides Serf and memberlist behind one
// type, Pool; the agent opens the pools, features list members, join, leave and follow events. What the tags of a member
// mean is known to its callers only, but for two: "id", which no two live members share, and "rc_tm", a duration after which
// this member, once it failed, shall be forgotten.
package gossip

import (
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-metrics"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// Options say who this member is and how its pool behaves. Zero values are usable except Name and BindAddr.
type Options struct {
	Name string // unique in the pool; on the WAN by convention "<node>.<datacenter>"
	WAN  bool   // the pool between datacenters: slower timings
	Dev  bool   // quick timings for a pool on one machine

	BindAddr      string // IP to listen on; not looked at if Transport is set
	BindPort      int    // TCP and UDP; 0 lets the system choose; also the default port of addresses to join
	AdvertiseAddr string // IP that others use; "" is BindAddr, which must then be a single address
	AdvertisePort int    // 0 is the port listened on

	Tags   map[string]string // what the others see of this member, at most 512 bytes encoded; copied
	Timing Timing            // fields that are not zero override WAN, Dev or the LAN's defaults

	Keyring     *Keyring // encrypts what members say to each other; nil for no encryption
	AcceptPlain bool     // with a Keyring, hear members that do not encrypt; for switching encryption on member by member
	SendPlain   bool     // with a Keyring, do not encrypt yet

	Accept   func(Member) error // whom to refuse as a member, and why; nil accepts all. Must not call the Pool
	Networks []net.IPNet        // the addresses that members may have; nil for all

	SnapshotPath       string // file that remembers the members for the next start; "" for none
	RejoinAfterLeave   bool   // use that file even if the last thing this member did was to leave
	DisableCoordinates bool   // no estimate of round-trip times

	Logger    *slog.Logger         // nil discards
	Transport memberlist.Transport // nil is real sockets, see also Over; Open owns it from the call on, even if it fails
}

// Open starts a pool that has one member, this one, and those that Serf finds again through the snapshot file. Only Join
// and the snapshot connect it to others. It is listening when Open returns. The caller ends it with Close.
func Open(o Options) (*Pool, error) {
	if err := o.check(); err != nil {
		if o.Transport != nil {
			_ = o.Transport.Shutdown() // nothing has used it: nothing is lost
		}
		return nil, err
	}
	to := &lineWriter{log: o.Logger}
	to.tally = newTally(o.Logger)
	logger := log.New(to, "", 0)
	conf := o.serfConfig(logger)
	if o.Transport == nil {
		s, err := listen(o.BindAddr, o.BindPort, logger)
		if err != nil {
			return nil, fmt.Errorf("cannot listen for %s gossip on %s: %w", o.network(), hostPort(o.BindAddr, o.BindPort), err)
		}
		conf.MemberlistConfig.Transport = s
		conf.MemberlistConfig.BindPort = s.GetAutoBindPort()
	}
	if o.AdvertisePort == 0 {
		conf.MemberlistConfig.AdvertisePort = conf.MemberlistConfig.BindPort
	}
	m := conf.MemberlistConfig
	ip, port, err := m.Transport.FinalAdvertiseAddr(m.AdvertiseAddr, m.AdvertisePort)
	if err != nil {
		_ = m.Transport.Shutdown() // the error that counts is the first
		return nil, fmt.Errorf("cannot open the %s gossip pool: %w", o.network(), err)
	}
	rules := newRules(&o, hostPort(ip.String(), port), to.tally)
	m.Merge, m.Alive = rules, rules // not through Serf, which does not say who is dead
	p := newPool(&o, to, rules)
	conf.EventCh = p.incoming
	s, err := serf.Create(conf)
	if err != nil {
		_ = conf.MemberlistConfig.Transport.Shutdown() // the error that counts is the first
		return nil, fmt.Errorf("cannot open the %s gossip pool: %w", o.network(), err)
	}
	p.start(s)
	return p, nil
}

func (o *Options) network() string {
	if o.WAN {
		return "WAN"
	}
	return "LAN"
}

// check refuses what Serf would misread (an address that does not parse means all addresses to memberlist) and what
// would make it fail half-way, with goroutines left behind.
func (o *Options) check() error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	cannot := func(format string, args ...any) error {
		return fmt.Errorf("cannot open the %s gossip pool: "+format, append([]any{o.network()}, args...)...)
	}
	if o.Name == "" {
		return cannot("it needs a name for this member")
	}
	if o.BindPort < 0 || o.BindPort > 65535 || o.AdvertisePort < 0 || o.AdvertisePort > 65535 {
		return cannot("ports %d and %d must be between 0 and 65535", o.BindPort, o.AdvertisePort)
	}
	if o.Transport == nil {
		ip, err := netip.ParseAddr(o.BindAddr)
		if err != nil || ip.Zone() != "" {
			return cannot("the bind address %q is not an IP address", o.BindAddr)
		}
		if o.AdvertiseAddr == "" {
			if ip.IsUnspecified() {
				return cannot("with the bind address %s it needs an address to advertise", ip)
			}
			o.AdvertiseAddr = o.BindAddr
		}
	}
	if o.AdvertiseAddr != "" {
		if ip, err := netip.ParseAddr(o.AdvertiseAddr); err != nil || ip.Zone() != "" || ip.IsUnspecified() {
			return cannot("the address to advertise, %q, is not the IP address of a machine", o.AdvertiseAddr)
		}
	}
	if o.SnapshotPath == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(o.SnapshotPath), 0o700); err != nil {
		return cannot("%w", err)
	}
	f, err := os.OpenFile(o.SnapshotPath, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return cannot("%w", err)
	}
	return f.Close()
}

// serfConfig returns Serf's configuration, still without events.
func (o *Options) serfConfig(logger *log.Logger) *serf.Config {
	c := serf.DefaultConfig()
	c.NodeName = o.Name
	c.Tags = copyTags(o.Tags)
	c.Logger = logger
	c.SnapshotPath = o.SnapshotPath
	c.RejoinAfterLeave = o.RejoinAfterLeave
	c.DisableCoordinates = o.DisableCoordinates
	c.EnableNameConflictResolution = false // a stranger with our name must not make us leave
	c.QueueDepthWarning = 1_000_000        // the queue is bounded below, by the number of members
	c.MinQueueDepth = 4096                 // at least that many messages wait, or twice the members
	c.ReconnectTimeoutOverride = reconnect{}

	m := memberlist.DefaultLANConfig()
	m.LogOutput, m.Logger = nil, logger
	m.Transport = o.Transport
	m.BindAddr, m.BindPort = o.BindAddr, o.BindPort
	m.AdvertiseAddr, m.AdvertisePort = o.AdvertiseAddr, o.AdvertisePort
	if o.Keyring != nil {
		m.Keyring = o.Keyring.ring
	}
	m.GossipVerifyIncoming, m.GossipVerifyOutgoing = !o.AcceptPlain, !o.SendPlain
	m.CIDRsAllowed = o.Networks
	c.MetricLabels = []metrics.Label{{Name: "network", Value: strings.ToLower(o.network())}}
	m.MetricLabels = c.MetricLabels
	c.MemberlistConfig = m
	o.timing().into(c)
	return c
}

func copyTags(tags map[string]string) map[string]string {
	c := make(map[string]string, len(tags))
	for k, v := range tags {
		c[k] = v
	}
	return c
}
