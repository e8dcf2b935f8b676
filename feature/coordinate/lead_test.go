package coordinate

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/room"
)

func TestPending(t *testing.T) {
	var p pending
	p.add(at("b", 1))
	p.add(at("A", 1))
	p.add(at("a", 2)) // the same node
	list, dropped := p.take()
	if len(list) != 2 || list[0].Coord.Vec[0] != 2 || list[1].Node != "b" || dropped != 0 {
		t.Errorf("%+v, dropped %d", list, dropped)
	}
	for i := range writeBatches*batchSize + 3 {
		p.add(at(fmt.Sprint(i), 1))
	}
	p.add(at("0", 7)) // known: there is room
	list, dropped = p.take()
	if len(list) != writeBatches*batchSize || dropped != 3 || list[0].Coord.Vec[0] != 7 {
		t.Errorf("%d entries, dropped %d, the first %+v", len(list), dropped, list[0])
	}
	if list, dropped := p.take(); len(list) != 0 || dropped != 0 {
		t.Errorf("after take: %d entries, dropped %d", len(list), dropped)
	}
}

// counting counts the Commands that it is given.
type counting struct {
	room.Door
	mu    sync.Mutex // guards sizes
	sizes []int
	fail  error
}

func (d *counting) all() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprint(d.sizes)
}

func (d *counting) Apply(_ context.Context, c room.Command, _ room.Options) (room.Result, room.Meta, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sizes = append(d.sizes, len(c.(*Update).Entries))
	return nil, room.Meta{}, d.fail
}

// TestWriter: a burst becomes few Commands, five seconds later, with one line in the log about what was too much; what is
// pending at the end of the term is left to the next leader.
func TestWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		door, p := new(counting), new(pending)
		w := writer{&room.Host{Door: door, Log: slog.New(slog.NewTextHandler(&log, nil))}, p}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.run(ctx) }()
		for i := range 700 {
			p.add(at(fmt.Sprint(i), 1))
		}
		time.Sleep(writePeriod - time.Second)
		synctest.Wait()
		if got := door.all(); got != "[]" {
			t.Errorf("written early: %s", got)
		}
		time.Sleep(3 * writePeriod)
		synctest.Wait()
		if got := door.all(); got != "[128 128 128 128 128]" {
			t.Errorf("Commands of %s", got)
		}
		p.add(at("late", 1))
		stop()
		if err := <-ended; err != context.Canceled {
			t.Error(err)
		}
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "dropped=60") {
			t.Errorf("log: %s", text)
		}
		if list, _ := p.take(); len(list) != 0 {
			t.Errorf("left behind: %v", list)
		}
		door.fail = context.DeadlineExceeded
		p.add(at("n", 1))
		if err := w.write(t.Context()); err != door.fail {
			t.Errorf("a failed write: %v", err)
		}
	})
}

func TestReportPause(t *testing.T) {
	for members, least := range map[int]time.Duration{0: 15 * time.Second, 1: 15 * time.Second, 960: 15 * time.Second, 6400: 100 * time.Second} {
		for range 100 {
			if d := reportPause(members); d < least || d >= 2*least {
				t.Errorf("%d members: %v", members, d)
			}
		}
	}
}
