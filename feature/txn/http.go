package txn

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	strict "github.com/go-json-experiment/json"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/kv"
	"rostra/kit/fault"
	"rostra/kit/httpd"
	"rostra/kit/metric"
)

// maxOps is how many operations a transaction has at most, as in Consul since 1.14.
const maxOps = 128

// web serves /v1/txn.
type web struct {
	door              room.Door
	self              *room.Identity // this agent
	maxBody, maxValue int64
	reads             *metric.Sample // of transactions that only read
}

func (w web) routes() []httpd.Route {
	return []httpd.Route{{Method: "PUT", Path: "/v1/txn", Serve: w.serve, Read: true}}
}

// element is one operation of the body, on a key or on the catalog. Of several the first in this order counts.
type element struct {
	KV                   *operation
	Node, Service, Check json.RawMessage
}

// operation is one on a key. The last two members mean something in the enterprise edition only.
type operation struct {
	Verb, Key            string
	Value                []byte
	Flags, Index         uint64
	Session              string
	Namespace, Partition string
}

func (w web) serve(r *httpd.Request) (httpd.Reply, error) {
	body, err := r.Body(w.maxBody, w.tooLarge)
	if err != nil {
		return httpd.Reply{}, err
	}
	t, err := decode(body, w.maxValue, cmp.Or(r.Params.Datacenter, w.self.Datacenter))
	if err != nil {
		return httpd.Reply{}, err
	}
	if !t.writes() {
		defer w.reads.Since(time.Now())
		return w.read(r, t)
	}
	o := room.Options{Token: r.Params.Token, Datacenter: r.Params.Datacenter}
	result, _, err := w.door.Apply(r.Context(), t, o)
	if fault.Is(err, fault.Conflict) {
		return httpd.Reply{Value: verbatim(err.Error()), Status: http.StatusConflict}, nil
	}
	return httpd.Reply{Value: result}, err
}

func (w web) tooLarge(size int64) string {
	how := ""
	if size >= 0 {
		how = fmt.Sprintf("(%d bytes)", size)
	}
	return fmt.Sprintf("Request body%s too large, max size: %d bytes."+
		" See https://developer.hashicorp.com/docs/agent/config/config-files#txn_max_req_len.", how, w.maxBody)
}

// elements reads the body's list. Whatever the fast and strict decoder refuses is read once more as Consul reads it: names
// in any case, the last of two members, text behind the list, and errors in the words that clients know.
func elements(body []byte) (list []element, err error) {
	if strict.Unmarshal(body, &list, strict.RejectUnknownMembers(true)) == nil {
		return list, nil
	}
	list = nil
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err = d.Decode(&list)
	return list, err
}

// decode reads the body; elements without an operation are dropped. datacenter is that of nodes for which it names none.
func decode(body []byte, maxValue int64, datacenter string) (*Txn, error) {
	list, err := elements(body)
	if err != nil {
		return nil, fault.New(fault.Invalid, "Failed to parse body: %v", err)
	}
	if len(list) > maxOps {
		return nil, fault.New(fault.TooLarge, "Transaction contains too many operations (%d > %d)", len(list), maxOps)
	}
	t := &Txn{Ops: make([]Op, 0, len(list))}
	for _, e := range list {
		if e.KV == nil {
			op := new(catalog.Op)
			if is, err := op.ReadJSON(e.Node, e.Service, e.Check, datacenter); err != nil {
				return nil, fault.New(fault.Invalid, "Failed to parse body: %v", err)
			} else if is {
				t.Ops = append(t.Ops, Op{Catalog: op})
			}
			continue
		}
		if size := int64(len(e.KV.Value)); size > maxValue {
			return nil, fault.New(fault.TooLarge, "Value for key %q is too large (%d > %d bytes)", e.KV.Key, size, maxValue)
		}
		t.Ops = append(t.Ops, Op{KV: &kv.Op{Verb: e.KV.Verb, Key: e.KV.Key, Value: e.KV.Value,
			Flags: e.KV.Flags, Index: e.KV.Index, Session: e.KV.Session}})
	}
	return t, nil
}

// read answers a transaction that changes nothing. What reads say about themselves is in the body and in two headers.
func (w web) read(r *httpd.Request, t *Txn) (httpd.Reply, error) {
	o := room.OptionsOf(r)
	o.Index = 0
	answer, meta, err := w.door.Read(r.Context(), readQuery{t}, o)
	found, _ := answer.Value.(outcome)
	if fault.Is(err, fault.Conflict) {
		found, err = outcome{err: err, vetoed: true}, nil
	}
	if err != nil {
		return httpd.Reply{}, err
	}
	index := 1
	if found.vetoed {
		meta, index = room.Meta{}, 0
	}
	reply := httpd.Reply{Header: http.Header{
		"X-Consul-Knownleader": {strconv.FormatBool(meta.KnownLeader)},
		"X-Consul-Lastcontact": {strconv.FormatInt(meta.LastContact.Milliseconds(), 10)},
	}}
	var body []byte
	if found.err != nil {
		reply.Status, body = http.StatusConflict, []byte(found.err.Error())
	} else {
		body = found.results.AppendJSON(nil)
	}
	body = body[:len(body)-1] // the brace
	body = fmt.Appendf(body, `,"Index":%d,"LastContact":%d,"KnownLeader":%t,"ConsistencyLevel":"","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`,
		index, int64(meta.LastContact), meta.KnownLeader)
	reply.Value = verbatim(body)
	return reply, nil
}

// verbatim is JSON that is ready.
type verbatim string

// AppendJSON appends it.
func (v verbatim) AppendJSON(b []byte) []byte { return append(b, v...) }
