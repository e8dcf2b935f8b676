package cert

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
)

// who says what a side of the matrix has.
type who struct {
	in, out, name bool // verify_incoming, verify_outgoing, verify_server_hostname
	cert          string
	stranger      bool // its CA is another
}

func TestWhoMayConnect(t *testing.T) {
	home, away := newCA(t), newCA(t)
	make := func(w who) *Set {
		c := Conf{CAFile: home.path("ca.pem")}
		if w.stranger {
			c.CAFile = away.path("ca.pem")
		}
		if w.cert != "" {
			issuer := home
			if w.stranger {
				issuer = away
			}
			trust := c.CAFile
			c = issuer.conf(w.cert, 100)
			c.CAFile = trust
		}
		c.VerifyIncoming, c.VerifyOutgoing, c.VerifyName = w.in, w.out, w.name
		return load(t, c)
	}
	const server, other = "server.dc1.consul", "client.dc1.consul"
	for name, test := range map[string]struct {
		from, to who
		ok       bool
	}{
		"TLS, nobody asked for a certificate":    {who{out: true}, who{cert: server}, true},
		"mutual":                                 {who{out: true, cert: other}, who{in: true, cert: server}, true},
		"mutual, and the name":                   {who{name: true, cert: other}, who{in: true, cert: server}, true},
		"no certificate where one is demanded":   {who{out: true}, who{in: true, cert: server}, false},
		"a stranger's where one is demanded":     {who{out: true, cert: other, stranger: true}, who{in: true, cert: server}, false},
		"plain text to TLS":                      {who{cert: other}, who{in: true, cert: server}, false},
		"a server of another CA":                 {who{out: true, cert: other}, who{cert: server, stranger: true}, false},
		"a server of another CA, by name":        {who{name: true, cert: other}, who{cert: server, stranger: true}, false},
		"a server without the name, any will do": {who{out: true, cert: other}, who{in: true, cert: other}, true},
		"a server without the name":              {who{name: true, cert: other}, who{in: true, cert: other}, false},
		"the name, both flags":                   {who{name: true, out: true}, who{cert: server}, true},
	} {
		t.Run(name, func(t *testing.T) {
			state, err := shake(t, make(test.to).Incoming(), make(test.from).Outgoing(server))
			if (err == nil) != test.ok {
				t.Fatalf("error %v, want it to work: %v", err, test.ok)
			}
			if test.ok && test.to.in && len(state.VerifiedChains) == 0 {
				t.Error("the client's certificate was not verified")
			}
		})
	}
}

func TestNameIsRequired(t *testing.T) {
	home := newCA(t)
	c := home.conf("server.dc1.consul", 10)
	c.VerifyName = true
	s := load(t, c)
	err := s.Outgoing("").VerifyConnection(tls.ConnectionState{PeerCertificates: s.chain})
	if err == nil || !strings.Contains(err.Error(), "nothing tells whose name") {
		t.Errorf("connected to nobody in particular although names are verified: %v", err)
	}
	for _, name := range []string{"", "server.dc2.consul"} { // who dials puts another name there, which the server bears
		set := s.Outgoing(name).Clone()
		set.ServerName = "server.dc1.consul"
		if _, err := shake(t, s.Incoming(), set); err == nil {
			t.Errorf("asked for %q, and ServerName decided", name)
		}
	}
	if _, err := shake(t, s.Incoming(), s.Outgoing("server.dc2.consul")); err == nil {
		t.Error("connected to a server of another datacenter")
	}
}

// TestUse: a certificate that says that it is for clients makes no server.
func TestUse(t *testing.T) {
	home := newCA(t)
	s := subject(t, "server.dc1.consul", 10)
	s.DNS, s.Peer = []string{s.Name}, false
	template := s.template()
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	p, err := sign(template, home.Authority)
	if err != nil {
		t.Fatal(err)
	}
	c := Conf{CAFile: home.path("ca.pem"), CertFile: home.write("c.pem", p.Cert), KeyFile: home.write("k.pem", p.Key), VerifyIncoming: true}
	server := load(t, home.conf("server.dc1.consul", 10))
	for _, name := range []bool{false, true} {
		c.VerifyOutgoing, c.VerifyName = true, name
		if _, err := shake(t, load(t, c).Incoming(), load(t, c).Outgoing("server.dc1.consul")); err == nil {
			t.Error("a client's certificate served")
		}
		if _, err := shake(t, server.Incoming(), load(t, c).Outgoing("server.dc1.consul")); err != nil {
			t.Errorf("it cannot be a client's: %v", err)
		}
	}
}

