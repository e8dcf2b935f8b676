package cert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Conf says where certificates are, and what connections are held to.
type Conf struct {
	CAFile   string // authorities that are trusted: a PEM file
	CAPath   string // or a directory of such files, with all below it
	CertFile string // our own certificate, with those between it and the authority
	KeyFile  string

	MinVersion uint16   // of TLS; 0: 1.2
	Suites     []uint16 // cipher suites up to TLS 1.2; none: Go's choice

	VerifyIncoming bool // who connects must use TLS and show a certificate that a trusted authority signed
	VerifyOutgoing bool // connections out use TLS, to whom a trusted authority knows
	VerifyName     bool // and who bears the name that is asked for; has the effect of VerifyOutgoing too
}

// Error is what is wrong with one field of a Conf.
type Error struct {
	Field string // ca_file, ca_path, cert_file, key_file, verify_incoming, verify_outgoing, verify_server_hostname, tls_cipher_suites
	Err   error
}

func (e *Error) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func wrong(field, format string, args ...any) error {
	return &Error{field, fmt.Errorf(format, args...)}
}

// Check tells what is wrong with the fields, looking at no file. The error is an *Error.
func (c *Conf) Check() error {
	trust := c.CAFile != "" || c.CAPath != ""
	switch {
	case c.CAFile != "" && c.CAPath != "":
		return wrong("ca_path", "ca_file is set too: use one of them, so that it is clear who is trusted")
	case c.CertFile != "" && c.KeyFile == "":
		return wrong("cert_file", "%s has no key: set key_file too", c.CertFile)
	case c.KeyFile != "" && c.CertFile == "":
		return wrong("key_file", "%s has no certificate: set cert_file too", c.KeyFile)
	case c.VerifyIncoming && !trust:
		return wrong("verify_incoming", "no CA is there to verify clients with: set ca_file or ca_path")
	case c.VerifyIncoming && c.CertFile == "":
		return wrong("verify_incoming", "TLS needs a certificate of this agent: set cert_file and key_file")
	case c.VerifyName && !trust:
		return wrong("verify_server_hostname", "no CA is there to verify servers with: set ca_file or ca_path")
	case c.VerifyOutgoing && !trust:
		return wrong("verify_outgoing", "no CA is there to verify servers with: set ca_file or ca_path")
	case len(c.Suites) > 0 && c.MinVersion == tls.VersionTLS13:
		return wrong("tls_cipher_suites", "TLS 1.3 does not let them be chosen: remove it, or lower tls_min_version")
	}
	return nil
}

// trusted is a certificate of an authority, and where it was read.
type trusted struct {
	cert *x509.Certificate
	file string
}

// Set is what one reading of the files gave. It never changes; safe for concurrent use. The Set of an empty Conf is a
// process without TLS.
type Set struct {
	conf     Conf
	trust    []trusted
	pool     *x509.CertPool      // of trust; never nil: that would mean the machine's own
	own      *tls.Certificate    // nil without
	chain    []*x509.Certificate // of own
	warnings []string
	incoming *tls.Config
	client   *tls.Config
	outgoing sync.Map // *tls.Config by the name that was asked for
}

// Load reads the files. The error is an *Error that names the file and what to do.
func Load(c Conf) (*Set, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	s := &Set{conf: c, pool: x509.NewCertPool()}
	if c.CAFile != "" {
		if err := s.addTrust("ca_file", c.CAFile); err != nil {
			return nil, err
		}
	}
	if c.CAPath != "" {
		if err := s.walkTrust(c.CAPath); err != nil {
			return nil, err
		}
	}
	if c.CertFile != "" {
		if err := s.loadOwn(); err != nil {
			return nil, err
		}
	}
	s.incoming = s.newIncoming()
	s.client = s.newClient()
	return s, nil
}

// maxFile is far above any file of certificates; what is longer is something else.
const maxFile = 4 << 20

