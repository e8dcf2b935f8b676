package simnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sockets are what the conformance tests need of a network.
type sockets interface {
	Listen(address string) (net.Listener, error)
	ListenPacket(address string) (net.PacketConn, error)
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// system is the loopback network of this machine.
type system struct{}

func (system) Listen(address string) (net.Listener, error) { return net.Listen("tcp4", address) }
func (system) ListenPacket(address string) (net.PacketConn, error) {
	return net.ListenPacket("udp4", address)
}
func (system) Dial(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp4", address)
}

// TestConformance runs the same tests on this network and on the system's.
func TestConformance(t *testing.T) {
	slow := New(2)
	slow.Default(Link{Delay: 200 * time.Microsecond, Jitter: 300 * time.Microsecond, Loss: 0})
	networks := []struct {
		name   string
		a, b   sockets
		listen string
	}{
		{"system", system{}, system{}, "127.0.0.1:0"},
		{"one machine", New(1).Host("10.0.0.1"), nil, "127.0.0.1:0"},
		{"two machines", slow.Host("10.0.0.1"), slow.Host("10.0.0.2"), "10.0.0.2:0"},
	}
	tests := []struct {
		name string
		run  func(*testing.T, net.Conn, net.Conn)
	}{
		{"echo", testEcho}, {"end of stream", testEOF}, {"deadlines", testDeadlines}, {"write deadline", testWriteDeadline},
		{"close wakes", testCloseWakes}, {"closed", testClosed}, {"addresses", testAddresses}, {"whole writes", testWholeWrites},
		{"much", testMuch}, {"reset", testReset}, {"write after the end", testWriteAfterEnd},
	}
	for _, n := range networks {
		if n.b == nil {
			n.b = n.a
		}
		for _, c := range tests {
			t.Run(n.name+"/"+c.name, func(t *testing.T) {
				l, err := n.b.Listen(n.listen)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				a, err := n.a.Dial(t.Context(), l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close()
				b, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				c.run(t, a, b)
			})
		}
		t.Run(n.name+"/listener", func(t *testing.T) { testListener(t, n.a, n.b, n.listen) })
		t.Run(n.name+"/packets", func(t *testing.T) { testPackets(t, n.a, n.b, n.listen) })
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func testEcho(t *testing.T, a, b net.Conn) {
	for _, c := range [][2]net.Conn{{a, b}, {b, a}} {
		must[int](t)(c[0].Write([]byte("hello")))
		got := make([]byte, 5)
		must[int](t)(io.ReadFull(c[1], got))
		if string(got) != "hello" {
			t.Errorf("got %q", got)
		}
	}
	if n, err := a.Write(nil); n != 0 || err != nil {
		t.Errorf("an empty write gave %d, %v", n, err)
	}
	if n, err := a.Read(nil); n != 0 || err != nil {
		t.Errorf("an empty read gave %d, %v", n, err)
	}
}

func testEOF(t *testing.T, a, b net.Conn) {
	must[int](t)(a.Write([]byte("last words")))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got := must[[]byte](t)(io.ReadAll(b)); string(got) != "last words" {
		t.Errorf("got %q", got)
	}
	if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
}

// timedOut says whether an error is that of a deadline, in each way that code asks.
func timedOut(t *testing.T, err error) {
	t.Helper()
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("not the error of a deadline: %v", err)
	}
}

func testDeadlines(t *testing.T, a, b net.Conn) {
	one := make([]byte, 1)
	for range 2 { // the past goes on
		if err := a.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		_, err := a.Read(one)
		timedOut(t, err)
	}
	if err := a.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := a.Read(one)
		timedOut(t, err)
	}
	_, err := a.Write(one)
	timedOut(t, err)
	// One that is moved while somebody waits.
	if err := a.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { _, err := a.Read(one); failed <- err }()
	if err := a.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := a.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	timedOut(t, <-failed)
	// One that is moved ahead before it passes.
	for _, wait := range []time.Duration{20 * time.Millisecond, 60 * time.Millisecond} {
		if err := a.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	_, err = a.Read(one)
	timedOut(t, err)
	if took := time.Since(began); took < 40*time.Millisecond {
		t.Errorf("the earlier deadline counts, after %v", took)
	}
	// And one that is taken back in time.
	if err := a.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	must[int](t)(b.Write([]byte("x")))
	must[int](t)(a.Read(one))
}

func testWriteDeadline(t *testing.T, a, b net.Conn) {
	if err := a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	written, piece := 0, bytes.Repeat([]byte("x"), 1<<20)
	var err error
	for err == nil {
		var n int
		n, err = a.Write(piece)
		written += n
		if written > 1<<30 {
			t.Fatal("the buffer has no bound")
		}
	}
	timedOut(t, err)
	// What was said to be written arrives.
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got := must[[]byte](t)(io.ReadAll(b)); len(got) != written {
		t.Errorf("%d bytes arrived of %d", len(got), written)
	}
}

func testCloseWakes(t *testing.T, a, _ net.Conn) {
	var wg sync.WaitGroup
	for _, op := range []func() error{
		func() error { _, err := a.Read(make([]byte, 1)); return err },
		func() (err error) {
			for err == nil {
				_, err = a.Write(make([]byte, 1<<20))
			}
			return err
		},
	} {
		wg.Go(func() {
			if err := op(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	}
	pause := time.NewTimer(5 * time.Millisecond)
	<-pause.C
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func testClosed(t *testing.T, a, _ net.Conn) {
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Close": a.Close(), "SetDeadline": a.SetDeadline(time.Now()), "SetReadDeadline": a.SetReadDeadline(time.Time{}),
		"Write": func() error { _, err := a.Write([]byte("x")); return err }(),
		"Read":  func() error { _, err := a.Read(make([]byte, 1)); return err }(),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s gives %v", name, err)
		}
	}
}

func testAddresses(t *testing.T, a, b net.Conn) {
	if a.LocalAddr().String() != b.RemoteAddr().String() || a.RemoteAddr().String() != b.LocalAddr().String() {
		t.Errorf("%v → %v, but %v → %v", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
	}
	for _, at := range []net.Addr{a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr()} {
		if tcp, ok := at.(*net.TCPAddr); !ok || tcp.IP.To4() == nil || tcp.Port == 0 || tcp.Network() != "tcp" {
			t.Errorf("the address is %#v", at)
		}
	}
}

// testWholeWrites has several write at once what must not be mixed.
func testWholeWrites(t *testing.T, a, b net.Conn) {
	const size = 300_000
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if n, err := a.Write(bytes.Repeat([]byte{byte(i)}, size)); n != size || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
		})
	}
	got := make([]byte, size)
	for range 4 {
		must[int](t)(io.ReadFull(b, got))
		if !bytes.Equal(got, bytes.Repeat(got[:1], size)) {
			t.Error("two writes were mixed")
		}
	}
	wg.Wait()
}

// testMuch sends megabytes both ways at once.
func testMuch(t *testing.T, a, b net.Conn) {
	chance := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(chance.Uint32())
	}
	var wg sync.WaitGroup
	for _, c := range []net.Conn{a, b} {
		wg.Go(func() {
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 1+len(rest)%70_001)
				if _, err := c.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		})
		wg.Go(func() {
			sum := sha256.New()
			if _, err := io.CopyN(sum, c, int64(len(data))); err != nil {
				t.Error(err)
			}
			if want := sha256.Sum256(data); !bytes.Equal(sum.Sum(nil), want[:]) {
				t.Error("what was read is not what was written")
			}
		})
	}
	wg.Wait()
}

// testReset closes an end that was sent something nobody read.
func testReset(t *testing.T, a, b net.Conn) {
	must[int](t)(a.Write([]byte("xx")))
	must[int](t)(b.Read(make([]byte, 1)))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read gives %v", err)
	}
}

