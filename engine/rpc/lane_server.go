package rpc

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"rostra/kit/fault"
)

const (
	maxIdleWorkers = 64       // goroutines that one lane keeps for the next calls: their stacks have grown already
	maxLaneBytes   = 64 << 20 // of bodies of the calls of one lane that are being served
)

// laneServer is the server's end of a stream of calls. outbox.mu also guards cancels.
type laneServer struct {
	outbox
	port    *Port
	from    Peer
	ctx     context.Context // ends with the stream
	cancels map[uint64]context.CancelFunc
	workers sync.WaitGroup
	jobs    chan job // to a worker that is idle
	idle    atomic.Int32
	calls   atomic.Int64  // being served
	bytes   atomic.Int64  // of their bodies
	ended   chan struct{} // gets a value when a call ends
}

// job is a call to be served.
type job struct {
	ctx    context.Context
	cancel context.CancelFunc
	id     uint64
	method string
	body   []byte
}

func (p *Port) serveLane(_ any, s grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(s.Context())
	l := &laneServer{outbox: outbox{wake: make(chan struct{}, 1)}, port: p, from: peerOf(ctx), ctx: ctx,
		cancels: map[uint64]context.CancelFunc{}, jobs: make(chan job), ended: make(chan struct{}, 1)}
	send := func(b []byte) error { return s.SendMsg(&frame{body: b}) }
	sending, stopSending := context.WithCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(func() { l.outbox.run(sending, send) })
	var last sync.WaitGroup // AfterFunc's
	last.Add(1)
	stop := context.AfterFunc(p.ending, func() {
		defer last.Done()
		if l.lock(ctx) == nil {
			l.frames = appendResponse(l.frames, frameLast, 0, nil)
			l.unlock()
		}
	})
	err := l.receive(s)
	if err != nil {
		cancel()
	}
	if stop() {
		last.Done()
	}
	last.Wait()
	close(l.jobs)
	l.workers.Wait() // if the client is gone their contexts have ended
	stopSending()
	writer.Wait()
	l.flush(send)
	cancel()
	return err
}

// receive starts what the client asks for. Its error is gRPC's own.
func (l *laneServer) receive(s grpc.ServerStream) error {
	for {
		var f frame
		if err := s.RecvMsg(&f); err != nil {
			if status.Code(err) == codes.ResourceExhausted {
				l.port.refuse(refusedSize, ipOfPeer(l.from), err)
			}
			return nil // the client is gone, or knows
		}
		for b := f.body; len(b) > 0; {
			r, rest, err := readRequest(b)
			if err == nil && !l.start(r) {
				err = status.Error(codes.InvalidArgument, "two calls have the same number")
			}
			if err != nil {
				l.port.refuse(refusedGarbage, ipOfPeer(l.from), err)
				return status.Error(codes.InvalidArgument, err.Error())
			}
			b = rest
		}
	}
}

// start serves one request, as soon as there is room. false: the client does not keep the rules.
func (l *laneServer) start(r request) bool {
	if r.cancel {
		l.mu.Lock()
		cancel := l.cancels[r.id]
		l.mu.Unlock()
		if cancel != nil {
			cancel()
		}
		return true
	}
	j := job{id: r.id, method: r.method, body: slices.Clone(r.body)} // a copy: the handler may keep it
	if r.timeout > 0 {
		j.ctx, j.cancel = context.WithTimeout(l.ctx, r.timeout)
	} else {
		j.ctx, j.cancel = context.WithCancel(l.ctx)
	}
	l.mu.Lock()
	_, twice := l.cancels[r.id]
	l.cancels[r.id] = j.cancel
	l.mu.Unlock()
	if twice {
		j.cancel()
		return false
	}
	for l.calls.Load() >= maxCalls || l.bytes.Load() >= maxLaneBytes {
		select {
		case <-l.ended:
		case <-l.ctx.Done():
			j.cancel()
			return true
		}
	}
	l.calls.Add(1)
	l.bytes.Add(int64(len(j.body)))
	select {
	case l.jobs <- j:
	default:
		l.workers.Go(func() { l.work(j) })
	}
	return true
}

// work serves a call, and then those that come while it is idle.
func (l *laneServer) work(j job) {
	for {
		l.serve(j)
		if l.idle.Add(1) > maxIdleWorkers {
			l.idle.Add(-1)
			return
		}
		var more bool
		if j, more = <-l.jobs; !more {
			return
		}
		l.idle.Add(-1)
	}
}

func (l *laneServer) serve(j job) {
	reply, err := []byte(nil), errStopping
	if l.port.work.begin() {
		defer l.port.work.done() // after the reply was added
		l.port.counts.add(served)
		reply, err = l.port.handleCall(j.ctx, l.from, j.method, j.body)
	}
	j.cancel()
	l.calls.Add(-1)
	l.bytes.Add(-int64(len(j.body)))
	select {
	case l.ended <- struct{}{}:
	default:
	}
	if err == nil && len(reply) > MaxMessage {
		err = tooLarge(j.method, reply)
	}
	for err == nil && len(reply) > lanePart {
		if l.lock(l.ctx) != nil {
			return // the client is gone
		}
		l.frames = appendResponse(l.frames, framePart, j.id, reply[:lanePart])
		l.unlock()
		reply = reply[lanePart:]
	}
	if l.lock(l.ctx) != nil {
		return
	}
	delete(l.cancels, j.id)
	if err == nil {
		l.frames = appendResponse(l.frames, frameReply, j.id, reply)
	} else {
		l.frames = appendFailure(l.frames, j.id, byte(fault.KindOf(err)), err.Error())
	}
	l.unlock()
}
