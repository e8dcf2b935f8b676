package wire

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"
	"time"
)

func TestPairs(t *testing.T) {
	p := PairsOf(map[string]string{"b": "2", "a": "1", "c": ""})
	if p[0].Key != "a" || p[1].Key != "b" || p[2].Key != "c" {
		t.Errorf("not in order: %v", p)
	}
	for key, want := range map[string]string{"a": "1", "b": "2", "c": ""} {
		if v, ok := p.Get(key); !ok || v != want {
			t.Errorf("%s: %q, %v", key, v, ok)
		}
	}
	if _, ok := p.Get("bb"); ok {
		t.Error("found what is not there")
	}
	for _, c := range []struct {
		of   map[string]string
		want bool
	}{{nil, true}, {map[string]string{"a": "1"}, true}, {map[string]string{"a": "2"}, false}, {map[string]string{"x": ""}, false}} {
		if p.Contains(PairsOf(c.of)) != c.want {
			t.Errorf("contains %v: %v", c.of, !c.want)
		}
	}
	if !Pairs(nil).Equal(Pairs{}) || p.Equal(p[:2]) || !p.Equal(PairsOf(p.Map())) {
		t.Error("equality is wrong")
	}
}

// TestPairsJSON: null and {} stay apart on the way through JSON and MessagePack (design rule 23).
func TestPairsJSON(t *testing.T) {
	for _, text := range []string{`null`, `{}`, `{"a":"1","b":"\u003c"}`} {
		var p, q Pairs
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(p); err != nil || string(b) != text {
			t.Errorf("%s became %s, %v", text, b, err)
		}
		packed, err := p.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		if rest, err := q.UnmarshalMsg(packed); err != nil || len(rest) > 0 || (p == nil) != (q == nil) || !p.Equal(q) {
			t.Errorf("%s: unpacked %v, %v", text, q, err)
		}
		if len(packed) > p.Msgsize() {
			t.Errorf("%s: %d bytes, at most %d were promised", text, len(packed), p.Msgsize())
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{`"10s"`: 10 * time.Second, `"1h30m"`: 90 * time.Minute, `1500`: 1500,
		`""`: 0, `null`: 0, `1e9`: time.Second} {
		var d Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v, %v", text, d, err)
		}
	}
	for _, text := range []string{`"abc"`, `{}`, `"10"`, `true`} {
		var d Duration
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s is accepted as %v", text, d)
		}
	}
	if b, err := json.Marshal(Duration(90 * time.Second)); err != nil || string(b) != `"1m30s"` {
		t.Errorf("%s, %v", b, err)
	}
	packed, err := Duration(-5).MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	var d Duration
	if rest, err := d.UnmarshalMsg(packed); err != nil || len(rest) > 0 || d != -5 {
		t.Errorf("unpacked %v, %v", d, err)
	}
}

// FuzzPairs: what decodes encodes to the same bytes once it has been through the codec.
func FuzzPairs(f *testing.F) {
	f.Add([]byte{0x81, 0xa1, 'a', 0xa1, 'b'})
	f.Add([]byte{0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p, q Pairs
		if _, err := p.UnmarshalMsg(b); err != nil {
			return
		}
		once, err := p.MarshalMsg(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.UnmarshalMsg(once); err != nil {
			t.Fatal(err)
		}
		if twice, err := q.MarshalMsg(nil); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%x became %x, %v", once, twice, err)
		}
	})
}

func TestNewID(t *testing.T) {
	if id := NewID(); !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(id) || id == NewID() {
		t.Errorf("no UUID, or not a random one: %s", id)
	}
}

func TestSays(t *testing.T) {
	for raw, want := range map[string]bool{
		``: false, `null`: false, `{}`: false, `[]`: false, `""`: false, `0`: false, `false`: false, `{"a":{"b":[null,"",0]}}`: false,
		`1`: true, `"x"`: true, `true`: true, `{"a":{"b":[null,"x"]}}`: true, `{`: false,
	} {
		if Says(json.RawMessage(raw)) != want {
			t.Errorf("%s: %v", raw, !want)
		}
	}
}
