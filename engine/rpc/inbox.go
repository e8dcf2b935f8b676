package rpc

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// inboxBytes bounds the bodies of one connection's calls, those beside its lane, that are being served.
const inboxBytes = 64 << 20

// inbox bounds the memory that such calls of one connection take, whoever is at its other end: while so much is being
// served none is received, and then one at a time. Those that wait end with their callers' deadlines.
type inbox struct {
	turn  *semaphore.Weighted // to receive
	bytes *semaphore.Weighted // of what is served
}

func newInbox() inbox { return inbox{semaphore.NewWeighted(1), semaphore.NewWeighted(inboxBytes)} }

// receive runs decode, which reads the body of a call into f. The caller gives back what it took when the call is served.
func (i inbox) receive(ctx context.Context, decode func(any) error, f *frame) (done func(), err error) {
	if err := i.turn.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer i.turn.Release(1)
	if err := decode(f); err != nil {
		return nil, err
	}
	taken := min(int64(len(f.body)), inboxBytes) // a body may be a little longer than the most there is
	if err := i.bytes.Acquire(ctx, taken); err != nil {
		return nil, err
	}
	return func() { i.bytes.Release(taken) }, nil
}
