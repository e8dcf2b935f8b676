package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var outcomeNames = map[outcome]string{notYet: "notYet", guarded: "guarded", ignored: "ignored", enterprise: "enterprise",
	mesh: "mesh", unopened: "unopened", segmented: "segmented", fixed: "fixed"}

// classOf is what becomes of a key that nobody obeys.
func classOf(key string) string {
	if _, ok := renamedKeys[key]; ok {
		return "renamed"
	}
	if single[key] != "" {
		return "single"
	}
	r := lookup(key)
	if r == nil {
		r = above(key)
	}
	if r == nil {
		return "unknown"
	}
	return outcomeNames[r.outcome]
}

func TestEveryKeyIsClassified(t *testing.T) {
	data, err := os.ReadFile("testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		for _, key := range words[1:] {
			if listed[key] {
				t.Errorf("%s is listed twice", key)
			}
			listed[key] = true
			if got := classOf(key); got != words[0] {
				t.Errorf("%s is %s, want %s", key, got, words[0])
			}
		}
	}
	for _, key := range knownKeys() {
		if !listed[key] && !regexp.MustCompile(`^tls\.(\w+\.use_auto_cert|https\.verify_s.*|grpc\.verify_[os].*)$`).MatchString(key) {
			t.Errorf("%s is not in the list", key)
		}
	}
}

// TestFates gives each key of the table a value that asks for something and looks at what happens.
func TestFates(t *testing.T) {
	for key, r := range table {
		if strings.HasSuffix(key, "*") || key == dottedKey {
			continue
		}
		text := `"asked for"`
		parts := strings.Split(key, ".")
		for i := len(parts) - 1; i >= 0; i-- {
			text = fmt.Sprintf("{%q: %s}", parts[i], text)
		}
		l, err := Load(Input{Args: []string{"-hcl", text}})
		if groups[key] { // the value must be an object there
			continue
		}
		refused := r.outcome == notYet || r.outcome == guarded || r.outcome == segmented || r.outcome == fixed
		if refused != (err != nil) {
			t.Errorf("%s: %v", key, err)
		}
		if err == nil && len(l.Warnings) != 1 {
			t.Errorf("%s: warnings %q", key, l.Warnings)
		}
		said := fmt.Sprint(err)
		if err == nil {
			said = l.Warnings[0]
		}
		if !strings.Contains(said, key) || strings.Contains(said, "\n") {
			t.Errorf("%s: %q", key, said)
		}
	}
}

// TestOldNamesLead checks that every renamed key leads to a key with a row.
func TestOldNamesLead(t *testing.T) {
	for old, now := range renamedKeys {
		if lookup(now.to) == nil && above(now.to) == nil {
			t.Errorf("%s leads to %s, which is unknown", old, now.to)
		}
		if lookup(old) != nil {
			t.Errorf("%s has a row of its own", old)
		}
	}
	for name, f := range consulFlags {
		if lookup(f.key) == nil {
			t.Errorf("flag -%s sets %s, which is unknown", name, f.key)
		}
	}
}

func TestCaseOfKeys(t *testing.T) {
	dir := write(t, "f.json", `{"Datacenter":"x","PORTS":{"Http":7},"Node_Meta":{"Key":"v"},"Service":{"Name":"a"}}`)
	a, _, _ := load(t, Input{Files: []string{dir}})
	if a.Datacenter != "x" || a.HTTPPort != 7 || a.NodeMeta["Key"] != "v" || len(a.Services) != 1 {
		t.Errorf("%+v", a)
	}
}
