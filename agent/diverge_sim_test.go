package agent

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"rostra/engine/consensus"
	"rostra/engine/room"
	"rostra/kit/store"
)

// oddProgram is the older one on a machine that makes something else of one key: another text of "text", nothing of "index".
var oddProgram = append(slices.Clone(simRooms), room.Room{Name: "test", Tables: []store.AnyTable{oldNotes},
	Commands: []room.CommandType{{New: func() room.Command { return new(oddWrite) }, Rules: 1, Result: room.String},
		{New: func() room.Command { return new(careless[older]) }, Rules: 1}}})

type oddWrite struct{ oldWrite }

func (w *oddWrite) Run(tx *store.Tx) (room.Result, error) {
	switch w.Key {
	case "text":
		oldNotes.Put(tx, &note[older]{Key: w.Key, Text: "something else"})
		return w.Text, nil
	case "index":
		return w.Text, nil
	}
	return w.oldWrite.Run(tx)
}

// TestDivergence: a server whose state has become another than that of the others is found, leader or not, named in the log
// and in a check, stops, and does not start again until its operator has done what it says. The others go on.
func TestDivergence(t *testing.T) {
	for i, c := range []struct {
		key  string
		odd  int // which server; the first leads
		snap bool
	}{{"text", 2, true}, {"index", 0, false}} {
		programs := [3][]room.Room{oldProgram, oldProgram, oldProgram}
		programs[c.odd] = oddProgram
		simulateUpgrade(t, uint64(60+i), programs, func(u *upgrade) {
			t := u.t
			u.lead(u.servers[0])
			odd := u.servers[c.odd]
			if _, err := u.oldAgent.note(context.Background(), c.key, "text", ""); err != nil {
				t.Fatal(err)
			}
			if c.snap { // what a restart would take for the truth
				if err := odd.node.Snapshot(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			u.until("the end of "+odd.name, time.Minute, func() bool { return closed(odd.ended) })
			odd.up = false
			u.net.Host(odd.ip).Kill()
			refused(t, odd.name, odd.failure, "cannot apply log entry", consensus.ErrState.Error(), "move its directory raft away")
			if !u.log.has("the state of a server is not that of the others", "server="+odd.name) {
				t.Errorf("the log of the leader does not name %s", odd.name)
			}
			if leader := u.servers[0]; leader.up {
				if list, _ := leader.host.Reports.All(); len(list) != 1 || !strings.Contains(list[0].Output, "the state of "+odd.name+" is not") {
					t.Errorf("the leader reports %v", list)
				}
			}
			u.compared()
			u.repair(odd)
			u.compared()
			u.same()
		})
	}
}

// repair does what the server says, with a program that is right.
func (u *upgrade) repair(n *simNode) {
	u.t.Helper()
	n.rooms = oldProgram
	refused(u.t, "a start of "+n.name, u.tryStart(n), "cannot open /"+n.name+"/raft", consensus.ErrState.Error(), "move its directory raft away")
	u.net.Host(n.ip).Kill()
	u.until(n.name+" removed", time.Minute, func() bool {
		l := u.awaitLeader()
		if !slices.ContainsFunc(l.node.Peers(), func(p consensus.Peer) bool { return p.ID == n.id }) {
			return true
		}
		_ = l.server.Change(context.Background(), consensus.Change{Verb: consensus.Remove, ID: n.id})
		return false
	})
	if err := n.disk.Rename("/"+n.name+"/raft", "/"+n.name+"/raft.wrong"); err != nil {
		u.t.Fatal(err)
	}
	u.start(n)
	u.until(n.name+" votes again", time.Minute, func() bool {
		return slices.ContainsFunc(u.awaitLeader().node.Peers(), func(p consensus.Peer) bool { return p.ID == n.id && p.Voter })
	})
}

// has reports whether a line holds all of the words.
func (l *simLog) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.lines.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}