func read(field, name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(field, name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, unreadable(field, name, err)
	}
	if len(data) > maxFile {
		return nil, wrong(field, "cannot read %s: it is longer than %d MiB, and so no file of certificates or keys", name, maxFile>>20)
	}
	return data, nil
}

func unreadable(field, name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return wrong(field, "cannot read %s: %w: check the path and its permissions", name, err)
}

func (s *Set) addTrust(field, name string) error {
	data, err := read(field, name)
	if err != nil {
		return err
	}
	list, err := Parse(data)
	if err != nil {
		return wrong(field, "cannot use %s: %w", name, err)
	}
	for _, c := range list {
		if !c.IsCA && c.Version == 3 { // older ones cannot say
			s.warn("%s: the certificate %q is not that of an authority; it vouches for itself alone", name, c.Subject.CommonName)
		}
		s.trust = append(s.trust, trusted{c, name})
		s.pool.AddCert(c)
	}
	return nil
}

// walkTrust reads all files below a directory. A link to a directory is left out: Kubernetes mounts have one beside the
// links to the files in it.
func (s *Set) walkTrust(dir string) error {
	before := len(s.trust)
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return unreadable("ca_path", dir, err)
	}
	err = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return unreadable("ca_path", name, err)
		}
		info, err := os.Stat(name)
		if err != nil {
			return unreadable("ca_path", name, err)
		}
		switch {
		case info.IsDir():
			return nil
		case !info.Mode().IsRegular():
			return wrong("ca_path", "cannot use %s: it is no file: remove it from the directory", name)
		}
		return s.addTrust("ca_path", name)
	})
	if err == nil && len(s.trust) == before {
		return wrong("ca_path", "no certificate is below %s: put the CA's there", dir)
	}
	return err
}

func (s *Set) loadOwn() error {
	c := &s.conf
	text, err := read("cert_file", c.CertFile)
	if err != nil {
		return err
	}
	if s.chain, err = Parse(text); err != nil {
		return wrong("cert_file", "cannot use %s: %w", c.CertFile, err)
	}
	secret, err := read("key_file", c.KeyFile)
	if err != nil {
		return err
	}
	pair, err := parsePair(Pair{text, secret})
	if err != nil {
		return wrong("key_file", "cannot use %s with %s: %w", c.KeyFile, c.CertFile, err)
	}
	s.own = &pair
	s.judge()
	return nil
}

// judge warns of what works here but may not work, or not be safe, with others.
func (s *Set) judge() {
	c, leaf := &s.conf, s.chain[0]
	if info, err := os.Stat(c.KeyFile); err == nil && info.Mode().Perm()&0o004 != 0 {
		s.warn("%s: everybody on this machine can read the key: chmod 600 it", c.KeyFile)
	}
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		s.warn("%s: the certificate is valid from %s to %s only: others refuse it now", c.CertFile, day(leaf.NotBefore), day(leaf.NotAfter))
		return
	}
	if _, err := s.verify(s.chain, x509.ExtKeyUsageAny); err != nil && len(s.trust) > 0 {
		s.warn("%s: no CA that is trusted here signed the certificate: who trusts the same CAs refuses it (%v)", c.CertFile, err)
	}
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (s *Set) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// verify returns the ways from a chain's first certificate to an authority that is trusted.
func (s *Set) verify(chain []*x509.Certificate, use x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("no certificate was shown")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	return chain[0].Verify(x509.VerifyOptions{Roots: s.pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{use}})
}

// Conf returns what the Set was loaded from.
func (s *Set) Conf() Conf { return s.conf }

// Warnings returns what somebody should look at, one line each, the file first.
func (s *Set) Warnings() []string { return s.warnings }

// Bears says whether our own certificate is one for the name; false without a certificate.
func (s *Set) Bears(name string) bool {
	return len(s.chain) > 0 && s.chain[0].VerifyHostname(name) == nil
}

