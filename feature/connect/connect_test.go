package connect

import (
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/room"

	"rostra/engine/server/servertest"
)

const cluster = "8bc19f26-0d3c-4f4e-9a51-6f3c2f6a7b10"

// waitForRoot asks until the leader's loop has made the root.
func waitForRoot(t *testing.T, a *servertest.Agent, path string) (body, index, cache string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; {
		status, h, body := a.Do("GET", path, "")
		if status == 200 {
			return body, h.Get("X-Consul-Index"), h.Get("X-Cache")
		}
		if time.Now().After(end) {
			t.Fatalf("%d %s", status, body)
		}
		<-time.After(time.Millisecond)
	}
}

func TestRoots(t *testing.T) {
	a := startAgent(t, &Settings{Enabled: true, ClusterID: strings.ToUpper(cluster)})
	body, index, _ := waitForRoot(t, a, "/v1/connect/ca/roots")
	shape := regexp.MustCompile(`^\{"ActiveRootID":"(?:[0-9a-f]{2}:){19}[0-9a-f]{2}","TrustDomain":"` + cluster + `\.consul","Roots":\[\{"ID":"[^"]+","Name":"[^"]+",` +
		`"SerialNumber":\d+,"SigningKeyID":"(?:[0-9a-f]{2}:)+[0-9a-f]{2}","ExternalTrustDomain":"` + cluster + `","NotBefore":"[^"]+Z","NotAfter":"[^"]+Z",` +
		`"RootCert":"-----BEGIN CERTIFICATE-----\\n[^"]+\\n-----END CERTIFICATE-----\\n","IntermediateCerts":null,"Active":true,"PrivateKeyType":"ec",` +
		`"PrivateKeyBits":256,"CreateIndex":\d+,"ModifyIndex":\d+\}\]\}$`)
	if !shape.MatchString(body) {
		t.Errorf("the shape is not Consul's: %s", body)
	}
	if strings.Contains(body, "PRIVATE KEY") {
		t.Error("the key is in the answer")
	}
	var got struct {
		ActiveRootID string
		Roots        []struct {
			ID, SigningKeyID, RootCert string
			SerialNumber               uint64
			NotBefore, NotAfter        time.Time
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	root := got.Roots[0]
	block, _ := pem.Decode([]byte(root.RootCert))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	print := sha1.Sum(cert.Raw)
	switch {
	case cert.CheckSignatureFrom(cert) != nil || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0:
		t.Errorf("it is not a self-signed root: %v", cert.CheckSignatureFrom(cert))
	case len(cert.URIs) != 1 || cert.URIs[0].String() != "spiffe://"+cluster+".consul":
		t.Errorf("names %v", cert.URIs)
	case cert.SerialNumber.Uint64() != root.SerialNumber || colons(cert.SubjectKeyId) != root.SigningKeyID || colons(print[:]) != root.ID || root.ID != got.ActiveRootID:
		t.Errorf("certificate and answer disagree: %s", body)
	case !cert.NotBefore.Equal(root.NotBefore) || !cert.NotAfter.Equal(root.NotAfter) || root.NotAfter.Sub(root.NotBefore) != 87600*time.Hour:
		t.Errorf("valid from %v to %v", root.NotBefore, root.NotAfter)
	}
	_, first, miss := waitForRoot(t, a, "/v1/agent/connect/ca/roots")
	same, second, hit := waitForRoot(t, a, "/v1/agent/connect/ca/roots")
	if same != body || first != index || second != index || miss != "MISS" || hit != "HIT" {
		t.Errorf("the agent's answer: %s, index %s %s, cache %s then %s", same, first, second, miss, hit)
	}
	status, h, text := a.Do("GET", "/v1/connect/ca/roots?pem=true", "")
	if status != 200 || text != root.RootCert || h.Get("Content-Type") != "application/pem-certificate-chain" {
		t.Errorf("pem: %d %s %s", status, h.Get("Content-Type"), text)
	}
	if status, _, text = a.Do("GET", "/v1/connect/ca/roots?pem=x", ""); status != 400 || text != "The 'pem' query parameter must be a boolean value" {
		t.Errorf("pem=x: %d %s", status, text)
	}
	began := time.Now()
	if status, _, text = a.Do("GET", "/v1/connect/ca/roots?wait=50ms&index="+index, ""); status != 200 || text != body || time.Since(began) < 50*time.Millisecond {
		t.Errorf("blocking: %d after %v", status, time.Since(began))
	}
	// a second root, of another leader, does not replace the first
	other, err := newRoot(cluster, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if done, _, err := a.Door.Apply(t.Context(), &SetRoot{Root: other}, room.Options{}); err != nil || done != false {
		t.Errorf("a second root: %v, %v", done, err)
	}
	if again, _, _ := waitForRoot(t, a, "/v1/connect/ca/roots"); again != body {
		t.Error("the root was replaced")
	}
	if _, err := tls.X509KeyPair([]byte(other.Cert), other.Key); err != nil {
		t.Errorf("key and certificate do not belong together: %v", err)
	}
}

func TestDisabled(t *testing.T) {
	a := startAgent(t, &Settings{})
	for _, path := range []string{"/v1/connect/ca/roots", "/v1/agent/connect/ca/roots"} {
		if status, _, body := a.Do("GET", path, ""); status != 500 || body != "Connect must be enabled in order to use this endpoint" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestClusterID(t *testing.T) {
	if _, err := Room.Open(&room.Host{}, &Settings{Enabled: true, ClusterID: "not a/host"}); err == nil {
		t.Error("a cluster_id that is no name was taken")
	}
}

// FuzzStored checks that what decodes encodes to the same bytes again, as snapshots and the log need it.
func FuzzStored(f *testing.F) {
	b, _ := (&SetRoot{Root{ID: "a", Key: []byte("k")}}).MarshalMsg(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := msgp.Skip(b); err != nil {
			return // as store.DecodeStrict does before it lets the record read
		}
		var once, twice SetRoot
		if _, err := once.UnmarshalMsg(b); err != nil {
			return
		}
		first, _ := once.MarshalMsg(nil)
		if _, err := twice.UnmarshalMsg(first); err != nil {
			t.Fatal(err)
		}
		if second, _ := twice.MarshalMsg(nil); !reflect.DeepEqual(first, second) {
			t.Fatalf("%x then %x", first, second)
		}
	})
}
