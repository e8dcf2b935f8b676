package simnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// pair connects two machines, which begins at least one round trip after the start of the bubble.
func pair(t *testing.T, n *Net) (a, b net.Conn) {
	t.Helper()
	l := must[net.Listener](t)(n.Host("10.0.0.2").Listen(":80"))
	a = must[net.Conn](t)(n.Host("10.0.0.1").Dial(t.Context(), "10.0.0.2:80"))
	b = must[net.Conn](t)(l.Accept())
	return a, b
}

// next reads from a connection and says how long that took.
func next(t *testing.T, c net.Conn) (string, time.Duration) {
	t.Helper()
	start, buf := time.Now(), make([]byte, 100)
	n := must[int](t)(c.Read(buf))
	return string(buf[:n]), time.Since(start)
}

func expect(t *testing.T, c net.Conn, text string, after time.Duration) {
	t.Helper()
	if got, took := next(t, c); got != text || took != after {
		t.Errorf("%q after %v, want %q after %v", got, took, text, after)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, start := New(1), time.Now()
		n.Default(Link{Delay: 30 * ms})
		n.Link("10.0.0.2", "10.0.0.1", Link{Delay: 70 * ms})
		a, b := pair(t, n)
		if took := time.Since(start); took != 100*ms {
			t.Errorf("a connection is made in %v", took)
		}
		must[int](t)(a.Write([]byte("there")))
		expect(t, b, "there", 30*ms)
		must[int](t)(b.Write([]byte("back")))
		expect(t, a, "back", 70*ms)
		start = time.Now()
		must[int](t)(a.Write(make([]byte, streamBytes))) // fits, and no more
		if took := time.Since(start); took != 0 {
			t.Errorf("a buffer is written in %v", took)
		}
		blocked := make(chan time.Duration)
		go func() { _, _ = a.Write([]byte("x")); blocked <- time.Since(start) }()
		time.Sleep(time.Second)
		must[int](t)(b.Read(make([]byte, 1)))
		if took := <-blocked; took != time.Second {
			t.Errorf("there was room after %v", took)
		}
	})
}

// TestStreamUnderLoss loses half of what is sent, and a stream comes through whole, later.
func TestStreamUnderLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(7)
		n.Default(Link{Delay: ms, Jitter: 10 * ms, Loss: 0.5, Duplicate: 0.5, Reorder: 0.5})
		a, b := pair(t, n)
		start := time.Now()
		go func() {
			for i := range 100 {
				_, _ = fmt.Fprintf(a, "%d,", i)
			}
			_ = a.Close()
		}()
		var want strings.Builder
		for i := range 100 {
			fmt.Fprintf(&want, "%d,", i)
		}
		if got := must[[]byte](t)(io.ReadAll(b)); string(got) != want.String() {
			t.Errorf("got %s", got)
		}
		if took := time.Since(start); took < 400*ms || took > 2*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// numbered sends packets 0 to count-1 from one machine to another and returns those that arrive, in their order.
func numbered(t *testing.T, seed uint64, l Link, count int) (got []int) {
	synctest.Test(t, func(t *testing.T) {
		n := New(seed)
		n.Default(l)
		a := must[net.PacketConn](t)(n.Host("10.0.0.1").ListenPacket(":0"))
		b := must[net.PacketConn](t)(n.Host("10.0.0.2").ListenPacket(":53"))
		for i := range count {
			must[int](t)(a.WriteTo([]byte{byte(i >> 8), byte(i)}, b.LocalAddr()))
			time.Sleep(ms / 10)
		}
		time.Sleep(time.Minute)
		_ = b.SetReadDeadline(time.Now().Add(1))
		for buf := make([]byte, 2); ; {
			if _, _, err := b.ReadFrom(buf); err != nil {
				break
			}
			got = append(got, int(buf[0])<<8|int(buf[1]))
		}
		from, to := n.Host("10.0.0.1").Counters(), n.Host("10.0.0.2").Counters()
		if from.PacketsOut != uint64(count) || to.PacketsIn != uint64(len(got)) || to.BytesIn != 2*to.PacketsIn {
			t.Errorf("%d packets arrived, counted are %+v and %+v", len(got), from, to)
		}
		if l.Duplicate == 0 && from.PacketsLost != uint64(count-len(got)) {
			t.Errorf("%d packets were lost, counted are %+v", count-len(got), from)
		}
	})
	return got
}

