package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	pool       = 32              // goroutines that may wait for a leader
	mostConns  = 1024            // TCP connections
	patience   = 3 * time.Second // how long a question waits for a state to be answered from
	idleConn   = 10 * time.Second
	writeTime  = 5 * time.Second
	packetSize = 65535
)

// Serve answers questions on the sockets until ctx ends, finishes what is under way within about a second, and closes
// the sockets. It returns the first error of a socket, or nil. It may be called once.
func (s *Server) Serve(ctx context.Context, udp []net.PacketConn, tcp []net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	s.cache.mu.Lock()
	s.cache.life = ctx
	s.cache.mu.Unlock()
	conns := &connections{open: map[net.Conn]bool{}}
	for _, c := range []*crew{&s.inside, &s.outside} {
		c.mu.Lock()
		c.life = ctx
		c.mu.Unlock()
	}
	g.Go(func() error { s.tick(ctx, udp); return nil })
	for _, c := range udp {
		g.Go(func() error { return s.serveUDP(ctx, newSocket(c)) })
	}
	for _, l := range tcp {
		g.Go(func() error { return s.serveTCP(ctx, l, conns) })
	}
	g.Go(func() error {
		<-ctx.Done()
		for _, c := range udp {
			_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; the crews may still write
		}
		for _, l := range tcp {
			_ = l.Close()
		}
		conns.wake()
		return nil
	})
	err := g.Wait()
	s.inside.group.Wait()
	s.outside.group.Wait() // the others may have handed on to it
	for _, c := range udp {
		_ = c.Close()
	}
	s.cache.clear()
	return err
}

// serveUDP answers what can be answered at once, and leaves the rest to the crews.
func (s *Server) serveUDP(ctx context.Context, c socket) error {
	w := s.worker(rand.Uint64())
	b := make([]byte, packetSize)
	var from peer
	for {
		n, err := c.read(b, &from)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("cannot read DNS questions: %w", err)
		}
		s.stats.udp.Add(1)
		w.arrived()
		out, ok := w.quick(b[:n], false)
		if w.junk {
			s.refuse(&s.stats.junk, "dns.junk", from.addr().String(), "a packet that is no question")
		}
		crew := &s.inside
		if !ok {
			var a ask
			if out, a, ok = w.still(false); a.subject == aboutForeign {
				crew = &s.outside
			}
		}
		if !ok {
			crew.add(s, job{append([]byte(nil), b[:n]...), from, c, time.Now().Add(patience)})
			continue
		}
		c.write(out, &from)
		w.answered()
	}
}

// answerInside answers a question of the crew that waits for a state alone, and hands on what needs more.
func (s *Server) answerInside(ctx context.Context, w *worker, j *job) {
	w.outside, w.from = false, j.from.addr()
	w.arrived()
	out, over := w.answer(ctx, j.packet, false, j.until)
	if over {
		s.outside.add(s, *j)
		return
	}
	j.socket.write(out, &j.from)
	w.answered()
}

func (s *Server) answerOutside(ctx context.Context, w *worker, j *job) {
	w.outside, w.from = true, j.from.addr()
	w.arrived()
	out, _ := w.answer(ctx, j.packet, false, j.until)
	j.socket.write(out, &j.from)
	w.answered()
}

// answer answers a packet. It waits for a state to answer from until the given time; a worker that may ask recursors
// gives each of them the time it has by the settings. over: that worker must do it.
func (w *worker) answer(ctx context.Context, packet []byte, tcp bool, until time.Time) (out []byte, over bool) {
	out, ok := w.quick(packet, tcp)
	if ok {
		return out, false
	}
	out, a, ok := w.still(tcp)
	if ok {
		return out, false
	}
	if c := w.srv.conf.Load(); w.outside {
		until = until.Add(time.Duration(len(c.forward)) * c.RecursorTimeout)
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return w.slow(ctx, a, packet, tcp)
}

// connections are the open TCP connections.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

// wake makes readers look whether they should end.
func (c *connections) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second / 2))
	}
}

func (c *connections) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= mostConns {
		return false
	}
	c.open[conn] = true
	return true
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	delete(c.open, conn)
	c.mu.Unlock()
	_ = conn.Close()
}

func (s *Server) serveTCP(ctx context.Context, l net.Listener, conns *connections) error {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if again(ctx, err) {
				continue
			}
			return fmt.Errorf("cannot accept DNS connections: %w", err)
		}
		if !conns.add(conn) {
			s.refuse(&s.stats.refused, "dns.tcp.refused", addrOf(conn.RemoteAddr()).String(), "a connection beyond the most that there may be")
			_ = conn.Close()
			continue
		}
		group.Go(func() {
			defer conns.remove(conn)
			s.converse(ctx, conn)
		})
	}
}

// again waits a moment after an error that passes, such as too many open files.
func again(ctx context.Context, err error) bool {
	var passing interface{ Temporary() bool }
	if !errors.As(err, &passing) || !passing.Temporary() {
		return false
	}
	t := time.NewTimer(10 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return true
}

// converse answers the questions of one connection, until it is idle or ctx ends.
func (s *Server) converse(ctx context.Context, conn net.Conn) {
	w := s.worker(rand.Uint64())
	w.outside, w.from = true, addrOf(conn.RemoteAddr())
	b := make([]byte, 512)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(idleConn))
		if ctx.Err() != nil {
			return
		}
		if _, err := io.ReadFull(conn, b[:2]); err != nil {
			return
		}
		n := int(b[0])<<8 | int(b[1])
		if n > len(b) {
			b = make([]byte, n)
		}
		if _, err := io.ReadFull(conn, b[:n]); err != nil {
			return
		}
		s.stats.tcp.Add(1)
		w.arrived()
		out, _ := w.answer(ctx, b[:n], true, time.Now().Add(patience))
		if w.junk {
			s.refuse(&s.stats.junk, "dns.junk", addrOf(conn.RemoteAddr()).String(), "a message that is no question")
		}
		if len(out) == 0 {
			return // no question: such a client is not worth a connection
		}
		_ = conn.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := conn.Write(out); err != nil {
			return
		}
		w.answered()
	}
}
