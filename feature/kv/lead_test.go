package kv

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rostra/engine/room"
)

// labDoor lets a leader's loop work on a lab by the bubble's clock.
type labDoor struct {
	room.Door
	*lab
	mu *sync.Mutex // guards the lab's clock
}

func (d labDoor) Read(_ context.Context, q room.Query, _ room.Options) (room.Answer, room.Meta, error) {
	return d.ask(q), room.Meta{}, nil
}

func (d labDoor) Apply(_ context.Context, c room.Command, _ room.Options) (room.Result, room.Meta, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = time.Now().UnixNano()
	result, err := d.run(c)
	return result, room.Meta{}, err
}

func TestCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := labDoor{lab: newLab(t), mu: new(sync.Mutex)}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- collect(ctx, d) }()
		put := func(o Op) {
			if _, _, err := d.Apply(ctx, &Put{o}, room.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 { // so that there is something to collect again and again
			put(Op{Verb: Set, Key: "k"})
			put(Op{Verb: DeleteKey, Key: "k"})
			put(Op{Verb: Set, Key: "later"})
			dead := d.ask(KeyQuery{"k"}).Index - 1
			time.Sleep(14 * time.Minute)
			synctest.Wait()
			if got := d.ask(ListQuery{"k"}).Index; got != dead {
				t.Errorf("after 14 minutes the prefix has index %d, want the tombstone's %d", got, dead)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if got := d.ask(ListQuery{"k"}).Index; got != dead+1 {
				t.Errorf("after 16 minutes the prefix has index %d, want the table's %d", got, dead+1)
			}
			before := d.store.Index()
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			if d.store.Index() != before {
				t.Error("it goes on proposing without anything to collect")
			}
			put(Op{Verb: DeleteKey, Key: "later"})
			time.Sleep(20 * time.Minute)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
