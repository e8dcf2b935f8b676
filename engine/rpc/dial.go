package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// dial opens a connection that speaks protocol, one of the ALPN names, secured as Security wants it.
func (p *Port) dial(ctx context.Context, to Target, protocol string) (net.Conn, error) {
	p.counts.add(dialed)
	c, err := p.opts.Dial(ctx, to.Address)
	if err == nil {
		var secured net.Conn
		if secured, err = p.introduce(ctx, c, to, protocol); err == nil {
			return secured, nil
		}
		_ = c.Close()
	}
	p.counts.add(dialFailed)
	return nil, err
}

// introduce does on a new connection what the other end expects first.
func (p *Port) introduce(ctx context.Context, c net.Conn, to Target, protocol string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.HandshakeTimeout)
	defer cancel()
	var config *tls.Config
	if p.opts.Security != nil {
		config = p.opts.Security.Outgoing(to)
	}
	if config == nil {
		if protocol == alpnCalls {
			return c, nil // gRPC sends the preface
		}
		limit, _ := ctx.Deadline()
		err := c.SetWriteDeadline(limit)
		if err == nil {
			_, err = io.WriteString(c, magic)
		}
		if err == nil {
			err = c.SetWriteDeadline(time.Time{})
		}
		return c, err
	}
	secured := tls.Client(c, p.outgoing(config, to, protocol))
	if err := secured.HandshakeContext(ctx); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			err = errors.New("the server hung up; its server port may not speak TLS")
		}
		return nil, fmt.Errorf("TLS handshake with %s: %w", to.Address, err)
	}
	if got := secured.ConnectionState().NegotiatedProtocol; got != protocol {
		return nil, fmt.Errorf("TLS handshake with %s: the server agreed to %q instead of %q; it is no server port of Rostra", to.Address, got, protocol)
	}
	return secured, nil
}

// outgoing is not kept for reuse: dials are rare, and differ by protocol and by name.
func (p *Port) outgoing(config *tls.Config, to Target, protocol string) *tls.Config {
	c := config.Clone()
	c.NextProtos = []string{protocol}
	if c.ServerName == "" {
		c.ServerName = to.Server
	}
	if c.ServerName == "" {
		if host, _, err := net.SplitHostPort(to.Address); err == nil {
			c.ServerName = host
		}
	}
	return c
}

// Streams is the log layer of a Port: Accept gives the log streams that come in, Dial opens one. Closing it ends only
// Accept. What it gives is the caller's to close.
type Streams struct {
	*queue
	port *Port
}

// Streams returns the log layer. There is one; who takes it must accept what comes in.
func (p *Port) Streams() *Streams { return &Streams{p.streams, p} }

// Dial opens a log stream to a server port; timeout bounds it if it is above 0. The certificate must hold
// Options.LogServer if Security verifies names.
func (s *Streams) Dial(address string, timeout time.Duration) (net.Conn, error) {
	ctx := s.port.ending
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	c, err := s.port.dial(ctx, Target{Address: address, Server: s.port.opts.LogServer}, alpnLog)
	if err != nil {
		return nil, fmt.Errorf("cannot open a log stream to %s: %w", address, err)
	}
	return c, nil
}
