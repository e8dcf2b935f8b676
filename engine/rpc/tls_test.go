package rpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rostra/kit/fault"
)

// authority signs certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	a.cert, a.key = sign(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign})
	a.pool.AddCert(a.cert)
	return a
}

var serial atomic.Int64

func sign(t testing.TB, by *authority, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(serial.Add(1))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := template, key
	if by != nil {
		parent, parentKey = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) leaf(t testing.TB, name string) tls.Certificate {
	t.Helper()
	cert, key := sign(t, a, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// security is mutual TLS as an agent would be configured: names are verified, and only servers may open log streams.
type security struct {
	in, out atomic.Pointer[tls.Config]
	plain   bool
	server  string
}

func (a *authority) security(cert tls.Certificate) *security {
	s := &security{server: "server.dc1.consul"}
	s.in.Store(&tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12})
	s.out.Store(&tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: a.pool, MinVersion: tls.VersionTLS12})
	return s
}

func (s *security) Incoming() *tls.Config       { return s.in.Load() }
func (s *security) Outgoing(Target) *tls.Config { return s.out.Load() }
func (s *security) Plain() bool                 { return s.plain }

func (s *security) LogPeer(state tls.ConnectionState) error {
	if !slices.Contains(state.PeerCertificates[0].DNSNames, s.server) {
		return errors.New("its certificate is no server's")
	}
	return nil
}

// secure runs a server with TLS.
func secure(t testing.TB, s Security, h Handler, log *lines) (*Port, Target) {
	t.Helper()
	l := listen(t)
	p, _ := begin(t, Options{Listener: l, Handler: h, Security: s, Log: log.logger()})
	return p, Target{Address: l.Addr().String(), Server: "server.dc1.consul"}
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	who := handler{call: func(_ context.Context, from Peer, _ string, _ []byte) ([]byte, error) {
		return []byte(from.Certificates[0].Subject.CommonName), nil
	}}
	server, to := secure(t, ca.security(ca.leaf(t, "server.dc1.consul")), who, &lines{})
	client, _ := begin(t, Options{Security: ca.security(ca.leaf(t, "client.dc1.consul"))})
	other, _ := begin(t, Options{Security: ca.security(ca.leaf(t, "server.dc1.consul")), LogServer: "server.dc1.consul"})

	if name, err := client.Call(within5(t), to, "m", nil); err != nil || string(name) != "client.dc1.consul" {
		t.Errorf("a call: %q, %v", name, err)
	}
	s, err := client.Stream(within5(t), to, "echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Recv(); err != nil || string(b) != "x" {
		t.Errorf("a stream: %q, %v", b, err)
	}

	sent, err := other.Streams().Dial(to.Address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sent.Close() }()
	if _, err := io.WriteString(sent, "entries"); err != nil {
		t.Fatal(err)
	}
	got, err := server.Streams().Accept()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 7)
	if _, err := io.ReadFull(got, buf); err != nil || string(buf) != "entries" {
		t.Errorf("a log stream: %q, %v", buf, err)
	}
}

// TestTLSRefused: who lacks what is asked of it gets nothing, it is counted, and its calls were not applied.
func TestTLSRefused(t *testing.T) {
	ca, foreign := newAuthority(t), newAuthority(t)
	mine := ca.security(ca.leaf(t, "client.dc1.consul"))
	mine.server = "server.dc2.consul"
	nameless := ca.security(ca.leaf(t, "client.dc1.consul"))
	nameless.out.Store(&tls.Config{RootCAs: ca.pool})
	for _, c := range []struct {
		name    string
		client  Security
		to      string // the name wanted of the server; "" is the right one
		counter string
		text    string
	}{
		{"plain", nil, "", "rpc.refused.plain", "may require TLS"},
		{"no certificate", nameless, "", "rpc.refused.tls", "this agent's certificate"},
		{"foreign certificate", foreign.security(foreign.leaf(t, "server.dc1.consul")), "", "rpc.refused.tls", "unknown authority"},
		{"wrong server", mine, "server.dc2.consul", "rpc.refused.tls", "not server.dc2.consul"},
	} {
		log := &lines{}
		server, to := secure(t, ca.security(ca.leaf(t, "server.dc1.consul")), handler{}, log)
		client, _ := begin(t, Options{Security: c.client})
		if c.to != "" {
			to.Server = c.to
		}
		_, err := client.Call(within5(t), to, "m", nil)
		wantFault(t, err, fault.NotApplied, c.text)
		eventually(t, c.name+" is counted", func() bool { return server.Counters()[c.counter] > 0 })
		if n := log.count("refused a connection"); n != 1 {
			t.Errorf("%s: logged %d times", c.name, n)
		}
		if n := server.Counters()["rpc.served.calls"]; n != 0 {
			t.Errorf("%s: served %d calls", c.name, n)
		}
	}
}

