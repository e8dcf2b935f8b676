package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// maxGreeting bounds the connections that have not said yet what they are.
const maxGreeting = 512

// accept takes connections until the listener is closed. It returns an error only if that was not by us.
func (p *Port) accept(ctx context.Context) error {
	slots := make(chan struct{}, maxGreeting)
	wait := time.Duration(0)
	for {
		raw, err := p.opts.Listener.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("cannot accept on the server port: %w", err)
		default: // out of file descriptors, say
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			p.opts.Log.Warn("cannot accept on the server port; trying again", "error", err, "in", wait)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil
			}
			continue
		}
		wait = 0
		p.counts.add(accepted)
		ip := ipOf(raw.RemoteAddr())
		limit := int(p.perIP.Load())
		c := p.conns.add(p, raw, ip, limit)
		if c == nil {
			p.refuse(refusedLimit, ip, fmt.Errorf("it has %d already (limits.rpc_max_conns_per_client)", limit))
			_ = raw.Close()
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			p.refuse(refusedLimit, ip, fmt.Errorf("%d connections have not said yet what they are", maxGreeting))
			_ = c.Close()
			continue
		}
		p.greeting.Go(func() {
			defer func() { <-slots }()
			p.greet(ctx, c, ip)
		})
	}
}

// greet finds out what a connection is and hands it to whom it is for.
func (p *Port) greet(ctx context.Context, c *conn, ip string) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.HandshakeTimeout)
	defer cancel()
	limit, _ := ctx.Deadline()
	err := c.SetDeadline(limit)
	var k kind
	known := c
	if err == nil {
		k, known, err = p.admit(ctx, c)
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		var no *refusal
		if errors.As(err, &no) && ctx.Err() != context.Canceled {
			p.refuse(no.why, ip, no.cause)
		}
		_ = c.Close()
		return
	}
	to := p.calls
	if k == kindLog {
		to = p.streams
		p.counts.add(logStreams)
	}
	known.watched.Store(k == kindCalls)
	if !to.put(ctx, known) {
		known.watched.Store(false)
		if ctx.Err() == context.DeadlineExceeded {
			p.refuse(refusedLimit, ip, errors.New("nobody took it"))
		}
		_ = c.Close()
	}
}

// refusal is an error that is counted. Others mean that the peer went away by itself.
type refusal struct {
	why   count
	cause error
}

func (r *refusal) Error() string { return r.cause.Error() }

// admit returns the connection as it is to be served: decrypted, with nothing of it read.
func (p *Port) admit(ctx context.Context, c *conn) (kind, *conn, error) {
	k, head, err := sniff(c)
	if err != nil {
		return 0, nil, unclear(err)
	}
	c.head = head
	if k == kindTLS {
		return p.admitTLS(ctx, c)
	}
	if !p.plain() {
		return 0, nil, &refusal{refusedPlain, errors.New("it speaks plain text, but TLS is required (verify_incoming)")}
	}
	if k == kindLog {
		c.head = nil // the magic is for us
	}
	c.peer = Peer{Address: c.RemoteAddr().String()}
	return k, c, nil
}

func (p *Port) admitTLS(ctx context.Context, c *conn) (kind, *conn, error) {
	var config *tls.Config
	if p.opts.Security != nil {
		config = p.opts.Security.Incoming()
	}
	if config == nil {
		return 0, nil, &refusal{refusedTLS, errors.New("it speaks TLS, but no certificate is configured here")}
	}
	secured := tls.Server(c, p.inTLS.tailor(config, func(t *tls.Config) { t.NextProtos = []string{alpnCalls, alpnLog} }))
	if err := secured.HandshakeContext(ctx); err != nil {
		switch {
		case timedOut(err):
			return 0, nil, &refusal{refusedSlow, fmt.Errorf("TLS handshake: %w", err)}
		case errors.Is(err, net.ErrClosed), ctx.Err() == context.Canceled:
			return 0, nil, err
		}
		return 0, nil, &refusal{refusedTLS, fmt.Errorf("TLS handshake: %w", err)}
	}
	state := secured.ConnectionState()
	known := &conn{Conn: secured, port: p, peer: Peer{Address: c.RemoteAddr().String(), Certificates: state.PeerCertificates}}
	switch state.NegotiatedProtocol {
	case alpnLog:
		if err := p.opts.Security.LogPeer(state); err != nil {
			return 0, nil, &refusal{refusedPeer, err}
		}
		return kindLog, known, nil
	case alpnCalls:
		known.peer.port, known.peer.foreign = p, p.opts.Security.LogPeer(state)
		k, head, err := sniff(known)
		if err == nil && k != kindCalls {
			err = fmt.Errorf("%w: %q was agreed on", errGarbage, alpnCalls)
		}
		known.head = head
		return kindCalls, known, unclear(err)
	}
	return 0, nil, &refusal{refusedTLS, fmt.Errorf("its TLS offers no protocol of this port (%q, %q)", alpnCalls, alpnLog)}
}

func (p *Port) plain() bool { return p.opts.Security == nil || p.opts.Security.Plain() }

// unclear makes a refusal of what sniff reports. Who connects and leaves without a word is no case: health checks do that.
func unclear(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errGarbage):
		return &refusal{refusedGarbage, err}
	case timedOut(err):
		return &refusal{refusedSlow, errors.New("it does not say what it is within the handshake's time (limits.rpc_handshake_timeout)")}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &refusal{refusedGarbage, fmt.Errorf("%w: it ends there", errGarbage)}
	}
	return err
}

func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// tailored keeps copies of TLS configurations with what this package adds, so that a configuration that is asked for
// again and again is copied once and its session tickets stay valid.
type tailored struct {
	mu   sync.Mutex // guards all below
	made map[*tls.Config]*tls.Config
}

// maxTailored is more than the configurations that are in use at a time.
const maxTailored = 64

func (t *tailored) tailor(base *tls.Config, add func(*tls.Config)) *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.made[base]; ok {
		return c
	}
	if len(t.made) >= maxTailored || t.made == nil {
		t.made = map[*tls.Config]*tls.Config{}
	}
	c := base.Clone()
	add(c)
	t.made[base] = c
	return c
}
