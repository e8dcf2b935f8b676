// The laws of the house that a test can hold. Each law looks at the source tree and returns what breaks it; each has a
// counter-example, a small tree that must be found guilty, because a law that finds nothing may look at nothing. The
// files house_*_test.go hold the laws, this one the tree they look at and the two tests that run them.
package main_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// tree is the source of the program, or a counter-example.
type tree struct {
	fset     *token.FileSet
	files    []*file // Go files of this module
	texts    []*text // every text file, those of bench and the Go files too
	packages []*pkg  // folders with Go files, sorted
	module   string  // the module's path
	broken   []guilt // files that do not parse
	real     bool    // not a counter-example
}

// file is one Go file.
type file struct {
	name      string // "kit/store/store.go"
	src       []byte
	ast       *ast.File
	test      bool
	generated bool
}

// text is any file that people read.
type text struct {
	name string
	src  []byte
}

// pkg is one folder with Go files.
type pkg struct {
	dir   string // "kit/store"; "." for the root
	files []*file
}

// guilt is one place that breaks a law.
type guilt struct {
	at  string // "kit/store/store.go:12"
	why string
}

func (g guilt) String() string { return g.at + ": " + g.why }

// law is one rule.
type law struct {
	name  string
	check func(*tree) []guilt
	bad   string // a txtar tree that breaks it
	wants int    // how many places of bad are guilty
}

// laws are all of them but those that need the running program.
func laws() []law {
	return slices.Concat(sizeLaws, floorLaws, wordLaws, pureLaws, travelLaws)
}

func TestHouse(t *testing.T) {
	house := readHouse(t)
	for _, g := range house.broken {
		t.Errorf("%s", g)
	}
	for _, l := range laws() {
		t.Run(l.name, func(t *testing.T) {
			for _, g := range l.check(house) {
				t.Errorf("%s", g)
			}
		})
	}
}

// TestLawsBite shows that each law can fail.
func TestLawsBite(t *testing.T) {
	for _, l := range laws() {
		t.Run(l.name, func(t *testing.T) {
			found := l.check(treeOf(t, l.bad))
			if len(found) != l.wants || l.wants == 0 {
				t.Errorf("the counter-example must have %d guilty places, the law found %d: %v", l.wants, len(found), found)
			}
		})
	}
}

// readHouse reads the tree that this test lies in.
func readHouse(t *testing.T) *tree {
	t.Helper()
	house := &tree{fset: token.NewFileSet(), module: "rostra", real: true}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || name == "bench/work") {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || name == ".git" { // a file in a linked work tree
			return nil
		}
		src, err := os.ReadFile(name)
		if err == nil && len(src) < 4<<20 && !bytes.Contains(src[:min(len(src), 4096)], []byte{0}) {
			house.add(name, src)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(house.packages) < 10 {
		t.Fatalf("only %d packages found: the laws look in the wrong place", len(house.packages))
	}
	return house
}

// treeOf makes a tree of a txtar archive.
func treeOf(t *testing.T, archive string) *tree {
	t.Helper()
	small := &tree{fset: token.NewFileSet(), module: "rostra"}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		small.add(f.Name, f.Data)
	}
	if len(small.broken) > 0 {
		t.Fatalf("the counter-example does not parse: %v", small.broken)
	}
	return small
}

func (t *tree) add(name string, src []byte) {
	t.texts = append(t.texts, &text{name, src})
	if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "bench/") || strings.Contains(name, "testdata/") {
		return
	}
	parsed, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.broken = append(t.broken, guilt{name, err.Error()})
		return
	}
	f := &file{name: name, src: src, ast: parsed, test: strings.HasSuffix(name, "_test.go"), generated: ast.IsGenerated(parsed)}
	t.files = append(t.files, f)
	dir := path.Dir(name)
	i, found := slices.BinarySearchFunc(t.packages, dir, func(p *pkg, dir string) int { return strings.Compare(p.dir, dir) })
	if !found {
		t.packages = slices.Insert(t.packages, i, &pkg{dir: dir})
	}
	t.packages[i].files = append(t.packages[i].files, f)
}

// code returns the files of the package that are neither tests nor generated.
func (p *pkg) code() []*file {
	var list []*file
	for _, f := range p.files {
		if !f.test && !f.generated {
			list = append(list, f)
		}
	}
	return list
}

func (f *file) lines() int { return bytes.Count(f.src, []byte("\n")) }

// at returns file:line of a node.
func (t *tree) at(n ast.Node) string {
	p := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// spared reports whether an exception names the place; a reason is required.
func spared(exceptions map[string]string, place string) bool {
	return exceptions[place] != ""
}

// TestExceptionsAreNeeded finds exceptions whose reason is gone.
func TestExceptionsAreNeeded(t *testing.T) {
	house := readHouse(t)
	count := func() (n int) {
		for _, l := range slices.Concat(sizeLaws, wordLaws) {
			n += len(l.check(house))
		}
		return n
	}
	with := count()
	for _, list := range []map[string]string{tooLarge, sleepers, waits} {
		for place, reason := range list {
			delete(list, place)
			if count() == with {
				t.Errorf("the exception for %s is needed no more", place)
			}
			list[place] = reason
		}
	}
}
