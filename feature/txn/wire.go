package txn

import (
	"fmt"

	"rostra/feature/catalog"
	"rostra/feature/kv"
	"rostra/kit/fault"
)

//go:generate go tool msgp -file wire.go -o wire_gen.go -tests=false -io=false -unexported

// How transactions that only read, and what transactions have to say, travel between machines.

// packedOutcome is an outcome on the wire.
type packedOutcome struct {
	Results  []packedResult `msg:"Results"`
	Conflict string         `msg:"Conflict"` // the body that the client is shown; "" if nothing failed
	Vetoed   bool           `msg:"Vetoed"`
}

// packedResult is a Result on the wire.
type packedResult struct {
	Entry *kv.Entry       `msg:"Entry"`
	Whole bool            `msg:"Whole"`
	Row   *catalog.Record `msg:"Row,omitempty"` // instead of an entry
}

// packedResults are Results on the wire.
type packedResults struct {
	List []packedResult `msg:"List"`
}

func pack(rs Results) []packedResult {
	list := make([]packedResult, len(rs))
	for i, r := range rs {
		if list[i] = (packedResult{Entry: r.KV.Entry, Whole: r.KV.Whole}); r.KV.Entry == nil {
			list[i].Row = &r.Catalog
		}
	}
	return list
}

func unpack(list []packedResult) (Results, error) {
	rs := make(Results, len(list))
	for i, r := range list {
		rs[i].KV = kv.Result{Entry: r.Entry, Whole: r.Whole}
		if r.Row != nil {
			rs[i].Catalog = *r.Row
		}
		if (r.Entry == nil) == (rs[i].Catalog == catalog.Record{}) {
			return nil, fmt.Errorf("result %d is not of one row", i)
		}
	}
	return rs, nil
}

// MarshalMsg appends the results.
func (rs Results) MarshalMsg(b []byte) ([]byte, error) {
	return (&packedResults{pack(rs)}).MarshalMsg(b)
}

// UnmarshalMsg reads results.
func (rs *Results) UnmarshalMsg(b []byte) ([]byte, error) {
	var p packedResults
	rest, err := p.UnmarshalMsg(b)
	if err == nil {
		*rs, err = unpack(p.List)
	}
	return rest, err
}

// MarshalMsg appends the outcome; its error is a conflict, of which the text is all.
func (o outcome) MarshalMsg(b []byte) ([]byte, error) {
	p := packedOutcome{Results: pack(o.results), Vetoed: o.vetoed}
	if o.err != nil {
		p.Conflict = o.err.Error()
	}
	return p.MarshalMsg(b)
}

// UnmarshalMsg reads an outcome.
func (o *outcome) UnmarshalMsg(b []byte) ([]byte, error) {
	var p packedOutcome
	rest, err := p.UnmarshalMsg(b)
	if err != nil {
		return b, err
	}
	if o.vetoed = p.Vetoed; p.Conflict != "" {
		o.err = &fault.Error{Kind: fault.Conflict, Text: p.Conflict}
		return rest, nil
	}
	o.results, err = unpack(p.Results)
	return rest, err
}

// MarshalMsg appends the transaction.
func (q readQuery) MarshalMsg(b []byte) ([]byte, error) { return q.txn.MarshalMsg(b) }

// UnmarshalMsg reads a transaction.
func (q *readQuery) UnmarshalMsg(b []byte) ([]byte, error) {
	q.txn = new(Txn)
	rest, err := q.txn.UnmarshalMsg(b)
	for i, op := range q.txn.Ops {
		if op.KV == nil && op.Catalog == nil && err == nil {
			err = fmt.Errorf("operation %d is none", i)
		}
	}
	return rest, err
}
