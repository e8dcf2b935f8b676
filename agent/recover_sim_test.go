package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"rostra/engine/room"
	"rostra/feature/kv"
	"rostra/kit/disk"
	"rostra/kit/httpd"
)

func (n *simNode) set(key, value string) error {
	_, _, err := n.host.Door.Apply(context.Background(), &kv.Put{Op: kv.Op{Verb: kv.Set, Key: key, Value: []byte(value)}}, room.Options{})
	return err
}

func (n *simNode) get(key string, mode httpd.Consistency) (string, error) {
	a, _, err := n.host.Door.Read(context.Background(), kv.KeyQuery{Key: key}, room.Options{Consistency: mode})
	if err != nil || a.Value.(kv.Found).Entry == nil {
		return "", err
	}
	return string(a.Value.(kv.Found).Value), nil
}

// TestQuorumLost: with two of three servers lost for good, the last one is told by peers.json to go on alone, keeps what was
// acknowledged, and obeys the file once.
func TestQuorumLost(t *testing.T) {
	simulate(t, 4, 3, 0, func(w *world) {
		l := w.awaitLeader()
		if err := l.set("a", "kept"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		last := w.nodes[0]
		for _, n := range w.nodes {
			w.kill(n)
		}
		file := "/" + last.name + "/raft/" + peersFile
		text := fmt.Sprintf(`[{"id": %q, "address": "%s:8300"}]`, last.id, last.ip)
		if err := disk.WriteFile(last.disk, file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.start(last)
		w.until("a leader", 10*time.Second, func() bool { return w.leader() == last })
		if got, err := last.get("a", httpd.Default); got != "kept" || err != nil {
			t.Errorf("after the recovery: %q, %v", got, err)
		}
		if err := last.set("a", "alone"); err != nil {
			t.Error(err)
		}
		if b, err := disk.ReadFile(last.disk, file); err == nil {
			t.Errorf("peers.json is still there: %s", b)
		}
		if b, err := disk.ReadFile(last.disk, "/"+last.name+"/raft/"+peersHelp); err != nil || !strings.Contains(string(b), peersFile) {
			t.Errorf("peers.info: %q, %v", b, err)
		}
		w.kill(last)
		w.start(last)
		w.until("a leader again", 10*time.Second, func() bool { return w.leader() == last })
		if got, err := last.get("a", httpd.Default); got != "alone" || err != nil {
			t.Errorf("after another start: %q, %v", got, err)
		}
	})
}

// TestNewAddresses: a whole cluster comes back from its data directories with other addresses, without an operator.
func TestNewAddresses(t *testing.T) {
	simulate(t, 5, 3, 1, func(w *world) {
		if err := w.awaitLeader().set("a", "kept"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		for _, n := range w.nodes {
			w.kill(n)
		}
		for i, n := range w.nodes {
			n.ip = fmt.Sprintf("10.9.0.%d", i+1)
			for k, arg := range n.args {
				switch {
				case len(arg) > 6 && arg[:6] == "-bind=":
					n.args[k] = "-bind=" + n.ip
				case arg == "-retry-join=10.0.0.1", arg == "-retry-join=10.0.0.2":
					n.args[k] = "-retry-join=10.9.0." + arg[len(arg)-1:]
				}
			}
			w.start(n)
		}
		took := w.until("a leader", 30*time.Second, func() bool { return w.leader() != nil })
		t.Logf("a leader after %v", took)
		agent := w.nodes[3]
		w.until("the client's answer", 30*time.Second, func() bool {
			got, err := agent.get("a", httpd.Default)
			return err == nil && got == "kept"
		})
		if err := agent.set("a", "moved"); err != nil {
			t.Error(err)
		}
	})
}
