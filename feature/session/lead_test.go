package session

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/room"
	"rostra/kit/metric"
	"rostra/kit/wire"
)

// labDoor lets a leader's loop work on a lab by the bubble's clock, off by skew.
type labDoor struct {
	room.Door
	*lab
	mu   *sync.Mutex // guards the lab's clock
	skew time.Duration
}

func (d *labDoor) Read(_ context.Context, q room.Query, _ room.Options) (room.Answer, room.Meta, error) {
	return d.ask(q), room.Meta{}, nil
}

func (d *labDoor) Apply(_ context.Context, c room.Command, _ room.Options) (room.Result, room.Meta, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = time.Now().Add(d.skew).UnixNano()
	result, err := d.run(c)
	return result, room.Meta{}, err
}

func (d *labDoor) lead() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- expire(ctx, d, new(metric.Gauge)) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			d.t.Error(err)
		}
	}
}

// TestExpiry follows one session with a TTL of 10 s: it ends 20 s after its last renewal, to the second.
func TestExpiry(t *testing.T) {
	const ttl = 10 * time.Second
	tests := []struct {
		name string
		live func(d *labDoor)
		want time.Duration // from the session's creation
	}{
		{"never renewed", func(*labDoor) {}, 20 * time.Second},
		{"renewed", func(d *labDoor) {
			time.Sleep(15 * time.Second)
			d.Apply(context.Background(), &Renew{ID: "s"}, room.Options{})
		}, 35 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &labDoor{lab: newLab(t), mu: new(sync.Mutex)}
				defer d.lead()()
				d.create(ttl)
				began := time.Now()
				tt.live(d)
				d.expect(began.Add(tt.want))
			})
		})
	}
	t.Run("a new leader gives the whole time again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &labDoor{lab: newLab(t), mu: new(sync.Mutex)}
			stop := d.lead()
			d.create(ttl)
			time.Sleep(15 * time.Second)
			stop()
			time.Sleep(time.Minute)
			defer d.lead()()
			d.expect(time.Now().Add(20 * time.Second))
		})
	})
	t.Run("the clock that stamped it ran ahead by an hour", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &labDoor{lab: newLab(t), mu: new(sync.Mutex), skew: time.Hour}
			defer d.lead()()
			synctest.Wait()
			d.create(ttl)
			d.expect(time.Now().Add(20 * time.Second))
		})
	})
	t.Run("many at once, and those without TTL stay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &labDoor{lab: newLab(t), mu: new(sync.Mutex)}
			defer d.lead()()
			for i := range 3 * expiryBatch {
				d.must(&Create{Session: Session{ID: string(rune('a'+i%26)) + time.Duration(i).String(), Node: "n1", Life: wire.Duration(ttl)}})
			}
			d.must(&Create{Session: Session{ID: "s", Node: "n1"}})
			time.Sleep(22 * time.Second)
			synctest.Wait()
			if got := ids(d.ask(ListQuery{})); len(got) != 1 || got[0] != "s" {
				t.Errorf("%d sessions are left", len(got))
			}
		})
	})
}

func (d *labDoor) create(ttl time.Duration) {
	if _, _, err := d.Apply(context.Background(), &Create{Session: Session{ID: "s", Node: "n1", Life: wire.Duration(ttl)}}, room.Options{}); err != nil {
		d.t.Fatal(err)
	}
}

// expect waits until just before the end and a second beyond it.
func (d *labDoor) expect(end time.Time) {
	d.t.Helper()
	time.Sleep(time.Until(end) - time.Millisecond)
	synctest.Wait()
	if len(ids(d.ask(ListQuery{}))) != 1 {
		d.t.Error("the session ended too early")
	}
	time.Sleep(expiryPeriod + 2*time.Millisecond)
	synctest.Wait()
	if len(ids(d.ask(ListQuery{}))) != 0 {
		d.t.Error("the session did not end")
	}
}

// TestClockJumpsAhead: a session that was renewed just now outlives a clock that jumps ahead before the leader looks.
func TestClockJumpsAhead(t *testing.T) {
	timers, now := timers{}, time.Now()
	row := func(at time.Time) []*renewal {
		return []*renewal{{ID: "s", Renewed: at.UnixNano(), Life: wire.Duration(10 * time.Second)}}
	}
	timers.due(row(now), now, true)
	if over := timers.due(row(now.Add(time.Second)), now.Add(5*time.Hour), false); len(over) != 0 {
		t.Errorf("it ends: %v", over)
	}
	if over := timers.due(row(now.Add(time.Second)), now.Add(5*time.Hour+20*time.Second), false); len(over) != 1 {
		t.Errorf("it never ends: %v", over)
	}
}
