package room

import (
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"rostra/kit/authz"
	"rostra/kit/store"
)

// ask is a Query with fields at two depths.
type ask struct {
	Name string
	List [1]string
}

func (ask) Allowed(authz.Decider) error { return nil }
func (ask) Subjects() []store.Subject   { return nil }
func (ask) Run(store.Reader) Answer     { return Answer{} }

func (a *ask) MarshalMsg(b []byte) ([]byte, error) {
	b = msgp.AppendString(msgp.AppendString(msgp.AppendMapHeader(b, 2), "Name"), a.Name)
	b = msgp.AppendArrayHeader(msgp.AppendString(b, "List"), 1)
	return msgp.AppendString(msgp.AppendString(msgp.AppendMapHeader(b, 1), "x"), a.List[0]), nil
}

// UnmarshalMsg reads as generated code does: what it does not know it skips.
func (a *ask) UnmarshalMsg(b []byte) ([]byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	for ; n > 0 && err == nil; n-- {
		var k []byte
		if k, b, err = msgp.ReadMapKeyZC(b); err != nil {
			break
		}
		switch string(k) {
		case "Name":
			a.Name, b, err = msgp.ReadStringBytes(b)
		default:
			b, err = msgp.Skip(b)
		}
	}
	return b, err
}

func packedMap(t *testing.T, v map[string]any) []byte {
	t.Helper()
	b, err := msgp.AppendMapStrIntf(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestQuestions: a question with an unknown field is refused, at any depth; an older asker's lacks fields and is not.
func TestQuestions(t *testing.T) {
	q := QueryOf[ask]("ask", Nothing)
	for _, c := range []struct {
		fields map[string]any
		fails  string
	}{
		{map[string]any{}, ""},
		{map[string]any{"Name": "a"}, ""},
		{map[string]any{"Name": "a", "List": []any{map[string]any{"x": "y"}}}, ""},
		{map[string]any{"Name": "a", "List": []any{map[string]any{}}}, ""},
		{map[string]any{"Name": "a", "New": true}, "upgrade this server"},
		{map[string]any{"Name": "a", "List": []any{map[string]any{"new": "y"}}}, "upgrade this server"},
		{map[string]any{"Name": "a", "List": []any{"x", "y"}}, "upgrade this server"},
		{map[string]any{"Name": "a", "List": map[string]any{"x": "y"}}, "upgrade this server"},
		{map[string]any{"Name": 1}, "cannot decode"},
	} {
		v, rest, err := q.Query.Read(append(packedMap(t, c.fields), "rest"...))
		if c.fails == "" && (err != nil || string(rest) != "rest") {
			t.Errorf("%v: %v, %q left", c.fields, err, rest)
		}
		if c.fails == "" && c.fields["Name"] == "a" && v != (ask{Name: "a"}) {
			t.Errorf("%v: read %+v", c.fields, v)
		}
		if c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%v: %v, want %q", c.fields, err, c.fails)
		}
	}
}

// TestAnswers: what an answer holds beyond what is known is skipped, and the rest is left.
func TestAnswers(t *testing.T) {
	b := append(packedMap(t, map[string]any{"Name": "a", "New": []any{1}}), "rest"...)
	if v, rest, err := Packed[ask]().Read(b); err != nil || v != (ask{Name: "a"}) || string(rest) != "rest" {
		t.Errorf("%+v, %q, %v", v, rest, err)
	}
	if v, rest, err := Pointer[ask]().Read(b); err != nil || *v.(*ask) != (ask{Name: "a"}) || string(rest) != "rest" {
		t.Errorf("%+v, %q, %v", v, rest, err)
	}
}

func TestCodecs(t *testing.T) {
	null := (*ask)(nil)
	for _, c := range []struct {
		name  string
		codec Codec
		v     any
	}{
		{"bool", Bool, true}, {"bool", Bool, false}, {"string", String, ""}, {"string", String, "a\x00ü"}, {"int", Int, -3},
		{"nothing", Nothing, nil}, {"packed", Packed[ask](), ask{Name: "x"}}, {"pointer", Pointer[ask](), null},
	} {
		b, err := c.codec.Append([]byte("before"), c.v)
		if err != nil || !strings.HasPrefix(string(b), "before") {
			t.Errorf("%s: %q, %v", c.name, b, err)
			continue
		}
		if v, rest, err := c.codec.Read(append(b[6:], "after"...)); v != c.v || string(rest) != "after" || err != nil {
			t.Errorf("%s: %v became %v, %q left, %v", c.name, c.v, v, rest, err)
		}
		if c.name == "nothing" {
			continue
		}
		if b, err := c.codec.Append([]byte("x"), struct{}{}); err == nil || string(b) != "x" {
			t.Errorf("%s takes what it is not for: %q, %v", c.name, b, err)
		}
		for _, bad := range []string{"", "\xc1", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff"} {
			if v, _, err := c.codec.Read([]byte(bad)); err == nil {
				t.Errorf("%s reads %q as %v", c.name, bad, v)
			}
		}
	}
}

// FuzzQuestion: no bytes make reading a question panic.
func FuzzQuestion(f *testing.F) {
	f.Add([]byte("\x82\xa4Name\xa1a\xa4List\x91\x81\xa1x\xa1y"))
	f.Add([]byte("\x81\xa4List\x91\x80"))
	q := QueryOf[ask]("ask", Nothing)
	f.Fuzz(func(t *testing.T, b []byte) { _, _, _ = q.Query.Read(b) })
}
