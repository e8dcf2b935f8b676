package tree

import (
	"reflect"
	"testing"
)

// TestOneForm reads the same things in both notations.
func TestOneForm(t *testing.T) {
	value := map[string]any{"name": "web", "port": int64(80), "rate": 0.5, "ok": true, "tags": []any{"a", "b"},
		"check": map[string]any{"args": []any{"x"}}, "checks": []any{map[string]any{"TTL": "1s"}, map[string]any{"TTL": "2s"}}}
	for _, test := range []struct {
		name string
		read Reader
		text string
	}{
		{"JSON", ParseJSON, `{"name": "web", "port": 80, "rate": 0.5, "ok": true, "none": null,
"tags": ["a", "b"], "check": {
"args": ["x"]}, "checks": [{"TTL": "1s"},
{"TTL": "2s"}]}`},
		{"HCL", ParseHCL, `name = "web" port = 0x50 rate = 0.5 ok = true
tags = ["a", "b"] check {
args = ["x"] } checks { TTL = "1s" }
checks { TTL = "2s" }`},
		{"JSON in HCL", ParseHCL, `{"name": "web", "port": 80, "rate": 0.5, "ok": true,
"tags": ["a", "b"], "check": {
"args": ["x"]}, "checks": [{"TTL": "1s"},
{"TTL": "2s"}]}`},
	} {
		n, err := test.read([]byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got, lines := n.Plain()
		if !reflect.DeepEqual(got, value) {
			t.Errorf("%s: %v", test.name, got)
		}
		for path, line := range map[string]int{"name": 1, "tags": 2, "check": 2, "check.args": 3, "checks.0.ttl": 3, "checks.1": 4, "checks.1.ttl": 4} {
			if lines[path] != line {
				t.Errorf("%s: %s is on line %d, want %d", test.name, path, lines[path], line)
			}
		}
		if n.Find("port").Val.Shown() != "the number 80" || n.Find("nothing") != nil || n.Off() || n.Empty() {
			t.Errorf("%s: %+v", test.name, n)
		}
	}
}

// TestNeverClosed wants the line of the bracket, which is where to look, not that of the end.
func TestNeverClosed(t *testing.T) {
	for _, test := range []struct {
		read Reader
		text string
		line int
		want string
	}{
		{ParseHCL, "a = 1\nservice {\n check {\n }\n\n", 2, "cannot read the HCL: the { of this line is never closed: add a } where it ends"},
		{ParseHCL, "a {\n b = [\n 1,\n", 2, "cannot read the HCL: the [ of this line is never closed: add a ] where it ends"},
		{ParseHCL, "# {\na = \"{\"\nb {\n", 3, "cannot read the HCL: the { of this line is never closed: add a } where it ends"},
		{ParseJSON, "{\"a\": [\n1, {\"b\": \"}]\\\"\"\n}\n", 1, "cannot read the JSON: the [ of this line is never closed: add a ] where it ends"},
		{ParseJSON, "{\"a\": 1\n", 1, "cannot read the JSON: the { of this line is never closed: add a } where it ends"},
		{ParseJSON, "{\"a\": \"x", 1, "cannot read the JSON: unexpected end of JSON input"},
		{ParseJSON, "{\"a\":\n1 x", 2, "cannot read the JSON: invalid character 'x' after object key:value pair"},
	} {
		_, err := test.read([]byte(test.text))
		if e, ok := err.(*SyntaxError); !ok || e.Line != test.line || e.Error() != test.want {
			t.Errorf("%q: %v (%+v)", test.text, err, err)
		}
	}
}

func TestReaderOf(t *testing.T) {
	for _, test := range []struct {
		path, format string
		known        bool
	}{{"a.json", "", true}, {"a.hcl", "", true}, {"a", "hcl", true}, {"a.yaml", "json", true}, {"a.yaml", "", false}, {"a.hcl", "toml", false}, {"json", "", false}} {
		if got := ReaderOf(test.path, test.format) != nil; got != test.known {
			t.Errorf("%s as %q: %v", test.path, test.format, got)
		}
	}
}
