package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rostra/kit/disk"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// TestGroupRunsOutOfRoom: a leader without room hands over to a server that has some; while too few have room for a majority no
// writes are taken and all go on reading; nobody stops, and with room again all is as before. A server that is gone counts as
// one without room only while one that lives says that it has none.
func TestGroupRunsOutOfRoom(t *testing.T) {
	simulate(t, 31, 3, 1, func(w *world) {
		first, client := w.awaitLeader(), w.nodes[3]
		time.Sleep(15 * time.Second) // all have their vote
		put := func(value string) error { return client.set("a", value) }
		if err := put("1"); err != nil {
			t.Fatal(err)
		}
		first.full.Store(true)
		took := w.until("a leader with room", 10*time.Second, func() bool { l := w.leader(); return l != nil && l != first })
		t.Logf("another led after %v", took)
		second := w.leader()
		if err := put("2"); err != nil {
			t.Errorf("two of three have room: %v", err)
		}
		time.Sleep(30 * time.Second)
		if w.leader() != second {
			t.Error("leadership went on moving")
		}

		second.full.Store(true)
		refused := func() bool {
			err := put("3")
			return fault.KindOf(err) == fault.Unavailable && strings.Contains(err.Error(), "room for data on 1 of 3 is no majority") &&
				strings.Contains(err.Error(), first.name) && strings.Contains(err.Error(), second.name)
		}
		took = w.until("a refusal", 10*time.Second, refused)
		t.Logf("writes were refused after %v", took)
		time.Sleep(time.Minute)
		if !refused() {
			t.Errorf("after a minute: %v", put("4"))
		}
		if got, err := client.get("a", httpd.Default); got == "" || err != nil {
			t.Errorf("reads: %q, %v", got, err)
		}
		second.full.Store(false)
		took = w.until("writes again", 10*time.Second, func() bool { return put("5") == nil })
		t.Logf("writes were taken after %v", took)

		third := w.nodes[slices.IndexFunc(w.nodes[:3], func(n *simNode) bool { return n != first && n != second })]
		w.kill(third)
		w.until("a refusal with one gone", time.Minute, func() bool {
			err := put("6")
			return fault.KindOf(err) == fault.Unavailable && strings.Contains(err.Error(), "room for data on 1 of ")
		})
		first.full.Store(false)
		w.until("writes with one gone and no lack of room", 10*time.Second, func() bool { return put("7") == nil })
		w.start(third)
		for _, n := range w.nodes[:3] {
			select {
			case <-n.ended:
				t.Errorf("%s stopped: %v", n.name, n.failure)
			default:
			}
		}
	})
}

// TestSlowDisks: an fsync that takes seconds holds up writes and nothing else: the leader leads on, reads are answered, what was
// asked is done in the end, and once the disk is quick again so are writes, without a restart. For one server and for three.
func TestSlowDisks(t *testing.T) {
	for _, servers := range []int{1, 3} {
		simulate(t, 32, servers, 0, func(w *world) {
			l := w.awaitLeader()
			time.Sleep(20 * time.Second)
			term, _ := l.node.Leading()
			const slow = 3 * time.Second
			for _, n := range w.nodes {
				n.disk.Ail(func(op disk.Op) error {
					if op.Kind == "sync" {
						time.Sleep(slow)
					}
					return nil
				})
			}
			for i := range 5 {
				written := make(chan error, 1)
				go func() { written <- l.set("a", fmt.Sprint(i)) }()
				begin := time.Now()
				for range 20 {
					if _, err := l.get("b", httpd.Default); err != nil {
						t.Errorf("%d servers: a read beside a slow write: %v", servers, err)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("%d servers: 20 reads with pauses of 200 ms took %v", servers, took)
				}
				if err := <-written; err != nil || time.Since(begin) < slow/2 {
					t.Errorf("%d servers: the slow write: %v after %v", servers, err, time.Since(begin))
				}
				if got, err := l.get("a", httpd.Default); got != fmt.Sprint(i) || err != nil {
					t.Errorf("%d servers: it reads %q, %v", servers, got, err)
				}
			}
			if now, leads := l.node.Leading(); now != term || !leads {
				t.Errorf("%d servers: slow disks cost the lead: term %d and then %d", servers, term, now)
			}
			for _, n := range w.nodes {
				n.disk.Ail(nil)
			}
			time.Sleep(2 * slow)
			begin := time.Now()
			if err := l.set("a", "quick"); err != nil || time.Since(begin) > time.Second {
				t.Errorf("%d servers: with quick disks again: %v after %v", servers, err, time.Since(begin))
			}
		})
	}
}
