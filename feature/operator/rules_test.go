package operator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/roster"
	"rostra/kit/wire"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// one is a server as a test describes it.
type one struct {
	raft   string // "", "non-voter", "voter"
	gossip gossip.Status
	live   bool // it answers
	ok     bool // it is healthy, and was for long
	vote   bool // gossip says that it shall vote
	stored string
	now    string        // its address in Raft and in gossip; by default the same
	young  time.Duration // it is healthy since so long only
	peers  []string      // what it has stored itself
	boot   bool
}

// scene builds a view of servers s1, s2, …; the first leads, and this is a round of cleanup.
func scene(list ...one) *view {
	v := &view{self: "s1", now: noon, config: defaults(), said: map[string]progress{}, health: map[string]health{},
		began: noon.Add(-time.Hour), settled: true, cleanup: &cleanup{}}
	for i, o := range list {
		id := fmt.Sprint("s", i+1)
		address := "10.0.0." + fmt.Sprint(i+1) + ":8300"
		if o.stored == "" {
			o.stored = address
		}
		if o.now == "" {
			o.now = address
		}
		if o.raft != "" {
			v.peers = append(v.peers, consensus.Peer{ID: id, Address: o.stored, Voter: o.raft == "voter"})
			if o.raft == "voter" {
				v.cleanup.voters++
			}
		}
		if o.gossip != gossip.StatusNone {
			v.known = append(v.known, roster.Server{ID: id, Node: "n" + id, Address: o.now, Voter: o.vote, Status: o.gossip, Bootstrap: o.boot})
		}
		if o.live {
			v.said[id] = progress{Last: 10, LastTerm: 1, Peers: o.peers}
		}
		since := noon.Add(-time.Hour)
		if o.young > 0 {
			since = noon.Add(-o.young)
		}
		v.health[id] = health{o.ok, since}
	}
	return v
}

// The servers most tests are made of.
var (
	good    = one{raft: "voter", gossip: gossip.StatusAlive, live: true, ok: true, vote: true}
	fresh   = one{gossip: gossip.StatusAlive, live: true, vote: true}
	dead    = one{raft: "voter", gossip: gossip.StatusFailed, vote: true}
	gone    = one{raft: "voter", gossip: gossip.StatusLeft, vote: true}
	replica = one{raft: "non-voter", gossip: gossip.StatusAlive, live: true, ok: true}
	learner = one{raft: "non-voter", gossip: gossip.StatusAlive, live: true, ok: true, vote: true}
)