func TestWithoutTLS(t *testing.T) {
	s := load(t, Conf{})
	if s.Incoming() != nil || s.Outgoing("x") != nil {
		t.Error("TLS without a certificate or an authority")
	}
	if _, ok := s.Expiry(); ok || s.Bears("x") || len(s.Warnings()) > 0 {
		t.Error("something could expire, bears a name or is warned of")
	}
}

func TestVersions(t *testing.T) {
	home := newCA(t)
	c := home.conf("a", 10)
	c.VerifyOutgoing = true
	old, set := c, load(t, c)
	old.MinVersion = tls.VersionTLS10
	weak := load(t, old).Outgoing("a").Clone()
	weak.MaxVersion = tls.VersionTLS11
	if _, err := shake(t, set.Incoming(), weak); err == nil {
		t.Error("TLS 1.1 got in although the default is 1.2")
	}
	one := c
	one.Suites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	capped := set.Outgoing("a").Clone()
	capped.MaxVersion = tls.VersionTLS12
	state, err := shake(t, load(t, one).Incoming(), capped)
	if err != nil || state.CipherSuite != one.Suites[0] {
		t.Errorf("suite %s, error %v", tls.CipherSuiteName(state.CipherSuite), err)
	}
}

// TestReload replaces certificate and authority under a running listener.
func TestReload(t *testing.T) {
	home, away := newCA(t), newCA(t)
	c := home.conf("a", 10)
	c.VerifyIncoming, c.VerifyOutgoing = true, true
	k, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	before := k.Now()
	serial := func() string {
		t.Helper()
		state, err := shake(t, k.Now().Incoming(), k.Now().Outgoing("a"))
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	changed := k.Changed()

	good, err := os.ReadFile(c.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	next := home.pairOf("a", 20)
	home.write("a-key.pem", next.Key) // the certificate is not there yet
	err = k.Reload(c)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte(c.KeyFile)) || bytes.Contains([]byte(err.Error()), good) {
		t.Fatalf("half a pair was taken over, or the error does not name it: %v", err)
	}
	if k.Now() != before || serial() != first {
		t.Fatal("the old certificates did not stay")
	}
	select {
	case <-changed:
		t.Fatal("a reload that failed was announced")
	default:
	}

	home.write("a.pem", next.Cert)
	if err := k.Reload(c); err != nil {
		t.Fatal(err)
	}
	<-changed
	if serial() == first {
		t.Fatal("the new certificate is not used")
	}

	// Another authority: whoever the old one vouched for stays out, also if it was in before.
	foreign := away.conf("a", 10)
	foreign.VerifyIncoming, foreign.VerifyOutgoing = true, true
	old := k.Now().Outgoing("a")
	if err := k.Reload(foreign); err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, k.Now().Incoming(), old); err == nil {
		t.Fatal("a certificate of the old authority was let in")
	}
	serial()
}

// TestNoResumption holds that a client that was in before is verified anew.
func TestNoResumption(t *testing.T) {
	c := newCA(t).conf("a", 10)
	c.VerifyIncoming, c.VerifyOutgoing = true, true
	s := load(t, c)
	out, in := s.Outgoing("a").Clone(), s.Incoming()
	again := s.Outgoing("a")
	if out == again || again != s.Outgoing("a") || in != s.Incoming() {
		t.Error("not the same each time")
	}
	out.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for range 2 {
		state, err := shake(t, in, out)
		if err != nil || state.DidResume {
			t.Fatalf("resumed: %v, error: %v", state.DidResume, err)
		}
	}
}
