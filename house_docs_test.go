package main_test

import (
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rostra"
)

const maxDependencies = 32

// The rows of the tables in docs that tests hold to the truth begin with code: | `…` | …
var docRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+?) \\| *([^|]*?) *\\|(?: *([^|]*?) *\\|)?$")

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// required returns the direct dependencies in a go.mod, with their versions.
func required(mod string) map[string]string {
	direct := map[string]string{}
	block := regexp.MustCompile(`(?s)require \((.*?)\)`)
	for _, b := range block.FindAllStringSubmatch(mod, -1) {
		for _, line := range strings.Split(b[1], "\n") {
			name, version, ok := strings.Cut(strings.TrimSpace(line), " ")
			if ok && !strings.Contains(version, "// indirect") {
				direct[name] = version
			}
		}
	}
	return direct
}

// undocumentedDependencies compares go.mod with the table of docs/dependencies.md.
func undocumentedDependencies(mod, doc string) (wrong []string) {
	direct, rows := required(mod), map[string]bool{}
	for _, m := range docRow.FindAllStringSubmatch(doc, -1) {
		name, version, why := m[1], strings.TrimSpace(m[2]), strings.TrimSpace(m[4])
		rows[name] = true
		switch {
		case direct[name] == "":
			wrong = append(wrong, name+" is in docs/dependencies.md but no direct dependency")
		case direct[name] != version:
			wrong = append(wrong, name+" is "+direct[name]+", docs/dependencies.md has "+version)
		case why == "":
			wrong = append(wrong, name+" has no reason in docs/dependencies.md")
		}
	}
	for name := range direct {
		if !rows[name] {
			wrong = append(wrong, name+" is not in docs/dependencies.md")
		}
	}
	slices.Sort(wrong)
	return wrong
}

func TestDependencies(t *testing.T) {
	mod := readDoc(t, "go.mod")
	for _, w := range undocumentedDependencies(mod, readDoc(t, "docs/dependencies.md")) {
		t.Error(w)
	}
	if n := len(required(mod)); n > maxDependencies {
		t.Errorf("%d direct dependencies, the cap is %d", n, maxDependencies)
	}
	bad := undocumentedDependencies("require (\n\ta.b/c v1.0.0\n\td.e/f v1.0.0\n\tg.h/i v1.0.0\n\tj.k/l v1.0.0 // indirect\n)\n",
		"| `a.b/c` | v1.0.1 | MIT | why |\n| `d.e/f` | v1.0.0 | MIT |  |\n| `x.y/z` | v1.0.0 | MIT | why |\n")
	if len(bad) != 4 {
		t.Errorf("the counter-example must have 4 faults, found %v", bad)
	}
}

// unusedDependencies returns the direct dependencies that no file of the tree imports.
func unusedDependencies(mod string, t *tree) (unused []string) {
	for name := range required(mod) {
		used := slices.ContainsFunc(t.files, func(f *file) bool {
			return slices.ContainsFunc(f.ast.Imports, func(i *ast.ImportSpec) bool {
				path := strings.Trim(i.Path.Value, `"`)
				return path == name || strings.HasPrefix(path, name+"/")
			})
		})
		if !used {
			unused = append(unused, name)
		}
	}
	slices.Sort(unused)
	return unused
}

func TestUnusedDependencies(t *testing.T) {
	for _, name := range unusedDependencies(readDoc(t, "go.mod"), readHouse(t)) {
		t.Errorf("go.mod: nothing imports %s", name)
	}
	small := treeOf(t, "-- kit/a/a.go --\npackage a\nimport _ \"a.b/c/d\"\n")
	if found := unusedDependencies("require (\n\ta.b/c v1.0.0\n\td.e/f v1.0.0\n)\n", small); len(found) != 1 {
		t.Errorf("the counter-example has one unused module, found %v", found)
	}
}

