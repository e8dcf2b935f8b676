package consensus

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wires is a network in memory that keeps to the clock of a bubble. A cut link holds what is sent over it until it
// heals, as TCP would; a server that is killed resets its connections.
type wires struct {
	mu      sync.Mutex
	changed chan struct{} // closed and made anew when links were cut or healed
	delay   time.Duration
	cuts    map[[2]string]bool // from, to
	ends    map[string]*jack   // by address
	chokes  map[string]int     // by server: so many bytes of a connection pass, the rest never comes
	hit     map[string]bool
}

// choke lets only so many bytes of each connection from a server through.
func (w *wires) choke(from string, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.chokes[from] = bytes
}

// choked reports whether that has held anything back.
func (w *wires) choked(from string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hit[from]
}

func newWires() *wires {
	return &wires{changed: make(chan struct{}), delay: time.Millisecond, cuts: map[[2]string]bool{}, ends: map[string]*jack{},
		chokes: map[string]int{}, hit: map[string]bool{}}
}

func (w *wires) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
	for _, j := range w.ends {
		for _, c := range j.conns {
			c.wake()
		}
	}
}

// cut ends what goes from one server to another; heal lets it go on.
func (w *wires) cut(from, to string)  { w.set(from, to, true) }
func (w *wires) heal(from, to string) { w.set(from, to, false) }

func (w *wires) set(from, to string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cuts[[2]string{from, to}] = cut
	w.wake()
}

// forget drops a connection that has ended from its jack.
func (w *wires) forget(c *wire) {
	for _, j := range w.ends {
		j.conns = slices.DeleteFunc(j.conns, func(o *wire) bool { return o == c })
	}
}

// jack is one server's end: its Streams.
type jack struct {
	of      *wires
	id      string
	address string
	calls   chan net.Conn
	closed  chan struct{}
	once    sync.Once
	conns   []*wire
}

func (w *wires) plug(id, address string) *jack {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := &jack{of: w, id: id, address: address, calls: make(chan net.Conn, 64), closed: make(chan struct{})}
	w.ends[address] = j
	return j
}

func (j *jack) Accept() (net.Conn, error) {
	select {
	case c := <-j.calls:
		return c, nil
	case <-j.closed:
		return nil, net.ErrClosed
	}
}

func (j *jack) Addr() net.Addr { return place(j.address) }

// Close also is the server's death: everything is reset.
func (j *jack) Close() error {
	j.once.Do(func() {
		close(j.closed)
		j.of.mu.Lock()
		if j.of.ends[j.address] == j {
			delete(j.of.ends, j.address)
		}
		conns := slices.Clone(j.conns)
		j.of.mu.Unlock()
		for _, c := range conns {
			c.reset(syscall.ECONNRESET)
		}
	})
	return nil
}

func (j *jack) Dial(address string, timeout time.Duration) (net.Conn, error) {
	w := j.of
	until := time.Now().Add(timeout)
	for {
		w.mu.Lock()
		other, changed := w.ends[address], w.changed
		if other == nil {
			w.mu.Unlock()
			return nil, syscall.ECONNREFUSED
		}
		if !w.cuts[[2]string{j.id, other.id}] && !w.cuts[[2]string{other.id, j.id}] {
			a, b := newWire(w, j.id, other.id), newWire(w, other.id, j.id)
			a.peer, b.peer = b, a
			j.conns, other.conns = append(j.conns, a), append(other.conns, b)
			w.mu.Unlock()
			select {
			case other.calls <- b:
				return a, nil
			case <-other.closed:
				return nil, syscall.ECONNREFUSED
			}
		}
		w.mu.Unlock()
		select {
		case <-changed:
		case <-j.closed:
			return nil, net.ErrClosed
		case <-time.After(time.Until(until)):
			return nil, os.ErrDeadlineExceeded
		}
	}
}