// TestTLSLogPeer: an agent that is no server may call but opens no log stream.
func TestTLSLogPeer(t *testing.T) {
	ca := newAuthority(t)
	server, to := secure(t, ca.security(ca.leaf(t, "server.dc1.consul")), handler{}, &lines{})
	client, _ := begin(t, Options{Security: ca.security(ca.leaf(t, "client.dc1.consul")), LogServer: "server.dc1.consul"})
	sent, err := client.Streams().Dial(to.Address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sent.Close() }()
	if _, err := sent.Read(make([]byte, 1)); err == nil {
		t.Error("the server sends something")
	}
	eventually(t, "the peer is counted", func() bool { return server.Counters()["rpc.refused.peer"] == 1 })
	if _, err := client.Call(within5(t), to, "m", nil); err != nil {
		t.Errorf("a call: %v", err)
	}
}

func TestTLSUnconfigured(t *testing.T) {
	ca := newAuthority(t)
	server, _, to := pair(t, handler{})
	client, _ := begin(t, Options{Security: ca.security(ca.leaf(t, "client.dc1.consul"))})
	_, err := client.Call(within5(t), to, "m", nil)
	wantFault(t, err, fault.NotApplied, "may not speak TLS")
	if n := server.Counters()["rpc.refused.tls"]; n == 0 {
		t.Error("it is not counted")
	}
}

// TestTLSBoth: a server that is being moved to TLS takes both.
func TestTLSBoth(t *testing.T) {
	ca := newAuthority(t)
	s := ca.security(ca.leaf(t, "server.dc1.consul"))
	s.plain = true
	_, to := secure(t, s, handler{}, &lines{})
	for _, security := range []Security{nil, ca.security(ca.leaf(t, "client.dc1.consul"))} {
		client, _ := begin(t, Options{Security: security})
		if _, err := client.Call(within5(t), to, "m", nil); err != nil {
			t.Error(err)
		}
	}
}

// TestTLSReload: a new certificate serves new connections without a restart.
func TestTLSReload(t *testing.T) {
	ca := newAuthority(t)
	s := ca.security(ca.leaf(t, "old.dc1.consul"))
	_, to := secure(t, s, handler{}, &lines{})
	client, _ := begin(t, Options{Security: ca.security(ca.leaf(t, "client.dc1.consul"))})
	if _, err := client.Call(within5(t), to, "m", nil); !fault.Is(err, fault.NotApplied) {
		t.Errorf("the old certificate: %v", err)
	}
	s.in.Store(ca.security(ca.leaf(t, "server.dc1.consul")).in.Load())
	client.Forget(to.Address)
	if _, err := client.Call(within5(t), to, "m", nil); err != nil {
		t.Errorf("the new certificate: %v", err)
	}
}

// TestTLSProtocol: inside TLS too, what comes must be what was agreed on.
func TestTLSProtocol(t *testing.T) {
	ca := newAuthority(t)
	server, to := secure(t, ca.security(ca.leaf(t, "server.dc1.consul")), handler{}, &lines{})
	for _, c := range []struct {
		protocols []string
		send      string
		counter   string
	}{
		{[]string{"h2"}, "GET / HTTP/1.1\r\n\r\n", "rpc.refused.garbage"},
		{[]string{"h2"}, magic, "rpc.refused.garbage"},
		{nil, preface, "rpc.refused.tls"},
		{[]string{"http/1.1"}, preface, "rpc.refused.tls"},
	} {
		before := server.Counters()[c.counter]
		config := ca.security(ca.leaf(t, "client.dc1.consul")).out.Load().Clone()
		config.ServerName, config.NextProtos = to.Server, c.protocols
		raw, err := net.Dial("tcp", to.Address)
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(raw, config)
		_, _ = io.WriteString(conn, c.send) // the handshake may fail, and shall be counted then
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%v %q is answered", c.protocols, c.send)
		}
		eventually(t, "it is counted", func() bool { return server.Counters()[c.counter] == before+1 })
		_ = conn.Close()
	}
}

// TestTLSElsewhere: a server that speaks TLS but knows none of our protocols is told apart.
func TestTLSElsewhere(t *testing.T) {
	ca := newAuthority(t)
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{ca.leaf(t, "server.dc1.consul")}})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	})
	defer serving.Wait()
	defer func() { _ = l.Close() }()
	client, stop := begin(t, Options{Security: ca.security(ca.leaf(t, "client.dc1.consul"))})
	defer stop()
	_, err := client.Call(within5(t), Target{Address: l.Addr().String(), Server: "server.dc1.consul"}, "m", nil)
	wantFault(t, err, fault.NotApplied, "it is no server port of Rostra")
}