func TestPacketFaults(t *testing.T) {
	const count = 2000
	straight := numbered(t, 1, Link{Delay: 5 * ms}, count)
	if len(straight) != count || !slices.IsSorted(straight) {
		t.Errorf("of %d, %d arrive without faults", count, len(straight))
	}
	if got := numbered(t, 1, Link{Loss: 0.3}, count); len(got) < 1300 || len(got) > 1500 || !slices.IsSorted(got) {
		t.Errorf("of %d, %d arrive with 30 %% loss", count, len(got))
	}
	if got := numbered(t, 1, Link{Duplicate: 0.3}, count); len(got) < 2500 || len(got) > 2700 {
		t.Errorf("of %d, %d arrive with 30 %% duplicates", count, len(got))
	}
	for _, l := range []Link{{Delay: ms, Reorder: 0.1}, {Delay: ms, Jitter: ms}} {
		got := numbered(t, 1, l, count)
		sorted := slices.Clone(got)
		slices.Sort(sorted)
		if slices.IsSorted(got) || !slices.Equal(sorted, straight) {
			t.Errorf("with %+v, %d arrive, in order: %v", l, len(got), slices.IsSorted(got))
		}
	}
	all := Link{Delay: ms, Jitter: ms, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1}
	once, again, other := numbered(t, 5, all, count), numbered(t, 5, all, count), numbered(t, 6, all, count)
	if !slices.Equal(once, again) || slices.Equal(once, other) {
		t.Error("the faults do not follow the seed")
	}
}

func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.Default(Link{Delay: 10 * ms})
		a, b := pair(t, n)
		must[int](t)(a.Write([]byte("lost on its way")))
		n.Cut("10.0.0.1", "10.0.0.2")
		must[int](t)(a.Write([]byte(", and later")))
		must[int](t)(b.Write([]byte("the other way")))
		expect(t, a, "the other way", 10*ms)
		_ = b.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := b.Read(make([]byte, 1))
		timedOut(t, err)
		_ = b.SetReadDeadline(time.Time{})
		n.Mend("10.0.0.1", "10.0.0.2")
		expect(t, b, "lost on its way, and later", retransmit+10*ms)
		// A dial waits too, both ways, and gives up.
		for _, way := range [][2]string{{"10.0.0.1", "10.0.0.2"}, {"10.0.0.2", "10.0.0.1"}} {
			n.Cut(way[0], way[1])
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if _, err = n.Host("10.0.0.1").Dial(ctx, "10.0.0.2:80"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
			cancel()
			start = time.Now()
			if _, err = n.Host("10.0.0.1").Dial(t.Context(), "10.0.0.2:80"); !errors.Is(err, syscall.ETIMEDOUT) || time.Since(start) != 127*time.Second {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
			start = time.Now()
			time.AfterFunc(2*time.Second, func() { n.Mend(way[0], way[1]) })
			must[net.Conn](t)(n.Host("10.0.0.1").Dial(t.Context(), "10.0.0.2:80"))
			if took := time.Since(start); took != 3*time.Second+20*ms {
				t.Errorf("the dial came through after %v", took)
			}
		}
		if _, err = n.Host("10.0.0.1").Dial(t.Context(), "10.9.9.9:80"); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("a machine that is not there: %v", err)
		}
	})
}

