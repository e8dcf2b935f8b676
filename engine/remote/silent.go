package remote

import (
	"context"
	"time"

	"rostra/engine/roster"
	"rostra/kit/fault"
)

// silentTime is how long a server that has been silent for quietTime still has to answer what it was asked. Who is frozen or cut
// off keeps connections open, and without this bound its callers would wait as long as the longest answer may take.
const silentTime = 1500 * time.Millisecond

var errSilent = fault.New(fault.Unknown, "the server that was asked does not answer: what was asked may have been done")

// tie is this agent's stream to a server.
type tie struct {
	server string          // ID
	over   context.Context // ends silentTime after the server was found to be silent
	end    context.CancelFunc
}

// bind notes that the stream to a server begins; the function is called when that is silent.
func (r *Remote) bind(server string) (silent func()) {
	t := &tie{server: server}
	t.over, t.end = context.WithCancel(context.Background())
	r.tie.Store(t)
	return func() { time.AfterFunc(silentTime, t.end) }
}

// bounded asks a server, and gives up if that goes silent.
func bounded[T any](ctx context.Context, r *Remote, server roster.Server, ask func(context.Context) (T, error)) (T, error) {
	t := r.tie.Load()
	if t == nil || t.server != server.ID {
		return ask(ctx)
	}
	bound, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(t.over, end)()
	v, err := ask(bound)
	if err != nil && ctx.Err() == nil && bound.Err() != nil && fault.Is(err, fault.Unknown) {
		err = errSilent
	}
	return v, err
}
