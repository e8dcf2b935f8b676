package gossip

import (
	"time"

	"github.com/hashicorp/serf/serf"
)

// Timing holds the clockwork of a pool. A zero field means the default. Among n members, one that stops answering is
// probed within a few ProbeIntervals and failed after SuspicionMult * max(1, log10(n)) * ProbeInterval more.
type Timing struct {
	GossipInterval time.Duration // between rounds of gossip; LAN 200 ms, WAN 500 ms, Dev 100 ms
	GossipNodes    int           // members told in a round; 3
	ProbeInterval  time.Duration // between probes of some member; LAN 1 s, WAN 5 s, Dev 100 ms
	ProbeTimeout   time.Duration // for its answer; LAN 500 ms, WAN 3 s, Dev 100 ms
	SuspicionMult  int           // see above; LAN 4, WAN 6, Dev 3
	// Lifeguard (arXiv 1707.00788). A suspect is failed after the time above only if SuspicionMult - 2 other members suspect
	// it as well; if none does, after SuspicionMaxMult times that. A member whose own probes fail where others' do not
	// probes up to HealthMax times slower. 1 switches either off.
	SuspicionMaxMult int           // 6
	HealthMax        int           // 8
	RetransmitMult   int           // a message is sent RetransmitMult * ceil(log10(n+1)) times; 4
	PushPull         time.Duration // between exchanges of the whole list; LAN 30 s, WAN 60 s

	ReconnectTimeout time.Duration // a failed member is dialled for so long, then reaped; 72 h
	TombstoneTimeout time.Duration // a member that left is listed for so long; 24 h
	BroadcastTimeout time.Duration // how long Leave, ForceLeave and SetTags wait for others to be told; 5 s
	LeaveDelay       time.Duration // how long a leaving member goes on answering; 3 s, Dev 500 ms
}

// reclaim is how long a name stays with the address of a dead member (spec agent.md §13).
const reclaim = 30 * time.Second

// timing returns the defaults of the pool's kind, overridden by what the caller set.
func (o *Options) timing() Timing {
	t := Timing{
		GossipInterval: 200 * time.Millisecond, GossipNodes: 3,
		ProbeInterval: time.Second, ProbeTimeout: 500 * time.Millisecond,
		SuspicionMult: 4, SuspicionMaxMult: 6, HealthMax: 8, RetransmitMult: 4, PushPull: 30 * time.Second,
		ReconnectTimeout: 72 * time.Hour, TombstoneTimeout: 24 * time.Hour,
		BroadcastTimeout: 5 * time.Second, LeaveDelay: 3 * time.Second,
	}
	if o.WAN {
		t.GossipInterval, t.PushPull = 500*time.Millisecond, 60*time.Second
		t.ProbeInterval, t.ProbeTimeout, t.SuspicionMult = 5*time.Second, 3*time.Second, 6
	}
	if o.Dev {
		t.GossipInterval, t.LeaveDelay = 100*time.Millisecond, 500*time.Millisecond
		t.ProbeInterval, t.ProbeTimeout, t.SuspicionMult = 100*time.Millisecond, 100*time.Millisecond, 3
	}
	with := o.Timing
	override(&t.GossipInterval, with.GossipInterval)
	override(&t.GossipNodes, with.GossipNodes)
	override(&t.ProbeInterval, with.ProbeInterval)
	override(&t.ProbeTimeout, with.ProbeTimeout)
	override(&t.SuspicionMult, with.SuspicionMult)
	override(&t.SuspicionMaxMult, with.SuspicionMaxMult)
	override(&t.HealthMax, with.HealthMax)
	override(&t.RetransmitMult, with.RetransmitMult)
	override(&t.PushPull, with.PushPull)
	override(&t.ReconnectTimeout, with.ReconnectTimeout)
	override(&t.TombstoneTimeout, with.TombstoneTimeout)
	override(&t.BroadcastTimeout, with.BroadcastTimeout)
	override(&t.LeaveDelay, with.LeaveDelay)
	return t
}

func override[T time.Duration | int](t *T, with T) {
	if with != 0 {
		*t = with
	}
}

func (t Timing) into(c *serf.Config) {
	c.ReconnectTimeout = t.ReconnectTimeout
	c.TombstoneTimeout = t.TombstoneTimeout
	c.BroadcastTimeout = t.BroadcastTimeout
	c.LeavePropagateDelay = t.LeaveDelay

	m := c.MemberlistConfig
	m.GossipInterval, m.GossipNodes = t.GossipInterval, t.GossipNodes
	m.GossipToTheDeadTime = t.PushPull // long enough for the dead to hear of it and to object
	m.ProbeInterval, m.ProbeTimeout = t.ProbeInterval, t.ProbeTimeout
	m.SuspicionMult, m.RetransmitMult = t.SuspicionMult, t.RetransmitMult
	m.SuspicionMaxTimeoutMult, m.AwarenessMaxMultiplier = t.SuspicionMaxMult, t.HealthMax
	m.PushPullInterval = t.PushPull
	m.TCPTimeout = max(10*time.Second, 10*t.ProbeTimeout) // LAN 10 s, WAN 30 s
	m.DeadNodeReclaimTime = reclaim
}

// reconnect lets a member say for itself how long it is kept after it failed or left.
type reconnect struct{}

// ReconnectTimeout implements serf.ReconnectTimeoutOverrider.
func (reconnect) ReconnectTimeout(m *serf.Member, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(m.Tags[tagReconnect]); err == nil && d > 0 {
		return d
	}
	return otherwise
}
