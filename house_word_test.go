package main_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// undocumented are exported methods that say nothing because their interface's comment says it all.
var undocumented = []string{"Len", "Less", "Swap", "Item", "AppendItem", "AppendJSON", "Error", "Unwrap", "String", "Point",
	"Read", "Write", "Close", "Name", "Subjects", "Allowed", "MarshalJSON", "UnmarshalJSON", "MarshalMsg", "UnmarshalMsg",
	"Is", "Equal", "Msgsize"}

var wordLaws = []law{
	{"package comment", packageComment, "-- kit/a/a.go --\npackage a\n-- kit/b/a.go --\n// Package b is.\npackage b\n-- kit/b/b.go --\n// Package b is again.\npackage b\n", 2},
	{"doc comments", docComments, `
-- kit/a/a.go --
package a
type T struct{}
func (T) Do() {}
func (T) Len() int { return 0 }
func F() {}
// Both have one.
const (
	X = 1
	Y = 2
)
var Z = 1
`, 4},
	{"no init", noInit, "-- kit/a/a.go --\npackage a\nfunc init() {}\n", 1},
	{"package names", packageNames, "-- kit/util/a.go --\npackage util\n-- feature/kv/types/t.go --\npackage types\n-- kit/my_kit/a.go --\npackage my_kit\n-- kit/b/c.go --\npackage d\n", 4},
	{"no sleep in tests", noSleep, `
-- kit/a/a_test.go --
package a
import ("testing"; "testing/synctest"; "time")
func TestA(t *testing.T) { time.Sleep(1) }
func TestB(t *testing.T) { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }
func poll() { for end := time.Now(); time.Now().Before(end); time.Sleep(1) { time.Sleep(2) } }
`, 2},
	{"nothing left to do", noTodo, "-- kit/a/a.go --\npackage a\n// TO" + "DO: think\n// FIX" + "ME\n// the todo list of a user is fine\n", 2},
	{"error texts", errorTexts, "-- kit/a/a.go --\npackage a\nimport \"fmt\"\nvar a = fmt.Errorf(\"failed to read: %w\", nil)\nvar b = fmt.Errorf(\"cannot read: %w\", nil)\n", 1},
	{"no foreign places", noPlaces, "-- docs/a.md --\nSee /wo" + "rk/main and registry.npm" + "js.org.\n-- kit/a/a.go --\npackage a\nconst dir = \"/tm" + "p/x\"\n", 2},
	{"goroutines are waited for", bareGo, `
-- kit/a/a.go --
package a
func F() { go F() }
func G() { done := make(chan int); go func() { close(done) }(); <-done }
`, 1},
}

// sleepers are tests that may sleep, with the reason.
var sleepers = map[string]string{
	"feature/session/lead_test.go": "its helpers are called inside bubbles of virtual time only",
	"agent/sim_test.go":            "the same",
	"agent/chaos_test.go":          "the same",
	"agent/recover_sim_test.go":    "the same",
	"agent/disk_sim_test.go":       "the same",
	"agent/locks_sim_test.go":      "the same",
	"agent/locker_test.go":         "the same",
	"agent/wan_sim_test.go":        "the same",
	"agent/upgrade_sim_test.go":    "the same",
	"agent/space_sim_test.go":      "the same",
	"engine/gossip/rules_test.go":  "the same",
	"engine/gossip/sim_test.go":    "the same",
}

func packageComment(t *tree) (found []guilt) {
	for _, p := range t.packages {
		n, tests := 0, true
		for _, f := range p.files {
			tests = tests && f.test
			if f.ast.Doc != nil && !f.test {
				n++
			}
		}
		if n != 1 && !tests {
			found = append(found, guilt{p.dir, fmt.Sprintf("has %d package comments instead of one", n)})
		}
	}
	return found
}

func docComments(t *tree) (found []guilt) {
	for _, f := range t.files {
		if f.test || f.generated {
			continue
		}
		for _, d := range f.ast.Decls {
			for _, id := range bareNames(d) {
				found = append(found, guilt{t.at(id), "exported " + id.Name + " has no comment"})
			}
		}
	}
	return found
}

// bareNames returns the exported names of a declaration that no comment stands at.
func bareNames(d ast.Decl) (bare []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || onExported(d) && !slices.Contains(undocumented, d.Name.Name)) {
			bare = append(bare, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if d.Doc == nil && s.Doc == nil && s.Comment == nil && s.Name.IsExported() {
					bare = append(bare, s.Name)
				}
			case *ast.ValueSpec:
				for _, id := range s.Names {
					if d.Doc == nil && s.Doc == nil && s.Comment == nil && id.IsExported() {
						bare = append(bare, id)
					}
				}
			}
		}
	}
	return bare
}

// onExported reports whether a method's receiver is an exported type.
func onExported(d *ast.FuncDecl) bool {
	x := d.Recv.List[0].Type
	for {
		switch y := x.(type) {
		case *ast.StarExpr:
			x = y.X
		case *ast.IndexExpr:
			x = y.X
		case *ast.IndexListExpr:
			x = y.X
		case *ast.Ident:
			return y.IsExported()
		default:
			return false
		}
	}
}