func with(o one, change func(*one)) one { change(&o); return o }

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name   string
		v      *view
		change func(*view)
		want   string // all that may be done now
	}{
		{"all is well", scene(good, good, good, replica), nil, ""},
		{"a new server", scene(good, fresh), nil, "non-voter s2 10.0.0.2:8300"},
		{"a new server does not answer", scene(good, with(fresh, func(o *one) { o.live = false })), nil, "! ns2 its server port gives no answer"},
		{"a new server of another cluster", scene(good, with(fresh, func(o *one) { o.peers = []string{"s2", "s9"} })), nil,
			"! ns2 its data directory is of another cluster; stop it, move its raft directory away, start it again"},
		{"a server that was here before", scene(good, with(fresh, func(o *one) { o.peers = []string{"s1", "s2"} })), nil, "non-voter s2 10.0.0.2:8300"},
		{"a cluster of its own", scene(good, with(fresh, func(o *one) { o.boot = true })), nil,
			"! ns2 it was started with bootstrap, so it is a cluster of its own; start it without"},
		{"it was started with bootstrap, and comes back", scene(good, with(fresh, func(o *one) { o.boot, o.peers = true, []string{"s1", "s2", "s3"} }), fresh), nil,
			"non-voter s2 10.0.0.2:8300, non-voter s3 10.0.0.3:8300"},
		{"it was started with bootstrap, and has taken one of ours", scene(good, good, with(fresh, func(o *one) { o.boot, o.peers = true, []string{"s3", "s2"} })), nil,
			"! ns3 it was started with bootstrap, so it is a cluster of its own; start it without"},
		{"a cluster of its own, and a new server", scene(good, with(fresh, func(o *one) { o.boot = true }), fresh, with(fresh, func(o *one) { o.peers = []string{"s1"} })), nil,
			"non-voter s4 10.0.0.4:8300, ! ns2 it was started with bootstrap, so it is a cluster of its own; start it without, " +
				"! ns3 there is another cluster in this pool, that of server ns2: stop that first"},
		{"it was started with bootstrap, but is here", scene(good, with(good, func(o *one) { o.boot = true })), nil, ""},
		{"a stable one gets its vote", scene(good, learner), nil, "voter s2 10.0.0.2:8300"},
		{"an unstable one does not", scene(good, with(learner, func(o *one) { o.young = time.Second })), nil, ""},
		{"unless all is new", scene(good, with(learner, func(o *one) { o.young = time.Second })), func(v *view) { v.began = noon.Add(-2 * time.Second) },
			"voter s2 10.0.0.2:8300"},
		{"an unhealthy one does not either", scene(good, with(learner, func(o *one) { o.ok = false })), func(v *view) { v.began = noon }, ""},
		{"it left", scene(good, good, gone), nil, "remove s3"},
		{"it left, and too few would be left", scene(good, dead, gone), func(v *view) { v.cleanup = nil }, ""},
		{"the other of two left", scene(good, gone), nil, "remove s2"},
		{"a replica left", scene(good, with(replica, func(o *one) { o.gossip = gossip.StatusLeft })), nil, "remove s2"},
		{"this leader leaves: nothing it hears counts", scene(gone, gone, gone), nil, ""},
		{"gossip is not there yet", scene(one{raft: "voter", live: true}, one{raft: "voter"}, one{raft: "voter"}), nil, ""},
		{"it failed", scene(good, good, dead), nil, "remove s3"},
		{"it failed, but no round is on", scene(good, good, dead), func(v *view) { v.cleanup = nil }, ""},
		{"it failed, and cleaning up is off", scene(good, good, dead), func(v *view) { v.config.CleanupDeadServers = false }, ""},
		{"it failed, and is needed", scene(good, good, dead), func(v *view) { v.config.MinQuorum = 3 }, ""},
		{"it failed, and was replaced", scene(good, good, dead, good), func(v *view) { v.config.MinQuorum = 3 }, "remove s3"},
		{"gossip errs: it answers", scene(good, good, with(dead, func(o *one) { o.live = true })), nil, ""},
		{"one of two failed", scene(good, dead), nil, ""},
		{"two of five failed", scene(good, good, good, dead, dead), nil, "remove s4, remove s5"},
		{"two of five failed, one went already", scene(good, good, good, dead, dead), func(v *view) { v.cleanup = &cleanup{5, 1} }, "remove s4, remove s5"},
		{"two of five failed, enough went", scene(good, good, good, dead, dead), func(v *view) { v.cleanup = &cleanup{5, 2} }, ""},
		{"a replica failed", scene(good, dead, with(dead, func(o *one) { o.raft = "non-voter" })), nil, "remove s3"},
		{"gossip has forgotten it", scene(good, good, one{raft: "voter"}), nil, "remove s3"},
		{"gossip may not know it yet", scene(good, good, one{raft: "voter"}), func(v *view) { v.settled = false }, ""},
		{"it moved", scene(good, with(good, func(o *one) { o.now = "10.0.1.2:8300" })), nil, "voter s2 10.0.1.2:8300"},
		{"the leader moved", scene(with(good, func(o *one) { o.now = "10.0.1.1:8300" })), nil, "voter s1 10.0.1.1:8300"},
		{"a replica moved", scene(good, with(replica, func(o *one) { o.now = "10.0.1.2:8300" })), nil, "non-voter s2 10.0.1.2:8300"},
		{"two swapped", scene(good, with(good, func(o *one) { o.now = "10.0.0.3:8300" }), with(good, func(o *one) { o.now = "10.0.0.2:8300" })), nil, ""},
		{"a machine made anew", scene(good, good, one{raft: "voter"}, with(fresh, func(o *one) { o.now = "10.0.0.3:8300" })),
			func(v *view) { v.settled, v.cleanup = false, nil }, "remove s3"},
		{"a machine made anew, and too few", scene(good, one{raft: "voter"}, one{raft: "voter"}, with(fresh, func(o *one) { o.now = "10.0.0.3:8300" })),
			func(v *view) { v.settled, v.cleanup = false, nil }, "! ns4 its address 10.0.0.3:8300 is stored for server s3"},
		{"a voter became a replica", scene(good, good, with(good, func(o *one) { o.vote = false })), nil, "demote s3"},
		{"the leader became a replica", scene(with(good, func(o *one) { o.vote = false }), good), nil, "transfer "},
		{"the leader became a replica, alone", scene(with(good, func(o *one) { o.vote = false }), replica), nil, ""},
		{"first who left, then who came, then the dead", scene(good, good, good, good, dead, gone, fresh), nil,
			"remove s6, non-voter s7 10.0.0.7:8300, remove s5"},
	} {
		if c.change != nil {
			c.change(c.v)
		}
		steps, problems := c.v.decide()
		if got := told(steps, problems); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func told(steps []step, problems []problem) string {
	var all []string
	for _, s := range steps {
		text := s.name() + " " + s.ID
		if s.Address != "" && s.Verb <= consensus.AddNonvoter {
			text += " " + s.Address
		}
		all = append(all, text)
	}
	for _, p := range problems {
		all = append(all, "! "+p.node+" "+p.why)
	}
	return strings.Join(all, ", ")
}

// kinds are all kinds of servers there are, as far as the rules of voting tell them apart.
func kinds() (list []one) {
	for _, in := range []string{"", "non-voter", "voter"} {
		for _, vote := range []bool{true, false} {
			for _, o := range []one{{live: true}, {}, {gossip: gossip.StatusAlive}, {gossip: gossip.StatusAlive, live: true},
				{gossip: gossip.StatusAlive, live: true, ok: true}, {gossip: gossip.StatusFailed}, {gossip: gossip.StatusFailed, live: true},
				{gossip: gossip.StatusLeft}, {gossip: gossip.StatusLeft, live: true}} {
				o.raft, o.vote = in, vote
				list = append(list, o)
			}
		}
	}
	return list
}

// TestNeverBreaksQuorum: whatever the servers are, no step leaves too few live voters, or the leader out, or fewer than
// min_quorum; and step by step Raft comes to have the servers that gossip has. Four servers in all their kinds; of more a
// sample.
func TestNeverBreaksQuorum(t *testing.T) {
	all := kinds()
	for a := range all {
		for b := a; b < len(all); b++ {
			for c := b; c < len(all); c++ {
				walk(t, uint64((a+b+c)%4), good, all[a], all[b], all[c])
				if t.Failed() {
					return
				}
			}
		}
	}
	chance := rand.New(rand.NewPCG(7, 11))
	for range 20_000 {
		list := []one{good}
		for range 3 + chance.IntN(5) {
			list = append(list, all[chance.IntN(len(all))])
		}
		walk(t, uint64(chance.IntN(6)), list...)
		if t.Failed() {
			return
		}
	}
}

// walk takes the steps one after the other and checks each that was allowed.
func walk(t *testing.T, minQuorum uint64, list ...one) {
	t.Helper()
	v := scene(list...)
	v.config.MinQuorum = minQuorum
	begun := v.cleanup.voters
	able := majority(v, v.peers)
	for n := 0; ; n++ {
		steps, _ := v.decide()
		for _, s := range steps {
			after := apply(v.peers, s)
			leader := slices.IndexFunc(after, func(p consensus.Peer) bool { return p.ID == "s1" && p.Voter })
			cost := voters(v.peers) - voters(after)
			switch {
			case leader < 0:
				t.Errorf("%+v: %s %s takes the leader's own vote", list, s.name(), s.ID)
			case (able || cost > 0) && !majority(v, after):
				t.Errorf("%+v: %s %s leaves too few", list, s.name(), s.ID)
			case s.cleanup && cost > 0 && uint64(voters(after)) < minQuorum:
				t.Errorf("%+v: %s %s goes below min_quorum %d", list, s.name(), s.ID, minQuorum)
			case s.cleanup && cost > 0 && 2*(v.cleanup.removed+1) >= begun:
				t.Errorf("%+v: %s %s is half of the voters or more in one round", list, s.name(), s.ID)
			}
		}
		if len(steps) == 0 {
			break
		}
		if n > 3*len(list) {
			t.Errorf("%+v: there is no end of steps: %s", list, told(steps, nil))
			return
		}
		v.done(steps[0])
		v.peers = apply(v.peers, steps[0])
	}
	if able {
		settledRight(t, v, list)
	}
}

// settledRight checks what is there when nothing is left to do.
func settledRight(t *testing.T, v *view, list []one) {
	t.Helper()
	for i, o := range list {
		id := fmt.Sprint("s", i+1)
		at := slices.IndexFunc(v.peers, func(p consensus.Peer) bool { return p.ID == id })
		voter := at >= 0 && v.peers[at].Voter
		switch {
		case o.gossip == gossip.StatusAlive && o.live && at < 0:
			t.Errorf("%+v: %s lives and was not taken in", list, id)
		case o.gossip == gossip.StatusAlive && o.ok && o.vote && !voter:
			t.Errorf("%+v: %s is stable and has no vote", list, id)
		case o.gossip == gossip.StatusAlive && !o.vote && voter && v.survives(id):
			t.Errorf("%+v: %s shall not vote and does", list, id)
		case o.gossip == gossip.StatusLeft && at >= 0 && (!voter || v.survives(id)):
			t.Errorf("%+v: %s left and is still there", list, id)
		}
	}
}

func apply(peers []consensus.Peer, s step) []consensus.Peer {
	peers = slices.Clone(peers)
	i := slices.IndexFunc(peers, func(p consensus.Peer) bool { return p.ID == s.ID })
	switch s.Verb {
	case consensus.Remove:
		return slices.Delete(peers, i, i+1)
	case consensus.Demote:
		peers[i].Voter = false
	case consensus.AddVoter, consensus.AddNonvoter:
		if i < 0 {
			return append(peers, consensus.Peer{ID: s.ID, Address: s.Address, Voter: s.Verb == consensus.AddVoter})
		}
		peers[i].Address = s.Address
		peers[i].Voter = peers[i].Voter || s.Verb == consensus.AddVoter
	}
	return peers
}

func voters(peers []consensus.Peer) (n int) {
	for _, p := range peers {
		if p.Voter {
			n++
		}
	}
	return n
}

// majority is told apart from the rules' own count: more than half of the voters are the leader or answer.
func majority(v *view, peers []consensus.Peer) bool {
	live := 0
	for _, p := range peers {
		if _, answers := v.said[p.ID]; p.Voter && (answers || p.ID == "s1") {
			live++
		}
	}
	return 2*live > voters(peers)
}

func TestAssess(t *testing.T) {
	leader := progress{Last: 1000, LastTerm: 4}
	fine := progress{Last: 900, LastTerm: 4, Contact: int64(150 * time.Millisecond)}
	for _, c := range []struct {
		name   string
		says   *progress
		status gossip.Status
		leader progress
		want   bool
	}{
		{"fine", &fine, gossip.StatusAlive, leader, true},
		{"just near enough", &progress{Last: 750, LastTerm: 4, Contact: int64(200 * time.Millisecond)}, gossip.StatusAlive, leader, true},
		{"behind", &progress{Last: 749, LastTerm: 4}, gossip.StatusAlive, leader, false},
		{"another term", &progress{Last: 1000, LastTerm: 3}, gossip.StatusAlive, leader, false},
		{"no contact for long", &progress{Last: 1000, LastTerm: 4, Contact: int64(201 * time.Millisecond)}, gossip.StatusAlive, leader, false},
		{"never any contact", &progress{Last: 1000, LastTerm: 4, Contact: -1}, gossip.StatusAlive, leader, false},
		{"failed", &fine, gossip.StatusFailed, leader, false},
		{"leaving", &fine, gossip.StatusLeaving, leader, false},
		{"unknown", &fine, gossip.StatusNone, leader, false},
		{"silent", nil, gossip.StatusAlive, leader, false},
		{"nothing in the log", &progress{}, gossip.StatusAlive, progress{}, false},
	} {
		v := &view{config: defaults(), said: map[string]progress{}}
		if c.says != nil {
			v.said["s2"] = *c.says
		}
		if c.status != gossip.StatusNone {
			v.known = []roster.Server{{ID: "s2", Status: c.status}}
		}
		if got := v.assess("s2", c.leader); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestTolerance(t *testing.T) {
	ill := with(good, func(o *one) { o.ok = false })
	for _, c := range []struct {
		servers []one
		want    int
	}{{[]one{good}, 0}, {[]one{good, good}, 0}, {[]one{good, good, good}, 1}, {[]one{good, good, ill}, 0}, {[]one{good, ill, ill}, 0},
		{[]one{good, good, good, replica, learner}, 1}, {[]one{good, good, good, good, good}, 2}} {
		if got := scene(c.servers...).tolerance(); got != c.want {
			t.Errorf("%d servers: %d, want %d", len(c.servers), got, c.want)
		}
	}
}

// TestTwoOfOneID: a member that was renamed is known under both names for a while; the one that lives counts.
func TestTwoOfOneID(t *testing.T) {
	v := scene(good, good)
	old := v.known[1]
	old.Node, old.Status = "a", gossip.StatusLeft
	for _, known := range [][]roster.Server{append([]roster.Server{old}, v.known...), append(slices.Clone(v.known), old)} {
		v.known = known
		if steps, problems := v.decide(); len(steps)+len(problems) > 0 {
			t.Errorf("%s", told(steps, problems))
		}
	}
}

func TestSettings(t *testing.T) {
	good := Settings{CleanupDeadServers: true, LastContactThreshold: 200 * time.Millisecond, MaxTrailingLogs: 250, ServerStabilizationTime: 10 * time.Second}
	if c, err := good.config(); err != nil || c != defaults() {
		t.Errorf("%+v %v: Consul's defaults are not those of a PUT", c, err)
	}
	for key, s := range map[string]Settings{"last_contact_threshold": {LastContactThreshold: -1}, "max_trailing_logs": {MaxTrailingLogs: -1},
		"min_quorum": {MinQuorum: -1}, "server_stabilization_time": {ServerStabilizationTime: -1}} {
		if _, err := s.config(); err == nil || !strings.Contains(err.Error(), "autopilot."+key+" is -1") {
			t.Errorf("%s: %v", key, err)
		}
	}
	c := defaults()
	c.ServerStabilizationTime = wire.Duration(-time.Second)
	if c.problem() == "" {
		t.Error("a negative duration is none")
	}
}
