package txn

import (
	"strconv"

	"rostra/feature/catalog"
	"rostra/feature/kv"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

//go:generate go tool msgp -file txn.go -o txn_gen.go -tests=false -io=false

// Txn is a list of operations, performed in order and seeing each other's writes. Its Result is a Results. Failures are
// one fault.Conflict whose text is the JSON body that a client is shown.
type Txn struct {
	Ops []Op `msg:"Ops"`
}

// Op is one operation: exactly one field is set.
type Op struct {
	KV      *kv.Op      `msg:"KV"`
	Catalog *catalog.Op `msg:"Catalog,omitempty"` // under the second version of the rules
}

// Results are what the operations had to say, in their order.
//
//msgp:ignore Results
type Results []Result

// Result is what an operation had to say about one row: of a key if its entry is there, else of the catalog.
//
//msgp:ignore Result
type Result struct {
	KV      kv.Result
	Catalog catalog.Record
}

// failure is an operation that failed, and why.
//
//msgp:ignore failure
type failure struct {
	op   int // its place in the list
	what string
}

// AppendJSON appends the body of a success.
func (rs Results) AppendJSON(b []byte) []byte {
	b = append(b, `{"Results":[`...)
	for i, r := range rs {
		if i > 0 {
			b = append(b, ',')
		}
		if r.KV.Entry != nil {
			b = append(r.KV.AppendJSON(append(b, `{"KV":`...)), '}')
		} else {
			b = r.Catalog.AppendJSON(b)
		}
	}
	return append(b, `],"Errors":null}`...)
}

// conflict makes an error of failures, nil if there are none. Its text is the body, so that it survives the way from
// where the transaction ran.
func conflict(list []failure) error {
	if len(list) == 0 {
		return nil
	}
	b := []byte(`{"Results":null,"Errors":[`)
	for i, f := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, `{"OpIndex":`...), int64(f.op), 10)
		b = append(httpd.AppendString(append(b, `,"What":`...), f.what), '}')
	}
	return &fault.Error{Kind: fault.Conflict, Text: string(append(b, ']', '}'))}
}
