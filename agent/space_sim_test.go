package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

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
			return fault.KindOf(err) == fault.Unavailable && strings.Contains(err.Error(), "of 3 only 1 have room") &&
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
			return fault.KindOf(err) == fault.Unavailable && strings.Contains(err.Error(), "of 3 only 1 have room")
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
