package remote

import (
	"context"
	"math/rand/v2"
	"time"

	"rostra/engine/roster"
	"rostra/kit/fault"
)

// quietTime is how long a stream may be silent: servers tell every second how fresh they are.
const quietTime = 3500 * time.Millisecond

// sayAgain is how seldom an agent says that it cannot reach a server.
const sayAgain = time.Minute

// follow keeps a stream to one server after the other until ctx ends.
func (r *Remote) follow(ctx context.Context) {
	pause := firstPause
	var said time.Time
	for ctx.Err() == nil {
		server, known := r.choice.pick()
		if known {
			began := time.Now()
			err := r.stream(ctx, server)
			r.cells.disconnected()
			if err == nil {
				r.choice.move()
				continue
			}
			r.choice.failed(server)
			if time.Since(began) > lastPause {
				pause = firstPause
			}
			if ctx.Err() == nil && time.Since(said) > sayAgain {
				said = time.Now()
				r.opts.Log.Warn("lost a server, or cannot reach it; more of this within a minute is not said", "server", server.Node,
					"address", server.Address, "error", err)
			}
		}
		// Agents that lost the same server must not all come back in step.
		rest := time.NewTimer(pause/2 + rand.N(pause))
		changed := r.choice.roster.Changed()
		select {
		case <-rest.C:
			pause = min(2*pause, lastPause)
		case <-changed:
			if known {
				<-rest.C
			}
		case <-ctx.Done():
		}
		rest.Stop()
	}
}

// stream follows one server: until it fails, or, then without an error, until it is time for another.
func (r *Remote) stream(ctx context.Context, server roster.Server) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	subs, err := r.client(server).Watch(ctx)
	if err != nil {
		return err
	}
	r.stats.streams.Add(1)
	defer subs.Close()
	silent := r.bind(server.ID)
	silence := time.AfterFunc(quietTime, func() {
		silent()
		end()
	})
	defer silence.Stop()
	leave := time.Now().Add(r.choice.restless())
	if err := r.cells.connect(subs); err != nil {
		return err
	}
	for {
		n, err := subs.Next()
		if err != nil {
			return err
		}
		silence.Reset(quietTime)
		if n.Err != nil && !lasting(n.Err) {
			return n.Err // this server cannot tell; another may
		}
		r.choice.stay(server)
		r.cells.take(n)
		if time.Now().After(leave) {
			return nil // not while it is silent: nobody would then end what it is being asked (bounded)
		}
	}
}

// lasting reports whether every server would say the same.
func lasting(err error) bool {
	switch fault.KindOf(err) {
	case fault.NoLeader, fault.NotApplied, fault.Unknown, fault.Unavailable, fault.Internal:
		return false
	}
	return true
}
