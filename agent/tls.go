package agent

import (
	"errors"
	"fmt"
	"slices"

	"rostra/kit/cert"
)

// TLSSettings say how connections between agents (tls.internal_rpc) and those of HTTPS (tls.https) are protected;
// tls.defaults is for what these leave out. The files are read again at every reload, also if the settings stay.
type TLSSettings struct {
	CAFile     string `key:"tls.defaults.ca_file" reload:"yes" help:"PEM file of the CAs that are trusted"`
	CAPath     string `key:"tls.defaults.ca_path" reload:"yes" help:"directory of such files, with all below it, instead of ca_file"`
	CertFile   string `key:"tls.defaults.cert_file" reload:"yes" help:"PEM file of this agent's certificate"`
	KeyFile    string `key:"tls.defaults.key_file" reload:"yes" help:"PEM file of its key"`
	MinVersion string `key:"tls.defaults.tls_min_version" default:"TLSv1_2" reload:"yes" help:"oldest version of TLS: TLSv1_0 to TLSv1_3"`
	Suites     string `key:"tls.defaults.tls_cipher_suites" reload:"yes" help:"cipher suites up to TLS 1.2, separated by commas"`
	Incoming   *bool  `key:"tls.defaults.verify_incoming" reload:"yes" help:"let in only who uses TLS with a certificate of a trusted CA"`
	Outgoing   *bool  `key:"tls.defaults.verify_outgoing" reload:"yes" help:"connect only with TLS and to whom a trusted CA knows"`
	Hostname   *bool  `key:"tls.defaults.verify_server_hostname" reload:"yes" help:"demand that servers bear server.DATACENTER.DOMAIN; implies verify_outgoing"`

	RPCCAFile     string `key:"tls.internal_rpc.ca_file" reload:"yes" help:"the same for the server port alone; with it no ca_path is inherited"`
	RPCCAPath     string `key:"tls.internal_rpc.ca_path" reload:"yes" help:"the same for the server port alone; with it no ca_file is inherited"`
	RPCCertFile   string `key:"tls.internal_rpc.cert_file" reload:"yes" help:"the same for the server port alone"`
	RPCKeyFile    string `key:"tls.internal_rpc.key_file" reload:"yes" help:"the same for the server port alone"`
	RPCMinVersion string `key:"tls.internal_rpc.tls_min_version" reload:"yes" help:"the same for the server port alone"`
	RPCSuites     string `key:"tls.internal_rpc.tls_cipher_suites" reload:"yes" help:"the same for the server port alone"`
	RPCIncoming   *bool  `key:"tls.internal_rpc.verify_incoming" reload:"yes" help:"the same for the server port alone"`
	RPCOutgoing   *bool  `key:"tls.internal_rpc.verify_outgoing" reload:"yes" help:"the same for the server port alone"`
	RPCHostname   *bool  `key:"tls.internal_rpc.verify_server_hostname" reload:"yes" help:"the same for the server port alone"`

	HTTPSCAFile     string `key:"tls.https.ca_file" reload:"yes" help:"the same for HTTPS alone; with it no ca_path is inherited"`
	HTTPSCAPath     string `key:"tls.https.ca_path" reload:"yes" help:"the same for HTTPS alone; with it no ca_file is inherited"`
	HTTPSCertFile   string `key:"tls.https.cert_file" reload:"yes" help:"the same for HTTPS alone"`
	HTTPSKeyFile    string `key:"tls.https.key_file" reload:"yes" help:"the same for HTTPS alone"`
	HTTPSMinVersion string `key:"tls.https.tls_min_version" reload:"yes" help:"the same for HTTPS alone"`
	HTTPSSuites     string `key:"tls.https.tls_cipher_suites" reload:"yes" help:"the same for HTTPS alone"`
	HTTPSIncoming   *bool  `key:"tls.https.verify_incoming" reload:"yes" help:"the same for HTTPS alone: clients must show a certificate of a trusted CA"`

	ServerName string `key:"server_name" reload:"yes" help:"name that this agent's certificate must bear; the log warns if it does not"`
}

// stanza collects what applies to one port, and which key said it.
type stanza struct {
	name string            // internal_rpc, https
	keys map[string]string // by the last part of the key
}

// own is what a stanza says itself.
type own struct {
	caFile, caPath, certFile, keyFile, minVersion, suites string
	incoming                                              *bool
}

func (s *stanza) from(name string, own bool) {
	s.keys[name] = "tls.defaults." + name
	if own {
		s.keys[name] = "tls." + s.name + "." + name
	}
}

func (s *stanza) text(name, own, inherited string) string {
	s.from(name, own != "")
	if own != "" {
		return own
	}
	return inherited
}

func (s *stanza) flag(name string, own, inherited *bool) bool {
	s.from(name, own != nil)
	if own == nil {
		own = inherited
	}
	return own != nil && *own
}

// placed names the key that an error is about.
func (s *stanza) placed(name string, err error) error {
	return fmt.Errorf("%s: %w", s.keys[name], err)
}

