package cert

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// ca is an authority whose files lie in a directory.
type ca struct {
	t    testing.TB
	dir  string
	pair Pair
	*Authority
}

func subject(t testing.TB, name string, days int) Subject {
	t.Helper()
	serial, err := NewSerial()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	return Subject{Serial: serial, Name: name, From: now.Add(-48 * time.Hour), Until: now.AddDate(0, 0, days), Peer: true}
}

func newCA(t testing.TB, permitted ...string) *ca {
	t.Helper()
	s := subject(t, "Test CA", 1000)
	s.Permitted = permitted
	p, err := NewAuthority(s)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ReadAuthority(p)
	if err != nil {
		t.Fatal(err)
	}
	c := &ca{t, t.TempDir(), p, a}
	c.write("ca.pem", p.Cert)
	return c
}

func (c *ca) path(name string) string { return filepath.Join(c.dir, name) }

func (c *ca) write(name string, data []byte) string {
	c.t.Helper()
	path := c.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func (c *ca) pairOf(name string, days int) Pair {
	c.t.Helper()
	s := subject(c.t, name, days)
	s.DNS = []string{name}
	issue := c.Issue
	if days < 0 { // which Issue refuses to sign
		issue = func(s Subject) (Pair, error) { return sign(s.template(), c.Authority) }
	}
	p, err := issue(s)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// conf issues a certificate and returns a Conf of it that trusts the authority.
func (c *ca) conf(name string, days int) Conf {
	c.t.Helper()
	p := c.pairOf(name, days)
	return Conf{CAFile: c.path("ca.pem"), CertFile: c.write(name+".pem", p.Cert), KeyFile: c.write(name+"-key.pem", p.Key)}
}

func load(t testing.TB, c Conf) *Set {
	t.Helper()
	s, err := Load(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shake has two processes talk on real sockets: each says something and hears the other's. in is what comes in is held to,
// out the other side; out nil speaks plain text.
func shake(t testing.TB, in, out *tls.Config) (server tls.ConnectionState, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type end struct {
		state tls.ConnectionState
		err   error
	}
	served := make(chan end, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			served <- end{err: err}
			return
		}
		conn := tls.Server(raw, in)
		defer conn.Close()
		err = talk(conn)
		served <- end{conn.ConnectionState(), err}
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := raw
	if out != nil {
		conn = tls.Client(raw, out)
	}
	err = talk(conn)
	conn.Close()
	s := <-served
	if s.err != nil { // says more than "remote error"
		err = s.err
	}
	return s.state, err
}

func talk(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	said := bytes.Repeat([]byte{7}, 64) // enough to be told from a handshake
	if _, err := c.Write(said); err != nil {
		return err
	}
	_, err := io.ReadFull(c, said)
	return err
}
