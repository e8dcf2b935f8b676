package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"rostra"
	"rostra/agent"
	"rostra/config"
	"rostra/engine/room"
)

// keyList reads testdata/keys.txt: the class of each key, and of the renamed ones what they are called today.
func keyList(t *testing.T) (class, today map[string]string) {
	t.Helper()
	b, err := os.ReadFile("testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	class, today = map[string]string{}, map[string]string{}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		for _, key := range words[1:] {
			old, now, _ := strings.Cut(key, "=")
			if class[old] != "" {
				t.Errorf("%s is listed twice", old)
			}
			class[old], today[old] = words[0], now
		}
	}
	return class, today
}

// obeyed returns the settings of an agent by their keys: the type of each, and all its places.
func obeyed(settings []any) map[string][]reflect.Value {
	found := map[string][]reflect.Value{}
	var search func(reflect.Value)
	search = func(v reflect.Value) {
		for i := range v.NumField() {
			if key, is := v.Type().Field(i).Tag.Lookup("key"); is {
				found[key] = append(found[key], v.Field(i))
			} else if v.Field(i).Kind() == reflect.Struct {
				search(v.Field(i))
			}
		}
	}
	for _, s := range settings {
		search(reflect.ValueOf(s).Elem())
	}
	return found
}

// another returns a value of a setting that nobody has by default, and how it is written.
func another(t *testing.T, now reflect.Value) (want any, text string) {
	t.Helper()
	kind := now.Type()
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	switch {
	case kind == reflect.TypeFor[time.Duration]():
		return 7*time.Minute + time.Millisecond, `"7m0.001s"`
	case kind == reflect.TypeFor[[]room.Definition]():
		return 1, `[{ name = "a", port = 7 }]`
	case kind.Kind() == reflect.Slice:
		return []string{"192.0.2.7", "192.0.2.8"}, `["192.0.2.7", "192.0.2.8"]`
	case kind.Kind() == reflect.Map && kind.Elem().Kind() == reflect.String:
		return map[string]string{"k": "v"}, `{ k = "v" }`
	case kind.Kind() == reflect.Map:
		return map[string]time.Duration{"k": time.Second}, `{ k = "1s" }`
	case kind.Kind() == reflect.Bool:
		on := now.Kind() == reflect.Pointer || !now.Bool()
		return on, fmt.Sprint(on)
	case kind.Kind() == reflect.String:
		return "192.0.2.7", `"192.0.2.7"`
	case kind.Kind() == reflect.Float64:
		return 7.5, "7.5"
	case kind.Kind() == reflect.Int, kind.Kind() == reflect.Int64:
		return 7, "7"
	}
	t.Fatalf("no value of type %v is known", kind)
	return nil, ""
}

// holds reports whether a setting has the value.
func holds(v reflect.Value, want any) bool {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return false
		}
		v = v.Elem()
	}
	if list, is := v.Interface().([]room.Definition); is {
		return len(list) == want && list[0].Value["name"] == "a"
	}
	return fmt.Sprint(v.Interface()) == fmt.Sprint(want)
}

// written is HCL that gives a dotted key a value.
func written(key, value string) string {
	parts := strings.Split(key, ".")
	text := parts[len(parts)-1] + " = " + value
	for i := len(parts) - 2; i >= 0; i-- {
		text = parts[i] + " { " + text + " }"
	}
	return text
}

// loadKey loads one key, and what it becomes.
func loadKey(t *testing.T, text string) (map[string][]reflect.Value, []string, error) {
	t.Helper()
	all := agent.NewSettings(main.Features)
	file := filepath.Join(t.TempDir(), "f.hcl")
	if err := os.WriteFile(file, []byte("\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := config.Load(config.Input{Files: []string{file}}, all...)
	if err != nil && !strings.HasPrefix(err.Error(), file+":2: ") {
		t.Errorf("%s: the error names no place: %v", text, err)
	}
	for _, w := range l.Warnings {
		if !strings.HasPrefix(w, file+":2: ") {
			t.Errorf("%s: the warning names no place: %s", text, w)
		}
	}
	return obeyed(all), l.Warnings, err
}

// TestKeys: each key of Consul's is obeyed with the value that it was given, warned of, or refused; and nothing else is
// obeyed. Old names are read as the new ones, and say so.
func TestKeys(t *testing.T) {
	class, today := keyList(t)
	defaults := agent.NewSettings(main.Features)
	if _, err := config.Load(config.Input{}, defaults...); err != nil {
		t.Fatal(err)
	}
	known := obeyed(defaults)
	for key := range known {
		if c := class[key]; c != "start" && c != "live" {
			t.Errorf("%s is obeyed, and listed as %q", key, c)
		}
	}
	for key, c := range class {
		target := key
		if c == "renamed" {
			target = today[key]
		}
		text := `"asked for"`
		var want any
		if places := known[target]; places != nil {
			want, text = another(t, places[0])
		} else if class[target] == "start" || class[target] == "live" {
			t.Errorf("%s is listed as obeyed, and nobody does", target)
			continue
		}
		if key == "recursor" { // one, not a list
			want, text = []string{"192.0.2.7"}, `"192.0.2.7"`
		}
		if target == "raft_logstore.boltdb" { // a block
			text = `{ NoFreelistSync = true }`
		}
		now, warnings, err := loadKey(t, written(key, text))
		said := strings.Join(warnings, "\n")
		if c == "renamed" {
			if deprecated := fmt.Sprintf("The '%s' field is deprecated. Use the '%s' field instead.", key, target); !strings.Contains(said, deprecated) {
				t.Errorf("%s: %q does not say so", key, said)
			}
			if c = class[target]; c == "" {
				c = "warned" // a block of such
			}
		}
		switch c {
		case "start", "live":
			for _, v := range now[target] {
				if err != nil || !holds(v, want) {
					t.Errorf("%s: %s became %v; %v", key, text, v, err)
				}
			}
		case "warned":
			if err != nil || !strings.Contains(said, strings.SplitN(key, ".", 2)[0]) {
				t.Errorf("%s: %v, warnings %q", key, err, warnings)
			}
		case "refused":
			if err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s: %v", key, err)
			}
		default:
			t.Errorf("%s is of the unknown class %q", key, c)
		}
	}
}

// TestKeysAtReload: a change of each key is found, and it is known whether a running agent takes it over.
func TestKeysAtReload(t *testing.T) {
	class, _ := keyList(t)
	load := func(text string) []any {
		all := agent.NewSettings(main.Features)
		if _, err := config.Load(config.Input{HCL: []string{text}}, all...); err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := load("")
	for key, places := range obeyed(before) {
		_, text := another(t, places[0])
		live, restart := config.Changed(before, load(written(key, text)))
		want, other := live, restart
		if class[key] == "start" {
			want, other = restart, live
		}
		if len(want) != 1 || want[0] != key || len(other) != 0 {
			t.Errorf("%s, listed as %s: a reload takes over %v, a restart is needed for %v", key, class[key], live, restart)
		}
	}
}

// TestKeysAreStrict: a misspelt key, and one in the wrong block, is refused.
func TestKeysAreStrict(t *testing.T) {
	class, _ := keyList(t)
	for key, c := range class {
		if c != "live" && c != "start" || strings.HasPrefix(key, "connect.") { // the mesh's block is taken as a whole
			continue
		}
		_, _, err := loadKey(t, written(key+"_x", "1"))
		var problems config.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), "invalid config key "+key+"_x") {
			t.Errorf("%s_x: %v", key, err)
		}
	}
}
