package txn

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"rostra/engine/room"
	"rostra/feature/catalog"
	"rostra/feature/session"

	"rostra/engine/server/servertest"
)

const (
	readTail = `,"Index":1,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`
	vetoTail = `,"Index":0,"LastContact":0,"KnownLeader":false,"ConsistencyLevel":"","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`
	lockID   = "9f0f3c12-5a0b-77de-1c3f-0a4be9d2c511"
)

var indexes = regexp.MustCompile(`"(Create|Modify)Index":[1-9]\d*`)

func start(t *testing.T) *servertest.Agent {
	a := startAgent(t)
	for _, c := range []room.Command{&catalog.Register{Row: &catalog.Node{Node: "n1"}},
		&session.Create{Session: session.Session{ID: lockID, Node: "n1", Behavior: session.Release, LockDelay: 15_000_000_000}}} {
		if _, _, err := a.Door.Apply(t.Context(), c, room.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	a.Do("PUT", "/v1/kv/a?flags=7", "1")
	a.Do("PUT", "/v1/kv/b/1", "<>")
	return a
}

func kvOp(format string, args ...any) string { return fmt.Sprintf(`{"KV":{`+format+`}}`, args...) }

func failed(tail string, failures ...string) string {
	list := ""
	for i := 0; i < len(failures); i += 2 {
		list += fmt.Sprintf(`,{"OpIndex":%s,"What":%q}`, failures[i], failures[i+1])
	}
	return `{"Results":null,"Errors":[` + list[1:] + `]` + tail
}

// TestHTTP walks through spec http/txn.md; each line builds on those before it.
func TestHTTP(t *testing.T) {
	const big = `{"KV":{"Verb":"set","Key":"k","Value":"` // …"}}
	entry := func(key, value string, flags int) string {
		return fmt.Sprintf(`{"KV":{"LockIndex":0,"Key":%q,"Flags":%d,"Value":%s,"CreateIndex":<n>,"ModifyIndex":<n>}}`, key, flags, value)
	}
	locked := strings.Replace(entry("lock", "null", 0), `"LockIndex":0`, `"LockIndex":1`, 1)
	tests := []struct {
		name, body string
		status     int
		want       string
	}{
		{"nothing", ``, 400, `Failed to parse body: EOF`},
		{"not a list", `{}`, 400, `Failed to parse body: json: cannot unmarshal object into Go value of type []txn.element`},
		{"bad base64", `[` + kvOp(`"Verb":"set","Key":"a","Value":"%%"`) + `]`, 400, `Failed to parse body: illegal base64 data at input byte 0`},
		{"unknown member", `[` + kvOp(`"Verb":"set","Foo":1`) + `]`, 400, `Failed to parse body: json: unknown field "Foo"`},
		{"sessions have no operations", `[{"Session":{}}]`, 400, `Failed to parse body: json: unknown field "Session"`},
		{"empty list", `[]`, 200, `{"Results":[],"Errors":null` + readTail},
		{"element without operation", `[{},null,{"Node":null}]`, 200, `{"Results":[],"Errors":null` + readTail},
		{"too many", `[` + strings.Repeat(`{},`, 128) + `{}]`, 413, `Transaction contains too many operations (129 > 128)`},
		{"many", `[` + strings.Repeat(`{},`, 127) + `{}]`, 200, `{"Results":[],"Errors":null` + readTail},
		{"value too long", `[` + big + strings.Repeat("AAAA", 334) + `"}}]`, 413, `Value for key "k" is too large (1002 > 1000 bytes)`},
		{"body too long", strings.Repeat(" ", 5001), 413, `Request body(5001 bytes) too large, max size: 5000 bytes. See https://developer.hashicorp.com/docs/agent/config/config-files#txn_max_req_len.`},
		{"reads", `[` + kvOp(`"verb":"get","key":"a"`) + `,` + kvOp(`"Verb":"get-tree","Key":"b"`) + `,` + kvOp(`"Verb":"check-not-exists","Key":"c"`) + `] more`, 200,
			`{"Results":[` + entry("a", `"MQ=="`, 7) + `,` + entry("b/1", `"PD4="`, 0) + `],"Errors":null` + readTail},
		{"get-or-empty", `[` + kvOp(`"Verb":"get-or-empty","Key":"c","Namespace":"x","Partition":"y"`) + `]`, 200,
			`{"Results":[{"KV":{"LockIndex":0,"Key":"c","Flags":0,"Value":null,"CreateIndex":0,"ModifyIndex":0}}],"Errors":null` + readTail},
		{"reads that fail", `[` + kvOp(`"Verb":"get","Key":"a"`) + `,` + kvOp(`"Verb":"get","Key":"x"`) + `,` + kvOp(`"Verb":"check-index","Key":"a","Index":1`) + `]`, 409,
			failed(readTail, "1", `key "x" doesn't exist`, "2", `failed index check for key "a", current modify index <n> != 1`)},
		{"reads that never could", `[` + kvOp(`"Verb":"get","Key":"x"`) + `,` + kvOp(`"Verb":"foo","Key":"x"`) + `,` + kvOp(`"Verb":"get-tree"`) + `]`, 409,
			failed(vetoTail, "1", `unknown KV operation: foo`, "2", `Must provide key`)},
		{"writes see each other", `[` + kvOp(`"Verb":"set","Key":"n","Value":"eA=="`) + `,` + kvOp(`"Verb":"get","Key":"n"`) + `,` + kvOp(`"Verb":"delete","Key":"n"`) + `,` +
			kvOp(`"Verb":"check-not-exists","Key":"n"`) + `,` + kvOp(`"Verb":"lock","Key":"lock","Session":%q`, lockID) + `]`, 200,
			`{"Results":[` + entry("n", "null", 0) + `,` + entry("n", `"eA=="`, 0) + `,` + strings.Replace(locked, `"Value":null`, `"Value":null,"Session":"`+lockID+`"`, 1) + `],"Errors":null}`},
		{"all or nothing", `[` + kvOp(`"Verb":"set","Key":"n","Value":"eA=="`) + `,` + kvOp(`"Verb":"cas","Key":"a","Index":1`) + `,` + kvOp(`"Verb":"delete-cas","Key":"a","Index":1`) + `,` +
			kvOp(`"Verb":"lock","Key":"lock","Session":"x"`) + `]`, 409,
			failed("}", "1", `failed to set key "a", index is stale`, "2", `failed to delete key "a", index is stale`, "3", `invalid session "x"`)},
		{"nothing happened", `[` + kvOp(`"Verb":"check-not-exists","Key":"n"`) + `]`, 200, `{"Results":[],"Errors":null` + readTail},
		{"refused before it begins", `[` + kvOp(`"Verb":"cas","Key":"a","Index":1`) + `,` + kvOp(`"Verb":"set"`) + `]`, 409, failed("}", "1", "Must provide key")},
		{"everything", `[` + kvOp(`"Verb":"delete-tree","Key":""`) + `]`, 200, `{"Results":[],"Errors":null}`},
		{"it is gone", `[` + kvOp(`"Verb":"get","Key":"a"`) + `]`, 409, failed(readTail, "0", `key "a" doesn't exist`)},
	}
	a := start(t)
	for _, tt := range tests {
		status, h, body := a.Do("PUT", "/v1/txn", tt.body)
		body = indexes.ReplaceAllString(body, `"${1}Index":<n>`)
		body = regexp.MustCompile(`modify index \d+`).ReplaceAllString(body, "modify index <n>")
		if status != tt.status || body != tt.want {
			t.Errorf("%s: %d %s\nwant %d %s", tt.name, status, body, tt.status, tt.want)
		}
		known := ""
		if strings.HasSuffix(tt.want, readTail) {
			known = "true"
		} else if strings.HasSuffix(tt.want, vetoTail) {
			known = "false"
		}
		if h.Get("X-Consul-Knownleader") != known || (h.Get("X-Consul-Lastcontact") != "") != (known != "") || h.Get("X-Consul-Index") != "" {
			t.Errorf("%s: headers %v, want KnownLeader %q", tt.name, h, known)
		}
		if status < 400 || status == 409 {
			if got := h.Get("Content-Type"); got != "application/json" {
				t.Errorf("%s: Content-Type %q", tt.name, got)
			}
		}
	}
	if status, _, body := a.Send("PUT", "/v1/txn", io.MultiReader(strings.NewReader(strings.Repeat(" ", 5001)))); status != 413 ||
		body != "Request body too large, max size: 5000 bytes. See https://developer.hashicorp.com/docs/agent/config/config-files#txn_max_req_len." {
		t.Errorf("a chunked body that is too long: %d %s", status, body)
	}
}

// TestOneIndex: all writes of a transaction share one index, and its refusal moves none.
func TestOneIndex(t *testing.T) {
	a := start(t)
	before := a.Door.Counters()["index"]
	if status, _, body := a.Do("PUT", "/v1/txn", `[`+kvOp(`"Verb":"set","Key":"x"`)+`,`+kvOp(`"Verb":"cas","Key":"y"`)+`]`); status != 200 ||
		strings.Count(body, fmt.Sprintf(`"CreateIndex":%d,"ModifyIndex":%d`, before+1, before+1)) != 2 {
		t.Errorf("%d %s, want index %d twice", status, body, before+1)
	}
	if status, _, body := a.Do("PUT", "/v1/txn", `[`+kvOp(`"Verb":"set","Key":"x","Flags":1`)+`,`+kvOp(`"Verb":"cas","Key":"y"`)+`]`); status != 409 {
		t.Errorf("%d %s", status, body)
	}
	if got := a.Door.Counters()["index"]; got != before+1 {
		t.Errorf("index %d, want %d", got, before+1)
	}
}

func TestLockDelay(t *testing.T) {
	a := start(t)
	lock := `[` + kvOp(`"Verb":"set","Key":"other"`) + `,` + kvOp(`"Verb":"lock","Key":"l","Session":%q`, lockID) + `]`
	a.Do("PUT", "/v1/kv/l?acquire="+lockID, "")
	a.Do("PUT", "/v1/session/destroy/"+lockID, "")
	_, _, _ = a.Do("PUT", "/v1/session/create", "")
	status, _, body := a.Do("PUT", "/v1/txn", lock)
	if want := failed("}", "1", `failed to lock key "l" due to lock delay`); status != 409 || body != want {
		t.Errorf("%d %s\nwant 409 %s", status, body, want)
	}
}

// FuzzBody: whatever comes in, decode gives an error or a transaction that travels through the log unchanged.
func FuzzBody(f *testing.F) {
	f.Add([]byte(`[{"KV":{"Verb":"set","Key":"a","Value":"eA==","Flags":3,"Index":4,"Session":"s"}},{"Node":null},{},{"Node":{"Verb":"set","Node":{"Node":"a","Meta":{"k":"v"}}}},{"Service":{"Verb":"cas","Node":"a","Service":{"ID":"s","Tags":[]}}},{"Check":{"Verb":"get","Check":{"Definition":{"TTL":"1s"}}}}]`))
	f.Add([]byte(`[{"KV":{"verb":"GET"}},{"KV":`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		tx, err := decode(body, 100, "dc1")
		if err != nil {
			return
		}
		if len(tx.Ops) > maxOps {
			t.Fatalf("%d operations", len(tx.Ops))
		}
		raw, err := tx.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		var again Txn
		if rest, err := again.UnmarshalMsg(raw); err != nil || len(rest) > 0 {
			t.Fatalf("%v, %d bytes left", err, len(rest))
		}
		twice, _ := again.MarshalMsg(nil)
		if string(twice) != string(raw) || again.writes() != tx.writes() {
			t.Fatalf("%x then %x", raw, twice)
		}
	})
}

// FuzzElements: what the strict decoder takes it understands as Consul's does.
func FuzzElements(f *testing.F) {
	for _, body := range []string{
		`[{"KV":{"Verb":"set","Key":"a","Value":"eA==","Flags":3,"Index":4,"Session":"s","Namespace":"n","Partition":"p"}}]`,
		`[{"kv":{"verb":"get","KEY":"k"}}] behind`, `[{"KV":{"Key":"a","Key":"b"},"KV":{"Verb":"get"}}]`, `[{"KV":null,"Node":null},null]`, `null`,
		`[{"KV":{"Value":null,"Flags":null}}]`, `[{"KV":{"Value":"e\nA=="}}]`, `[{"KV":{"Value":[1,2]}}]`, "[{\"KV\":{\"Key\":\"\xff\\ud800\"}}]",
		`[{"Node":{"Verb":"set"},"Check":[1]}]`, `[{"KV":{"Flags":1.0}}]`, `[{"KV":{"Flags":18446744073709551616}}]`, `[{"X":1}]`, `{}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want []element
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		wrong := d.Decode(&want)
		got, err := elements(body)
		if fmt.Sprint(err) != fmt.Sprint(wrong) || wrong == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\nread as %+v, %v\nwant    %+v, %v", body, got, err, want, wrong)
		}
	})
}

// BenchmarkDecode measures reading a body of 64 writes.
func BenchmarkDecode(b *testing.B) {
	body := []byte("[")
	for i := range 64 {
		body = fmt.Appendf(body, `{"KV":{"Verb":"set","Key":"some/key/%08d","Value":%q}},`, i, base64.StdEncoding.EncodeToString(make([]byte, 100)))
	}
	body[len(body)-1] = ']'
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if t, err := decode(body, 1000, "dc1"); err != nil || len(t.Ops) != 64 {
			b.Fatal(err)
		}
	}
}

// FuzzStored checks that what decodes encodes to the same bytes again, as the log needs it.
func FuzzStored(f *testing.F) {
	tx, err := decode([]byte(`[{"KV":{"Verb":"set","Key":"a"}},{"Check":{"Verb":"set","Check":{"CheckID":"c"}}}]`), 100, "dc1")
	if err != nil {
		f.Fatal(err)
	}
	b, _ := tx.MarshalMsg(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := msgp.Skip(b); err != nil {
			return // as store.DecodeStrict does before it lets the record read
		}
		var once, twice Txn
		if _, err := once.UnmarshalMsg(b); err != nil {
			return
		}
		first, _ := once.MarshalMsg(nil)
		if _, err := twice.UnmarshalMsg(first); err != nil || !reflect.DeepEqual(once, twice) {
			t.Fatalf("%+v became %+v, %v", once, twice, err)
		}
	})
}
