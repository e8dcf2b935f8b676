// Package cert makes certificates and keeps those that a process uses: a certificate authority and what it signs (EC
// P-256, PEM), and a Keeper that holds a certificate with its key and the authorities that are trusted, read from files,
// replaced while connections go on, and turned into the tls.Config of every new connection.
package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"
)

// Subject is what a new certificate says.
type Subject struct {
	Serial      *big.Int // NewSerial's
	Name        string   // common name
	DNS         []string
	IPs         []net.IP
	URIs        []*url.URL
	From, Until time.Time
	Permitted   []string // of an authority: the only domains that it may sign names of; none: all
	Peer        bool     // it serves and connects as itself (extended key usage); otherwise its use is not restricted
}

// Pair is a certificate and its private key, both as PEM. The key is secret: mode 0600, never logged.
type Pair struct {
	Cert, Key []byte
}

// NewSerial returns a random serial number of 127 bits.
func NewSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("cannot make a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil // never 0
}

// template is the part that all certificates have in common.
func (s *Subject) template() *x509.Certificate {
	return &x509.Certificate{SerialNumber: s.Serial, Subject: pkix.Name{CommonName: s.Name}, NotBefore: s.From, NotAfter: s.Until,
		DNSNames: s.DNS, IPAddresses: s.IPs, URIs: s.URIs, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature}
}

// NewAuthority makes a certificate authority that signs itself.
func NewAuthority(s Subject) (Pair, error) {
	t := s.template()
	t.IsCA = true
	t.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	t.PermittedDNSDomains, t.PermittedDNSDomainsCritical = s.Permitted, len(s.Permitted) > 0
	return sign(t, nil)
}

// sign makes a key and a certificate of it that by signs; nil: itself.
func sign(t *x509.Certificate, by *Authority) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("cannot make a key: %w", err)
	}
	parent, signer := t, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, fmt.Errorf("cannot sign the certificate: %w", err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("cannot encode the key: %w", err)
	}
	return Pair{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})}, nil
}

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// ReadAuthority returns the authority whose certificate and key are given as PEM. Its key may be of any kind that signs.
func ReadAuthority(p Pair) (*Authority, error) {
	list, err := Parse(p.Cert)
	if err != nil {
		return nil, err
	}
	if !list[0].IsCA {
		return nil, fmt.Errorf("the certificate %q is not that of an authority: give the CA's", list[0].Subject.CommonName)
	}
	pair, err := parsePair(p)
	if err != nil {
		return nil, err
	}
	signer, is := pair.PrivateKey.(crypto.Signer)
	if !is {
		return nil, errors.New("the key cannot sign")
	}
	return &Authority{list[0], signer}, nil
}

// Until returns when the authority's own certificate ends: no certificate of it is worth anything after.
func (a *Authority) Until() time.Time { return a.cert.NotAfter }

// Issue makes a certificate that the authority signs. It fails if nobody could verify it: because the authority is out of
// date, or may not sign these names.
func (a *Authority) Issue(s Subject) (Pair, error) {
	t := s.template()
	if s.Peer {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	p, err := sign(t, a)
	if err != nil {
		return Pair{}, err
	}
	list, err := Parse(p.Cert)
	if err != nil {
		return Pair{}, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	if _, err := list[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return Pair{}, fmt.Errorf("cannot sign a certificate that can be verified: %w", err)
	}
	return p, nil
}

// Parse reads the certificates of a PEM text, of which there is at least one. Other blocks and text between them are
// skipped.
func Parse(text []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in it is damaged: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("no certificate is in it: it must hold -----BEGIN CERTIFICATE----- (PEM)")
	}
	return list, nil
}

// parsePair reads a certificate with its key. What is wrong then is the key: the certificate has been parsed before.
func parsePair(p Pair) (tls.Certificate, error) {
	for rest := p.Key; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return tls.Certificate{}, errors.New("the key is encrypted with a passphrase: decrypt it (openssl pkey), since nobody could enter that at a start")
		}
	}
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("the key cannot be used with the certificate: %w", err)
	}
	return pair, nil
}
