package gossip

import (
	"log"
	"testing"
	"time"
)

// TestLifeguardIsOn holds what docs/gossip.md says of the defaults, whatever memberlist's are, and how often Serf may
// complain of its queues.
func TestLifeguardIsOn(t *testing.T) {
	for _, o := range []Options{{}, {WAN: true}, {Dev: true}} {
		o.Name = "a"
		c := o.serfConfig(log.Default())
		m := c.MemberlistConfig
		if m.SuspicionMaxTimeoutMult != 6 || m.AwarenessMaxMultiplier != 8 || m.IndirectChecks != 3 || m.DisableTcpPings {
			t.Errorf("%s: suspicion × %d, health × %d, %d indirect checks, no TCP: %v", o.network(), m.SuspicionMaxTimeoutMult,
				m.AwarenessMaxMultiplier, m.IndirectChecks, m.DisableTcpPings)
		}
		if c.QueueCheckInterval < 30*time.Second || c.QueueDepthWarning < 100_000 || c.MinQueueDepth < 4096 {
			t.Errorf("%s: queues are looked at every %v, and warned of from %d messages, dropped from %d", o.network(),
				c.QueueCheckInterval, c.QueueDepthWarning, c.MinQueueDepth)
		}
	}
	off := Options{Name: "a", Timing: Timing{SuspicionMaxMult: 1, HealthMax: 1}}
	if m := off.serfConfig(log.Default()).MemberlistConfig; m.SuspicionMaxTimeoutMult != 1 || m.AwarenessMaxMultiplier != 1 {
		t.Error("Lifeguard cannot be switched off")
	}
}
