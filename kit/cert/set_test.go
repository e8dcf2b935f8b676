package cert

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWrongConf(t *testing.T) {
	home, away := newCA(t), newCA(t)
	ok := home.conf("a", 10)
	mixed := ok
	mixed.KeyFile = away.conf("a", 10).KeyFile
	junk := home.write("junk.pem", []byte("not PEM\n"))
	torn := home.write("torn.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0x82}}))
	locked := home.write("locked.pem", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))
	tree := filepath.Dir(home.write("tree/sub/junk.txt", []byte("hello")))
	empty := filepath.Join(home.dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	long := home.write("long.pem", make([]byte, maxFile+1))
	with := func(change func(*Conf)) Conf {
		c := ok
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		conf  Conf
		field string
		want  []string
	}{
		"file and directory":     {with(func(c *Conf) { c.CAPath = home.dir }), "ca_path", []string{"ca_file"}},
		"no key":                 {with(func(c *Conf) { c.KeyFile = "" }), "cert_file", []string{ok.CertFile, "key_file"}},
		"no certificate":         {with(func(c *Conf) { c.CertFile = "" }), "key_file", []string{ok.KeyFile, "cert_file"}},
		"incoming without CA":    {with(func(c *Conf) { c.CAFile, c.VerifyIncoming = "", true }), "verify_incoming", []string{"ca_file"}},
		"incoming without cert":  {Conf{CAFile: ok.CAFile, VerifyIncoming: true}, "verify_incoming", []string{"cert_file"}},
		"outgoing without CA":    {Conf{VerifyOutgoing: true}, "verify_outgoing", []string{"ca_file"}},
		"name without CA":        {Conf{VerifyName: true}, "verify_server_hostname", []string{"ca_file"}},
		"suites with 1.3":        {Conf{MinVersion: tls.VersionTLS13, Suites: []uint16{1}}, "tls_cipher_suites", []string{"TLS 1.3"}},
		"missing CA":             {with(func(c *Conf) { c.CAFile = "/nowhere/ca.pem" }), "ca_file", []string{"/nowhere/ca.pem", "no such file", "check the path"}},
		"missing certificate":    {with(func(c *Conf) { c.CertFile = "/nowhere/c.pem" }), "cert_file", []string{"/nowhere/c.pem"}},
		"missing key":            {with(func(c *Conf) { c.KeyFile = "/nowhere/k.pem" }), "key_file", []string{"/nowhere/k.pem"}},
		"CA that is none":        {with(func(c *Conf) { c.CAFile = junk }), "ca_file", []string{junk, "BEGIN CERTIFICATE"}},
		"CA that is torn":        {with(func(c *Conf) { c.CAFile = torn }), "ca_file", []string{torn, "damaged"}},
		"CA that is too long":    {with(func(c *Conf) { c.CAFile = long }), "ca_file", []string{long, "4 MiB"}},
		"CA that is a directory": {with(func(c *Conf) { c.CAFile = tree }), "ca_file", []string{tree, "directory"}},
		"junk in the directory":  {with(func(c *Conf) { c.CAFile, c.CAPath = "", home.dir+"/tree" }), "ca_path", []string{"tree/sub/junk.txt"}},
		"empty directory":        {with(func(c *Conf) { c.CAFile, c.CAPath = "", empty }), "ca_path", []string{empty}},
		"no directory":           {with(func(c *Conf) { c.CAFile, c.CAPath = "", "/nowhere" }), "ca_path", []string{"/nowhere"}},
		"certificate is a key":   {with(func(c *Conf) { c.CertFile = ok.KeyFile }), "cert_file", []string{ok.KeyFile, "BEGIN CERTIFICATE"}},
		"key is a certificate":   {with(func(c *Conf) { c.KeyFile = ok.CertFile }), "key_file", []string{ok.CertFile}},
		"key of another":         {mixed, "key_file", []string{mixed.KeyFile, ok.CertFile}},
		"key with a passphrase":  {with(func(c *Conf) { c.KeyFile = locked }), "key_file", []string{locked, "decrypt"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(test.conf)
			var e *Error
			if !errors.As(err, &e) || e.Field != test.field {
				t.Fatalf("error %v, want one of %s", err, test.field)
			}
			for _, w := range test.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
	if _, err := Load(ok); err != nil {
		t.Error(err)
	}
}

func TestCAPath(t *testing.T) {
	home, away := newCA(t), newCA(t)
	dir := home.path("trust")
	home.write("trust/..2026/deep/home.pem", home.pair.Cert)
	home.write("trust/away.pem", append([]byte("some text\n"), away.pair.Cert...))
	for link, to := range map[string]string{"..data": "..2026", "again.pem": "..2026/deep/home.pem"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	link := home.path("link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, link} {
		s := load(t, Conf{CAPath: path, VerifyOutgoing: true})
		for _, c := range []*ca{home, away} {
			if _, err := shake(t, load(t, c.conf("a", 10)).Incoming(), s.Outgoing("")); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	home, away := newCA(t), newCA(t)
	open := home.conf("open", 10)
	if err := os.Chmod(open.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	other := home.conf("other", 10)
	other.CAFile = away.path("ca.pem")
	leaf := home.conf("leaf", 10)
	leaf.CAFile = leaf.CertFile
	for name, test := range map[string]struct {
		conf Conf
		want string
	}{
		"all is well": {home.conf("fine", 10), ""},
		"open key":    {open, open.KeyFile + ": everybody on this machine can read the key"},
		"ended":       {home.conf("ended", -1), "the certificate is valid from"},
		"other CA":    {other, other.CertFile + ": no CA that is trusted here"},
		"not a CA":    {leaf, leaf.CAFile + ": the certificate \"leaf\" is not that of an authority"},
	} {
		got := strings.Join(load(t, test.conf).Warnings(), "\n")
		if !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s: warned %q, want %q", name, got, test.want)
		}
	}
}

func TestExpiry(t *testing.T) {
	home := newCA(t) // 1000 days
	lasting, brief := home.conf("lasting", 2000), home.conf("brief", 10)
	alone := brief
	alone.CAFile = ""
	renewed := lasting
	s := subject(t, "Test CA", 3000)
	renewed.CAFile = home.write("both.pem", append(append([]byte(nil), home.pair.Cert...), reissue(t, home, s)...))
	for name, test := range map[string]struct {
		conf Conf
		file string
		days int
	}{
		"the certificate":        {brief, brief.CertFile, 10},
		"its CA":                 {lasting, lasting.CAFile, 1000},
		"the CA was renewed":     {renewed, renewed.CertFile, 2000},
		"no CA":                  {alone, alone.CertFile, 10},
		"no certificate":         {Conf{CAFile: renewed.CAFile}, renewed.CAFile, 3000},
		"already gone: still it": {home.conf("gone", -1), home.path("gone.pem"), -1},
	} {
		e, ok := load(t, test.conf).Expiry()
		left := time.Until(e.Until) - time.Until(time.Now().AddDate(0, 0, test.days))
		if !ok || e.File != test.file || left.Abs() > time.Hour {
			t.Errorf("%s: %v %v, want %s in %d days", name, ok, e, test.file, test.days)
		}
	}
}

// reissue makes another certificate of the authority's key, as one does when an authority's ends.
func reissue(t *testing.T, c *ca, s Subject) []byte {
	t.Helper()
	template := s.template()
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(nil, template, template, c.key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestIssue(t *testing.T) {
	c := newCA(t, "consul", "localhost")
	leaf := c.pairOf("server.dc1.consul", 10)
	if _, err := ReadAuthority(leaf); err == nil || !strings.Contains(err.Error(), "not that of an authority") {
		t.Errorf("a leaf became an authority: %v", err)
	}
	s := subject(t, "x", 10)
	s.DNS = []string{"example.com"}
	if _, err := c.Issue(s); err == nil {
		t.Error("signed a name that it must not")
	}
	late := subject(t, "late", -1)
	if _, err := c.Issue(late); err == nil {
		t.Error("signed what has ended already")
	}
	p := newCA(t).pair
	if _, err := ReadAuthority(Pair{c.pair.Cert, p.Key}); err == nil {
		t.Error("took the key of another authority")
	}
	list, err := Parse(leaf.Cert)
	if err != nil || len(list[0].ExtKeyUsage) != 2 || list[0].IsCA || string(list[0].AuthorityKeyId) != string(c.cert.SubjectKeyId) {
		t.Errorf("%v, %+v", err, list)
	}
}

func TestParseSuitesAndVersion(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "",
		"TLS_AES_128_GCM_SHA256":   "TLS 1.3",
		"TLS_RSA_WITH_RC4_128_SHA": "not secure",
		"TLS_NONSENSE":             `"TLS_NONSENSE" is no cipher suite`,
	} {
		if _, err := ParseSuites(text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if v, err := ParseVersion("TLSv1_3"); v != tls.VersionTLS13 || err != nil {
		t.Error(v, err)
	}
	if _, err := ParseVersion("tls12"); err == nil {
		t.Error("tls12 is the spelling of another key")
	}
}

// FuzzParse: no text makes it panic, and what it takes can be used.
func FuzzParse(f *testing.F) {
	c := newCA(f)
	leaf := c.pairOf("a", 10)
	f.Add(c.pair.Cert, c.pair.Key)
	f.Add(append(append([]byte("text\n"), leaf.Cert...), c.pair.Cert...), leaf.Key)
	f.Add(leaf.Cert[:len(leaf.Cert)/2], leaf.Key[:10])
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nDEK-Info: x\n\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		list, err := Parse(cert)
		if (err == nil) != (len(list) > 0) {
			t.Fatalf("%d certificates, error %v", len(list), err)
		}
		if pair, err := parsePair(Pair{cert, key}); err == nil && (len(pair.Certificate) == 0 || pair.PrivateKey == nil) {
			t.Fatal("half a pair without an error")
		}
		_, _ = ReadAuthority(Pair{cert, key})
	})
}

// TestClient: outside the cluster our certificate is offered, our authorities are trusted, and names are verified.
func TestClient(t *testing.T) {
	ours, theirs := newCA(t), newCA(t)
	demanding := ours.conf("web.example", 1)
	demanding.VerifyIncoming = true
	web := load(t, demanding).Incoming()
	other := load(t, theirs.conf("web.example", 1)).Incoming()
	client := func(s *Set, name string) *tls.Config {
		if first := s.Client(); first != s.Client() {
			t.Error("it is not the same each time")
		}
		c := s.Client().Clone()
		c.ServerName = name
		return c
	}
	us := load(t, ours.conf("agent.example", 1))
	if _, err := shake(t, web, client(us, "web.example")); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct{ in, out *tls.Config }{
		"another name":      {web, client(us, "else.example")},
		"another authority": {other, client(us, "web.example")},
		"no certificate":    {web, client(load(t, Conf{CAFile: ours.conf("x", 1).CAFile}), "web.example")},
	} {
		if _, err := shake(t, c.in, c.out); err == nil {
			t.Errorf("%s: they talk", name)
		}
	}
	if load(t, Conf{}).Client().RootCAs != nil {
		t.Error("without authorities the machine's own are not trusted")
	}
}
