package agent

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rostra/config"
	"rostra/kit/cert"
)

// readTLS loads a configuration text and returns what it asks of the server port.
func readTLS(t *testing.T, text string) (cert.Conf, *config.Loaded, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := new(Settings)
	loaded, err := config.Load(config.Input{Files: []string{file}}, s)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := s.TLS.conf()
	if err != nil {
		err = placed(err, loaded)
	}
	return c, loaded, err
}

func TestTLSSettings(t *testing.T) {
	base := `ca_file = "ca", cert_file = "c", key_file = "k"`
	for name, test := range map[string]struct {
		text string
		want cert.Conf
		warn string
	}{
		"nothing": {``, cert.Conf{MinVersion: tls.VersionTLS12}, ""},
		"defaults": {`tls { defaults { ` + base + `, verify_incoming = true, verify_outgoing = true, tls_min_version = "TLSv1_3" } }`,
			cert.Conf{CAFile: "ca", CertFile: "c", KeyFile: "k", MinVersion: tls.VersionTLS13, VerifyIncoming: true, VerifyOutgoing: true}, ""},
		"internal_rpc goes first, false too": {`tls { defaults { ` + base + `, verify_incoming = true } internal_rpc { cert_file = "d", key_file = "l", verify_incoming = false, verify_server_hostname = true } }`,
			cert.Conf{CAFile: "ca", CertFile: "d", KeyFile: "l", MinVersion: tls.VersionTLS12, VerifyName: true}, ""},
		"an own CA is the only one": {`tls { defaults { ca_path = "all" } internal_rpc { ca_file = "one" } }`, cert.Conf{CAFile: "one", MinVersion: tls.VersionTLS12}, ""},
		"old names": {`ca_file = "ca", cert_file = "c", key_file = "k", verify_incoming_rpc = true, verify_server_hostname = true, tls_min_version = "tls13"`,
			cert.Conf{CAFile: "ca", CertFile: "c", KeyFile: "k", MinVersion: tls.VersionTLS13, VerifyIncoming: true, VerifyName: true},
			"The 'verify_server_hostname' field is deprecated. Use the 'tls.internal_rpc.verify_server_hostname' field instead."},
		"the same of all agents": {base + `, verify_incoming = true, tls_cipher_suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"`,
			cert.Conf{CAFile: "ca", CertFile: "c", KeyFile: "k", MinVersion: tls.VersionTLS12, VerifyIncoming: true, Suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
			"The 'verify_incoming' field is deprecated. Use the 'tls.defaults.verify_incoming' field instead."},
	} {
		t.Run(name, func(t *testing.T) {
			got, loaded, err := readTLS(t, strings.ReplaceAll(test.text, ", ", "\n"))
			if err != nil {
				t.Fatal(err)
			}
			if !sameConf(got, test.want) {
				t.Errorf("got %+v\nwant %+v", got, test.want)
			}
			if test.warn != "" && !strings.Contains(strings.Join(loaded.Warnings, "\n"), test.warn) {
				t.Errorf("warned %q", loaded.Warnings)
			}
		})
	}
}

func sameConf(a, b cert.Conf) bool {
	if len(a.Suites) != len(b.Suites) || len(a.Suites) > 0 && a.Suites[0] != b.Suites[0] {
		return false
	}
	a.Suites, b.Suites = nil, nil
	return a.CAFile == b.CAFile && a.CAPath == b.CAPath && a.CertFile == b.CertFile && a.KeyFile == b.KeyFile && a.MinVersion == b.MinVersion &&
		a.VerifyIncoming == b.VerifyIncoming && a.VerifyOutgoing == b.VerifyOutgoing && a.VerifyName == b.VerifyName
}

func TestWrongTLSSettings(t *testing.T) {
	for text, want := range map[string]string{
		"\ntls { defaults { cert_file = \"c\" } }":                  "a.hcl:2: tls.defaults.cert_file: c has no key: set key_file too",
		"key_file = \"k\"":                                          "a.hcl:1: tls.defaults.key_file: k has no certificate",
		"tls { internal_rpc { verify_incoming = true } }":           "a.hcl:1: tls.internal_rpc.verify_incoming: no CA",
		"verify_incoming = true\nca_file = \"x\"":                   "a.hcl:1: tls.defaults.verify_incoming: TLS needs a certificate",
		"verify_outgoing = true":                                    "a.hcl:1: tls.defaults.verify_outgoing: no CA",
		"verify_server_hostname = true":                             "a.hcl:1: tls.internal_rpc.verify_server_hostname: no CA",
		"tls_min_version = \"tls14\"":                               "a.hcl:1: tls.defaults.tls_min_version: \"tls14\" is no version",
		"tls_cipher_suites = \"RC4\"":                               "a.hcl:1: tls.defaults.tls_cipher_suites: \"RC4\" is no cipher suite",
		"tls { internal_rpc { ca_file = \"a\"\nca_path = \"b\" } }": "a.hcl:2: tls.internal_rpc.ca_path: ca_file is set too",
		"tls_min_version = \"tls13\"\ntls { internal_rpc { tls_cipher_suites = \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\" } }": "a.hcl:2: tls.internal_rpc.tls_cipher_suites: TLS 1.3",
	} {
		if _, _, err := readTLS(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestHTTPSSettings: config.md §3, tls.https inherits what it leaves out from tls.defaults, and nothing goes out by it.
func TestHTTPSSettings(t *testing.T) {
	base := `ca_file = "ca", cert_file = "c", key_file = "k"`
	for name, test := range map[string]struct {
		text string
		want cert.Conf
	}{
		"defaults": {`tls { defaults { ` + base + `, verify_incoming = true, verify_outgoing = true } internal_rpc { verify_server_hostname = true } }`,
			cert.Conf{CAFile: "ca", CertFile: "c", KeyFile: "k", MinVersion: tls.VersionTLS12, VerifyIncoming: true}},
		"its own first": {`tls { defaults { ` + base + `, verify_incoming = true } https { ca_path = "d", cert_file = "e", key_file = "f", verify_incoming = false, tls_min_version = "TLSv1_3" } }`,
			cert.Conf{CAPath: "d", CertFile: "e", KeyFile: "f", MinVersion: tls.VersionTLS13}},
		"old names": {base + `, verify_incoming_https = true`,
			cert.Conf{CAFile: "ca", CertFile: "c", KeyFile: "k", MinVersion: tls.VersionTLS12, VerifyIncoming: true}},
	} {
		file := filepath.Join(t.TempDir(), "a.hcl")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(test.text, ", ", "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		s := new(Settings)
		if _, err := config.Load(config.Input{Files: []string{file}}, s); err != nil {
			t.Fatal(err)
		}
		if got, _, err := s.TLS.https(); err != nil || !sameConf(got, test.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
