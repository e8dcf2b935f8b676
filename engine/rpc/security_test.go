package rpc

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rostra/kit/cert"
)

// office is a certificate authority and the directory of its files.
type office struct {
	t   *testing.T
	dir string
	*cert.Authority
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir()}
	p, err := cert.NewAuthority(o.subject("CA"))
	if err != nil {
		t.Fatal(err)
	}
	if o.Authority, err = cert.ReadAuthority(p); err != nil {
		t.Fatal(err)
	}
	o.write("ca.pem", p.Cert)
	return o
}

func (o *office) subject(name string) cert.Subject {
	o.t.Helper()
	serial, err := cert.NewSerial()
	if err != nil {
		o.t.Fatal(err)
	}
	return cert.Subject{Serial: serial, Name: name, DNS: []string{name, "localhost"}, Peer: true,
		From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}
}

func (o *office) write(name string, data []byte) string {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// badge returns the Conf of an agent whose certificate bears the name; "" has none.
func (o *office) badge(name string) cert.Conf {
	o.t.Helper()
	c := cert.Conf{CAFile: filepath.Join(o.dir, "ca.pem")}
	if name == "" {
		return c
	}
	p, err := o.Issue(o.subject(name))
	if err != nil {
		o.t.Fatal(err)
	}
	c.CertFile, c.KeyFile = o.write(name+".pem", p.Cert), o.write(name+"-key.pem", p.Key)
	return c
}

func keeper(t *testing.T, c cert.Conf) *cert.Keeper {
	t.Helper()
	k, err := cert.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// answering runs a server port whose log streams are echoed.
func answering(t *testing.T, s Security) (*Port, Target) {
	t.Helper()
	l := listen(t)
	p, stop := begin(t, Options{Listener: l, Handler: handler{}, Security: s})
	ended := make(chan struct{})
	streams := p.Streams()
	go func() {
		defer close(ended)
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1)
			if _, err := io.ReadFull(c, b); err == nil {
				_, _ = c.Write(b)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { stop(); _ = streams.Close(); <-ended })
	return p, Target{Address: l.Addr().String(), Server: "server.dc1.consul"}
}

// call and logs say whether a Port with this Security gets through.
func call(t *testing.T, s Security, to Target) error {
	t.Helper()
	p, stop := begin(t, Options{Security: s})
	defer stop()
	_, err := p.Call(within5(t), to, "m", nil)
	return err
}

func logs(t *testing.T, s Security, to Target) error {
	t.Helper()
	p, stop := begin(t, Options{Security: s, LogServer: to.Server})
	defer stop()
	c, err := p.Streams().Dial(to.Address, 20*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

func TestWhoMayComeIn(t *testing.T) {
	home, away := newOffice(t), newOffice(t)
	const server, other, client = "server.dc1.consul", "server.dc2.consul", "client.dc1.consul"
	const in, out, name = 1, 2, 4 // the flags verify_incoming, verify_outgoing, verify_server_hostname
	of := func(o *office, bearing string, flags int) Security {
		c := o.badge(bearing)
		c.VerifyIncoming, c.VerifyOutgoing, c.VerifyName = flags&in > 0, flags&out > 0, flags&name > 0
		return Certified(keeper(t, c), ServerName("dc1", "consul."))
	}
	plain := of(home, "", 0)
	for what, test := range map[string]struct {
		from, to   Security
		call, logs bool
	}{
		"plain text, no TLS anywhere":          {plain, plain, true, true},
		"plain text, TLS is offered":           {plain, of(home, server, 0), true, true},
		"plain text, TLS is demanded":          {plain, of(home, server, in), false, false},
		"TLS, none is offered":                 {of(home, client, out), plain, false, false},
		"TLS, nobody asks who":                 {of(home, "", out), of(home, server, 0), true, true},
		"TLS without a certificate":            {of(home, "", out), of(home, server, in), false, false},
		"TLS with a client's":                  {of(home, client, out), of(home, server, in), true, true},
		"a client's, the log is for servers":   {of(home, client, out), of(home, server, in|name), true, false},
		"a server's, the log is for servers":   {of(home, server, name), of(home, server, in|name), true, true},
		"a server's of another datacenter":     {of(home, other, out), of(home, server, in|name), true, false},
		"names without demanding certificates": {of(home, client, out), of(home, server, name), true, true},
		"a client that plays a server":         {of(home, client, name), of(home, client, in), false, false},
		"nobody verifies its name":             {of(home, client, out), of(home, client, in), true, true},
		"a server of another CA":               {of(home, client, out), of(away, server, 0), false, false},
		"a client of another CA":               {of(away, client, 0), of(home, server, in), false, false},
	} {
		t.Run(what, func(t *testing.T) {
			_, to := answering(t, test.to)
			if err := call(t, test.from, to); (err == nil) != test.call {
				t.Errorf("a call: %v, want it to work: %v", err, test.call)
			}
			if err := logs(t, test.from, to); (err == nil) != test.logs {
				t.Errorf("a log stream: %v, want it to work: %v", err, test.logs)
			}
		})
	}
}

// TestCertificatesAreReloaded under a port that goes on running: what comes next is held to the new ones.
func TestCertificatesAreReloaded(t *testing.T) {
	home, away := newOffice(t), newOffice(t)
	conf := func(o *office, bearing string) cert.Conf {
		c := o.badge(bearing)
		c.VerifyIncoming, c.VerifyName = true, true
		return c
	}
	const name = "server.dc1.consul"
	certs := keeper(t, home.badge(name)) // TLS is offered
	port, to := answering(t, Certified(certs, name))
	ours, theirs := Certified(keeper(t, conf(home, name)), name), Certified(keeper(t, conf(away, name)), name)
	plain := Certified(keeper(t, cert.Conf{}), name)

	long, _ := begin(t, Options{Security: ours})
	if _, err := long.Call(within5(t), to, "m", nil); err != nil {
		t.Fatal(err)
	}
	want := func(when string, s Security, ok bool) {
		t.Helper()
		if err := logs(t, s, to); (err == nil) != ok {
			t.Errorf("%s: %v, want it to work: %v", when, err, ok)
		}
	}
	want("plain text before", plain, true)
	if err := certs.Reload(conf(home, name)); err != nil {
		t.Fatal(err)
	}
	want("plain text, TLS is demanded now", plain, false)
	want("ours", ours, true)
	want("theirs", theirs, false)
	if err := certs.Reload(conf(away, name)); err != nil {
		t.Fatal(err)
	}
	want("ours, after the CA changed", ours, false)
	want("theirs, after the CA changed", theirs, true)
	if _, err := long.Call(within5(t), to, "m", nil); err != nil {
		t.Errorf("a connection from before was broken: %v", err)
	}
	if n := port.Counters(); n["rpc.refused.plain"] == 0 || n["rpc.refused.tls"] == 0 {
		t.Errorf("refusals are not counted: %v", n)
	}
}