func noInit(t *tree) (found []guilt) {
	for _, f := range t.files {
		for _, d := range f.ast.Decls {
			if fn, is := d.(*ast.FuncDecl); is && fn.Recv == nil && fn.Name.Name == "init" {
				found = append(found, guilt{t.at(fn), "func init: what runs at start is written where it is started"})
			}
		}
	}
	return found
}

func packageNames(t *tree) (found []guilt) {
	nothing := []string{"util", "utils", "common", "helper", "helpers", "base", "misc", "manager", "types", "models", "lib", "shared"}
	plain := regexp.MustCompile(`^[a-z][a-z0-9]*$`)
	for _, p := range t.packages {
		name := p.files[0].ast.Name.Name
		if p.dir == "." || p.dir == "release" {
			continue // programs
		}
		switch {
		case slices.Contains(nothing, name):
			found = append(found, guilt{p.dir, "the package's name " + name + " says nothing"})
		case !plain.MatchString(name):
			found = append(found, guilt{p.dir, "the package's name " + name + " is not one plain word"})
		case path.Base(p.dir) != strings.TrimSuffix(name, "_test"):
			found = append(found, guilt{p.dir, "the package is named " + name})
		}
	}
	return found
}

// call returns "pkg.Name" of a call of a package's function.
func call(n ast.Node) string {
	if c, is := n.(*ast.CallExpr); is {
		if s, is := c.Fun.(*ast.SelectorExpr); is {
			if x, is := s.X.(*ast.Ident); is {
				return x.Name + "." + s.Sel.Name
			}
		}
	}
	return ""
}

func noSleep(t *tree) (found []guilt) {
	for _, f := range t.files {
		if !f.test || spared(sleepers, f.name) {
			continue
		}
		pauses := map[ast.Node]bool{} // between two looks of a loop that ends
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if loop, is := n.(*ast.ForStmt); is && loop.Cond != nil {
				if post, is := loop.Post.(*ast.ExprStmt); is {
					pauses[post.X] = true
				}
			}
			if pauses[n] {
				return false
			}
			switch call(n) {
			case "synctest.Test", "synctest.Run":
				return false // virtual time
			case "time.Sleep":
				found = append(found, guilt{t.at(n), "time.Sleep in a test: wait for what is to happen, or use a bubble of virtual time"})
			}
			return true
		})
	}
	return found
}

func noTodo(t *tree) (found []guilt) {
	mark := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	return t.grep(mark, "is something left to do: do it or file it")
}

// grep finds a pattern in all texts.
func (t *tree) grep(mark *regexp.Regexp, why string) (found []guilt) {
	for _, f := range t.texts {
		for i, line := range bytes.Split(f.src, []byte("\n")) {
			if m := mark.Find(line); m != nil {
				found = append(found, guilt{fmt.Sprintf("%s:%d", f.name, i+1), fmt.Sprintf("%q %s", m, why)})
			}
		}
	}
	return found
}

// errorTexts wants "cannot …" where the text is ours; what Consul says is written as a fault, not with fmt.Errorf.
func errorTexts(t *tree) (found []guilt) {
	for _, f := range t.files {
		if f.test || f.generated {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			name := call(n)
			if name != "fmt.Errorf" && name != "errors.New" {
				return true
			}
			args := n.(*ast.CallExpr).Args
			if lit, is := args[0].(*ast.BasicLit); is && lit.Kind == token.STRING && strings.HasPrefix(strings.ToLower(lit.Value[1:]), "failed to") {
				found = append(found, guilt{t.at(n), "an error of ours says what it cannot do, not that it failed to"})
			}
			return true
		})
	}
	return found
}

// noPlaces keeps the paths of one machine and the names of package registries out of every file.
func noPlaces(t *tree) []guilt {
	mark := regexp.MustCompile(`(^|[^\w.])/(wo` + `rk|tm` + `p|ro` + `ot)/[\w.]|npm` + `js\.org|proxy\.go` + `lang\.org|sum\.go` + `lang\.org|go` + `proxy\.|deb` + `ian\.org`)
	return t.grep(mark, "is a place of one machine or a registry")
}

// waits are functions that start goroutines somebody else waits for, with who that is.
var waits = map[string]string{}

// bareGo finds go statements in functions that show no sign of waiting: no receive, no Wait.
func bareGo(t *tree) (found []guilt) {
	for _, f := range t.files {
		if f.test || f.generated {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, is := d.(*ast.FuncDecl)
			if !is || fn.Body == nil || spared(waits, dirOf(f)+"."+fn.Name.Name) {
				continue
			}
			var starts []ast.Node
			waiting := false
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					starts = append(starts, n)
					return false // what the goroutine waits for does not count
				case *ast.UnaryExpr:
					waiting = waiting || n.Op == token.ARROW
				case *ast.CallExpr:
					s, is := n.Fun.(*ast.SelectorExpr)
					waiting = waiting || is && s.Sel.Name == "Wait"
				}
				return true
			})
			for _, g := range starts {
				if !waiting {
					found = append(found, guilt{t.at(g), "nobody here waits for this goroutine"})
				}
			}
		}
	}
	return found
}