// TestPacketsAtCut: a cut takes what is on its way, too.
func TestPacketsAtCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.Default(Link{Delay: 10 * ms})
		a := must[net.PacketConn](t)(n.Host("10.0.0.1").ListenPacket(":1"))
		b := must[net.PacketConn](t)(n.Host("10.0.0.2").ListenPacket(":1"))
		must[int](t)(a.WriteTo([]byte("on its way"), b.LocalAddr()))
		time.Sleep(5 * ms)
		n.Cut("10.0.0.1", "10.0.0.2")
		time.Sleep(time.Second)
		n.Mend("10.0.0.1", "10.0.0.2")
		must[int](t)(a.WriteTo([]byte("later"), b.LocalAddr()))
		buf := make([]byte, 100)
		if k, _, err := b.ReadFrom(buf); err != nil || string(buf[:k]) != "later" {
			t.Errorf("got %q, %v", buf[:k], err)
		}
		if lost := n.Host("10.0.0.1").Counters().PacketsLost; lost != 1 {
			t.Errorf("%d were lost", lost)
		}
	})
}

// TestLoopback: a machine reaches what listens on its own address at 127.0.0.1, too, and is answered from there.
func TestLoopback(t *testing.T) {
	h := New(1).Host("10.0.0.1")
	a, b := must[net.PacketConn](t)(h.ListenPacket(":1")), must[net.PacketConn](t)(h.ListenPacket(":2"))
	for _, to := range []string{"127.0.0.1:2", "10.0.0.1:2"} {
		at := must[*net.UDPAddr](t)(net.ResolveUDPAddr("udp", to))
		must[int](t)(a.WriteTo([]byte("x"), at))
		if _, from, err := b.ReadFrom(make([]byte, 1)); err != nil || from.String() != to[:len(to)-1]+"1" {
			t.Errorf("a packet to %s comes from %v: %v", to, from, err)
		}
	}
	must[net.Listener](t)(h.Listen(":80"))
	if c := must[net.Conn](t)(h.Dial(t.Context(), "localhost:80")); !c.LocalAddr().(*net.TCPAddr).IP.IsLoopback() {
		t.Errorf("the connection is from %v", c.LocalAddr())
	}
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		ips := []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}
		sockets := map[string]net.PacketConn{}
		for _, ip := range ips {
			sockets[ip] = must[net.PacketConn](t)(n.Host(ip).ListenPacket(":1"))
		}
		// reach returns who hears whom, a row for each sender.
		reach := func() string {
			var rows []string
			for _, from := range ips {
				row := ""
				for _, to := range ips {
					must[int](t)(sockets[from].WriteTo([]byte("x"), sockets[to].LocalAddr()))
					_ = sockets[to].SetReadDeadline(time.Now().Add(ms))
					if _, _, err := sockets[to].ReadFrom(make([]byte, 1)); err == nil {
						row += to[7:]
					}
				}
				rows = append(rows, row)
			}
			return strings.Join(rows, " ")
		}
		n.Cut("10.0.0.1", "10.0.0.2")
		for _, step := range []struct {
			do   func()
			want string
		}{
			{func() {}, "1345 12345 12345 12345 12345"},
			{func() { n.Partition(ips[:2], ips[2:3]) }, "1 12 3 45 45"},
			{func() { n.Mend("10.0.0.1", "10.0.0.2") }, "12 12 3 45 45"},
			{func() { n.Partition(ips[1:2]) }, "1345 2 1345 1345 1345"},
			{func() { n.Cut("10.0.0.3", "10.0.0.1") }, "1345 2 345 1345 1345"},
			{n.Heal, "12345 12345 12345 12345 12345"},
		} {
			step.do()
			if got := reach(); got != step.want {
				t.Errorf("who is heard: %s, want %s", got, step.want)
			}
		}
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.Default(Link{Delay: 10 * ms})
		a, b := pair(t, n)
		p := must[net.PacketConn](t)(n.Host("10.0.0.1").ListenPacket(":1"))
		q := must[net.PacketConn](t)(n.Host("10.0.0.2").ListenPacket(":1"))
		must[int](t)(b.Write([]byte("sent before")))
		n.Host("10.0.0.2").Pause()
		start := time.Now()
		must[int](t)(b.Write([]byte(", sent after")))
		must[int](t)(a.Write([]byte("heard later")))
		must[int](t)(p.WriteTo([]byte("packet"), q.LocalAddr()))
		expect(t, a, "sent before", 10*ms) // it had left
		ended := make(chan string)
		await := func(what string, do func() error) {
			go func() { err := do(); ended <- fmt.Sprint(what, " ", time.Since(start), " ", err) }()
		}
		await("dial", func() error { _, err := n.Host("10.0.0.1").Dial(t.Context(), "10.0.0.2:80"); return err })
		await("read", func() error { _, err := b.Read(make([]byte, 100)); return err })
		await("packet in", func() error { _, _, err := q.ReadFrom(make([]byte, 100)); return err })
		await("packet out", func() error { _, err := q.WriteTo([]byte("x"), p.LocalAddr()); return err })
		await("arrival", func() error { _, err := a.Read(make([]byte, 100)); return err })
		await("dial out", func() error { _, err := n.Host("10.0.0.2").Dial(t.Context(), "10.0.0.1:80"); return err })
		time.AfterFunc(5*time.Second-time.Since(start), n.Host("10.0.0.2").Resume)
		var got []string
		for range 6 {
			got = append(got, <-ended)
		}
		slices.Sort(got)
		want := "arrival 5.01s <nil>; dial 5.01s <nil>; dial out 5.02s dial tcp 10.0.0.1:80: connect: connection refused; " +
			"packet in 5s <nil>; packet out 5s <nil>; read 5s <nil>"
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("what went on:\n%s, want\n%s", s, want)
		}
	})
}

