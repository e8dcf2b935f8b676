package gossip

import (
	"context"
	"fmt"
	"testing"
)

func TestRunBeginsWithResync(t *testing.T) {
	p := open(t, "a", nil)
	if e := <-follow(t, p); e.Kind != Resync {
		t.Errorf("first event %+v", e)
	}
}

func TestRunEndsWithThePool(t *testing.T) {
	p := open(t, "a", nil)
	ended := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		ended <- p.Run(context.Background(), func(e Event) {
			if e.Kind == Resync {
				close(began)
			}
		})
	}()
	<-began
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var kinds []Kind
	if err := p.Run(context.Background(), func(e Event) { kinds = append(kinds, e.Kind) }); err != nil || len(kinds) != 1 {
		t.Errorf("Run of a closed pool: %v, %v", kinds, err)
	}
}

func TestSlowReceiver(t *testing.T) {
	var l lines
	s := &feeds{log: l.logger()}
	slow, fast := s.add(), s.add()
	seen := 0
	for i := range feedLimit + 10 {
		s.publish(Event{Kind: User, Name: fmt.Sprint(i)})
		events, _ := s.fetch(fast)
		seen += len(events)
	}
	if seen != feedLimit+11 { // and its first Resync
		t.Errorf("the fast one saw %d", seen)
	}
	events, closed := s.fetch(slow)
	if closed || events[0].Kind != Resync || len(events) > feedLimit+1 {
		t.Fatalf("%d events, closed %v", len(events), closed)
	}
	if last := events[len(events)-1].Name; last != fmt.Sprint(feedLimit+9) {
		t.Errorf("the last event is %s", last)
	}
	if !l.has("dropped the events of a slow receiver") || !l.has(fmt.Sprint(feedLimit)) {
		t.Error("a limit bit and nobody was told")
	}
	s.remove(slow)
	s.publish(Event{Kind: User})
	if events, _ := s.fetch(slow); len(events) != 0 {
		t.Error("a removed feed is fed")
	}
}
