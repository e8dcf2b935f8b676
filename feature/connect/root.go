package connect

import (
	"time"

	"github.com/tinylib/msgp/msgp"

	"rostra/kit/httpd"
	"rostra/kit/store"
)

//go:generate go tool msgp -file root.go -o root_gen.go -tests=false -io=false

// Root is a root certificate with its key: the row, and the payload of SetRoot. The key leaves the state by no answer.
type Root struct {
	ID          string `msg:"ID"` // the certificate's fingerprint
	Name        string `msg:"Name"`
	Serial      uint64 `msg:"Serial"`
	KeyID       string `msg:"KeyID"`     // the subject key identifier
	ClusterID   string `msg:"ClusterID"` // names the trust domain
	NotBefore   int64  `msg:"NotBefore"` // Unix seconds
	NotAfter    int64  `msg:"NotAfter"`
	Cert        string `msg:"Cert"` // PEM
	Key         []byte `msg:"Key"`  // PEM
	CreateIndex uint64 `msg:"CreateIndex"`
	ModifyIndex uint64 `msg:"ModifyIndex"`
}

// SetRoot keeps the root if there is none yet. Its Result tells whether it did.
type SetRoot struct {
	Root Root `msg:"Root"` // without indexes
}

var roots = store.NewTable[Root]("connect.roots", store.Schema[Root]{Key: func(r *Root) string { return r.ID }})

// answer is the Value of rootsQuery: the active root; nil while there is none.
//
//msgp:ignore answer
type answer struct{ root *Root }

// AppendJSON appends the shape of /v1/connect/ca/roots.
func (a answer) AppendJSON(b []byte) []byte {
	r := a.root
	b = httpd.AppendString(append(b, `{"ActiveRootID":`...), r.ID)
	b = httpd.AppendString(append(b, `,"TrustDomain":`...), trustDomain(r.ClusterID))
	b = httpd.AppendString(append(b, `,"Roots":[{"ID":`...), r.ID)
	b = httpd.AppendString(append(b, `,"Name":`...), r.Name)
	b = httpd.AppendUint(append(b, `,"SerialNumber":`...), r.Serial)
	b = httpd.AppendString(append(b, `,"SigningKeyID":`...), r.KeyID)
	b = httpd.AppendString(append(b, `,"ExternalTrustDomain":`...), r.ClusterID)
	b = appendTime(append(b, `,"NotBefore":`...), r.NotBefore)
	b = appendTime(append(b, `,"NotAfter":`...), r.NotAfter)
	b = httpd.AppendString(append(b, `,"RootCert":`...), r.Cert)
	b = append(b, `,"IntermediateCerts":null,"Active":true,"PrivateKeyType":"ec","PrivateKeyBits":256`...)
	b = httpd.AppendUint(append(b, `,"CreateIndex":`...), r.CreateIndex)
	b = httpd.AppendUint(append(b, `,"ModifyIndex":`...), r.ModifyIndex)
	return append(b, '}', ']', '}')
}

// MarshalMsg appends the root without its key, or nil.
func (a answer) MarshalMsg(b []byte) ([]byte, error) {
	if a.root == nil {
		return msgp.AppendNil(b), nil
	}
	public := *a.root
	public.Key = nil
	return public.MarshalMsg(b)
}

// UnmarshalMsg reads a root, or nil.
func (a *answer) UnmarshalMsg(b []byte) ([]byte, error) {
	if a.root = nil; msgp.IsNil(b) {
		return msgp.ReadNilBytes(b)
	}
	root := new(Root)
	rest, err := root.UnmarshalMsg(b)
	if err == nil {
		a.root = root
	}
	return rest, err
}

func appendTime(b []byte, seconds int64) []byte {
	b = time.Unix(seconds, 0).UTC().AppendFormat(append(b, '"'), time.RFC3339)
	return append(b, '"')
}

func trustDomain(clusterID string) string { return clusterID + ".consul" }