// wire is one end of a connection. Its fields are guarded by the lock of its wires.
type wire struct {
	of       *wires
	from, to string
	peer     *wire
	changed  chan struct{} // one is there when its reader should look again
	in       []parcel
	sent     int
	over     error
	reads    time.Time // deadlines
	writes   time.Time
}

func newWire(w *wires, from, to string) *wire {
	return &wire{of: w, from: from, to: to, changed: make(chan struct{}, 1)}
}

func (c *wire) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

type parcel struct {
	at   time.Time
	data []byte
}

func (c *wire) Read(b []byte) (int, error) {
	w := c.of
	for {
		w.mu.Lock()
		now := time.Now()
		wait := c.reads
		switch {
		case c.over != nil:
			w.mu.Unlock()
			return 0, c.over
		case !c.reads.IsZero() && !now.Before(c.reads):
			w.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(c.in) > 0 && !w.cuts[[2]string{c.to, c.from}]:
			if !c.in[0].at.After(now) {
				n := copy(b, c.in[0].data)
				if c.in[0].data = c.in[0].data[n:]; len(c.in[0].data) == 0 {
					c.in = c.in[1:]
				}
				w.mu.Unlock()
				return n, nil
			}
			if wait.IsZero() || c.in[0].at.Before(wait) {
				wait = c.in[0].at
			}
		case c.peer.over != nil && len(c.in) == 0 && !w.cuts[[2]string{c.to, c.from}]:
			err := c.peer.over
			if errors.Is(err, net.ErrClosed) {
				err = io.EOF
			}
			w.mu.Unlock()
			return 0, err
		}
		w.mu.Unlock()
		if wait.IsZero() {
			<-c.changed
			continue
		}
		t := time.NewTimer(time.Until(wait))
		select {
		case <-c.changed:
		case <-t.C:
		}
		t.Stop()
	}
}

func (c *wire) Write(b []byte) (int, error) {
	w := c.of
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case c.over != nil:
		return 0, c.over
	case c.peer.over != nil && !w.cuts[[2]string{c.from, c.to}]:
		return 0, syscall.EPIPE
	case !c.writes.IsZero() && !time.Now().Before(c.writes):
		return 0, os.ErrDeadlineExceeded
	}
	c.sent += len(b)
	if most := w.chokes[c.from]; most > 0 && c.sent > most {
		w.hit[c.from] = true
		return len(b), nil
	}
	c.peer.in = append(c.peer.in, parcel{time.Now().Add(w.delay), append([]byte(nil), b...)})
	c.peer.wake()
	return len(b), nil
}

func (c *wire) reset(err error) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.over == nil {
		c.over = err
		c.wake()
		c.peer.wake()
		c.of.forget(c)
	}
}

func (c *wire) Close() error {
	c.reset(net.ErrClosed)
	return nil
}

func (c *wire) LocalAddr() net.Addr  { return place(c.from) }
func (c *wire) RemoteAddr() net.Addr { return place(c.to) }

func (c *wire) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *wire) SetReadDeadline(t time.Time) error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.reads = t
	c.wake()
	return nil
}

func (c *wire) SetWriteDeadline(t time.Time) error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.writes = t
	return nil
}

type place string

func (place) Network() string { return "wires" }

func (p place) String() string { return string(p) }

// TestWires: what the tests of clusters stand on.
func TestWires(t *testing.T) {
	w := newWires()
	a, b := w.plug("a", "a:1"), w.plug("b", "b:1")
	defer a.Close()
	defer b.Close()
	c, err := a.Dial("b:1", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := b.Accept()
	w.cut("a", "b")
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = d.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	buf := make([]byte, 8)
	if _, err := d.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	w.heal("a", "b")
	_ = d.SetReadDeadline(time.Time{})
	if n, err := d.Read(buf); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	_ = b.Close()
	if _, err := c.Read(buf); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	if _, err := a.Dial("b:1", time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatal(err)
	}
}