// untrueCompatibility compares the table of docs/compatibility.md with the routes there are.
func untrueCompatibility(doc string, routes []string) (wrong []string) {
	covered := map[string]bool{}
	for _, m := range docRow.FindAllStringSubmatch(doc, -1) {
		methods, path, _ := strings.Cut(m[1], " /")
		path, _, _ = strings.Cut("/"+path, "<")
		built := strings.HasPrefix(m[2], "works") || strings.HasPrefix(m[2], "as with ACLs off")
		if !built && !strings.HasPrefix(m[2], "not yet") {
			wrong = append(wrong, m[1]+" has the state "+m[2])
		}
		for _, method := range strings.Split(methods, ", ") {
			route := method + " " + path
			there := slices.Contains(routes, route) || slices.Contains(routes, "ANY "+path)
			switch {
			case built && !there:
				wrong = append(wrong, route+" is said to work, but there is no such route")
			case !built && there:
				wrong = append(wrong, route+" is said not to work, but there is a route")
			}
			covered[route], covered["ANY "+path] = true, true
		}
	}
	for _, r := range routes {
		if !covered[r] {
			wrong = append(wrong, r+" is not in docs/compatibility.md")
		}
	}
	return wrong
}

func TestCompatibility(t *testing.T) {
	for _, w := range untrueCompatibility(readDoc(t, "docs/compatibility.md"), routes(t)) {
		t.Error(w)
	}
	bad := untrueCompatibility("| `GET, PUT /v1/a/<b>` | works | x |\n| `GET /v1/b` | not yet | x |\n| `GET /v1/c` | perhaps | x |\n",
		[]string{"GET /v1/a/", "GET /v1/b", "GET /v1/d"})
	if len(bad) != 4 {
		t.Errorf("the counter-example must have 4 faults, found %v", bad)
	}
}

// TestLinks finds files that the documents name and that are not there.
func TestLinks(t *testing.T) {
	for _, doc := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/formats.md", "docs/operating.md",
		"docs/changing.md", "docs/gossip.md", "docs/configuration.md", "docs/compatibility.md", "docs/dependencies.md"} {
		for _, name := range deadPaths(readDoc(t, doc)) {
			t.Errorf("%s names %s, which is not there", doc, name)
		}
	}
	if dead := deadPaths("see `kit/nowhere/at_all.go`, `docs/missing.md` and `main.go`"); len(dead) != 2 {
		t.Errorf("the counter-example names two files that are not there, found %v", dead)
	}
}

func deadPaths(doc string) (dead []string) {
	path := regexp.MustCompile("`((?:kit|engine|feature|surface|config|agent|docs|bench|testdata|\\.ci)/[\\w./-]+|[a-z_]+\\.go)`")
	for _, m := range path.FindAllStringSubmatch(doc, -1) {
		if _, err := os.Stat(m[1]); err != nil && !slices.Contains([]string{"room.go", "state.go", "apply.go", "http.go", "cli.go", "lead.go", "kv.go"}, m[1]) {
			dead = append(dead, m[1])
		}
	}
	return dead
}

// TestFormatsNamesAll looks for what the log and the state hold in docs/formats.md, and for the triggers in ARCHITECTURE.md.
func TestFormatsNamesAll(t *testing.T) {
	formats, architecture := readDoc(t, "docs/formats.md"), readDoc(t, "ARCHITECTURE.md")
	for _, f := range main.Features {
		for _, c := range f.Commands {
			if name := c.New().Name(); !strings.Contains(formats, "`"+name+"`") {
				t.Errorf("docs/formats.md does not name the Command %s", name)
			}
		}
		for _, table := range f.Tables {
			if name := table.Name(); !strings.Contains(formats, "`"+name+"`") {
				t.Errorf("docs/formats.md does not name the table %s", name)
			}
		}
		for _, tr := range f.Triggers {
			if !strings.Contains(architecture, "| "+tr.Name+" |") {
				t.Errorf("ARCHITECTURE.md does not name the trigger %s", tr.Name)
			}
		}
	}
}
