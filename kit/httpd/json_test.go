package httpd

import (
	"encoding/json"
	"math"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func sameAsStandard(t *testing.T, got []byte, v any) {
	t.Helper()
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%#v: got %s, want %s", v, got, want)
	}
}

func TestAppend(t *testing.T) {
	var all strings.Builder
	for r := range rune(0x300) {
		all.WriteRune(r)
	}
	for _, s := range []string{"", all.String(), "\u2027\u2028\u2029\u202a", "a\xffb\xc3", "<&>", "\ufffd", "日本語😀", "\xed\xa0\x80"} {
		sameAsStandard(t, AppendString(nil, s), s)
	}
	for _, b := range [][]byte{nil, {}, {0}, {0, 1}, []byte("hello")} {
		sameAsStandard(t, AppendBase64(nil, b), b)
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1.5, 1e-6, 9.99e-7, 1e-7, 1.25e-9, 1e-10, 1e20, 1e21, 1e300, -1e-300, math.MaxFloat64, math.SmallestNonzeroFloat64} {
		sameAsStandard(t, AppendFloat(nil, f), f)
	}
	if got := string(AppendFloat(nil, math.NaN())); got != "null" {
		t.Error(got)
	}
	for _, l := range [][]string{{}, {"a"}, {"a", "<b>"}} {
		sameAsStandard(t, AppendStrings(nil, l), l)
	}
	for _, m := range []map[string]string{nil, {}, {"b": "1", "a": "<", "é": "2", "B": ""}} {
		sameAsStandard(t, AppendStringMap(nil, m), m)
	}
	sameAsStandard(t, AppendUint(nil, math.MaxUint64), uint64(math.MaxUint64))
}

func FuzzAppendString(f *testing.F) {
	f.Add("a<b>\u2028\xff\x00")
	f.Fuzz(func(t *testing.T, s string) { sameAsStandard(t, AppendString(nil, s), s) })
}

func FuzzAppendFloat(f *testing.F) {
	f.Add(1e-7)
	f.Fuzz(func(t *testing.T, v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			sameAsStandard(t, AppendFloat(nil, v), v)
		}
	})
}

// FuzzDecode holds the decoder to encoding/json on one value, and to not caring about what follows.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"x","Port":3}`), true)
	f.Add([]byte(`{"Foo":1}`), false)
	f.Fuzz(func(t *testing.T, body []byte, strict bool) {
		var got, want item
		err := DecodeJSON(body, &got, strict)
		if err != nil {
			if statusOf(err) != 400 || !strings.HasPrefix(err.Error(), "Request decode failed: ") {
				t.Fatalf("%v", err)
			}
			return
		}
		if json.Valid(body) {
			if err := json.Unmarshal(body, &want); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: %v, %+v against %+v", body, err, got, want)
			}
		}
	})
}

func FuzzParseQuery(f *testing.F) {
	f.Add("a=1&b&&c=%20+x&a=2")
	f.Add("%zz")
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseQuery(raw)
		want, wantErr := url.ParseQuery(raw)
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("%q: %v, package url says %v", raw, err, wantErr)
		}
		if err != nil {
			return
		}
		all := url.Values{}
		for _, p := range got {
			all.Add(p.key, p.value)
		}
		if !reflect.DeepEqual(all, want) {
			t.Fatalf("%q: %v, package url says %v", raw, all, want)
		}
	})
}

// FuzzPath checks that cleaning ends: what a redirect points to is not redirected again.
func FuzzPath(f *testing.F) {
	f.Add("//v1/kv/../a/%2F%2e/./")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI("/" + raw)
		if err != nil || u.Host != "" {
			return
		}
		_ = unprintable(u.Path)
		if !dirty(u) {
			return
		}
		next, err := url.ParseRequestURI(cleaned(u))
		if err != nil || dirty(next) || next.Host != "" {
			t.Fatalf("%q leads to %q: %v", raw, cleaned(u), err)
		}
	})
}
