package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"rostra/kit/fault"
)

// TestManyCalls: calls of all sizes beside each other get their own replies.
func TestManyCalls(t *testing.T) {
	server, client, to := pair(t, handler{call: func(_ context.Context, _ Peer, method string, body []byte) ([]byte, error) {
		if method == "fail" {
			return nil, fault.New(fault.Conflict, "%d bytes", len(body))
		}
		return bytes.Repeat(body, 3), nil
	}})
	var callers sync.WaitGroup
	for i := range 32 {
		callers.Go(func() {
			chance := rand.New(rand.NewPCG(1, uint64(i)))
			for range 30 {
				body := make([]byte, chance.IntN(200))
				if chance.IntN(10) == 0 {
					body = make([]byte, chance.IntN(3*laneBody))
				}
				for j := range body {
					body[j] = byte(i)
				}
				reply, err := client.Call(within5(t), to, "triple", body)
				if err != nil || !bytes.Equal(reply, bytes.Repeat(body, 3)) {
					t.Errorf("caller %d: %d bytes became %d, %v", i, len(body), len(reply), err)
				}
				if _, err := client.Call(within5(t), to, "fail", body); !fault.Is(err, fault.Conflict) || err.Error() != fmt.Sprint(len(body), " bytes") {
					t.Errorf("caller %d: %v", i, err)
				}
			}
		})
	}
	callers.Wait()
	if n := server.Counters(); n["rpc.served.calls"] != 2*32*30 || n["rpc.accepted"] != 1 {
		t.Errorf("%d calls served on %d connections", n["rpc.served.calls"], n["rpc.accepted"])
	}
	_, err := client.Call(within5(t), to, "triple", make([]byte, MaxMessage/2))
	wantFault(t, err, fault.TooLarge, "at most 67108864")
}

// TestBubbleDeadline: a handler has its caller's deadline, and hears of a caller that gives up, whatever the size.
func TestBubbleDeadline(t *testing.T) {
	for _, size := range []int{0, laneBody + 1} {
		ended := make(chan time.Duration, 1)
		h := handler{call: func(ctx context.Context, _ Peer, method string, _ []byte) ([]byte, error) {
			began := time.Now()
			<-ctx.Done()
			ended <- time.Since(began)
			return nil, ctx.Err()
		}}
		synctest.Test(t, func(t *testing.T) {
			ended = make(chan time.Duration, 1)
			m := newMemory()
			_, stop := begin(t, Options{Listener: m, Handler: h})
			client, stopClient := begin(t, Options{Dial: m.dial})
			ctx, cancel := context.WithTimeout(context.Background(), 7*time.Second)
			_, err := client.Call(ctx, Target{Address: "s"}, "m", make([]byte, size))
			cancel()
			wantFault(t, err, fault.Unknown, "deadline exceeded")
			if took := <-ended; took.Round(time.Millisecond) != 7*time.Second {
				t.Errorf("%d bytes: the handler's context ended after %s", size, took)
			}
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(3*time.Second, cancel)
			_, err = client.Call(ctx, Target{Address: "s"}, "m", make([]byte, size))
			wantFault(t, err, fault.Unknown, "context canceled")
			if took := <-ended; took != 3*time.Second {
				t.Errorf("%d bytes: the handler heard of the end after %s", size, took)
			}
			stopClient()
			stop()
		})
	}
}

// TestStopUnderLoad: while servers stop and come back, whatever is said to be not applied was not, and what was answered
// was done. A clean stop leaves nothing unknown.
func TestStopUnderLoad(t *testing.T) {
	l := listen(t)
	address := l.Addr().String()
	var mu sync.Mutex
	done := map[string]bool{}
	h := handler{call: func(_ context.Context, _ Peer, _ string, body []byte) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		done[string(body)] = true
		return body, nil
	}}
	client, _ := begin(t, Options{})
	stopped := make(chan struct{})
	var callers sync.WaitGroup
	var answered, refused int
	for i := range 8 {
		callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stopped:
					return
				default:
				}
				name := fmt.Sprint(i, " ", n)
				_, err := client.Call(within5(t), Target{Address: address}, "m", []byte(name))
				mu.Lock()
				switch {
				case err == nil:
					answered++
				case fault.Is(err, fault.NotApplied):
					refused++
				}
				if err == nil != done[name] || err != nil && !fault.Is(err, fault.NotApplied) {
					t.Errorf("call %s: %v, done: %v", name, err, done[name])
				}
				mu.Unlock()
			}
		})
	}
	for range 5 {
		_, stop := begin(t, Options{Listener: l, Handler: h})
		mu.Lock()
		before := answered
		mu.Unlock()
		eventually(t, "calls are answered", func() bool { mu.Lock(); defer mu.Unlock(); return answered > before+50 })
		stop()
		var err error
		if l, err = net.Listen("tcp", address); err != nil {
			t.Skip("the port was taken meanwhile:", err)
		}
	}
	close(stopped)
	_ = l.Close()
	callers.Wait()
	t.Logf("%d answered, %d refused", answered, refused)
}

