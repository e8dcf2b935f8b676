package relay_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rostra/engine/relay"
	"rostra/engine/rpc"
	"rostra/engine/server"
	"rostra/kit/cert"
	"rostra/kit/fault"
)

// badges returns what makes the Security of an agent with a certificate that bears the name. All demand and verify.
func badges(t *testing.T) func(name string) rpc.Security {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	subject := func(name string) cert.Subject {
		serial, err := cert.NewSerial()
		if err != nil {
			t.Fatal(err)
		}
		return cert.Subject{Serial: serial, Name: name, DNS: []string{name}, Peer: true, From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}
	}
	root, err := cert.NewAuthority(subject("CA"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := cert.ReadAuthority(root)
	if err != nil {
		t.Fatal(err)
	}
	file := write("ca.pem", root.Cert)
	return func(name string) rpc.Security {
		pair, err := ca.Issue(subject(name))
		if err != nil {
			t.Fatal(err)
		}
		k, err := cert.Open(cert.Conf{CAFile: file, CertFile: write(name+".pem", pair.Cert), KeyFile: write(name+"-key.pem", pair.Key),
			VerifyIncoming: true, VerifyOutgoing: true, VerifyName: true})
		if err != nil {
			t.Fatal(err)
		}
		return rpc.Certified(k, rpc.ServerName("dc1", "consul."))
	}
}

// open runs a port until the test's end.
func open(t *testing.T, o rpc.Options) *rpc.Port {
	t.Helper()
	p, err := rpc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return p
}

// TestAClientsCertificateMakesNoServer: with verify_incoming and verify_server_hostname what servers say to one another is
// taken from their certificates alone. A client agent goes on asking and writing.
func TestAClientsCertificateMakesNoServer(t *testing.T) {
	_, host := connected(t)
	badge := badges(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := open(t, rpc.Options{Listener: l, Handler: host, Security: badge("server.dc1.consul")})
	types, err := server.NewTypes(rooms)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		name   string
		serves bool
	}{{"client.dc1.consul", false}, {"server.dc2.consul", false}, {"server.dc1.consul", true}} {
		clients := relay.NewClients(types, open(t, rpc.Options{Security: badge(one.name)}), time.Second)
		c := clients.To(rpc.Target{Address: l.Addr().String(), Server: "server.dc1.consul"})
		before := port.Counters()["rpc.refused.peer"]
		_, confirmed := c.Confirm(context.Background(), "s1", 1)
		_, reached := c.Reach(context.Background(), "s1", 2)
		_, _, formed := c.Forming(context.Background(), "s2")
		_, owned := send(t, c, &own{say{word{"mine"}}}, true)
		for what, err := range map[string]error{"confirm": confirmed, "reach": reached, "forming": formed, "the leader's own Command": owned} {
			if fault.Is(err, fault.Refused) == one.serves {
				t.Errorf("%s: %s: %v", one.name, what, err)
			}
		}
		if n := port.Counters()["rpc.refused.peer"] - before; (n == 4) == one.serves {
			t.Errorf("%s: %d refusals are counted", one.name, n)
		}
		if r, err := send(t, c, &say{word{"yes"}}, false); r != "said yes" || err != nil {
			t.Errorf("%s: an ordinary write: %v, %v", one.name, r, err)
		}
		clients.Close()
	}
}
