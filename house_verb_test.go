package main_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rostra"
	"rostra/agent"
	"rostra/kit/cli"
)

// verbs returns the command line of the program.
func verbs() []cli.Verb {
	list := agent.Verbs(main.Features)
	for _, f := range main.Features {
		list = append(list, f.Verbs...)
	}
	return list
}

// TestVerbs prints the command line, and holds each command to one place.
func TestVerbs(t *testing.T) {
	var list []string
	seen := map[string]cli.Verb{}
	for _, v := range verbs() {
		if _, twice := seen[v.Path]; twice {
			t.Errorf("two features have the command %s", v.Path)
		}
		seen[v.Path] = v
		if v.Absent != "" {
			list = append(list, v.Path+" (absent)")
			continue
		}
		list = append(list, v.Path)
	}
	for path := range seen {
		for group := path; strings.Contains(group, " "); {
			group = group[:strings.LastIndex(group, " ")]
			if seen[group].Absent != "" {
				t.Errorf("the command %s cannot be reached: agent/absent.go says that there is no %s", path, group)
			}
		}
	}
	slices.Sort(list)
	golden(t, "verbs.txt", strings.Join(list, "\n")+"\n")
}

// TestVerbScripts holds every command to a script in testdata that runs it as a user would.
func TestVerbScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var scripts []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, string(b))
	}
	all := strings.Join(scripts, "\n")
	tried := func(path string) bool {
		return regexp.MustCompile(`(?m)\b(rostra|consul) ` + regexp.QuoteMeta(path) + `( |$)`).MatchString(all)
	}
	if tried("kv no-such-command") {
		t.Error("this test finds what is not there")
	}
	for _, v := range verbs() {
		if v.Absent == "" && !tried(v.Path) {
			t.Errorf("no script in testdata/script runs %q", v.Path)
		}
	}
}

// TestNames: called as consul the program says what it says as rostra, but for its name.
func TestNames(t *testing.T) {
	help := func(name, path string) string {
		var out bytes.Buffer
		if code := cli.Main(name, verbs(), append(strings.Fields(path), "-h"), nil, &out, &out, func(string) string { return "" }); code > 1 {
			t.Errorf("%s %s -h: exit %d", name, path, code)
		}
		return out.String()
	}
	for _, v := range append(verbs(), cli.Verb{}) {
		// In running text, as in "rostra_level" or "a Rostra snapshot", the name is no command's.
		want := regexp.MustCompile(`\brostra\b`).ReplaceAllString(help("rostra", v.Path), "consul")
		if got := help("consul", v.Path); got != want || !strings.Contains(got, "consul") {
			t.Errorf("%s: %s\nwant %s", v.Path, got, want)
		}
	}
}
