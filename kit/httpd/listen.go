package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Serve accepts connections from the listeners (TCP, TLS or unix) until ctx ends or one of them fails; it closes them.
// Then reads that are parked are released at once, writes under way get Options.DrainTimeout, and Serve returns within
// a second after that: nil if ctx ended. It is called once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	// Requests live in a context of their own, so that stopping is set before any of them sees the end.
	base, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	srv := &http.Server{
		Handler:        s.Handler(),
		MaxHeaderBytes: s.opts.MaxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:    func(net.Listener) context.Context { return base },
		ConnState:      s.conns.changed,
	}
	group, failed := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error {
			err := srv.Serve(&limited{l, s.conns})
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return fmt.Errorf("cannot serve HTTP on %s: %w", l.Addr(), err)
		})
	}
	<-failed.Done()
	s.stopping.Store(true)
	release()
	s.drain(srv)
	err := group.Wait()
	s.conns.refusals.Wait()
	return err
}

// drain waits for requests under way and closes everything else. Connections on which nothing is asked, even new ones,
// are not waited for.
func (s *Server) drain(srv *http.Server) {
	defer s.giveUp()
	const step = 25 * time.Millisecond
	idle, hard := 0, time.Now().Add(s.opts.DrainTimeout)
	for end := hard.Add(time.Second); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), step)
		err := srv.Shutdown(ctx)
		cancel()
		if err == nil {
			return
		}
		// Twice, so that an answer that was just given has left its buffer.
		if s.inflight.Load() > 0 {
			idle = 0
		} else if idle++; idle == 2 {
			break
		}
		if time.Now().After(hard) {
			s.giveUp()
		}
	}
	_ = srv.Close()
}

// SetMaxConnsPerClient changes the limit for connections to come; 0 is no limit.
func (s *Server) SetMaxConnsPerClient(n int) { s.conns.limit.Store(int64(n)) }

// tooMany is what a refused connection is sent, to the byte (conventions §1).
const tooMany = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: 81\r\nConnection: close\r\n\r\n" +
	"Your IP is issuing too many concurrent connections, please rate limit your calls\n"

// conns counts the connections of each client address.
type conns struct {
	limit     atomic.Int64
	handshake time.Duration
	log       *slog.Logger
	onRefused func()
	warning   seldom

	mu    sync.Mutex // guards count
	count map[netip.Addr]int

	refusals sync.WaitGroup // refused clients who are still being told
	slots    chan struct{}  // bounds them
}

func newConns(o *Options) *conns {
	c := &conns{
		handshake: o.HandshakeTimeout, log: o.Logger, onRefused: o.OnRefused,
		count: map[netip.Addr]int{}, slots: make(chan struct{}, 64),
	}
	c.limit.Store(int64(o.MaxConnsPerClient))
	return c
}

// client returns the address that a connection counts for; none for unix sockets.
func client(c net.Conn) (netip.Addr, bool) {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return a.AddrPort().Addr().Unmap(), true
}

// enter counts a new connection, or reports that its client has too many.
func (c *conns) enter(conn net.Conn) bool {
	addr, ok := client(conn)
	if !ok {
		return true
	}
	limit := int(c.limit.Load())
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit > 0 && c.count[addr] >= limit {
		return false
	}
	c.count[addr]++
	return true
}

func (c *conns) leave(conn net.Conn) {
	addr, ok := client(conn)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[addr]--; c.count[addr] <= 0 {
		delete(c.count, addr)
	}
}

// changed is net/http's hook. A TLS handshake has a deadline, which net/http takes back before it reads a request.
func (c *conns) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if _, ok := conn.(*tls.Conn); ok {
			_ = conn.SetReadDeadline(time.Now().Add(c.handshake))
		}
	case http.StateClosed, http.StateHijacked:
		c.leave(conn)
	}
}

// refuse tells a surplus client why. It waits a moment for the client to hang up first, because closing with unread
// input would make the kernel throw our words away; how many it waits for is bounded.
func (c *conns) refuse(conn net.Conn) {
	if c.onRefused != nil {
		c.onRefused()
	}
	c.warning.warn(c.log, "connection refused: limits.http_max_conns_per_client reached", "from", conn.RemoteAddr().String(), "limit", c.limit.Load())
	select {
	case c.slots <- struct{}{}:
	default:
		if _, encrypted := conn.(*tls.Conn); !encrypted { // a fresh socket takes a few bytes without waiting
			_, _ = io.WriteString(conn, tooMany)
		}
		_ = conn.Close()
		return
	}
	c.refusals.Go(func() {
		defer func() { <-c.slots }()
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := io.WriteString(conn, tooMany); err != nil {
			return
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(conn, 64<<10))
		}
	})
}

// limited refuses surplus connections as they are accepted.
type limited struct {
	net.Listener
	conns *conns
}

// Accept returns the next connection that its client may have.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || l.conns.enter(conn) {
			return conn, err
		}
		l.conns.refuse(conn)
	}
}