func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.Default(Link{Delay: 10 * ms})
		a, b := pair(t, n)
		host := n.Host("10.0.0.2")
		sock := must[net.PacketConn](t)(host.ListenPacket(":1"))
		must[int](t)(b.Write([]byte("last words")))
		n.Cut("10.0.0.2", "10.0.0.9")
		n.Cut("10.0.0.9", "10.0.0.2")
		dial := make(chan error)
		go func() { _, err := host.Dial(t.Context(), "10.0.0.9:1"); dial <- err }()
		synctest.Wait()
		host.Pause()
		host.Kill()
		if err := <-dial; !errors.Is(err, net.ErrClosed) {
			t.Errorf("its dial: %v", err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("its stream: %v", err)
		}
		if _, _, err := sock.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("its socket: %v", err)
		}
		expect(t, a, "last words", 10*ms)
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the other end reads: %v", err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the other end writes: %v", err)
		}
		if _, err := n.Host("10.0.0.1").Dial(t.Context(), "10.0.0.2:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a dial afterwards: %v", err)
		}
		l := must[net.Listener](t)(host.Listen(":80")) // a new process
		c := must[net.Conn](t)(n.Host("10.0.0.1").Dial(t.Context(), "10.0.0.2:80"))
		must[net.Conn](t)(l.Accept())
		_ = c.Close()
		time.Sleep(time.Second)
		_ = a.Close()
		n.Host("10.0.0.2").Kill()
		time.Sleep(time.Second)
		other := n.Host("10.0.0.1")
		n.lock()
		left := len(host.conns) + len(other.conns) + len(n.agenda)
		n.unlock()
		if left != 0 {
			t.Errorf("%d connections or events are left", left)
		}
	})
}

// TestKillBehindCut: nobody hears of the death of a machine that is cut off, until the cut ends.
func TestKillBehindCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a, b := pair(t, n)
		n.Cut("10.0.0.2", "10.0.0.1")
		n.Host("10.0.0.2").Kill()
		_ = a.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := a.Read(make([]byte, 1))
		timedOut(t, err)
		must[int](t)(a.Write([]byte("into nothing")))
		n.Heal()
		_ = a.SetReadDeadline(time.Time{})
		if _, err = a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after the cut: %v", err)
		}
		_ = b
	})
}

func TestBadHost(t *testing.T) {
	for _, ip := range []string{"", "x", "127.0.0.1", "0.0.0.0", "224.0.0.1"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was taken for a machine", ip)
				}
			}()
			New(1).Host(ip)
		}()
	}
	if New(1).Host("fd00::1").String() != "fd00::1" {
		t.Error("IPv6 is not taken")
	}
}