func testWriteAfterEnd(t *testing.T, a, b net.Conn) {
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read gives %v", err)
	}
	var err error
	for err == nil { // the first may still be taken
		_, err = a.Write([]byte("x"))
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write gives %v", err)
	}
}

func testListener(t *testing.T, a, b sockets, address string) {
	l := must[net.Listener](t)(b.Listen(address))
	if at, ok := l.Addr().(*net.TCPAddr); !ok || at.Port == 0 {
		t.Errorf("the address is %#v", l.Addr())
	}
	if _, err := b.Listen(l.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second listener: %v", err)
	}
	if _, err := b.Listen("192.0.2.1:0"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("a listener on a foreign address: %v", err)
	}
	until := l.(interface{ SetDeadline(time.Time) error })
	if err := until.SetDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := l.Accept()
	timedOut(t, err)
	if err := until.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := l.Accept(); ended <- err }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ends with %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
	var op *net.OpError
	if _, err := a.Dial(t.Context(), l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("a dial to nobody: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Dial(ctx, l.Addr().String()); !errors.Is(err, context.Canceled) {
		t.Errorf("a dial that was called off: %v", err)
	}
	if _, err := a.Dial(t.Context(), "no.such.name.invalid:1"); err == nil {
		t.Error("a name that does not exist was dialled")
	}
	l = must[net.Listener](t)(b.Listen(l.Addr().String())) // the address is free again
	defer l.Close()
}

func testPackets(t *testing.T, a, b sockets, address string) {
	p := must[net.PacketConn](t)(b.ListenPacket(address))
	defer p.Close()
	q := must[net.PacketConn](t)(a.ListenPacket(":0"))
	defer q.Close()
	if at, ok := p.LocalAddr().(*net.UDPAddr); !ok || at.Port == 0 {
		t.Errorf("the address is %#v", p.LocalAddr())
	}
	if _, err := b.ListenPacket(p.LocalAddr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second socket: %v", err)
	}
	if _, err := q.WriteTo(make([]byte, 70_000), p.LocalAddr()); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("too large a packet: %v", err)
	}
	buf := make([]byte, 4)
	for _, text := range []string{"1", "", "too long"} {
		must[int](t)(q.WriteTo([]byte(text), p.LocalAddr()))
		n, from, err := p.ReadFrom(buf)
		if err != nil || string(buf[:n]) != text[:min(4, len(text))] {
			t.Errorf("%q arrives as %q: %v", text, buf[:n], err)
		}
		must[int](t)(p.WriteTo([]byte("re"), from))
		if n, _, err = q.ReadFrom(buf); err != nil || n != 2 {
			t.Errorf("the answer has %d bytes: %v", n, err)
		}
	}
	if err := p.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, _, err := p.ReadFrom(buf)
	timedOut(t, err)
	if err := p.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, _, err := p.ReadFrom(buf); ended <- err }()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadFrom ends with %v", err)
	}
	if _, err := p.WriteTo([]byte("x"), q.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteTo a closed socket: %v", err)
	}
	if err := p.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
}