// Incoming returns what a connection that comes in is held to; nil if there is no certificate to offer TLS with. It is the
// same each time: who changes it, to set NextProtos, changes a clone.
func (s *Set) Incoming() *tls.Config { return s.incoming }

func (s *Set) newIncoming() *tls.Config {
	if s.own == nil {
		return nil
	}
	// No tickets: whoever comes back is verified anew, by the authorities of that moment.
	c := s.config()
	c.SessionTicketsDisabled = true
	if s.conf.VerifyIncoming {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, s.pool
	}
	return c
}

// Outgoing returns what a connection to the bearer of a name is held to; nil if it uses no TLS. Without VerifyName anybody
// whom an authority vouches for will do; with it nobody bears an empty name. It is the same each time, as Incoming.
func (s *Set) Outgoing(name string) *tls.Config {
	if !s.conf.VerifyOutgoing && !s.conf.VerifyName {
		return nil
	}
	if c, ok := s.outgoing.Load(name); ok {
		return c.(*tls.Config)
	}
	c, _ := s.outgoing.LoadOrStore(name, s.newOutgoing(name))
	return c.(*tls.Config)
}

func (s *Set) newOutgoing(name string) *tls.Config {
	c := s.config()
	c.RootCAs, c.ServerName = s.pool, name
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if s.own == nil {
			return new(tls.Certificate), nil
		}
		return s.own, nil // whatever authorities the server names: its refusal says more than silence
	}
	// The library would verify the ServerName, which who dials may have set to something else, as the address.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(peer tls.ConnectionState) error {
		if _, err := s.verify(peer.PeerCertificates, x509.ExtKeyUsageServerAuth); err != nil || !s.conf.VerifyName {
			return err
		}
		if name == "" {
			return errors.New("names are verified (verify_server_hostname), and nothing tells whose name the server must bear")
		}
		return peer.PeerCertificates[0].VerifyHostname(name)
	}
	return c
}

// Client returns what a connection to somebody outside the cluster is held to: it offers our certificate, and the other
// side must bear the name that was dialled and be vouched for by our authorities, or by the machine's own if we have none.
// It is the same each time, as Incoming.
func (s *Set) Client() *tls.Config { return s.client }

func (s *Set) newClient() *tls.Config {
	c := s.config()
	if len(s.trust) > 0 {
		c.RootCAs = s.pool
	}
	return c
}

func (s *Set) config() *tls.Config {
	c := &tls.Config{MinVersion: s.conf.MinVersion, CipherSuites: s.conf.Suites}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if s.own != nil {
		c.Certificates = []tls.Certificate{*s.own}
	}
	return c
}

// Expiry is when a file's certificate ends.
type Expiry struct {
	File  string
	Until time.Time
}

// Expiry returns what ends first of our certificate and those that vouch for it; without one, the last authority. ok is
// false if there is nothing that could end.
func (s *Set) Expiry() (e Expiry, ok bool) {
	if s.own == nil {
		for _, t := range s.trust {
			if !ok || t.cert.NotAfter.After(e.Until) {
				e, ok = Expiry{t.file, t.cert.NotAfter}, true
			}
		}
		return e, ok
	}
	e = Expiry{s.conf.CertFile, s.chain[0].NotAfter}
	chains, err := s.verify(s.chain, x509.ExtKeyUsageAny)
	if err != nil {
		return e, true // nobody vouches for it, which is another complaint
	}
	var best Expiry // of several ways the one that lasts longest counts
	for _, chain := range chains {
		end := e
		for _, c := range chain[1:] {
			if c.NotAfter.Before(end.Until) {
				end = Expiry{s.fileOf(c), c.NotAfter}
			}
		}
		if end.Until.After(best.Until) {
			best = end
		}
	}
	return best, true
}

func (s *Set) fileOf(c *x509.Certificate) string {
	for _, t := range s.trust {
		if t.cert.Equal(c) {
			return t.file
		}
	}
	return s.conf.CertFile
}
