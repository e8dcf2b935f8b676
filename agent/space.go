package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/gossip"
	"rostra/engine/room"
	"rostra/engine/roster"
	"rostra/feature/member"
	"rostra/kit/disk"
)

// The policy for a disk that fills up, named in docs/operating.md. A server whose log cannot be written stops, since nobody
// knows then what is on the disk. So writes end while there is still some room: one that is alone takes no more, one of several
// hands leadership over to one that has room, and when too few of them have room for a majority the leader takes no more
// writes. All go on reading, and take writes again as soon as there is room.
const (
	reserve   = 64 << 20 // bytes that are left free; on small disks their tenth part
	spaceTime = time.Second
	spaceID   = "rostra:disk"
)

// keeper is what keepSpace knows from its last look.
type keeper struct {
	was     string // what is wrong with the own disk
	told    bool   // the other servers were told so
	refusal string // why no writes are taken, for the log
	failed  string // why leadership could not be handed over
}

// keepSpace looks how much room there is until ctx ends.
func (a *Agent) keepSpace(ctx context.Context) error {
	tick := time.NewTicker(spaceTime)
	defer tick.Stop()
	k := new(keeper)
	for {
		if s, err := a.space(a.host.Dir); err == nil { // a directory that is gone shows elsewhere
			k.was = a.judgeSpace(s, k.was)
			if a.node != nil {
				a.tellSpace(k)
				a.boundWrites(ctx, k, s)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// kept is how much of a disk is left free.
func kept(s disk.Space) uint64 { return min(reserve, s.Total/10) }

// judgeSpace says what there is to say about the room on the disk, if that was not said before.
func (a *Agent) judgeSpace(s disk.Space, was string) (now string) {
	switch {
	case s.ReadOnly:
		now = "the disk of the data directory is mounted read-only: mount it for writing, and mend what made it so"
	case s.Free < kept(s):
		now = fmt.Sprintf("the disk of the data directory is full: less than %d MiB are free, which are kept for what must be written; free some", kept(s)>>20)
	}
	if now != was {
		if now != "" {
			a.log.Error(now, "data_dir", a.host.Dir)
			a.host.Reports.Set(room.Report{ID: spaceID, Name: "Room for data", Status: "warning", Output: now})
		} else {
			a.log.Info("there is room on the disk of the data directory again")
			a.host.Reports.Drop(spaceID)
		}
	}
	return now
}

// tellSpace tells the other servers whether this one has room: a tag in gossip.
func (a *Agent) tellSpace(k *keeper) {
	full := k.was != ""
	if full == k.told {
		return
	}
	a.mu.Lock()
	tags := member.Tags(&a.host.Self, a.now.agent.SerfWANPort)
	a.mu.Unlock()
	if full {
		tags[roster.TagFull] = "1"
	}
	if err := a.host.LAN.SetTags(tags); err != nil { // they are set all the same, and gossip goes on telling
		a.log.Debug("cannot tell the other servers at once whether there is room on the disk", "error", err)
	}
	k.told = full
}

// boundWrites lets the log take what the disk has room for, in a group what its disks have room for.
func (a *Agent) boundWrites(ctx context.Context, k *keeper, s disk.Space) {
	if !a.others() {
		if k.was != "" {
			a.node.Allow(0, "this server takes no writes now: "+k.was)
		} else {
			free := int64(s.Free - kept(s))
			a.node.Allow(free, fmt.Sprintf("this server cannot take the write: the disk of the data directory has room for %d MiB more; free some", free>>20))
		}
		return
	}
	able, refusal := a.crowd(k.was != "")
	a.node.Allow(0, refusal)
	if _, leads := a.node.Leading(); leads {
		if refusal != k.refusal && refusal != "" {
			a.log.Error(refusal)
		}
		if k.was != "" && refusal == "" {
			a.handTo(ctx, k, able)
		}
	}
	k.refusal = refusal
}

// crowd returns the other voters that have room, and why the group takes no writes, if too few have for a majority. A server
// that is gone may have come to its end by that, so it does not count as one that has room; but while none that lives lacks
// room, all is well.
func (a *Agent) crowd(full bool) (able []roster.Server, refusal string) {
	voters, roomy, lack := 0, 0, []string{}
	for _, p := range a.node.Peers() {
		if !p.Voter {
			continue
		}
		voters++
		s, known := a.host.Roster.Find(p.ID)
		switch lives := known && s.Status == gossip.StatusAlive; {
		case p.ID == a.host.Self.ID && full:
			lack = append(lack, a.host.Self.Node)
		case p.ID == a.host.Self.ID:
			roomy++
		case lives && s.Full:
			lack = append(lack, s.Node)
		case lives:
			roomy++
			able = append(able, s)
		}
	}
	if len(lack) == 0 || roomy > voters/2 {
		return able, ""
	}
	slices.Sort(lack)
	return able, fmt.Sprintf("the servers take no writes now: room for data on %d of %d is no majority; the disk of the data directory of %s has none: free some, or mount it for writing",
		roomy, voters, strings.Join(lack, " and of "))
}

// handTo moves leadership to a server that has room.
func (a *Agent) handTo(ctx context.Context, k *keeper, able []roster.Server) {
	ctx, cancel := context.WithTimeout(ctx, handTime)
	defer cancel()
	failed := ""
	for _, s := range able {
		err := a.node.Change(ctx, consensus.Change{Verb: consensus.Transfer, ID: s.ID})
		if err == nil {
			a.log.Warn("leadership was handed over to a server whose disk has room", "server", s.Node)
			k.failed = ""
			return
		}
		failed = err.Error()
	}
	if failed != k.failed {
		a.log.Warn("cannot hand leadership over to a server whose disk has room", "error", failed)
	}
	k.failed = failed
}
