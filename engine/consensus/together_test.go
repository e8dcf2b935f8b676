package consensus

import (
	"context"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"

	"rostra/kit/fault"
)

// TestProposedTogether: many Commands of one caller keep their order, share entries with others, and each has its own
// outcome.
func TestProposedTogether(t *testing.T) {
	p := newPress(t)
	var commands [][]byte
	for i := range 1500 {
		commands = append(commands, fmt.Append(nil, i))
	}
	commands[700] = make([]byte, maxCommandBytes+1)
	single, all := make(chan error, 1), make(chan []Outcome, 1)
	go func() { _, err := p.propose(context.Background(), []byte("first")); single <- err }()
	first := <-p.sent
	go func() { all <- p.proposeAll(context.Background(), commands) }()
	p.queued(t, 1499)
	go func() { _, err := p.propose(context.Background(), []byte("last")); single <- err }()
	p.queued(t, 1500)
	p.done <- ok(t, first)
	next := 0
	for _, size := range []int{1024, 476} {
		outs := ok(t, <-p.sent)
		if len(outs) != size {
			t.Fatalf("%d commands in an entry, want %d", len(outs), size)
		}
		for _, o := range outs {
			if next++; next == 701 {
				next++
			}
			if want := fmt.Sprint(next - 1); o.Value != want && o.Value != "last" {
				t.Fatalf("%v in the place of %s", o.Value, want)
			}
		}
		if size == 1024 {
			p.done <- outs
		} else {
			p.done <- raft.ErrLeadershipLost
		}
	}
	for i, o := range <-all {
		switch {
		case i == 700:
			wants(t, o.Err, fault.TooLarge, "the limit is")
		case i <= 1024 && (o.Err != nil || o.Value != fmt.Sprint(i)):
			t.Fatalf("%d: %+v", i, o)
		case i > 1024 && !fault.Is(o.Err, fault.Unknown):
			t.Fatalf("%d: %+v", i, o)
		}
	}
	if err := <-single; err != nil {
		t.Error(err)
	}
	wants(t, <-single, fault.Unknown, "")
}

// TestProposedTogetherAndGivenUp: what is in flight is unknown, what still waited is not applied and never leaves.
func TestProposedTogetherAndGivenUp(t *testing.T) {
	p := newPress(t)
	ctx, cancel := context.WithCancel(context.Background())
	all := make(chan []Outcome, 1)
	many := make([][]byte, maxBatchCommands+1)
	go func() { all <- p.proposeAll(ctx, many) }()
	entry := <-p.sent
	cancel()
	outs := <-all
	wants(t, outs[0].Err, fault.Unknown, "canceled")
	wants(t, outs[maxBatchCommands].Err, fault.NotApplied, "canceled")
	p.done <- ok(t, entry)
	wants(t, p.proposeAll(ctx, many[:1])[0].Err, fault.NotApplied, "canceled")
	if got := p.proposeAll(context.Background(), nil); len(got) != 0 {
		t.Error(got)
	}
	go func() { all <- p.proposeAll(context.Background(), [][]byte{[]byte("a")}) }()
	entry = <-p.sent
	if got := ok(t, entry); len(got) != 1 || got[0].Value != "a" {
		t.Fatalf("what was given up travelled: %v", got)
	}
	p.close(fault.New(fault.NotApplied, "stopping"))
	p.done <- ok(t, entry)
	if outs := <-all; outs[0].Value != "a" {
		t.Fatal(outs)
	}
	wants(t, p.proposeAll(context.Background(), many[:1])[0].Err, fault.NotApplied, "stopping")
}