// conf returns what the settings ask of the server port, looking at no file, and the keys that say so. The error begins
// with the key.
func (t *TLSSettings) conf() (cert.Conf, *stanza, error) {
	s := &stanza{"internal_rpc", map[string]string{}}
	c, err := t.inherit(s, own{t.RPCCAFile, t.RPCCAPath, t.RPCCertFile, t.RPCKeyFile, t.RPCMinVersion, t.RPCSuites, t.RPCIncoming})
	if err != nil {
		return c, s, err
	}
	c.VerifyOutgoing = s.flag("verify_outgoing", t.RPCOutgoing, t.Outgoing)
	c.VerifyName = s.flag("verify_server_hostname", t.RPCHostname, t.Hostname)
	return c, s, s.about(c.Check())
}

// https is conf for HTTPS, by which nothing goes out.
func (t *TLSSettings) https() (cert.Conf, *stanza, error) {
	s := &stanza{"https", map[string]string{}}
	c, err := t.inherit(s, own{t.HTTPSCAFile, t.HTTPSCAPath, t.HTTPSCertFile, t.HTTPSKeyFile, t.HTTPSMinVersion, t.HTTPSSuites, t.HTTPSIncoming})
	if err != nil {
		return c, s, err
	}
	return c, s, s.about(c.Check())
}

// inherit collects what a stanza and the defaults say.
func (t *TLSSettings) inherit(s *stanza, o own) (c cert.Conf, err error) {
	caFile, caPath := t.CAFile, t.CAPath
	if o.caFile != "" || o.caPath != "" { // whom to trust is one thing: a directory beside an own file would widen it
		caFile, caPath = "", ""
	}
	c = cert.Conf{CAFile: s.text("ca_file", o.caFile, caFile), CAPath: s.text("ca_path", o.caPath, caPath),
		CertFile: s.text("cert_file", o.certFile, t.CertFile), KeyFile: s.text("key_file", o.keyFile, t.KeyFile),
		VerifyIncoming: s.flag("verify_incoming", o.incoming, t.Incoming)}
	if c.MinVersion, err = cert.ParseVersion(s.text("tls_min_version", o.minVersion, t.MinVersion)); err != nil {
		return c, s.placed("tls_min_version", err)
	}
	if c.Suites, err = cert.ParseSuites(s.text("tls_cipher_suites", o.suites, t.Suites)); err != nil {
		return c, s.placed("tls_cipher_suites", err)
	}
	return c, nil
}

// about names the key that an error of package cert is about.
func (s *stanza) about(err error) error {
	var e *cert.Error
	if errors.As(err, &e) {
		return s.placed(e.Field, e.Err)
	}
	return err
}

// load reads the files. The error begins with the key of the file.
func (t *TLSSettings) load() (*cert.Set, error) {
	c, s, err := t.conf()
	if err != nil {
		return nil, err
	}
	set, err := cert.Load(c)
	return set, s.about(err)
}

// warnings returns what somebody should look at.
func (t *TLSSettings) warnings(set *cert.Set) []string {
	list := slices.Clone(set.Warnings())
	if t.ServerName != "" && !set.Bears(t.ServerName) {
		list = append(list, fmt.Sprintf("server_name: this agent has no certificate that bears the name %s", t.ServerName))
	}
	return list
}

// openCerts opens the certificates between agents at a start.
func (a *Agent) openCerts(t *TLSSettings) (*cert.Keeper, error) {
	set, err := t.load()
	if err != nil {
		return nil, err
	}
	a.warnCerts(t, set)
	return cert.NewKeeper(set), nil
}

func (a *Agent) warnCerts(t *TLSSettings, set *cert.Set) { a.warn(t.warnings(set)) }

func (a *Agent) warn(list []string) {
	for _, w := range list {
		a.log.Warn(w)
	}
}

// uncertified says that HTTPS is asked for and there is no certificate for it. That opens no port and is no error: many
// configurations name the port everywhere.
func (s *Settings) uncertified() bool {
	c, _, err := s.TLS.https()
	return s.HTTPSPort > 0 && err == nil && c.CertFile == ""
}

// openHTTPS opens the certificates of HTTPS at a start; nil if it is not served.
func (a *Agent) openHTTPS(s *Settings) (*cert.Keeper, error) {
	if s.HTTPSPort <= 0 || s.uncertified() {
		return nil, nil
	}
	set, err := s.TLS.loadHTTPS()
	if err != nil {
		return nil, err
	}
	a.warn(set.Warnings())
	return cert.NewKeeper(set), nil
}

// loadHTTPS reads the certificates of HTTPS for a reload; nil if it is not served.
func (a *Agent) loadHTTPS(t *TLSSettings) (*cert.Set, error) {
	if a.host.HTTPSCerts == nil {
		return nil, nil
	}
	return t.loadHTTPS()
}

// loadHTTPS reads the files. The error begins with the key of the file.
func (t *TLSSettings) loadHTTPS() (*cert.Set, error) {
	c, s, err := t.https()
	if err == nil && c.CertFile == "" {
		err = errors.New("tls.https.cert_file: HTTPS is served and needs a certificate: set it, or ports.https to -1 and restart")
	}
	if err != nil {
		return nil, err
	}
	set, err := cert.Load(c)
	return set, s.about(err)
}
