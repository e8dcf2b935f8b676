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

	"rostra/kit/notice"
)

// Serve accepts connections from the ports until ctx ends or one of them fails; it closes them. Each speaks HTTP/1.1 and
// HTTP/2: with TLS as both sides agree, without it to clients that begin with HTTP/2 at once (RFC 9113 §3.3).
// Then reads that are parked are released at once, writes under way get Options.DrainTimeout, and Serve returns within
// a second after that: nil if ctx ended. It is called once.
func (s *Server) Serve(ctx context.Context, ports ...Port) error {
	// Requests live in a context of their own, so that stopping is set before any of them sees the end.
	base, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	srv := &http.Server{
		Handler:                      seen(s.Handler()),
		MaxHeaderBytes:               s.opts.MaxHeaderBytes,
		ReadHeaderTimeout:            s.opts.Patience,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:                  func(net.Listener) context.Context { return base },
		Protocols:                    new(http.Protocols),
		DisableGeneralOptionsHandler: true, // seen does it
		ConnContext:                  known,
		ConnState:                    follow,
	}
	if s.opts.Context != nil {
		srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return s.opts.Context(known(ctx, c), c.RemoteAddr())
		}
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	group, failed := errgroup.WithContext(ctx)
	for _, p := range ports {
		group.Go(func() error {
			err := srv.Serve(&gate{Port: p, conns: s.conns})
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return fmt.Errorf("cannot serve HTTP on %s: %w", p.Addr(), err)
		})
	}
	<-failed.Done()
	s.conns.stopping.Store(true)
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
	limit               atomic.Int64
	handshake, patience time.Duration
	log                 *slog.Logger
	counts              [cases]atomic.Uint64
	told                notice.Board
	stopping            atomic.Bool

	mu    sync.Mutex // guards open and count
	open  int        // with those of unix sockets
	count map[netip.Addr]int

	refusals sync.WaitGroup // clients who are not served and still being told
	slots    chan struct{}  // bounds them
}

func newConns(o *Options) *conns {
	c := &conns{
		handshake: o.HandshakeTimeout, patience: o.Patience, log: o.Logger,
		count: map[netip.Addr]int{}, slots: make(chan struct{}, 64),
	}
	c.limit.Store(int64(o.MaxConnsPerClient))
	return c
}

// Counters returns how many connections there are, and what was refused since the start.
func (s *Server) Counters() map[string]uint64 {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	out := map[string]uint64{"http.connections": uint64(s.conns.open)}
	for i, name := range caseNames {
		out[name] = s.conns.counts[i].Load()
	}
	return out
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
	limit := int(c.limit.Load())
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok && limit > 0 && c.count[addr] >= limit {
		return false
	}
	c.open++
	if ok {
		c.count[addr]++
	}
	return true
}

func (c *conns) leave(conn net.Conn) {
	addr, ok := client(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if !ok {
		return
	}
	if c.count[addr]--; c.count[addr] <= 0 {
		delete(c.count, addr)
	}
}

// refuse tells a surplus client why; how many it waits for is bounded.
func (c *conns) refuse(conn net.Conn) {
	c.tell(surplus, conn.RemoteAddr().String(), fmt.Sprintf("it has %d connections already (limits.http_max_conns_per_client)", c.limit.Load()))
	waits := c.meanwhile(func() {
		_ = conn.SetDeadline(time.Now().Add(farewell))
		if _, err := io.WriteString(conn, tooMany); err != nil {
			_ = conn.Close()
			return
		}
		part(conn)
	})
	if waits {
		return
	}
	if _, encrypted := conn.(*tls.Conn); !encrypted { // a fresh socket takes a few bytes without waiting
		_, _ = io.WriteString(conn, tooMany)
	}
	_ = conn.Close()
}

// farewell is how long a client is waited for that is not served.
const farewell = 500 * time.Millisecond

// part ends a connection so that the client reads what it was told last: closing with unread input would make the kernel
// throw our words away, so the client is given a moment to hang up first.
func part(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(farewell))
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, 64<<10))
	}
	_ = conn.Close()
}

// meanwhile lets f wait for a client that is not served, unless as many are waited for already as there may be.
func (c *conns) meanwhile(f func()) bool {
	select {
	case c.slots <- struct{}{}:
	default:
		return false
	}
	c.refusals.Go(func() {
		defer func() { <-c.slots }()
		f()
	})
	return true
}
