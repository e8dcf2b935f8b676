package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"rostra/kit/cert"
	"rostra/kit/cli/clitest"
)

func run(t *testing.T, args ...string) {
	t.Helper()
	if got := clitest.Run(t, Verbs(), nil, "", args...); got.Code != 0 {
		t.Fatalf("%v: %+v", args, got)
	}
}

func parsed(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	list, err := cert.Parse(text)
	if err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	return list[0]
}

// TestCertificatesSay holds what the verbs make to the table of cli.md.
func TestCertificatesSay(t *testing.T) {
	t.Chdir(t.TempDir())
	run(t, "tls", "ca", "create")
	ca := parsed(t, "consul-agent-ca.pem")
	if want := "Consul Agent CA " + ca.SerialNumber.String(); ca.Subject.CommonName != want || !ca.IsCA ||
		ca.KeyUsage&x509.KeyUsageCertSign == 0 || ca.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() {
		t.Errorf("the CA is %s", ca.Subject)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	peer := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, test := range []struct {
		args, file, names, ips string
		use                    []x509.ExtKeyUsage
		days                   int
	}{
		{"-server", "dc1-server-consul-0.pem", "server.dc1.consul localhost", "[127.0.0.1]", peer, 365},
		{"-server -node n1 -days 30", "dc1-server-consul-1.pem", "n1.server.dc1.consul server.dc1.consul localhost", "[127.0.0.1]", peer, 30},
		{"-client -dc dc2 -additional-dnsname a.b -additional-dnsname localhost", "dc2-client-consul-0.pem", "a.b localhost client.dc2.consul", "[127.0.0.1]", peer, 365},
		{"-cli -additional-ipaddress ::1", "dc1-cli-consul-0.pem", "cli.dc1.consul localhost", "[::1]", nil, 365},
	} {
		run(t, append([]string{"tls", "cert", "create"}, strings.Fields(test.args)...)...)
		c := parsed(t, test.file)
		left := time.Until(c.NotAfter) - time.Until(time.Now().AddDate(0, 0, test.days))
		if got := strings.Join(c.DNSNames, " "); got != test.names || fmt.Sprint(c.IPAddresses) != test.ips ||
			fmt.Sprint(c.ExtKeyUsage) != fmt.Sprint(test.use) || c.IsCA || left.Abs() > time.Hour {
			t.Errorf("%s: %s %v, usage %v, until %s", test.args, got, c.IPAddresses, c.ExtKeyUsage, c.NotAfter)
		}
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("%s: %v", test.args, err)
		}
		if _, err := cert.Load(cert.Conf{CAFile: "consul-agent-ca.pem", CertFile: test.file,
			KeyFile: strings.Replace(test.file, ".pem", "-key.pem", 1), VerifyIncoming: true}); err != nil {
			t.Errorf("%s: an agent cannot use it: %v", test.args, err)
		}
	}
}

// TestNothingIsOverwritten: either file of a pair that is there keeps both.
func TestNothingIsOverwritten(t *testing.T) {
	for _, there := range []string{"consul-agent-ca.pem", "consul-agent-ca-key.pem"} {
		t.Chdir(t.TempDir())
		if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := clitest.Run(t, Verbs(), nil, "", "tls", "ca", "create")
		if got.Code != 1 || !strings.Contains(got.Err, there+" already exists") {
			t.Errorf("%+v", got)
		}
		if text, err := os.ReadFile(there); err != nil || string(text) != "mine" {
			t.Errorf("%s is now %q, %v", there, text, err)
		}
		if all, err := os.ReadDir("."); err != nil || len(all) != 1 {
			t.Errorf("%v, %v", all, err)
		}
	}
}
