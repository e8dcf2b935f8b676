package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// newUDP returns the probe of a udp check: send an empty datagram and wait for an answer. Any answer is health, and so is
// silence until the timeout, because most servers do not answer an empty datagram; what fails is a port that the other
// machine says is closed (spec agent.md §6: Consul waits for ever there, its documentation promises this).
func newUDP(spec Spec, env Env) func(context.Context) Result {
	healthy := Result{Passing, fmt.Sprintf("UDP connect %s: Success", spec.Target)}
	return func(ctx context.Context) Result {
		ctx, cancel := spec.limited(ctx)
		defer cancel()
		conn, err := env.Dial(ctx, "udp", spec.Target)
		if err != nil {
			return Result{Critical, err.Error()}
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
		if _, err = conn.Write(nil); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return Result{Critical, err.Error()}
		}
		return healthy
	}
}
