package cert

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

var versions = map[string]uint16{"": 0, "TLSv1_0": tls.VersionTLS10, "TLSv1_1": tls.VersionTLS11, "TLSv1_2": tls.VersionTLS12,
	"TLSv1_3": tls.VersionTLS13}

// ParseVersion reads TLSv1_0 to TLSv1_3; "" is 0, the default.
func ParseVersion(text string) (uint16, error) {
	v, ok := versions[text]
	if !ok {
		return 0, fmt.Errorf("%q is no version of TLS; use TLSv1_0, TLSv1_1, TLSv1_2 or TLSv1_3", text)
	}
	return v, nil
}

// oldNames are names that Go had for suites before it took those of IANA.
var oldNames = map[string]string{
	"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305":   "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}

// ParseSuites reads the names of cipher suites, separated by commas. Those of TLS 1.3, which cannot be chosen, and those
// that Go deems insecure are refused.
func ParseSuites(text string) ([]uint16, error) {
	var ids []uint16
	var known []string
	suites := tls.CipherSuites()
	for _, s := range suites {
		if !only13(s) {
			known = append(known, s.Name)
		}
	}
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if now := oldNames[name]; now != "" {
			name = now
		}
		named := func(s *tls.CipherSuite) bool { return s.Name == name }
		i := slices.IndexFunc(suites, named)
		switch {
		case i >= 0 && !only13(suites[i]):
			ids = append(ids, suites[i].ID)
		case i >= 0:
			return nil, fmt.Errorf("%s belongs to TLS 1.3, which does not let them be chosen: remove it", name)
		case slices.ContainsFunc(tls.InsecureCipherSuites(), named):
			return nil, fmt.Errorf("%s is not secure: remove it; there are %s", name, strings.Join(known, ", "))
		default:
			return nil, fmt.Errorf("%q is no cipher suite; there are %s", name, strings.Join(known, ", "))
		}
	}
	return ids, nil
}

func only13(s *tls.CipherSuite) bool {
	return !slices.Contains(s.SupportedVersions, tls.VersionTLS12)
}