// TestLaneGarbage: a client that breaks the frames of calls loses its lane, and is counted.
func TestLaneGarbage(t *testing.T) {
	server, client, to := pair(t, handler{call: func(ctx context.Context, _ Peer, _ string, body []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	c, err := client.clients.acquire(client, to)
	if err != nil {
		t.Fatal(err)
	}
	defer client.clients.release(c)
	call := appendCall(nil, 1, 0, "m", nil)
	for i, bad := range [][]byte{{9}, {frameCall}, call[:len(call)-1], append(call, call...), appendCall(nil, 1, 0, "", nil),
		appendCall(nil, 1, 0, "m", make([]byte, laneBody+1))} {
		ctx, cancel := context.WithCancel(within5(t))
		s, err := c.cc.NewStream(ctx, &streamShape, lanePath)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SendMsg(&frame{body: bad}); err != nil {
			t.Fatal(err)
		}
		for err == nil { // of two calls with one number the first may be answered
			err = s.RecvMsg(&frame{})
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
		cancel()
		if n := server.Counters()["rpc.refused.garbage"]; n != uint64(i+1) {
			t.Errorf("%q: counted %d", bad, n)
		}
	}
}

// TestOutbox: who adds to a full one waits for room, or until its context ends.
func TestOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outbox{wake: make(chan struct{}, 1)}
		if err := o.lock(context.Background()); err != nil {
			t.Fatal(err)
		}
		o.frames = make([]byte, laneOutbox)
		o.unlock()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := o.lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("there is room in a full one: %v", err)
		}
		added := make(chan error, 1)
		go func() {
			err := o.lock(context.Background())
			if err == nil {
				o.frames = append(o.frames, 1)
				o.unlock()
			}
			added <- err
		}()
		synctest.Wait()
		var sent []int
		if !o.flush(func(b []byte) error { sent = append(sent, len(b)); return nil }) {
			t.Error("it cannot be sent")
		}
		if err := <-added; err != nil {
			t.Error(err)
		}
		o.flush(func(b []byte) error { sent = append(sent, len(b)); return nil })
		if fmt.Sprint(sent) != fmt.Sprint([]int{laneOutbox, 1}) || o.sent != 2 {
			t.Errorf("sent %d", sent)
		}
	})
}

// FuzzLane: no frame from outside breaks the readers or makes them believe a length, and what we write is read as it was.
func FuzzLane(f *testing.F) {
	f.Add([]byte{frameCall, 1, 0, 1, 'm', 0}, "m", []byte("body"), uint64(7))
	f.Add(binary.AppendUvarint([]byte{frameReply, 1}, 1<<60), "kv.put", []byte{}, uint64(1<<63))
	f.Fuzz(func(t *testing.T, wild []byte, method string, body []byte, id uint64) {
		for b, err := wild, error(nil); err == nil && len(b) > 0; {
			_, b, err = readRequest(b)
		}
		for b, err := wild, error(nil); err == nil && len(b) > 0; {
			_, b, err = readResponse(b)
		}
		if method == "" || len(method) > maxMethod || len(body) > laneBody {
			return
		}
		both := appendCancel(appendCall(nil, id, time.Second, method, body), id)
		r, rest, err := readRequest(both)
		if err != nil || r.id != id || r.timeout != time.Second || r.method != method || !bytes.Equal(r.body, body) {
			t.Fatalf("a call became %+v, %v", r, err)
		}
		if r, rest, err = readRequest(rest); err != nil || !r.cancel || r.id != id || len(rest) != 0 {
			t.Fatalf("a cancel became %+v, %v", r, err)
		}
		both = appendFailure(appendResponse(nil, framePart, id, body), id, byte(fault.Busy), method)
		a, rest, err := readResponse(both)
		if err != nil || a.kind != framePart || a.id != id || !bytes.Equal(a.body, body) {
			t.Fatalf("a part became %+v, %v", a, err)
		}
		if a, rest, err = readResponse(rest); err != nil || a.kind != frameError || string(a.body) != string([]byte{byte(fault.Busy)})+method || len(rest) != 0 {
			t.Fatalf("an error became %+v, %v", a, err)
		}
	})
}

// TestLaneFails: of the calls that wait when a lane breaks, those that gRPC took over may have happened, the others not.
func TestLaneFails(t *testing.T) {
	l := &lane{waiting: map[uint64]*pending{}}
	l.batch, l.sent = 2, 1
	left, stayed := &pending{done: make(chan struct{}, 1)}, &pending{done: make(chan struct{}, 1), batch: 1}
	l.waiting[1], l.waiting[2] = left, stayed
	l.fail(errPlain)
	<-left.done
	<-stayed.done
	if !left.sent || stayed.sent || left.lost != errPlain || stayed.lost != errPlain || len(l.waiting) != 0 {
		t.Errorf("%+v and %+v", left, stayed)
	}
}

// TestLaneReplyTooLarge: a server that sends parts without end costs a message's size and the lane.
func TestLaneReplyTooLarge(t *testing.T) {
	l := &lane{waiting: map[uint64]*pending{1: {body: make([]byte, MaxMessage)}}}
	if err := l.deliver(appendResponse(nil, framePart, 1, nil)); err != nil {
		t.Error(err)
	}
	if err := l.deliver(appendResponse(nil, framePart, 1, []byte{1})); err == nil {
		t.Error("it is taken")
	}
}
