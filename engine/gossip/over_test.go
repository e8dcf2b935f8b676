package gossip

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rostra/kit/simnet"
)

// sameport opens a TCP and a UDP socket of the system on one port.
func sameport(t *testing.T, ip string) (net.PacketConn, net.Listener) {
	t.Helper()
	var last error
	for range 20 { // the port that TCP was given may be taken for UDP
		l, err := net.Listen("tcp4", ip+":0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		p, err := net.ListenPacket("udp4", ip+":"+port)
		if err == nil {
			return p, l
		}
		last = err
		_ = l.Close()
	}
	t.Fatal(last)
	return nil, nil
}

// TestOverSystem has a pool over handed sockets speak with one that opened its own.
func TestOverSystem(t *testing.T) {
	packets, streams := sameport(t, "127.0.0.1")
	dial := func(ctx context.Context, at string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", at)
	}
	a := open(t, "a", func(o *Options) { o.BindAddr, o.Transport = "", Over(packets, streams, dial) })
	b := open(t, "b", nil)
	if addr(a) != streams.Addr().String() {
		t.Errorf("a advertises %s, its listener is %s", addr(a), streams.Addr())
	}
	if n, err := a.Join(context.Background(), []string{addr(b)}); n != 1 || err != nil {
		t.Fatalf("Join = %d, %v", n, err)
	}
	eventually(t, "both alive", func() bool { return show(a) == "a=alive b=alive" && show(b) == show(a) })
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err := packets.WriteTo([]byte("x"), streams.Addr()); err == nil {
		t.Error("the packet socket is still open")
	}
	eventually(t, "the failure of a", func() bool { return show(b) == "a=failed b=alive" })
}

func TestOverAdvertises(t *testing.T) {
	n := simnet.New(1)
	tr := on(t, n.Host("10.0.0.1"))
	defer tr.Shutdown()
	packets, streams := sameport(t, "0.0.0.0")
	open := Over(packets, streams, nil)
	defer open.Shutdown()
	for _, c := range []struct {
		ip   string
		port int
		want string
	}{{"", 0, "10.0.0.1:8301"}, {"", 1, "10.0.0.1:1"}, {"192.0.2.1", 0, "192.0.2.1:8301"}, {"x", 0, "cannot advertise \"x\""}} {
		ip, port, err := tr.FinalAdvertiseAddr(c.ip, c.port)
		if got := hostPort(ip.String(), port); err == nil && got != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q and %d give %s, %v; want %s", c.ip, c.port, got, err, c.want)
		}
	}
	if _, _, err := open.FinalAdvertiseAddr("", 0); err == nil || !strings.Contains(err.Error(), "set one to advertise") {
		t.Errorf("0.0.0.0 is advertised: %v", err)
	}
	if _, err := tr.WriteTo([]byte("x"), "somewhere:1"); err == nil {
		t.Error("a packet was sent to a name")
	}
}

// TestOverEnds: a dial to a machine that does not answer ends with the pool, and so does what it is told by none.
func TestOverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		tr := on(t, n.Host("10.0.0.1"))
		l, err := n.Host("10.0.0.2").Listen(":1")
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tr.DialTimeout("10.0.0.2:1", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // neither is taken
			if _, err := n.Host("10.0.0.2").Dial(t.Context(), "10.0.0.1:8301"); err != nil {
				t.Fatal(err)
			}
		}
		n.Partition([]string{"10.0.0.1"})
		start, ended := time.Now(), make(chan error, 2)
		go func() { _, err := tr.DialTimeout("10.0.0.2:1", 10*time.Second); ended <- err }()
		go func() { _, err := conn.Read(make([]byte, 1)); ended <- err }()
		time.Sleep(time.Second)
		for range 2 {
			if err := tr.Shutdown(); err != nil {
				t.Error(err)
			}
		}
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("no error")
			}
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("the end came after %v", took)
		}
		if _, err := tr.DialTimeout("10.0.0.2:1", time.Second); err == nil {
			t.Error("a dial after the end")
		}
	})
}

// TestOverKilled: the process dies and its pool with it, as the others see it; a new one takes its place.
func TestOverKilled(t *testing.T) {
	inLab(t, func(l *lab) {
		a, b := l.open("a", "1", "10.0.0.1", nil), l.open("b", "2", "10.0.0.2", nil)
		l.join(b, a)
		l.net.Host("10.0.0.2").Kill()
		for tick := time.Tick(time.Second); show(a) != "a=alive b=failed"; {
			<-tick
		}
		again := l.open("b", "2", "10.0.0.2", nil)
		l.join(again, a)
	})
}
