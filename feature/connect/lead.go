package connect

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"rostra/engine/room"
	"rostra/kit/wire"
)

// rootLife is how long a root is valid, Consul's RootCertTTL of 87600h.
const rootLife = 87600 * time.Hour

// keepRoot makes the root if there is none. It stays for the whole term, as a loop does.
func keepRoot(ctx context.Context, door room.Door, clusterID string) error {
	found, _, err := door.Read(ctx, rootsQuery{}, room.Options{})
	if err != nil {
		return err
	}
	if found.Missing {
		if clusterID == "" {
			clusterID = wire.NewID()
		}
		root, err := newRoot(strings.ToLower(clusterID), time.Now())
		if err != nil {
			return err
		}
		if _, _, err := door.Apply(ctx, &SetRoot{Root: root}, room.Options{}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// newRoot makes a self-signed certificate that may sign those of services in the trust domain.
func newRoot(clusterID string, now time.Time) (Root, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Root{}, fmt.Errorf("cannot make the mesh's root key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return Root{}, fmt.Errorf("cannot encode the mesh's root key: %w", err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Root{}, fmt.Errorf("cannot encode the mesh's root key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<52)) // exact in every JSON reader
	if err != nil {
		return Root{}, fmt.Errorf("cannot make the mesh's root: %w", err)
	}
	serial.Add(serial, big.NewInt(1))
	keyID := sha256.Sum256(public)
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Consul CA " + trustDomain(clusterID)},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trustDomain(clusterID)}},
		NotBefore:             now.UTC().Truncate(time.Second),
		NotAfter:              now.UTC().Truncate(time.Second).Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
		SubjectKeyId:          keyID[:],
		AuthorityKeyId:        keyID[:],
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return Root{}, fmt.Errorf("cannot make the mesh's root: %w", err)
	}
	fingerprint := sha1.Sum(cert) // Consul's name for a root; it guards nothing
	return Root{
		ID: colons(fingerprint[:]), Name: "Consul CA Root Cert", Serial: serial.Uint64(), KeyID: colons(keyID[:]), ClusterID: clusterID,
		NotBefore: template.NotBefore.Unix(), NotAfter: template.NotAfter.Unix(),
		Cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
	}, nil
}

// colons writes bytes in hex with colons between: 8b:c1:….
func colons(b []byte) string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(parts, ":")
}
